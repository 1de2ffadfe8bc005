"""Landmarks on 3D scans: errors in mm of stored predictions, decoded as in 2S-SGCN.

This package has no landmark detector for scans. It measures predictions that another program has stored: a heat map
over points for each landmark, or points.

Data: DIR/scans/*.npz with vertices (v, 3) in mm, landmarks (68, 3) in mm or (68,) indices of vertices, and a
prediction: predicted (68, 3) in mm, or heat (n, 68) with points (n, 3) in normalised units and scale, normalised units
per mm. centre (3,), mm, was subtracted from the scan before scaling (default 0 0 0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked
from tddfa.datasets.files import read_arrays, relative_name
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.result import Curve, DataMissing, Figure, Result, Setup
from tddfa.landmarks68 import PARTS

Floats = NDArray[np.float64]

_BENCHMARK = BENCHMARKS["scans"]

TOP = 7
"""Number of hottest points from which a landmark is decoded."""

SIGMA = 0.03
"""Standard deviation of the heat of a landmark, normalised units."""

GAMMA = 5.0
"""Search radius of the refinement around a decoded point, as a multiple of the spread of its hottest points."""

DECODERS = {"gd": "GD: hottest point", "tkd": f"TKD: mean of {TOP}", "pd": f"PD: weighted mean of {TOP}"}
REFINED = "refined"
_ARRAYS = ("vertices", "landmarks", "predicted", "heat", "points", "scale", "centre")


def hottest(heat: ArrayLike, count: int = TOP) -> NDArray[np.intp]:
    """Indices (count, l) of the `count` hottest points of heat (n, l), in descending order; n of them if n is smaller.

    Examples
    --------
    >>> hottest([[0.1], [0.9], [0.5]], count=2)
    array([[1],
           [2]])
    """
    values = checked("heat", heat, (None, None), np.float64)
    if not len(values):
        raise ValueError("heat: expected at least one point, got none")
    count = min(count, len(values))
    best = np.argpartition(-values, count - 1, axis=0)[:count]
    # by index among equal values, so that the result does not depend on the partition
    best = np.sort(best, axis=0)
    order = np.argsort(-np.take_along_axis(values, best, axis=0), axis=0, kind="stable")
    return np.take_along_axis(best, order, axis=0)


def decode(points: ArrayLike, heat: ArrayLike) -> dict[str, Floats]:
    """Decode landmarks from heat maps, by three methods.

    Parameters
    ----------
    points : array_like (n, 3)
        Points of the scan.
    heat : array_like (n, l)
        Likelihood of each landmark at each point; negative heat counts as 0.

    Returns
    -------
    dict of str to ndarray (l, 3)
        ``gd``, the hottest point; ``tkd``, the mean of the `TOP` hottest; ``pd``, their mean weighted by heat.

    Examples
    --------
    >>> decode([[0, 0, 0], [1, 0, 0]], [[1], [3]])["pd"]
    array([[0.75, 0.  , 0.  ]])
    """
    where = checked("points", points, (None, 3), np.float64)
    values = checked("heat", heat, (len(where), None), np.float64)
    best = hottest(values)
    top = where[best]
    weights = np.clip(np.take_along_axis(values, best, axis=0), 0, None)
    # without any heat, all points have the same weight
    weights = np.where(weights.sum(axis=0) > 0, weights, 1.0)
    return {
        "gd": top[0],
        "tkd": top.mean(axis=0),
        "pd": np.einsum("kl,kli->li", weights / weights.sum(axis=0), top),
    }


def refine(vertices: ArrayLike, points: ArrayLike, heat: ArrayLike) -> Floats:
    """Refine decoded landmarks to vertices of a mesh: the second stage of 2S-SGCN, "MSE over mesh".

    Candidates are the vertices within `GAMMA` times the largest distance of the `TOP` hottest points from the ``pd``
    point, else the nearest vertex. The result is the candidate whose Gaussian (`SIGMA`) has the smallest squared error
    to the heat at those points. Distances are Euclidean.

    Parameters
    ----------
    vertices : array_like (v, 3)
        Of the mesh, in the normalised units of `points`.
    points, heat : array_like (n, 3), (n, l)
        As in `decode`.

    Returns
    -------
    ndarray (l, 3) float64
        In the same units.

    Examples
    --------
    >>> refine([[0, 0, 0], [0.01, 0, 0]], [[0.009, 0, 0]], [[1.0]])
    array([[0.01, 0.  , 0.  ]])
    """
    mesh = checked("vertices", vertices, (None, 3), np.float64)
    if not len(mesh):
        raise ValueError("vertices: expected at least one, got none")
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
    """A scan with its labelled and predicted landmarks.

    Attributes
    ----------
    vertices : ndarray (v, 3)
        mm.
    landmarks : ndarray (68, 3)
        mm.
    predictions : dict of str to ndarray (68, 3)
        mm, by decoder; ``given`` for predictions stored as points.
    """

    vertices: Floats
    landmarks: Floats
    predictions: dict[str, Floats]


def read(path: Path) -> Scan:
    """Read a scan and decode its predictions; see the docstring of the module.

    Raises
    ------
    ValueError
        If the file is damaged, or has other arrays; the message names it.
    """
    arrays = read_arrays(path, (), _ARRAYS)
    try:
        return _scan(arrays)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}; expected {_BENCHMARK.data}") from error


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
        predictions |= {name: each / scale + centre for name, each in decoded.items()}
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
    """Measure stored predictions: mean and standard deviation of the errors by decoder, of all points and by part, mm.

    The model of `setup` is not used.

    Raises
    ------
    DataMissing
        If there is no such folder.
    ValueError
        If a file is damaged; the message names it.
    """
    paths = sorted((setup.data / "scans").glob("*.npz"))
    if not paths:
        raise DataMissing(f"{setup.data / 'scans'}: no scans; expected {_BENCHMARK.data}")
    errors: dict[str, list[Floats]] = {}
    items: list[dict[str, object]] = []
    for path in setup.track(setup.chosen(paths), _BENCHMARK.name):
        scan = read(path)
        row: dict[str, object] = {"name": relative_name(path, setup.data)}
        for name, predicted in scan.predictions.items():
            distances = np.linalg.norm(predicted - scan.landmarks, axis=1)
            errors.setdefault(name, []).append(distances)
            row[name] = float(distances.mean())
        items.append(row)
    return Result(
        benchmark=_BENCHMARK.name,
        settings={"scans": len(items), "top": TOP, "sigma": SIGMA, "gamma": GAMMA},
        figures=tuple(_figures(errors)),
        items=items,
        curves=[
            Curve(_LABELS[name], tuple(np.concatenate(distances).tolist()), "mm") for name, distances in errors.items()
        ],
        notes=["The predictions were stored by another program: this package has no landmark detector for scans."],
    )


_LABELS = {"given": "points as stored", **DECODERS, REFINED: "MSE over mesh"}


def _figures(errors: Mapping[str, Sequence[Floats]]) -> Iterator[Figure]:
    for name in (name for name in _LABELS if name in errors):
        table = np.array(errors[name])
        yield Figure(f"{name}.mean", f"{_LABELS[name]}: mean", table.mean(), "mm", "lower")
        yield Figure(f"{name}.std", f"{_LABELS[name]}: standard deviation", table.std(), "mm", "lower")
        for part, rows in PARTS.items():
            label, errors_of_part = f"{_LABELS[name]}, {part.replace('_', ' ')}", table[:, rows]
            yield Figure(f"{name}.mean.{part}", f"{label}: mean", errors_of_part.mean(), "mm", "lower")
            yield Figure(f"{name}.std.{part}", f"{label}: standard deviation", errors_of_part.std(), "mm", "lower")
