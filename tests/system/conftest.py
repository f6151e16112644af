"""Systems of real processes."""

from tests.support.live import system

__all__ = ["system"]
