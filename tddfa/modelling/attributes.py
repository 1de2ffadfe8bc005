"""Attributes of the vertices of the face model: materials, named regions, and the opacity along the rim."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from tddfa.model.face_model import FACE, INNER_MOUTH, LEFT_EYE, RIGHT_EYE
from tddfa.modelling.closing import front_of_eye
from tddfa.modelling.draft import Draft, boundary_loops
from tddfa.modelling.gaze import iris_centres

Index = NDArray[np.int32]

MATERIALS = ("skin", "lip", "sclera", "iris", "pupil", "inner_mouth", "socket")
"""Names of the values of ``material (n,) uint8``."""

# Radius on the eyeball, cm: a human iris is about 1.17 cm wide, a pupil in daylight about 0.4.
_IRIS_RADIUS, _PUPIL_RADIUS = 0.585, 0.2
# How far from the rim the face is not yet opaque, cm.
_FEATHER_CM = {"forehead": 1.6, "neck": 1.0, "behind_ears": 0.5}
# Rings of vertices that are listed along each part of the rim.
_RIM_RINGS = 4
# Brightness of the inside of the mouth, from the lips to its back.
_MOUTH_SHADE = (0.55, 0.12)
_SOCKET_SHADE = 0.6


def with_attributes(draft: Draft, first_count: int) -> Draft:
    """Add ``material``, ``shade``, ``feather``, and the regions of eyes, mouth and rim.

    Parameters
    ----------
    draft : Draft
        With all its surfaces.
    first_count : int
        Number of vertices of the first edition.

    Returns
    -------
    Draft
        ``material (n,) uint8``: index into `MATERIALS`. ``shade (n,) float32``: factor of a colour, 1 on the skin and
        dark inside the mouth. ``feather (n,) float32``: opacity, 0 on the rim, 1 from a short way inwards on.
        ``region_...``: vertices by name; those of the first edition grow by the new vertices between their own.
    """
    used = np.zeros(len(draft.mean), dtype=bool)
    used[draft.triangles] = True
    socket, plugs = draft.extra["region_socket"], draft.extra["region_ear_plugs"]
    regions = {
        name: _grown(draft, array, first_count)
        for name, array in draft.extra.items()
        if name.startswith("region_") and name not in ("region_socket", "region_ear_plugs")
    }
    regions |= _eye_regions(draft, used)
    regions["region_inner_mouth"] = np.flatnonzero(used & (draft.part == INNER_MOUTH)).astype(np.int32)
    feather, rims = _rim(draft, plugs, regions)
    material = np.zeros(len(draft.mean), dtype=np.uint8)
    material[regions["region_lips"]] = MATERIALS.index("lip")
    material[np.isin(draft.part, (LEFT_EYE, RIGHT_EYE))] = MATERIALS.index("sclera")
    for name in ("iris", "pupil"):
        for side in ("left", "right"):
            material[regions[f"region_{side}_{name}"]] = MATERIALS.index(name)
    material[draft.part == INNER_MOUTH] = MATERIALS.index("inner_mouth")
    material[socket] = MATERIALS.index("socket")
    extra: dict[str, NDArray[Any]] = {
        "material": material, "material_names": np.array(MATERIALS), "shade": _shade(draft, socket), "feather": feather,
    }  # fmt: skip
    return replace(draft, extra={**draft.extra, **regions, **rims, **extra})


def _grown(draft: Draft, region: Index, old: int) -> Index:
    """A region, and the new vertices whose older neighbours are all in it."""
    edges = _edges(draft.triangles)
    inside = np.zeros(len(draft.mean), dtype=bool)
    inside[region] = True
    neighbours = np.zeros((len(draft.mean), 2), dtype=np.int64)  # older neighbours: outside, inside
    for a, b in (edges.T, edges.T[::-1]):
        new = (a >= old) & (b < old)
        np.add.at(neighbours, (a[new], inside[b[new]].astype(np.intp)), 1)
    inside[(neighbours[:, 1] > 0) & (neighbours[:, 0] == 0)] = True
    return np.flatnonzero(inside).astype(np.int32)


def _edges(triangles: NDArray[np.int32]) -> NDArray[np.int64]:
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).astype(np.int64)
    return np.unique(np.sort(edges, axis=1), axis=0)


def _eye_regions(draft: Draft, used: NDArray[np.bool_]) -> dict[str, Index]:
    regions = {}
    for part, side, centre in zip((LEFT_EYE, RIGHT_EYE), ("left", "right"), iris_centres(draft), strict=True):
        regions[f"region_{side}_eyeball"] = np.flatnonzero(used & (draft.part == part)).astype(np.int32)
        front = front_of_eye(draft, part)
        away = np.linalg.norm(draft.mean[front] - centre, axis=1)
        for name, radius in (("iris", _IRIS_RADIUS), ("pupil", _PUPIL_RADIUS)):
            regions[f"region_{side}_{name}"] = np.sort(front[away <= radius]).astype(np.int32)
    return regions


def _rim(draft: Draft, plugs: Index, regions: dict[str, Index]) -> tuple[NDArray[np.float32], dict[str, Index]]:
    """Opacity of each vertex, and the rings along the parts of the rim, the outermost first."""
    skin = draft.triangles[(draft.part[draft.triangles[:, 0]] == FACE) & ~np.isin(draft.triangles, plugs).any(axis=1)]
    loop = boundary_loops(skin)[0]
    y = draft.mean[:, 1]
    ears = np.concatenate([regions["region_left_ear"], regions["region_right_ear"]])
    lobes, tops = y[ears].min(), y[ears].max()
    kinds = {
        "forehead": loop[y[loop] > tops],
        "neck": loop[y[loop] < lobes],
        "behind_ears": loop[(y[loop] >= lobes) & (y[loop] <= tops)],
    }
    edges = _edges(skin)
    length = np.linalg.norm(draft.mean[edges[:, 0]] - draft.mean[edges[:, 1]], axis=1).astype(np.float64)
    graph = coo_matrix((length, edges.T), shape=(len(y), len(y))).tocsr()
    feather = np.ones(len(y))
    for name, start in kinds.items():
        way = dijkstra(graph, directed=False, indices=start, min_only=True)
        t = np.clip(np.where(np.isfinite(way), way, np.inf) / _FEATHER_CM[name], 0, 1)
        feather = np.minimum(feather, t * t * (3 - 2 * t))
    rims = {}
    for name, start in kinds.items():
        ring = np.unique(start)
        rims[f"rim_{name}_0"] = ring.astype(np.int32)
        seen = ring
        for number in range(1, _RIM_RINGS):
            touching = edges[np.isin(edges, seen).any(axis=1)]
            ring = np.setdiff1d(np.unique(touching), seen)
            seen = np.union1d(seen, ring)
            rims[f"rim_{name}_{number}"] = ring.astype(np.int32)
    return feather.astype(np.float32), rims


def _shade(draft: Draft, socket: Index) -> NDArray[np.float32]:
    shade = np.ones(len(draft.mean), dtype=np.float32)
    mouth = draft.part == INNER_MOUTH
    z = draft.mean[mouth, 2]
    near, far = _MOUTH_SHADE
    shade[mouth] = far + (near - far) * ((z - z.min()) / np.ptp(z)) ** 2
    shade[socket] = _SOCKET_SHADE
    return shade
