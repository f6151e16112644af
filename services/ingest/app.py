"""The Celery app of this service: ``celery -A services.ingest.app worker -Q ingest``."""

from acaflow import config
from acaflow.runtime.queue import make_app

app = make_app(config.current(), "ingest")
