"""Dark-current calibrations of the ACA CCD: raw dumps, master images, models, reports."""
