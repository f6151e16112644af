"""The Celery app of this service: ``celery -A services.dark_cal.app worker -Q dark_cal``."""

from acaflow import config
from acaflow.runtime.queue import make_app

app = make_app(config.current(), "dark_cal")
