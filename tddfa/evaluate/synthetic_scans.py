"""Landmarks on synthetic scans: heads that no training has seen, with known landmarks (`tddfa.synthetic.scans`)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.errors import ConfigError
from tddfa._shared.files import sha256_of
from tddfa._shared.settings import load_settings
from tddfa.evaluate.result import Curve, Figure, Result, Setup, Worst, number
from tddfa.landmarks68 import INNER, JAW, PARTS
from tddfa.model.assets import data_folder
from tddfa.model.runtime import Model
from tddfa.scan.face import ScanFace
from tddfa.scan.files.writing import drawn
from tddfa.scan.landmarker import WEIGHTS, ScanLandmarker
from tddfa.scan.snapping import SNAPS
from tddfa.synthetic.scans import LabelledScan, ScanSettings, synthetic_scan

Floats = NDArray[np.float64]

CONFIG = "evaluate/scans.yml"
"""Settings of the synthetic scans, in the folder of the configs."""

LABELS = {
    "registered": "of the registered face model, on the surface",
    "geodesic": "refined, geodesic",
    "euclidean": "refined, Euclidean",
    "completed": "completed",
    "pd": "PD",
    "tkd": "TKD",
    "gd": "GD",
}

# A scan failed if the mean error of its landmarks is larger than this, mm. Number of the worst scans that are shown.
_FAILED, _WORST = 5.0, 12


@dataclass(frozen=True)
class ScanBenchmark:
    """The synthetic scans of the benchmark.

    Attributes
    ----------
    count : int
    seed : int
        Seed of the first scan; 1,000,000 or more, because trainings use smaller seeds.
    scans : ScanSettings
    """

    count: int = 200
    seed: int = 1_000_000
    scans: ScanSettings = field(default_factory=ScanSettings)

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.count < 1:
            raise ConfigError(f"count: expected 1 or more, got {self.count}")
        if self.seed < 1_000_000:
            raise ConfigError(f"seed: expected 1000000 or more, got {self.seed}: training uses smaller ones")


@dataclass(frozen=True, eq=False)
class _Case:
    """Errors (68,) of one scan, mm, by method; none if no face was found."""

    name: str
    errors: dict[str, Floats]
    on_scan: NDArray[np.bool_]
    score: float


def evaluate_synthetic(setup: Setup, benchmark: str, weights: Path | None = None) -> Result:
    """Measure the landmarks of synthetic scans, mm.

    Parameters
    ----------
    setup : Setup
        Its aligner finds the face in images of the scan.
    benchmark : str
        Name of the benchmark.
    weights : Path, optional
        Network of stage 1; by default the released one.
    """
    settings = load_settings(ScanBenchmark, data_folder() / "configs" / CONFIG)
    network = Model(data_folder() / WEIGHTS if weights is None else weights, device="cpu")
    landmarker = ScanLandmarker(network, setup.aligner)
    seeds = setup.chosen(range(settings.seed, settings.seed + settings.count))
    model = setup.aligner.decoder.face_model
    cases: list[_Case] = []
    shown: list[tuple[float, Worst]] = []
    for seed in setup.track(seeds, benchmark):
        made = synthetic_scan(model, seed, settings.scans)
        face = landmarker(made.scan)
        case = _case(f"scan {seed}", made, face, landmarker)
        cases.append(case)
        error = float(case.errors["registered"].mean()) if case.errors else float("inf")
        shown.append((error, _shown(case.name, made, face, error)))
        shown = sorted(shown, key=lambda pair: -pair[0])[:_WORST]
    found = [case for case in cases if case.errors]
    return Result(
        benchmark=benchmark,
        settings={
            "scans": len(cases),
            "seed": settings.seed,
            "points": landmarker.points,
            "scan_sha256": sha256_of(network.path),
        },
        figures=tuple(_figures(found, len(cases))),
        items=[
            {
                "name": case.name,
                "score": number(case.score),
                **{name: number(float(errors.mean())) for name, errors in case.errors.items()},
            }
            for case in cases
        ],
        curves=[
            Curve(
                LABELS[name],
                tuple(float(case.errors[name].mean()) for case in found),
                "mm",
                missed=len(cases) - len(found),
            )
            for name in LABELS
        ],
        worst=[worst for _, worst in shown],
        notes=[
            "Synthetic scans: heads of the open face model, bent by what the model does not have, with holes, shadows "
            "and noise. A landmark in a hole counts too; 'on the scan' leaves it out.",
        ],
    )


def _case(name: str, made: LabelledScan, face: ScanFace | None, landmarker: ScanLandmarker) -> _Case:
    if face is None:
        return _Case(name, {}, np.zeros(68, bool), 0.0)
    found = {**face.decoded, "registered": face.landmarks}
    for snap in SNAPS[:2]:
        found[snap] = landmarker.snapped(made.scan, face, snap).landmarks
    errors = {method: np.linalg.norm(found[method] - made.landmarks, axis=1) for method in LABELS}
    return _Case(name, errors, face.on_surface, face.score)


def _figures(cases: Sequence[_Case], total: int) -> Iterator[Figure]:
    yield Figure("missed", "no face found", total - len(cases), "scans", "lower")
    if not cases:
        return
    on_scan = np.array([case.on_scan for case in cases])
    for method, label in LABELS.items():
        table = np.array([case.errors[method] for case in cases])
        per_scan = table.mean(axis=1)
        good = 100 * np.count_nonzero(per_scan <= _FAILED) / total
        yield Figure(f"{method}.mean", f"{label}: mean", table.mean(), "mm", "lower")
        yield Figure(f"{method}.std", f"{label}: standard deviation", table.std(), "mm", "lower")
        yield Figure(f"{method}.within", f"{label}: scans with a mean of {_FAILED:g} mm or less", good, "%", "higher")
        yield Figure(f"{method}.on_scan", f"{label}: mean, landmarks on the scan", table[on_scan].mean(), "mm", "lower")
        for part, rows in {"inner": INNER, "jaw": JAW, **{n: r for n, r in PARTS.items() if n != "jaw"}}.items():
            name = part.replace("_", " ")
            yield Figure(f"{method}.mean.{part}", f"{label}, {name}: mean", table[:, rows].mean(), "mm", "lower")
            yield Figure(
                f"{method}.std.{part}", f"{label}, {name}: standard deviation", table[:, rows].std(), "mm", "lower"
            )


@lru_cache(maxsize=1)
def _images() -> tempfile.TemporaryDirectory[str]:
    """Folder of the images of the worst, until the process ends."""
    return tempfile.TemporaryDirectory(prefix="tddfa-scans-")


def _shown(name: str, made: LabelledScan, face: ScanFace | None, error: float) -> Worst:
    """Image of a scan from the front with its landmarks."""
    path = Path(_images().name) / f"{name.replace(' ', '_')}.png"
    if face is None:
        image_io.write(path, np.full((64, 64, 3), 96, np.uint8))
        return Worst(str(path), caption="missed")
    image = drawn(made.scan, face)
    image_io.write(path, np.ascontiguousarray(image[:, : image.shape[0]]))
    return Worst(str(path), error)
