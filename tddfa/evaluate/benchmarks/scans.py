"""Landmarks on 3D scans: errors in mm of ``tddfa scan`` on synthetic scans, or of stored predictions.

Without data, the landmarker of ``tddfa scan`` is measured on synthetic scans (`tddfa.evaluate.synthetic_scans`).
Stored predictions are points, or a heat map over points for each landmark, which is decoded as in 2S-SGCN.

Data: none, or DIR/scans/*.npz with vertices (v, 3) in mm, landmarks (68, 3) in mm or (68,) indices of vertices, and a
prediction: predicted (68, 3) in mm, or heat (n, 68) with points (n, 3) in normalised units and scale, normalised units
per mm. centre (3,), mm, was subtracted from the scan before scaling (default 0 0 0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked
from tddfa.datasets.files import read_arrays, relative_name
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.result import Curve, DataMissing, Figure, Result, Setup
from tddfa.evaluate.synthetic_scans import evaluate_synthetic
from tddfa.landmarks68 import PARTS
from tddfa.scan.decoding import GAMMA, SIGMA, TOP, decode, refine

Floats = NDArray[np.float64]

_BENCHMARK = BENCHMARKS["scans"]

DECODERS = {"gd": "GD: hottest point", "tkd": f"TKD: mean of {TOP}", "pd": f"PD: weighted mean of {TOP}"}
REFINED = "refined"
_ARRAYS = ("vertices", "landmarks", "predicted", "heat", "points", "scale", "centre")


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
        with np.errstate(over="raise", invalid="raise"):  # numbers of any size
            return _scan(arrays)
    except (TypeError, ValueError, FloatingPointError) as error:
        raise ValueError(f"{path}: {error}; a scan has vertices, landmarks and a prediction, mm") from error


def _scan(arrays: Mapping[str, NDArray[Any]]) -> Scan:
    missing = [name for name in ("vertices", "landmarks") if name not in arrays]
    if missing:
        raise ValueError(f"expected an array {missing[0]}, got {', '.join(sorted(arrays)) or 'none'}")
    vertices = checked("vertices", arrays["vertices"], (None, 3), np.float64)
    landmarks = _landmarks(arrays["landmarks"], vertices)
    predictions: dict[str, Floats] = {}
    if "predicted" in arrays:
        predictions["given"] = checked("predicted", arrays["predicted"], (68, 3), np.float64)
    if "heat" in arrays:
        absent = [name for name in ("points", "scale") if name not in arrays]
        if absent:
            raise ValueError(f"expected an array {absent[0]} beside heat, got none")
        points = checked("points", arrays["points"], (None, 3), np.float64)
        heat = checked("heat", arrays["heat"], (len(points), 68), np.float64)
        scale = float(checked("scale", np.atleast_1d(arrays["scale"]), (1,), np.float64)[0])
        centre = checked("centre", arrays.get("centre", np.zeros(3)), (3,), np.float64)
        if not scale > 0:
            raise ValueError(f"scale: expected more than 0 normalised units per mm, got {scale}")
        decoded = {**decode(points, heat), REFINED: refine((vertices - centre) * scale, points, heat)}
        predictions |= {name: each / scale + centre for name, each in decoded.items()}
    if not predictions:
        raise ValueError("expected an array predicted or heat, got neither")
    return Scan(vertices, landmarks, predictions)


def _landmarks(stored: NDArray[Any], vertices: Floats) -> Floats:
    if stored.ndim != 1:
        return checked("landmarks", stored, (68, 3), np.float64)
    index = checked("landmarks", stored, (68,), np.int64)
    if index.min() < 0 or index.max() >= len(vertices):
        raise ValueError(f"landmarks: expected indices 0..{len(vertices) - 1}, got {index.min()}..{index.max()}")
    return np.asarray(vertices[index])


def evaluate(setup: Setup, scan_weights: Path | None = None) -> Result:
    """Measure mean and standard deviation of the errors by decoder, of all points and by part, mm.

    Where there are stored predictions, the model of `setup` is not used.

    Parameters
    ----------
    setup : Setup
    scan_weights : Path, optional
        Network of ``tddfa train scan`` to measure on synthetic scans; by default the released one.

    Raises
    ------
    DataMissing
        If the folder of stored predictions is empty.
    ValueError
        If a file is damaged; the message names it. Also if `scan_weights` is given although predictions are stored.
    """
    if not (setup.data / "scans").is_dir():
        return evaluate_synthetic(setup, _BENCHMARK.name, scan_weights)
    if scan_weights is not None:
        raise ValueError(f"scan_weights: expected none with {setup.data / 'scans'}, whose predictions are stored")
    paths = sorted((setup.data / "scans").glob("*.npz"))
    if not paths:
        wanted = "scans (.npz with vertices, landmarks and a prediction, mm)"
        raise DataMissing(f"{setup.data / 'scans'}: expected {wanted}, got none")
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
        notes=["The predictions were stored by another program."],
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
