"""The archives people read in notebooks: ACA level 0, header 3, observation parameters, aspect.

Each module holds one archive and reads it from files and a SQLite index alone: no queue, no
service and no other package of the project needs to run.
"""
