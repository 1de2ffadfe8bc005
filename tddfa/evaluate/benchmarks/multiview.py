"""Do the landmarks of one head agree between views? The measures of 3D-aware multiview-consistent fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa.aligner import Aligner
from tddfa.crop import roi_from_landmarks
from tddfa.datasets.files import below
from tddfa.datasets.views import LAYOUT, View, rendered_heads, stored_heads
from tddfa.evaluate import metrics
from tddfa.evaluate.result import Curve, Figure, Result, Setup, Worst
from tddfa.geometry.triangulation import SOURCES, consistency

__all__ = ["LAYOUT", "NAME", "evaluate"]

NAME = "multiview"

_LIMITS = (0.05, 0.1)
_WORST = 24


@dataclass(frozen=True, eq=False)
class _Seen:
    """A head's views and where the landmarks were found in them."""

    views: Sequence[View]
    found: NDArray[np.float64]
    """(v, 68, 2) px."""


def evaluate(
    setup: Setup, heads: int = 4, views: int = 16, size: int = 512, quadruples: int = 12, seed: int = 0
) -> Result:
    """Errors in single views, and how well the views of one head agree.

    Landmarks are found in each view by itself, the crop from the truth. Then, `quadruples` times: four views are drawn,
    each landmark is triangulated from its own four 2D points (`tddfa.geometry.triangulation.triangulate`), and
    projected into all views of the head. How far that lies from the points found there is the inconsistency; how far the triangulated
    points of different quadruples lie from their mean is the spread.

    Parameters
    ----------
    setup : Setup
        ``DIR/multiview`` is taken where it is there (see `LAYOUT`); heads are rendered where not.
    heads, size : int
        Of rendered heads: how many, and the picture's side, px.
    views : int
        Of each head; of stored ones so many, evenly spread.
    quadruples : int
        How many sets of four views a head.
    seed : int
        Of the rendered heads, and of the quadruples.

    Raises
    ------
    ValueError
        If a number is out of range, or if a file in ``DIR/multiview`` is not what it should be.
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
    for head in setup.track(source, NAME):
        seen = _align(setup.aligner, list(head.views(views)))
        pairs = list(zip(seen.views, seen.found, strict=True))
        errors = [metrics.nme_box(points, view.landmarks) for view, points in pairs]
        side = [
            metrics.percent(metrics.mean_distance(points, view.landmarks), max(view.image.shape[:2]))
            for view, points in pairs
        ]
        row: dict[str, object] = {"name": head.name, "views": len(seen.views), "unit": head.unit}
        row |= {"nme": float(np.mean(errors)), "nme_side": float(np.mean(side))}
        row |= _consistency(seen, quadruples, rng, head.points)
        items.append(row)
        nme += errors
        nme_side += side
        # drawn where all are known; stored ones come without
        yaw += [view.yaw for view in seen.views if view.yaw is not None]
        worst += [
            Worst(below(Path(view.path), setup.data), error, view.landmarks.tolist(), points.tolist())
            for view, error, points in zip(seen.views, errors, seen.found, strict=True)
            if view.path
        ]
    return Result(
        benchmark=NAME,
        settings={
            "views": "stored" if stored else "rendered",
            "heads": len(items),
            "views a head": views,
            "quadruples": quadruples,
            "crop": "truth",
            "seed": seed,
        },
        figures=tuple(_figures(items, nme, nme_side)),
        items=items,
        curves=[Curve("views", tuple(nme), "%", tuple(yaw))],
        worst=sorted(worst, key=lambda case: -case.error)[:_WORST],
        notes=[] if stored else [_RENDERED],
    )


_RENDERED = (
    "Made-up heads of the open face model, weak-perspective cameras. The truth is that model's own landmarks, which "
    "favours models trained on it; the agreement between views does not depend on where a landmark is said to lie."
)


def _align(aligner: Aligner, views: Sequence[View]) -> _Seen:
    """Landmarks in each view, the crop from the truth, so that no face is missed or mistaken."""
    rois = [[roi_from_landmarks(view.landmarks, aligner.crop)] for view in views]
    faces = aligner.batch([view.image for view in views], rois=rois)
    return _Seen(views, np.array([one.landmarks[:, :2] for (one,) in faces], dtype=np.float64))


def _consistency(
    seen: _Seen, quadruples: int, rng: np.random.Generator, truth: NDArray[np.float64] | None
) -> dict[str, float | None]:
    cameras = np.array([view.camera for view in seen.views])
    sizes = [metrics.box_length(view.landmarks) for view in seen.views]
    found = consistency(cameras, seen.found, sizes, quadruples, rng)
    return {
        "reprojection": found.reprojection,
        "reprojection_targets": found.reprojection_targets if len(cameras) > SOURCES else None,
        "spread": found.spread,
        "error_3d": None if truth is None else float(np.linalg.norm(found.points - truth, axis=-1).mean()),
    }


def _figures(items: Sequence[dict[str, object]], nme: Sequence[float], nme_side: Sequence[float]) -> Iterator[Figure]:
    units = {str(item["unit"]) for item in items}
    unit = units.pop() if len(units) == 1 else ""

    def mean(key: str) -> float | None:
        values = [float(item[key]) for item in items if item[key] is not None]  # type: ignore[arg-type]
        return float(np.mean(values)) if values else None

    for name, label, errors in (
        ("nme", "NME by sqrt(w h)", np.array(nme)),
        ("nme_side", "NME by the picture's side", np.array(nme_side)),
    ):
        yield Figure(name, label, float(errors.mean()), "%")
        for limit in _LIMITS:
            over = metrics.failure_rate(errors, 100 * limit)
            yield Figure(f"failures.{name}.{limit:g}", f"{label}: views over {limit:g}", over, "%")
    yield Figure("reprojection", "triangulated from 4 views, reprojected into all", mean("reprojection"), "%")
    yield Figure(
        "reprojection_targets", "the same, only views not triangulated from", mean("reprojection_targets"), "%"
    )
    yield Figure("spread", "triangulated points of different quadruples: RMS from their mean", mean("spread"), unit)
    yield Figure("error_3d", "triangulated points from the truth", mean("error_3d"), unit)
