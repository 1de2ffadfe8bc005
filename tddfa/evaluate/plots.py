"""Results as pictures: the cumulative error curve, and errors over the yaw. Needs matplotlib (``tddfa[evaluate]``)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import Curve

HINT = "no plots without matplotlib: pip install 'tddfa[evaluate]'"

_COLORS = ("#1f5fa8", "#d1495b", "#2a9d6f", "#e09f3e", "#7a4fa3", "#6c757d", "#0b8a9e", "#a8572b")
_SHARE_SHOWN = 0.97
# The running mean: over so many degrees to each side, where there are at least so many photos.
_REACH, _FEWEST, _STEP = 8.0, 3, 2.0


def cumulative_share(errors: Sequence[float], missed: int = 0) -> tuple[Floats, Floats]:
    """Errors in order, and the share of all faces, missed ones too, whose error is no larger."""
    ordered = np.sort(np.asarray(errors, dtype=np.float64))
    total = len(ordered) + missed
    return ordered, np.arange(1, len(ordered) + 1) / max(total, 1)


def running_mean(yaw: Sequence[float], errors: Sequence[float]) -> tuple[Floats, Floats]:
    """Angles from -90 to 90 degrees, and the mean error of the photos within 8 degrees; NaN where there are few."""
    angles, values = np.asarray(yaw, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    grid = np.arange(-90.0, 90.0 + _STEP, _STEP)
    near = np.abs(angles[None] - grid[:, None]) <= _REACH
    count = near.sum(axis=1)
    means = np.where(near, values[None], 0).sum(axis=1) / np.maximum(count, 1)
    return grid, np.where(count >= _FEWEST, means, np.nan)


def cumulative(title: str, curves: Sequence[Curve]) -> bytes:
    """PNG: share of faces over the error, one panel a unit.

    Raises
    ------
    ImportError
        Without matplotlib; the message tells what to install.
    """
    units = list(dict.fromkeys(curve.unit for curve in curves if curve.errors))
    figure, panels = _panels(title, units)
    for unit, panel in zip(units, panels, strict=True):
        members = [curve for curve in curves if curve.unit == unit and curve.errors]
        end = max(float(np.quantile(curve.errors, _SHARE_SHOWN)) for curve in members)
        for color, curve in zip(_cycled(members), members, strict=True):
            errors, share = cumulative_share(curve.errors, curve.missed)
            name = f"{curve.name} ({curve.missed} missed)" if curve.missed else curve.name
            panel.step([0, *errors], [0, *(100 * share)], where="post", color=color, linewidth=1.8, label=name)
        panel.set(xlim=(0, end or 1), ylim=(0, 100), xlabel=f"error, {unit}", ylabel="faces up to this error, %")
        panel.legend(loc="lower right", fontsize=8, frameon=False)
    return _png(figure)


def over_yaw(title: str, curves: Sequence[Curve]) -> bytes:
    """PNG: errors over the yaw with their running mean, one panel a unit, of the curves that have a yaw.

    Raises
    ------
    ImportError
        Without matplotlib; the message tells what to install.
    """
    turned = [curve for curve in curves if curve.yaw]
    units = list(dict.fromkeys(curve.unit for curve in turned))
    figure, panels = _panels(title, units)
    for unit, panel in zip(units, panels, strict=True):
        members = [curve for curve in turned if curve.unit == unit]
        end = max(float(np.quantile(curve.errors, _SHARE_SHOWN)) for curve in members)
        for color, curve in zip(_cycled(members), members, strict=True):
            panel.scatter(curve.yaw, curve.errors, s=5, color=color, alpha=0.25, linewidths=0)
            panel.plot(*running_mean(curve.yaw, curve.errors), color=color, linewidth=1.8, label=curve.name)
        panel.set(xlim=(-95, 95), ylim=(0, 1.25 * end or 1), xlabel="yaw, degrees", ylabel=f"error, {unit}")
        panel.set_xticks(range(-90, 91, 30))
        panel.legend(loc="upper center", fontsize=8, frameon=False)
    return _png(figure)


def _cycled(members: Sequence[Curve]) -> list[str]:
    return [_COLORS[i % len(_COLORS)] for i in range(len(members))]


def _panels(title: str, units: Sequence[str]) -> tuple[Any, list[Any]]:
    if not units:
        raise ValueError(f"{title}: expected a curve with errors, got none")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(HINT) from error
    # no pyplot: it would choose a backend and keep figures for the whole process
    figure = Figure(figsize=(6.8 * len(units), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(1, len(units), i + 1) for i in range(len(units))]
    figure.suptitle(title, fontsize=11)
    for panel in panels:
        panel.grid(color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    # the software's version is left out: equal plots are equal files
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()
