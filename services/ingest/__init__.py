"""Ingest: delivered files become archives.

Triggered by ``file.*.arrived`` events and by the schedule; reads ``inbox/.taken``; publishes
``archive/aca0`` and announces ``aca_l0.updated``. Start with `tasks`, then `steps`.
"""
