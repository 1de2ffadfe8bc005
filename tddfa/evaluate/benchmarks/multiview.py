"""Consistency of landmarks between views of one head: the metrics of 3D-aware multiview-consistent fine-tuning.

Data: none, heads are rendered; or DIR/multiview, see `tddfa.datasets.views.LAYOUT`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa.aligner import Aligner
from tddfa.crop import roi_from_landmarks
from tddfa.datasets.files import relative_name
from tddfa.datasets.views import View, rendered_heads, stored_heads
from tddfa.evaluate import metrics
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.result import Curve, Figure, Result, Setup, Worst
from tddfa.geometry.triangulation import SOURCES, consistency

_BENCHMARK = BENCHMARKS["multiview"]

_LIMITS = (0.05, 0.1)
_WORST = 24


@dataclass(frozen=True, eq=False)
class _Aligned:
    """The views of a head and the landmarks predicted in them."""

    views: Sequence[View]
    landmarks: NDArray[np.float64]
    """(v, 68, 2) px."""


def evaluate(
    setup: Setup, heads: int = 4, views: int = 16, size: int = 512, quadruples: int = 12, seed: int = 0
) -> Result:
    """Measure errors in single views, and the consistency of the views of each head.

    Landmarks are predicted in each view on its own, on the crop from the ground truth. Then, `quadruples` times, four
    views are drawn at random, each landmark is triangulated from its four 2D points
    (`tddfa.geometry.triangulation.triangulate`), and projected into all views of the head. The reprojection error is
    the distance from the points predicted there. The spread is the distance of the triangulated points of different
    quadruples from their mean.

    Parameters
    ----------
    setup : Setup
        Stored heads are measured if ``DIR/multiview`` exists (`tddfa.datasets.views.LAYOUT`), else rendered ones.
    heads, size : int
        Number of rendered heads, and side of their images, px.
    views : int
        Number of views of each head. Of stored views, evenly spread ones are chosen.
    quadruples : int
        Number of sets of four views of each head.
    seed : int
        Seed of the rendered heads and of the quadruples.

    Raises
    ------
    ValueError
        If a number is out of range, or if a file in ``DIR/multiview`` is damaged.
    """
    if views < SOURCES:
        raise ValueError(f"views: expected {SOURCES} or more, got {views}")
    for name, value in (("heads", heads), ("quadruples", quadruples)):
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, got {value}")
    stored = setup.chosen(stored_heads(setup.data))
    source = stored or setup.chosen(rendered_heads(heads, size, seed))
    rng = np.random.default_rng(seed)
    items, worst = [], []
    nme, nme_side, yaw = [], [], []
    for head in setup.track(source, _BENCHMARK.name):
        aligned = _align(setup.aligner, list(head.views(views)))
        pairs = list(zip(aligned.views, aligned.landmarks, strict=True))
        errors = [metrics.nme_box(points, view.landmarks) for view, points in pairs]
        side = [
            metrics.percent(metrics.mean_distance(points, view.landmarks), max(view.image.shape[:2]))
            for view, points in pairs
        ]
        row: dict[str, object] = {"name": head.name, "views": len(aligned.views), "unit": head.unit}
        row |= {"nme": float(np.mean(errors)), "nme_side": float(np.mean(side))}
        row |= _consistency(aligned, quadruples, rng, head.points)
        items.append(row)
        nme += errors
        nme_side += side
        # the curve over the yaw needs all angles; stored views have none
        yaw += [view.yaw for view in aligned.views if view.yaw is not None]
        worst += [
            Worst(relative_name(Path(view.path), setup.data), error, view.landmarks.tolist(), points.tolist())
            for view, error, points in zip(aligned.views, errors, aligned.landmarks, strict=True)
            if view.path
        ]
    return Result(
        benchmark=_BENCHMARK.name,
        settings={
            "views": "stored" if stored else "rendered",
            "heads": len(items),
            "views per head": views,
            "quadruples": quadruples,
            "crop": "ground truth",
            "seed": seed,
        },
        figures=tuple(_figures(items, nme, nme_side)),
        items=items,
        curves=[Curve("views", tuple(nme), "%", tuple(yaw))],
        worst=sorted(worst, key=lambda case: -case.error)[:_WORST],
        notes=[] if stored else [_RENDERED],
    )


_RENDERED = (
    "Synthetic heads of the open face model, weak-perspective cameras. The ground truth is the landmarks of that "
    "model, which favours models trained on it; the consistency between views does not depend on the landmark "
    "convention."
)


def _align(aligner: Aligner, views: Sequence[View]) -> _Aligned:
    """Predict landmarks in each view, on the crop from the ground truth, so that no face is missed or confused."""
    rois = [[roi_from_landmarks(view.landmarks, aligner.crop)] for view in views]
    faces = aligner.batch([view.image for view in views], rois=rois)
    return _Aligned(views, np.array([one.landmarks[:, :2] for (one,) in faces], dtype=np.float64))


def _consistency(
    aligned: _Aligned, quadruples: int, rng: np.random.Generator, ground_truth: NDArray[np.float64] | None
) -> dict[str, float | None]:
    cameras = np.array([view.camera for view in aligned.views])
    sizes = [metrics.box_length(view.landmarks) for view in aligned.views]
    result = consistency(cameras, aligned.landmarks, sizes, quadruples, rng)
    error_3d = None
    if ground_truth is not None:
        error_3d = float(np.linalg.norm(result.points - ground_truth, axis=-1).mean())
    return {
        "reprojection": result.reprojection,
        "reprojection_targets": result.reprojection_targets if len(cameras) > SOURCES else None,
        "spread": result.spread,
        "error_3d": error_3d,
    }


def _figures(items: Sequence[dict[str, object]], nme: Sequence[float], nme_side: Sequence[float]) -> Iterator[Figure]:
    units = {str(item["unit"]) for item in items}
    unit = units.pop() if len(units) == 1 else ""

    def mean(key: str) -> float | None:
        values = [float(item[key]) for item in items if item[key] is not None]  # type: ignore[arg-type]
        return float(np.mean(values)) if values else None

    for name, label, errors in (
        ("nme", "NME by sqrt(w h)", np.array(nme)),
        ("nme_side", "NME by the side of the image", np.array(nme_side)),
    ):
        yield Figure(name, label, float(errors.mean()), "%", "lower")
        for limit in _LIMITS:
            over = metrics.failure_rate(errors, 100 * limit)
            yield Figure(f"failures.{name}.{limit:g}", f"{label}: views over {limit:g}", over, "%", "lower")
    for name, label, of in (
        ("reprojection", "triangulated from 4 views, reprojected into all", "%"),
        ("reprojection_targets", "triangulated from 4 views, reprojected into the other views", "%"),
        ("spread", "triangulated points of different quadruples: RMS distance from their mean", unit),
        ("error_3d", "triangulated points: distance from the ground truth", unit),
    ):
        yield Figure(name, label, mean(name), of, "lower")
