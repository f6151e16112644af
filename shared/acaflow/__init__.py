"""acaflow: spacecraft telemetry, processed the moment it arrives.

The library behind the services: archives, times, images and calibrations for notebooks
and workers alike. Importing it reads no file, no setting and no other package.
"""

__version__ = "0.1.0"
