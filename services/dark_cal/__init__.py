"""Dark calibrations: raw dumps of the CCD become the published calibration and its report.

Triggered by ``file.vc2.arrived`` and what follows from it; reads ``archive/aca_dark/raw``,
telemetry and the level-0 archive; publishes ``archive/aca_dark/<id>`` and ``www/dark_cal`` and
announces ``dark_cal.published``. Start with `tasks`, then `steps`.
"""
