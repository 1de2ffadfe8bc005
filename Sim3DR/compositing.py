"""A raster composited over an image: holes filled, a layer blended in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from Sim3DR._checks import check_array, real, supersampling, thread_count
from Sim3DR._library import native
from Sim3DR.raster import Raster
from Sim3DR.rendering import Rendering


def close_holes(raster: Raster | Rendering, max_px: float, gap: float) -> None:
    """Fill small holes of a raster, or of a rendering, from the pixels beside them, in place.

    A pixel belongs to a hole if it shows nothing, or something much farther away than its neighbourhood. Pixels of
    one hole are connected by edges or corners (8-connectivity).

    Parameters
    ----------
    raster : Raster or Rendering
        Its arrays are changed.
    max_px : float
        Largest area of a hole that is filled, in pixels.
    gap : float
        A pixel belongs to a hole if it lies at least this far, in depth, behind the nearest surface within four
        pixels of it.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype.

    Examples
    --------
    >>> from Sim3DR import rasterize
    >>> raster = rasterize([[0, 0, 5], [9, 0, 5], [0, 9, 5]], [[0, 1, 2]], (0, 0, 4, 4))
    >>> raster.triangle_id[1, 1] = -1
    >>> close_holes(raster, max_px=1, gap=2)
    >>> int(raster.triangle_id[1, 1])
    0
    """
    _check_raster(raster)
    area, gap = real("max_px", max_px, 0), real("gap", gap, 0)
    for name in ("depth", "triangle_id", "barycentric", "colors"):
        array = getattr(raster, name, None)
        if array is not None and not array.flags.writeable:
            raise ValueError(f"raster: expected a writeable {name}, got a read-only one")
    if not raster.depth.size:
        return
    if isinstance(raster, Rendering):
        native.close_holes_of_colors(raster.depth, raster.colors, area, gap)
    else:
        native.close_holes(raster.depth, raster.triangle_id, raster.barycentric, area, gap)


def composite(
    out: NDArray[np.uint8],
    raster: Raster | Rendering,
    layer: NDArray[np.uint8] | None = None,
    *,
    alpha: float = 1.0,
    background: NDArray[np.uint8] | None = None,
    palette: NDArray[np.uint8] | None = None,
    factor: int = 1,
    threads: int = 1,
) -> None:
    """Composite the colours of a raster over an image, in place.

    Parameters
    ----------
    out : ndarray (h, w, 3) uint8
        The image. It contains the raster's window, and the pixels of a row are contiguous in memory. Covered pixels
        are written. At the outline they are blended with the content of `out`, so that the edge is antialiased.
    raster : Raster or Rendering
        The covered pixels.
    layer : ndarray uint8, optional
        The colours, by default those of the rendering: (rows, columns, 3) of the raster, or (rows, columns, 1) indices
        into `palette`. With one more channel: the opacity of each pixel, 0..255. Where it decreases, the layer fades
        out to the content of `out`.
    alpha : float
        Opacity of the whole layer, 0..1.
    background : ndarray (h, w, 3) uint8, optional
        The image that is visible through a translucent layer; `out` by default.
    palette : ndarray (256, 3) uint8, optional
        The colours that the indices of `layer` refer to.
    factor : int
        Supersampling, 1..16: the raster has `factor` x `factor` pixels per pixel of the image, and they are averaged.
    threads : int
        Maximum number of threads, 1..256; fewer are used for small work. The result does not depend on it.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype, or if the window lies outside of an image.

    Examples
    --------
    >>> from Sim3DR import rasterize
    >>> raster = rasterize([[0, 0, 5], [9, 0, 5], [0, 9, 5]], [[0, 1, 2]], (0, 0, 4, 4))
    >>> out = np.zeros((4, 4, 3), np.uint8)
    >>> composite(out, raster, np.full((4, 4, 3), 200, np.uint8), alpha=0.5)
    >>> out[1, 1].tolist()
    [100, 100, 100]
    """
    _check_raster(raster)
    if not 0 <= real("alpha", alpha, 0) <= 1:
        raise ValueError(f"alpha: expected a number from 0 to 1, got {alpha!r}")
    factor = supersampling(factor)
    rows, columns = raster.depth.shape
    channels = 3 if palette is None else 1
    if layer is None:
        layer, given = _colors(raster)
        if given not in (channels, channels + 1):
            raise ValueError(f"raster: expected {channels} or {channels + 1} attributes, got {given}")
    else:
        given = layer.shape[2] if isinstance(layer, np.ndarray) and layer.ndim == 3 else 0
        check_array("layer", layer, (rows, columns, channels if given != channels + 1 else given), np.uint8)
    if palette is not None:
        check_array("palette", palette, (256, 3), np.uint8)
    if any(value % factor for value in (rows, columns, raster.left, raster.top)):
        raise ValueError(
            f"raster: expected a window with size and position in multiples of factor {factor}, "
            f"got {columns} x {rows} at ({raster.left}, {raster.top})"
        )
    target = _window("out", out, raster, factor)
    below = target if background is None else _window("background", background, raster, factor)
    if not out.flags.writeable or out.strides[1:] != (3, 1):
        raise ValueError(
            "out: expected a writeable array with contiguous pixels in each row, "
            f"got writeable {out.flags.writeable} and strides {out.strides}"
        )
    if raster.depth.size:
        native.composite(
            None if isinstance(raster, Rendering) else raster.triangle_id,
            raster.depth,
            np.ascontiguousarray(layer),
            None if palette is None else np.ascontiguousarray(palette),
            below if below.strides[1:] == (3, 1) else below.copy(),
            target,
            float(alpha),
            given > channels,  # with an opacity
            factor,
            thread_count(threads),
        )


def _check_raster(raster: Any) -> None:
    if not isinstance(raster, Raster | Rendering):
        raise TypeError(f"raster: expected a Raster or a Rendering, got {type(raster).__name__}")


def _colors(raster: Raster | Rendering) -> tuple[NDArray[np.uint8], int]:
    """The colours of a rendering, and how many of the four bytes of a pixel count."""
    if not isinstance(raster, Rendering) or raster.colors is None:
        raise TypeError("layer: expected an array, because the raster has no colours; got none")
    return raster.colors, raster.channels


def _window(name: str, image: NDArray[np.uint8], raster: Raster | Rendering, factor: int) -> NDArray[np.uint8]:
    check_array(name, image, (None, None, 3), np.uint8)
    rows, columns = raster.depth.shape
    left, top = raster.left // factor, raster.top // factor
    right, bottom = left + columns // factor, top + rows // factor
    if left < 0 or top < 0 or right > image.shape[1] or bottom > image.shape[0]:
        raise ValueError(
            f"{name}: expected an image with columns {left} .. {right} and rows {top} .. {bottom}, "
            f"got {image.shape[1]} x {image.shape[0]}"
        )
    return image[top:bottom, left:right]
