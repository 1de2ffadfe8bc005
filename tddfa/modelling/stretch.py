"""Quality of a UV map: stretch, flipped triangles, overlaps, symmetry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa.modelling.draft import Draft
from tddfa.modelling.flattening import laid_flat, signed_areas
from tddfa.modelling.symmetry import MirrorImages
from tddfa.modelling.unwrap import EARS, MIRROR, NO_MIRROR_IMAGE, TEXEL, Islands

Floats = NDArray[np.float64]
Indices = NDArray[Any]


@dataclass(frozen=True)
class Stretch:
    """Quality of a UV map.

    Attributes
    ----------
    l2 : float
        Area-weighted L2 stretch of the skin without the ears, 1 at best (Sander et al. 2001).
    l2_with_ears : float
        The same of the whole skin.
    anisotropy : float
        95th percentile by area of the ratio of both singular values, skin without ears; 1 at best.
    flipped : int
        Triangles without area, or clockwise, on the map.
    overlaps : int
        Centres of texels of a texture of 2048 px that are in more than one triangle.
    asymmetry : float
        Largest distance between a vertex of the skin and the mirror image of its mirror image, texels of 1024.
    asymmetry_95 : float
        95th percentile of the same.
    used : float
        Fraction of the map that triangles cover.
    skin_used : float
        Fraction of the map that the skin covers.
    """

    l2: float
    l2_with_ears: float
    anisotropy: float
    flipped: int
    overlaps: int
    asymmetry: float
    asymmetry_95: float
    used: float
    skin_used: float

    def __str__(self) -> str:
        values = ((name, f"{value:.4g}" if isinstance(value, float) else value) for name, value in vars(self).items())
        return "\n".join(f"{name}: {value}" for name, value in values)


def stretch(draft: Draft) -> Stretch:
    """Measure the quality of a face model's UV map."""
    islands = Islands.of(draft)
    uv = draft.uv.astype(np.float64)
    skin = draft.triangles[islands.skin]
    face = skin[~np.isin(skin, np.concatenate([draft.extra[name] for name in EARS])).any(axis=1)]
    l2_face, ratio, area = _singular_values(draft, face)
    l2_skin, _, _ = _singular_values(draft, skin)
    order = np.argsort(ratio, kind="stable")
    at = np.searchsorted(np.cumsum(area[order]), 0.95 * area.sum())
    vertices = np.unique(skin)
    number = np.full(len(draft.mean), -1)
    number[vertices] = np.arange(len(vertices))
    images = MirrorImages.of(draft.mean[vertices].astype(np.float64), number[skin])
    centred = uv[vertices] - (0.5, 0)
    off = np.linalg.norm(images(centred) * MIRROR - centred, axis=1)[images.distance < NO_MIRROR_IMAGE] / TEXEL
    covered = coverage(uv, draft.triangles, 2048)
    areas = signed_areas(uv, draft.triangles)
    return Stretch(
        l2=l2_face,
        l2_with_ears=l2_skin,
        anisotropy=float(ratio[order[at]]),
        flipped=int((areas <= 0).sum()),
        overlaps=int((covered > 1).sum()),
        asymmetry=float(off.max()),
        asymmetry_95=float(np.percentile(off, 95)),
        used=float((covered > 0).mean()),
        skin_used=float(np.abs(areas[islands.skin]).sum()),
    )


def _singular_values(draft: Draft, triangles: Indices) -> tuple[float, Floats, Floats]:
    """L2 stretch of some triangles; of each, the ratio of the singular values, and its area on the surface."""
    uv = draft.uv.astype(np.float64)
    shape = laid_flat(draft.mean.astype(np.float64), triangles)
    first, second = shape[:, 1, 0], shape[:, 2]
    area = first * second[:, 1] / 2
    p, q = uv[triangles[:, 1]] - uv[triangles[:, 0]], uv[triangles[:, 2]] - uv[triangles[:, 0]]
    double = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
    double = np.where(np.abs(double) < 1e-14, 1e-14, double)
    # the derivatives of the surface by u and v
    by_u = np.column_stack([first * q[:, 1] - second[:, 0] * p[:, 1], -second[:, 1] * p[:, 1]]) / double[:, None]
    by_v = np.column_stack([second[:, 0] * p[:, 0] - first * q[:, 0], second[:, 1] * p[:, 0]]) / double[:, None]
    a, b, c = (by_u**2).sum(axis=1), (by_u * by_v).sum(axis=1), (by_v**2).sum(axis=1)
    root = np.sqrt((a - c) ** 2 + 4 * b * b)
    large, small = (a + c + root) / 2, np.maximum((a + c - root) / 2, 1e-30)
    on_map = float(np.abs(double).sum()) / 2
    l2 = np.sqrt(float(((large + small) / 2 * area).sum() / area.sum()) * on_map / float(area.sum()))
    return float(l2), np.sqrt(large / small), area


def coverage(uv: Floats, triangles: Indices, size: int) -> NDArray[np.int64]:
    """In how many triangles the centre of each texel is, exactly; on an edge it counts for one side.

    Coordinates are rounded to 2**-20 first; `size` is a power of 2 up to 2**19. Row 0 is v = 0.

    Examples
    --------
    >>> square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    >>> coverage(square, np.array([[0, 1, 2], [0, 2, 3]]), 4).tolist() == [[1] * 4] * 4
    True
    """
    unit = 2**20
    step = unit // size
    points = np.rint(np.asarray(uv, dtype=np.float64) * unit).astype(np.int64)
    corners = points[triangles]
    double = (corners[:, 1, 0] - corners[:, 0, 0]) * (corners[:, 2, 1] - corners[:, 0, 1]) - (
        corners[:, 1, 1] - corners[:, 0, 1]
    ) * (corners[:, 2, 0] - corners[:, 0, 0])
    corners = np.where((double < 0)[:, None, None], corners[:, ::-1], corners)[double != 0]
    low = np.clip((corners.min(axis=1) - step // 2) // step, 0, size - 1)
    high = np.clip((corners.max(axis=1) - step // 2) // step + 1, 0, size - 1)
    width, height = (high - low + 1).T
    count = np.zeros(size * size, dtype=np.int64)
    for part in np.array_split(np.arange(len(corners)), max(1, int((width * height).sum() // 2**21))):
        each = (width * height)[part]
        row = np.repeat(part, each)
        within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
        x = low[row, 0] + within % width[row]
        y = low[row, 1] + within // width[row]
        px, py = x * step + step // 2, y * step + step // 2
        inside = np.ones(len(row), dtype=bool)
        for k in range(3):
            a, b = corners[row, k], corners[row, (k + 1) % 3]
            dx, dy = b[:, 0] - a[:, 0], b[:, 1] - a[:, 1]
            value = dx * (py - a[:, 1]) - dy * (px - a[:, 0])
            owns = (dy > 0) | ((dy == 0) & (dx < 0))
            inside &= (value > 0) | ((value == 0) & owns)
        count += np.bincount((y * size + x)[inside], minlength=size * size)
    return count.reshape(size, size)
