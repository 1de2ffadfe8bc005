"""Which points around a face show skin, by the colours of the face itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tddfa.surface import _texels
from tddfa.surface.neighbours import rings_of
from tddfa.types import Mesh

Floats = NDArray[np.float32]

# Vertices at full opacity with at least this visibility define the colour of the skin; minimum number of these
# vertices.
_WELL_SEEN, _ENOUGH = 0.9, 200
# Minimum and maximum spread of both chroma coordinates and of the logarithm of brightness; light changes over a face.
_SPREADS = np.array([(0.07, 0.07, 0.3), (0.12, 0.12, 0.6)])
# Distance from the median, in spreads: up to the first a colour is that of skin, from the second on it is not.
_SKIN, _OTHER = 3.7, 5.3
# Vertices within the first distance of the outline, a fraction of the face's size, are tested. Dark colours are tested
# only on the ears, where `Mesh.opacity` is under the second value; elsewhere they may be a beard or hair of the face.
_NEAR_OUTLINE, _EAR = 0.08, 0.6
# Added to colours before the logarithm: dark pixels have next to no chroma.
_DARK = 12.0
_LOGARITHMS = np.log(np.arange(256) + _DARK)
# Number of samples of the skin, about; how often the result is averaged around each vertex.
_SAMPLES, _SMOOTHINGS = 1000, 2


def skin_trust(image: NDArray[np.uint8], mesh: Mesh, seen: Floats, rim: Floats) -> Floats:
    """Compute how likely each vertex shows skin.

    Inside the face, all colours are accepted, because brows, beards and lips belong to it. On the ears, along the rim
    (`Mesh.opacity` under 1) and near the outline, hair, collar and background begin. There, colours far from those of
    the face are not accepted, except dark colours outside of the ears.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    mesh : Mesh
        In image px. One without `opacity` has no rim.
    seen : ndarray (n,) float32
        How well the camera sees each vertex (`tddfa.surface.visibility.visibility`).
    rim : ndarray (n,) float32
        Distance of each vertex to the outline, a fraction of the face's size.

    Returns
    -------
    ndarray (n,) float32
        0..1.

    Examples
    --------
    >>> ones = np.ones(len(mesh.vertices), np.float32)
    >>> skin_trust(image, mesh, ones, ones).shape == (len(mesh.vertices),)
    True
    """
    if mesh.opacity is None:
        return np.ones(len(seen), dtype=np.float32)
    trust = np.empty(len(seen), dtype=np.float32)
    _texels.skin_trust(
        *rings_of(mesh.triangles, len(seen)),
        np.ascontiguousarray(image),
        mesh.vertices,
        mesh.opacity,
        seen,
        rim,
        (_WELL_SEEN, _NEAR_OUTLINE, _EAR),
        (_ENOUGH, _SAMPLES, _SMOOTHINGS),
        (_SKIN, _OTHER),
        _SPREADS,
        _LOGARITHMS,
        trust,
    )
    return trust
