"""Normals to light: the reflection model of Phong.

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
        Ambient and diffuse light, which take the colour of the surface; 0 .. ambient + directional.
    specular : ndarray (...) float32
        The highlight, which takes the colour of the light; 0 .. specular.
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
    """Light a surface from far away.

    Parameters
    ----------
    normals : array_like (..., 3)
        Unit normals, of vertices or of pixels: x right, y down, z towards the viewer, as `vertex_normals`
        gives them. A zero normal gets ambient light alone.
    ambient, directional, specular : float
        Strength of the three terms, 0 or more.
    exponent : float
        The larger, the smaller the highlight; more than 0.
    light_direction, view_direction : array_like (3,)
        From the surface to the light and to the viewer, in the frame of the normals; of any length but zero.
        Light from above the viewer is ``(0, -1, 1)``.

    Returns
    -------
    Shade
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
    highlight **= np.float32(exponent)
    highlight *= np.float32(specular)
    return Shade(np.asarray(diffuse), np.asarray(highlight))  # one normal gives arrays without a dimension


def _direction(name: str, value: ArrayLike) -> NDArray[np.float32]:
    direction = float_array(name, value, (3,)).astype(np.float64)
    length = np.sqrt(direction @ direction)
    if length == 0:
        raise ValueError(f"{name}: expected a direction that is not zero, got {direction.tolist()}")
    return (direction / length).astype(np.float32)
