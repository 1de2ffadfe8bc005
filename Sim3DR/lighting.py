"""Light at the normals of a surface: the reflection model of Phong.

B. T. Phong, Illumination for computer generated pictures, Communications of the ACM 18(6), 1975::

    diffuse  = ambient + directional * max(0, n . l)
    specular = specular * max(0, r . v) ** exponent    where n . l > 0, with r = 2 (n . l) n - l

with the unit normal n, the unit directions l to the light and v to the viewer, and l mirrored about n as r.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from Sim3DR._checks import float_array, real

_TOWARDS_VIEWER = (0.0, 0.0, 1.0)


class Shade(NamedTuple):
    """Light at each normal: ``colour = albedo * diffuse[..., None] + light_colour * specular[..., None]``.

    Attributes
    ----------
    diffuse : ndarray (...) float32
        Ambient and diffuse light, to be multiplied by the colour of the surface; 0 .. ambient + directional.
    specular : ndarray (...) float32
        The highlight, to be multiplied by the colour of the light; 0 .. specular.

    Examples
    --------
    >>> light = shade([0, 0, 1])
    >>> round(float(light.diffuse + light.specular), 3)
    1.0
    """

    diffuse: NDArray[np.float32]
    specular: NDArray[np.float32]


def shade(
    normals: ArrayLike,
    *,
    ambient: float = 0.3,
    directional: float = 0.6,
    specular: float = 0.1,
    exponent: float = 5.0,
    light_direction: ArrayLike = _TOWARDS_VIEWER,
    view_direction: ArrayLike = _TOWARDS_VIEWER,
) -> Shade:
    """Light a surface by a distant light source.

    Parameters
    ----------
    normals : array_like (..., 3)
        Unit normals, of vertices or of pixels: x right, y down, z towards the viewer, as `vertex_normals`
        returns them. A zero normal gets ambient light only.
    ambient, directional, specular : float
        Strength of the three terms, 0 or more.
    exponent : float
        Larger values make the highlight smaller; more than 0.
    light_direction, view_direction : array_like (3,)
        From the surface to the light and to the viewer, in the frame of the normals; of any length but zero.
        Light from above the viewer is ``(0, -1, 1)``.

    Returns
    -------
    Shade

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype, or a number is out of range.

    Examples
    --------
    >>> shade([[0, 0, 1], [1, 0, 0]], ambient=0.2, directional=0.5, specular=0).diffuse.round(2)
    array([0.7, 0.2], dtype=float32)
    """
    array = np.asarray(normals)
    unit = float_array("normals", array, (*array.shape[:-1], 3) if array.ndim else (None, 3))
    ambient, directional = real("ambient", ambient, 0), real("directional", directional, 0)
    specular, exponent = real("specular", specular, 0), real("exponent", exponent, np.finfo(np.float32).tiny)
    light = _direction("light_direction", light_direction)
    view = _direction("view_direction", view_direction)

    facing = unit @ light
    # r . v without r: 2 (n . l) (n . v) - l . v
    mirrored = (2 * facing) * (unit @ view) - light @ view
    diffuse = np.maximum(facing, 0)
    diffuse *= np.float32(directional)
    diffuse += np.float32(ambient)
    highlight = np.where(facing > 0, np.clip(mirrored, 0, 1), np.float32(0))
    highlight = _power(highlight, exponent)
    highlight *= np.float32(specular)
    return Shade(np.asarray(diffuse), np.asarray(highlight))  # a single normal gives 0-d arrays


def _power(base: NDArray[np.float32], exponent: float) -> NDArray[np.float32]:
    """Raise `base` to a power. Small powers of two use squaring, which is six times as fast."""
    if exponent not in (1, 2, 4, 8, 16):
        return np.asarray(base ** np.float32(exponent))
    while exponent > 1:
        base = base * base
        exponent /= 2
    return base


def _direction(name: str, value: ArrayLike) -> NDArray[np.float32]:
    direction = float_array(name, value, (3,)).astype(np.float64)
    length = np.sqrt(direction @ direction)
    if length == 0:
        raise ValueError(f"{name}: expected a direction that is not zero, got {direction.tolist()}")
    return (direction / length).astype(np.float32)
