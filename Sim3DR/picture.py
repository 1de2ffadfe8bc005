"""A raster over a picture: holes closed, a layer laid over it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from Sim3DR._checks import real, thread_count
from Sim3DR._library import native
from Sim3DR.raster import Raster


def close_holes(raster: Raster, max_px: float, gap: float) -> None:
    """Give holes of a few pixels what lies beside them, in place.

    A hole is where nothing is seen, or something much farther than what is near it; its pixels hang together, by
    corners too.

    Parameters
    ----------
    raster : Raster
        Its arrays are changed.
    max_px : float
        Holes of more pixels stay.
    gap : float
        How far, in depth, a pixel lies behind the nearest surface within four pixels of it to count as a hole.
    """
    _check_raster(raster)
    most, gap = real("max_px", max_px, 0), real("gap", gap, 0)
    for name in ("depth", "triangle_id", "barycentric"):
        if not getattr(raster, name).flags.writeable:
            raise ValueError(f"raster: expected a writeable {name}, got one that is not")
    if raster.depth.size:
        native.close_holes(raster.depth, raster.triangle_id, raster.barycentric, most, gap)


def lay(
    out: NDArray[np.uint8],
    raster: Raster,
    layer: NDArray[np.uint8],
    *,
    alpha: float = 1.0,
    under: NDArray[np.uint8] | None = None,
    palette: NDArray[np.uint8] | None = None,
    factor: int = 1,
    threads: int = 1,
) -> None:
    """Lay what a raster shows over a picture, in place.

    Parameters
    ----------
    out : ndarray (h, w, 3) uint8
        The picture; the raster's window lies in it, and its pixels lie side by side in memory. Covered pixels are
        written. At their outline they are mixed with what `out` holds, so that it is soft.
    raster : Raster
        What is covered.
    layer : ndarray uint8
        The colours: (rows, columns, 3) of the raster, or (rows, columns, 1) where a palette is given.
    alpha : float
        Opacity, 0..1.
    under : ndarray (h, w, 3) uint8, optional
        The picture that a translucent layer lets through, where that is not `out`.
    palette : ndarray (256, 3) uint8, optional
        Colours that the layer's numbers stand for.
    factor : int
        The raster has `factor` x `factor` pixels for each of the picture's, 1..16, and their mean is laid.
    threads : int
        How many to use at most, 1..256; fewer where the work is small. The result is the same, bit by bit.
    """
    _check_raster(raster)
    if not 0 <= real("alpha", alpha, 0) <= 1:
        raise ValueError(f"alpha: expected a number from 0 to 1, got {alpha!r}")
    if not 1 <= factor <= 16:
        raise ValueError(f"factor: expected a whole number, 1 .. 16, got {factor!r}")
    rows, columns = raster.depth.shape
    _check_bytes("layer", layer, (rows, columns, 3 if palette is None else 1))
    if palette is not None:
        _check_bytes("palette", palette, (256, 3))
    if any(value % factor for value in (rows, columns, raster.left, raster.top)):
        raise ValueError(
            f"raster: expected a window of whole pixels of the picture, {factor} x {factor} of its own, "
            f"got {columns} x {rows} at ({raster.left}, {raster.top})"
        )
    target = _window("out", out, raster, factor)
    below = target if under is None else _window("under", under, raster, factor)
    if not out.flags.writeable or out.strides[1:] != (3, 1):
        raise ValueError("out: expected a writeable array whose pixels lie side by side, got one that is not")
    if raster.depth.size:
        native.lay(
            raster.triangle_id,
            np.ascontiguousarray(layer),
            None if palette is None else np.ascontiguousarray(palette),
            below if below.strides[1:] == (3, 1) else below.copy(),
            target,
            float(alpha),
            factor,
            thread_count(threads),
        )


def _check_raster(raster: Any) -> None:
    if not isinstance(raster, Raster):
        raise TypeError(f"raster: expected a Raster, got {type(raster).__name__}")


def _check_bytes(name: str, array: Any, shape: tuple[int | None, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name}: expected an array of uint8, got {got}")
    if array.ndim != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("n" if want is None else str(want) for want in shape)
        raise ValueError(f"{name}: expected shape ({wanted}), got {array.shape}")


def _window(name: str, picture: NDArray[np.uint8], raster: Raster, factor: int) -> NDArray[np.uint8]:
    _check_bytes(name, picture, (None, None, 3))
    rows, columns = raster.depth.shape
    left, top = raster.left // factor, raster.top // factor
    right, bottom = left + columns // factor, top + rows // factor
    if left < 0 or top < 0 or right > picture.shape[1] or bottom > picture.shape[0]:
        raise ValueError(
            f"{name}: expected a picture with columns {left} .. {right} and rows {top} .. {bottom}, "
            f"got {picture.shape[1]} x {picture.shape[0]}"
        )
    return picture[top:bottom, left:right]
