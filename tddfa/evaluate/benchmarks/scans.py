"""Landmarks on 3D scans: errors in mm of predictions that are stored, decoded as 2S-SGCN decodes them.

No landmarker for scans is part of this package. What is measured is what another program predicted and stored: a heat
a point and landmark, or points.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked
from tddfa.datasets.files import below, read_arrays
from tddfa.evaluate.result import Curve, DataMissing, Figure, Result, Setup
from tddfa.landmarks68 import PARTS

Floats = NDArray[np.float64]

NAME = "scans"
LAYOUT = (
    "DIR/scans/*.npz with vertices (v, 3) in mm, landmarks (68, 3) in mm or (68,) indices of vertices, and a "
    "prediction: predicted (68, 3) in mm, or heat (n, 68) with points (n, 3) in normalised units and scale, normalised "
    "units a mm; centre (3,), mm, is what the scan was shifted by before it was scaled (none: 0 0 0)"
)

TOP = 7
"""Points of the greatest heat that a landmark is decoded from."""

SIGMA = 0.03
"""Standard deviation of a landmark's heat, normalised units."""

GAMMA = 5.0
"""How far around a decoded point refinement looks for a vertex: times the spread of its top points."""

DECODERS = {"gd": "GD: hottest point", "tkd": f"TKD: mean of {TOP}", "pd": f"PD: weighted mean of {TOP}"}
REFINED = "refined"
_ARRAYS = ("vertices", "landmarks", "predicted", "heat", "points", "scale", "centre")


def hottest(heat: ArrayLike, count: int = TOP) -> NDArray[np.intp]:
    """Indices (count, l) of the `count` hottest points of heat (n, l), hottest first; all n where there are fewer."""
    values = checked("heat", heat, (None, None), np.float64)
    if not len(values):
        raise ValueError("heat: expected one point at least, got none")
    count = min(count, len(values))
    best = np.argpartition(-values, count - 1, axis=0)[:count]
    # by index among equals, so that the result does not hang on the partition
    best = np.sort(best, axis=0)
    order = np.argsort(-np.take_along_axis(values, best, axis=0), axis=0, kind="stable")
    return np.take_along_axis(best, order, axis=0)


def decode(points: ArrayLike, heat: ArrayLike) -> dict[str, Floats]:
    """Landmarks from heat, in three ways.

    Parameters
    ----------
    points : array_like (n, 3)
        Points of the scan.
    heat : array_like (n, l)
        How likely each point is each landmark; negative heat counts as none.

    Returns
    -------
    dict of str to ndarray (l, 3)
        ``gd``, the hottest point; ``tkd``, the mean of the `TOP` hottest; ``pd``, their mean weighted by heat.
    """
    where = checked("points", points, (None, 3), np.float64)
    values = checked("heat", heat, (len(where), None), np.float64)
    best = hottest(values)
    top = where[best]
    weights = np.clip(np.take_along_axis(values, best, axis=0), 0, None)
    # without any heat all are as likely
    weights = np.where(weights.sum(axis=0) > 0, weights, 1.0)
    return {
        "gd": top[0],
        "tkd": top.mean(axis=0),
        "pd": np.einsum("kl,kli->li", weights / weights.sum(axis=0), top),
    }


def refine(vertices: ArrayLike, points: ArrayLike, heat: ArrayLike) -> Floats:
    """Landmarks (l, 3) on the mesh: 2S-SGCN's second stage, "MSE over mesh", by Euclidean distances.

    Of the vertices within `GAMMA` times the largest distance of the `TOP` hottest points from the ``pd`` point, it is
    the one whose Gaussian (`SIGMA`) at those points is nearest to their heat, in squared error. Where no vertex lies so
    near, it is the nearest one.

    Parameters
    ----------
    vertices : array_like (v, 3)
        Of the mesh, in the normalised units of `points`.
    points, heat : array_like (n, 3), (n, l)
        As of `decode`.
    """
    mesh = checked("vertices", vertices, (None, 3), np.float64)
    if not len(mesh):
        raise ValueError("vertices: expected one at least, got none")
    where, values = np.asarray(points, dtype=np.float64), np.asarray(heat, dtype=np.float64)
    middle = decode(where, values)["pd"]
    best = hottest(values)
    refined = np.empty_like(middle)
    for landmark, (centre, index) in enumerate(zip(middle, best.T, strict=True)):
        top = where[index]
        reach = GAMMA * np.linalg.norm(top - centre, axis=1).max()
        away = np.linalg.norm(mesh - centre, axis=1)
        candidates = mesh[away <= max(reach, away.min())]
        squared = ((candidates[:, None] - top) ** 2).sum(axis=-1)
        misfit = ((np.exp(-squared / (2 * SIGMA**2)) - values[index, landmark]) ** 2).sum(axis=1)
        refined[landmark] = candidates[np.argmin(misfit)]
    return refined


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan, its landmarks, and what was predicted.

    Attributes
    ----------
    vertices : ndarray (v, 3)
        mm.
    landmarks : ndarray (68, 3)
        mm.
    predictions : dict of str to ndarray (68, 3)
        mm, by decoder; ``given`` is what was stored as points.
    """

    vertices: Floats
    landmarks: Floats
    predictions: dict[str, Floats]


def read(path: Path) -> Scan:
    """Read a scan; see `LAYOUT`.

    Raises
    ------
    ValueError
        If the file is something else; the message names it.
    """
    arrays = read_arrays(path, (), _ARRAYS)
    try:
        return _scan(arrays)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}; expected {LAYOUT}") from error


def _scan(arrays: Mapping[str, NDArray[Any]]) -> Scan:
    missing = [name for name in ("vertices", "landmarks") if name not in arrays]
    if missing:
        raise ValueError(f"no array {missing[0]}, but {', '.join(sorted(arrays)) or 'none'}")
    vertices = checked("vertices", arrays["vertices"], (None, 3), np.float64)
    landmarks = _landmarks(arrays["landmarks"], vertices)
    predictions: dict[str, Floats] = {}
    if "predicted" in arrays:
        predictions["given"] = checked("predicted", arrays["predicted"], (68, 3), np.float64)
    if "heat" in arrays:
        absent = [name for name in ("points", "scale") if name not in arrays]
        if absent:
            raise ValueError(f"heat without an array {absent[0]}")
        points = checked("points", arrays["points"], (None, 3), np.float64)
        heat = checked("heat", arrays["heat"], (len(points), 68), np.float64)
        scale = float(checked("scale", np.atleast_1d(arrays["scale"]), (1,), np.float64)[0])
        centre = checked("centre", arrays.get("centre", np.zeros(3)), (3,), np.float64)
        if not scale > 0:
            raise ValueError(f"scale: expected more than 0 normalised units a mm, got {scale}")
        decoded = {**decode(points, heat), REFINED: refine((vertices - centre) * scale, points, heat)}
        predictions |= {name: found / scale + centre for name, found in decoded.items()}
    if not predictions:
        raise ValueError("neither predicted nor heat")
    return Scan(vertices, landmarks, predictions)


def _landmarks(stored: NDArray[Any], vertices: Floats) -> Floats:
    if stored.ndim != 1:
        return checked("landmarks", stored, (68, 3), np.float64)
    index = checked("landmarks", stored, (68,), np.int64)
    if index.min() < 0 or index.max() >= len(vertices):
        raise ValueError(f"landmarks: expected indices 0..{len(vertices) - 1}, got {index.min()}..{index.max()}")
    return np.asarray(vertices[index])


def evaluate(setup: Setup) -> Result:
    """Errors of stored predictions, mm: mean and standard deviation by decoder, over all points and by part.

    The model of `setup` is not used.

    Raises
    ------
    DataMissing
        If there is no such folder.
    ValueError
        If a file of it is not what it should be.
    """
    paths = sorted((setup.data / "scans").glob("*.npz"))
    if not paths:
        raise DataMissing(f"{setup.data / 'scans'}: no scans; expected {LAYOUT}")
    errors: dict[str, list[Floats]] = {}
    items: list[dict[str, object]] = []
    for path in setup.track(setup.chosen(paths), NAME):
        scan = read(path)
        row: dict[str, object] = {"name": below(path, setup.data)}
        for name, found in scan.predictions.items():
            distances = np.linalg.norm(found - scan.landmarks, axis=1)
            errors.setdefault(name, []).append(distances)
            row[name] = float(distances.mean())
        items.append(row)
    return Result(
        benchmark=NAME,
        settings={"scans": len(items), "top": TOP, "sigma": SIGMA, "gamma": GAMMA},
        figures=tuple(_figures(errors)),
        items=items,
        curves=[
            Curve(_SAID[name], tuple(np.concatenate(distances).tolist()), "mm") for name, distances in errors.items()
        ],
        notes=[
            "Predictions as they were stored: this package has no landmarker for scans; the model has no part here."
        ],
    )


_SAID = {"given": "points as stored", **DECODERS, REFINED: "MSE over mesh"}


def _figures(errors: Mapping[str, Sequence[Floats]]) -> Iterator[Figure]:
    for name in (name for name in _SAID if name in errors):
        table = np.array(errors[name])
        yield Figure(f"{name}.mean", f"{_SAID[name]}: mean", table.mean(), "mm")
        yield Figure(f"{name}.std", f"{_SAID[name]}: standard deviation", table.std(), "mm")
        for part, rows in PARTS.items():
            said = f"{_SAID[name]}, {part.replace('_', ' ')}"
            yield Figure(f"{name}.mean.{part}", f"{said}: mean", table[:, rows].mean(), "mm")
            yield Figure(f"{name}.std.{part}", f"{said}: standard deviation", table[:, rows].std(), "mm")
