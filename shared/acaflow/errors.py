"""The error tree: the class says what a caller can do, and whether a worker retries.

::

    AcaflowError
      ConfigError                     a setting is missing or nonsensical; named in the message
      InputError (ValueError)         the caller's argument is wrong
        TimeFormatError               text that is no time in any known format
      MissingDataError (LookupError)  the archive has nothing for this
      DataError                       a file exists but cannot be used; quarantine it
        CorruptFileError              truncated, bad checksum, unreadable
        SchemaError                   missing column or keyword, wrong dtype, shape, name or unit
      ArchiveConflictError            same product name, other content, already published
      TransientError                  may succeed later; retried with growing delay
        RemoteUnavailableError        archive host, HTTP
        StorageBusyError              lock, full disk or queue, database busy
        NotReadyError                 inputs still arriving; retried on its own schedule
      PipelineError                   a step failed for a reason of its own
        QualityError                  a product fails its quality rules; a person decides
        LeaseLostError                the attempt no longer owns its job; only the runtime raises it
        CancelledError                a person cancelled the job; only the runtime raises it
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "AcaflowError",
    "ArchiveConflictError",
    "CancelledError",
    "ConfigError",
    "CorruptFileError",
    "DataError",
    "InputError",
    "LeaseLostError",
    "MissingDataError",
    "NotReadyError",
    "PipelineError",
    "QualityError",
    "RemoteUnavailableError",
    "SchemaError",
    "StorageBusyError",
    "TimeFormatError",
    "TransientError",
]


class AcaflowError(Exception):
    """Base of every error that acaflow raises on purpose."""


class ConfigError(AcaflowError):
    """A setting is missing or nonsensical; the process must not start."""


class InputError(AcaflowError, ValueError):
    """The caller's argument is wrong."""


class TimeFormatError(InputError):
    """Text (or an object) that is no time in any accepted format."""


class MissingDataError(AcaflowError, LookupError):
    """The archive has nothing for this request."""

    def __str__(self) -> str:
        """Return the plain message (a LookupError may be a KeyError to readers, which quotes)."""
        return str(self.args[0]) if self.args else ""


class DataError(AcaflowError):
    """A file exists but cannot be used.

    Parameters
    ----------
    message : str
        What is wrong, with the offending value and what was expected.
    path : Path or str, optional
        The file; kept as attribute ``path``.
    """

    def __init__(self, message: str, path: Path | str | None = None) -> None:
        super().__init__(message)
        self.path = Path(path) if path is not None else None


class CorruptFileError(DataError):
    """Truncated, bad checksum or unreadable."""


class SchemaError(DataError):
    """Missing column or keyword, wrong dtype, shape, name or unit."""


class ArchiveConflictError(AcaflowError):
    """The same product name with other content is already published."""


class TransientError(AcaflowError):
    """May succeed later; workers retry with growing delay."""


class RemoteUnavailableError(TransientError):
    """An archive host did not answer or refused for now."""


class StorageBusyError(TransientError):
    """A lock is held, a disk or queue is full, or a database is busy."""


class NotReadyError(TransientError):
    """Inputs are still arriving; look again after ``delay_s``, at most for ``max_wait_s``."""

    def __init__(self, message: str, delay_s: float, max_wait_s: float) -> None:
        super().__init__(message)
        self.delay_s = delay_s
        self.max_wait_s = max_wait_s


class PipelineError(AcaflowError):
    """A step failed for a reason of its own."""


class QualityError(PipelineError):
    """A product fails its quality rules: it is kept for a person to decide, not published."""


class LeaseLostError(PipelineError):
    """The attempt no longer owns its job: stop, discard, change nothing."""


class CancelledError(PipelineError):
    """A person cancelled the running job."""
