"""`ACAImage`: a piece of the CCD that knows where on the CCD it lies.

A two-dimensional array with a dictionary ``meta``; ``meta["IMGROW0"]`` and ``meta["IMGCOL0"]``
are the CCD row and column of pixel [0, 0]. The first axis is the row, the second the column.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from acaflow.archive.star_images import compute_centroids
from acaflow.errors import InputError

__all__ = ["ACAImage"]

_KEYS = ("IMGROW0", "IMGCOL0")
_ARITHMETIC = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
}
_IMMUTABLE = (str, bytes, int, float, complex, type(None), np.generic)


def _own(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deep copy; plain values, which are nearly all there is, skip the slow way."""
    return {k: v if isinstance(v, _IMMUTABLE) else copy.deepcopy(v) for k, v in meta.items()}


class ACAImage(np.ndarray[tuple[int, ...], np.dtype[Any]]):
    """A two-dimensional image with the CCD position of its lower left pixel.

    Parameters
    ----------
    *args, **kwargs
        Passed to `numpy.array`; without positional argument to `numpy.zeros`, which wants
        ``shape`` (float64 unless ``dtype`` is given).
    row0, col0 : int, optional
        CCD row and column of pixel [0, 0] (pixels); default what `meta` says, else 0.
    meta : mapping, optional
        Anything else that belongs to the image; copied. Upper-case attributes read and write
        it: ``image.IMGSCALE`` is ``image.meta["IMGSCALE"]``.

    Raises
    ------
    InputError
        The data are not two-dimensional.

    Notes
    -----
    ``image.aca`` is the same image in CCD coordinates: indices are absolute, and arithmetic
    with another image works on the pixels that both have. Results are always in plain
    indexing again and own their meta.

    Examples
    --------
    >>> a = ACAImage(np.arange(16).reshape(4, 4), row0=10, col0=20)
    >>> int(a.aca[13, 23])
    15
    >>> part = a.aca[12:, 22:]
    >>> part
    <ACAImage row0=12 col0=22
    [[10 11]
     [14 15]]>
    """

    meta: dict[str, Any]
    _is_absolute = False

    def __new__(
        cls,
        *args: Any,
        row0: int | None = None,
        col0: int | None = None,
        meta: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> ACAImage:
        """Make an image; see the class."""
        data = np.array(*args, **kwargs) if args else np.zeros(**kwargs)
        if data.ndim != 2:
            raise InputError(f"an ACAImage is two-dimensional; got shape {data.shape}")
        image = data.view(cls)
        image.meta |= _own(meta or {})
        if row0 is not None:
            image.row0 = row0
        if col0 is not None:
            image.col0 = col0
        return image

    @classmethod
    def over(cls, pixels: npt.NDArray[Any], meta: dict[str, Any]) -> ACAImage:
        """Make an image that shares the pixels and takes over the meta, for thousands at once.

        Parameters
        ----------
        pixels : ndarray, two-dimensional
            Not copied.
        meta : dict
            With IMGROW0 and IMGCOL0; not copied.
        """
        image = pixels.view(cls)
        image.__dict__["meta"] = meta
        return image

    def __array_finalize__(self, parent: Any) -> None:
        """Give a new array its own meta: the parent's, or position 0, 0."""
        known = getattr(parent, "meta", None)
        self.__dict__["meta"] = dict.fromkeys(_KEYS, 0) if known is None else _own(known)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """Make a sum over all pixels a number, not an image without axes."""
        return array[()] if return_scalar else super().__array_wrap__(array, context)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the meta along with the pixels."""
        reduced: tuple[Any, ...] = tuple(super().__reduce__())
        rebuild, arguments, state = reduced
        return rebuild, arguments, (state, self.meta)

    def __setstate__(self, state: Any) -> None:
        """Take up what `__reduce__` has put together."""
        pixels, self.meta = state
        super().__setstate__(pixels)

    def __getattr__(self, name: str) -> Any:
        """Look up an upper-case name in the meta."""
        if name.isupper() and name in self.meta:
            return self.meta[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Put an upper-case name into the meta."""
        if name.isupper():
            self.meta[name] = value
        else:
            super().__setattr__(name, value)

    @property
    def row0(self) -> Any:
        """CCD row of pixel [0, 0]; set values become int64."""
        return self.meta["IMGROW0"]

    @row0.setter
    def row0(self, value: int) -> None:
        self.meta["IMGROW0"] = np.int64(value)

    @property
    def col0(self) -> Any:
        """CCD column of pixel [0, 0]; set values become int64."""
        return self.meta["IMGCOL0"]

    @col0.setter
    def col0(self, value: int) -> None:
        self.meta["IMGCOL0"] = np.int64(value)

    @property
    def aca(self) -> ACAImage:
        """The same pixels and the same meta in CCD coordinates."""
        absolute = self.view(type(self))
        absolute.meta = self.meta
        absolute._is_absolute = True
        return absolute

    @aca.setter
    def aca(self, value: Any) -> None:
        # ``image.aca += other`` ends with this assignment of what is in place already.
        if not (isinstance(value, ACAImage) and value.meta is self.meta):
            raise AttributeError(
                "aca cannot be replaced; assign to aca[...] or use += and the like"
            )

    def __repr__(self) -> str:
        """Show the pixels rounded to integers."""
        pixels = np.asarray(self)
        if np.issubdtype(pixels.dtype, np.inexact):
            text = np.array2string(pixels, formatter={"float_kind": lambda v: f"{v:.0f}"})
        else:
            text = np.array2string(pixels)
        return f"<{type(self).__name__} row0={self.row0} col0={self.col0}\n{text}>"

    def __getitem__(self, item: Any) -> Any:
        """Return pixels; a sub-image knows its own place."""
        plain, origin = self._plain_item(item)
        result = super().__getitem__(plain)
        if isinstance(result, ACAImage):
            result.row0, result.col0 = origin
        return result

    def __setitem__(self, item: Any, value: Any) -> None:
        """Set pixels."""
        # The inherited method would look up the plain index once more with ours.
        np.asarray(self)[self._plain_item(item)[0]] = value

    def _plain_item(self, item: Any) -> tuple[Any, list[int]]:
        """Turn any accepted index into a plain one, and tell the place of what it selects."""
        origin = [int(self.row0), int(self.col0)]
        is_absolute = self._is_absolute
        if isinstance(item, ACAImage) and not (item.dtype.kind == "b" and item.shape == self.shape):
            starts = (int(item.row0), int(item.col0))
            item = tuple(slice(a, a + n) for a, n in zip(starts, item.shape, strict=True))
            is_absolute = True
        parts = list(item) if isinstance(item, tuple) else [item]
        dots = [n for n, part in enumerate(parts) if part is Ellipsis]
        if dots:
            parts[dots[0] : dots[0] + 1] = [slice(None)] * (self.ndim + 1 - len(parts))
        is_mask = getattr(parts[0], "ndim", 0) == 2 and parts[0].dtype.kind == "b"
        if self.ndim != 2 or is_mask or any(part is None for part in parts):
            if is_absolute and not is_mask:
                raise IndexError(f"CCD indices need an image and no new axis; got {item!r}")
            return item, origin
        for axis, part in enumerate(parts[:2]):
            parts[axis] = part = self._plain_part(part, axis) if is_absolute else part
            if isinstance(part, slice):
                origin[axis] += part.indices(self.shape[axis])[0]
            elif isinstance(part, (int, np.integer)):
                origin[axis] += int(part) + (self.shape[axis] if part < 0 else 0)
        return tuple(parts), origin

    def _plain_part(self, part: Any, axis: int) -> Any:
        """Turn a CCD index of one axis into a plain one; slices are clipped silently."""
        name, low = ("row", int(self.row0)) if axis == 0 else ("col", int(self.col0))
        high = low + self.shape[axis]
        if isinstance(part, slice):
            if part.step is not None and part.step < 0:
                raise IndexError(f"{name} slice has step {part.step}; expected a positive one")
            start, stop = (at if at is None else max(at - low, 0) for at in (part.start, part.stop))
            return slice(start, stop, part.step)
        index = np.asarray(part)
        if index.dtype.kind == "b":
            return part
        outside = index[(index < low) | (index >= high)]
        if outside.size:
            raise IndexError(f"{name} index {outside.flat[0]} is outside the image, {low}:{high}")
        return index - low

    def centroid_fm(
        self,
        bgd: npt.ArrayLike | None = None,
        pix_zero_loc: str = "center",
        norm_clip: float | None = None,
    ) -> tuple[float, float, float]:
        """Compute the first-moment centroid.

        Of an 8x8 image the inner 6x6 pixels count, and of these, as of a 6x6 image, all but
        the corners; of other sizes all.

        Parameters
        ----------
        bgd : array_like, optional
            Background to subtract, a number or an array of the shape of the image.
        pix_zero_loc : {'center', 'edge'}
            Where in a pixel its coordinate is an integer.
        norm_clip : float, optional
            Smallest norm to divide by; without it a norm of 0 or less is an error.

        Returns
        -------
        row, col, norm : float
            Centroid (pixels; CCD coordinates if called on ``image.aca``, else from pixel
            [0, 0]) and sum of the pixels used (unit of the image).

        Raises
        ------
        InputError
            The image is not square, its norm is not positive, or `pix_zero_loc` is unknown.
        """
        if self.ndim != 2 or self.shape[0] != self.shape[1]:
            raise InputError(f"a centroid needs a square image; got shape {self.shape}")
        rows, cols, norms = compute_centroids(
            np.asarray(self)[None], bgd=bgd, pix_zero_loc=pix_zero_loc, norm_clip=norm_clip
        )
        row, col, norm = float(rows[0]), float(cols[0]), float(norms[0])
        if np.isnan(row):
            raise InputError(f"the image norm is {norm}; a centroid needs a positive one")
        if self._is_absolute:
            row, col = row + float(self.row0), col + float(self.col0)
        return row, col, norm


def _common_pixels(left: ACAImage, right: ACAImage) -> tuple[tuple[slice, ...], ...]:
    """Return the plain indices, in each of two images, of the CCD pixels that both have."""
    starts = [(int(left.row0), int(right.row0)), (int(left.col0), int(right.col0))]
    here, there = [], []
    for (a, b), n, m in zip(starts, left.shape, right.shape, strict=True):
        low = max(a, b)
        high = max(low, min(a + n, b + m))
        here.append(slice(low - a, high - a))
        there.append(slice(low - b, high - b))
    return tuple(here), tuple(there)


def _define_arithmetic(name: str, ufunc: np.ufunc) -> None:
    """Give `ACAImage` an operator and its in-place form that heed CCD coordinates."""
    plain, plain_in_place = getattr(np.ndarray, f"__{name}__"), getattr(np.ndarray, f"__i{name}__")

    def is_by_place(left: ACAImage, right: Any) -> bool:
        return isinstance(right, ACAImage) and (left._is_absolute or right._is_absolute)

    def operate(left: ACAImage, right: Any) -> Any:
        if not is_by_place(left, right):
            return plain(left, right)
        here, there = _common_pixels(left, right)
        common = ufunc(np.asarray(left)[here], np.asarray(right)[there])
        result = ACAImage(left, dtype=np.result_type(left.dtype, common.dtype), meta=left.meta)
        np.asarray(result)[here] = common
        return result

    def operate_in_place(left: ACAImage, right: Any) -> Any:
        if not is_by_place(left, right):
            return plain_in_place(left, right)
        here, there = _common_pixels(left, right)
        pixels = np.asarray(left)[here]
        ufunc(pixels, np.asarray(right)[there], out=pixels)
        return left

    setattr(ACAImage, f"__{name}__", operate)
    setattr(ACAImage, f"__i{name}__", operate_in_place)


for _name, _ufunc in _ARITHMETIC.items():
    _define_arithmetic(_name, _ufunc)
