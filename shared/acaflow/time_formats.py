"""The formats greta, maude, caldate and numday for `astropy.time.Time`.

Importing this module registers them. All four are UTC by definition: they are read and written in
UTC whatever the scale of the `Time` object, so ``Time(686111014, format="cxcsec").greta`` is the
UTC value although that object's scale is TT.

Examples
--------
>>> Time("2006329.230000000", format="greta").isot
'2006-11-25T23:00:00.000'
"""

from __future__ import annotations

from typing import Any, ClassVar

from astropy.time import Time
from astropy.time.formats import TimeFormat
from astropy.time.utils import day_frac
from astropy.utils.masked import Masked

from acaflow import times

__all__ = ["Time", "TimeCaldate", "TimeGreta", "TimeMaude", "TimeNumday"]


class _TimeUTC(TimeFormat):  # type: ignore[misc]
    """Base of formats that `acaflow.times` reads and writes."""

    _check_finite = False
    fill: ClassVar[Any]
    """J2000 in this format: what a masked element holds."""

    @classmethod
    def fill_value(cls, subfmt: str) -> Any:
        """Return the value that stands in for masked elements."""
        return cls.fill

    def _check_val_type(self, val1: Any, val2: Any) -> tuple[Any, None]:
        if val2 is not None:
            raise ValueError(f"format {self.name!r} takes one value, not two")
        return val1, None

    def set_jds(self, val1: Any, val2: None) -> None:
        """Read the values of `val1`."""
        seconds = times.secs(val1, format=self.name)
        time = getattr(Time(seconds, format="cxcsec", scale="tt"), self.scale)
        self.jd1, self.jd2 = day_frac(time.jd1, time.jd2)

    def to_value(self, parent: Any = None, out_subfmt: str | None = None) -> Any:
        """Write the times; shape as the object's."""
        time = Time(self.jd1, self.jd2, format="jd", scale=self.scale) if parent is None else parent
        value = times.convert(time.unmasked.cxcsec, self.name)
        return Masked(value, mask=time.mask) if time.masked else value

    value = property(to_value)


class TimeGreta(_TimeUTC):
    """``YYYYDDD.hhmmssfff``, text or number in, text out."""

    name = "greta"
    fill = "2000001.120000000"


class TimeMaude(_TimeUTC):
    """``YYYYDDDhhmmssfff``, text or integer in, int64 out."""

    name = "maude"
    fill = 2000001120000000


class TimeCaldate(_TimeUTC):
    """``YYYYMonDD at hh:mm:ss.sss``."""

    name = "caldate"
    fill = "2000Jan01 at 12:00:00.000"


class TimeNumday(_TimeUTC):
    """``days:h:m:s`` since 1998.0 TT without leap seconds."""

    name = "numday"
    fill = "730:12:1:3.184"
