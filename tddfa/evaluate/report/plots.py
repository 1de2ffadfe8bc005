"""Results as pictures: the cumulative error curve, and errors over the yaw. Needs matplotlib (``tddfa[evaluate]``)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import Curve

HINT = "no plots without matplotlib: pip install 'tddfa[evaluate]'"

_COLORS = ("#1f5fa8", "#d1495b", "#2a9d6f", "#e09f3e", "#7a4fa3", "#6c757d", "#0b8a9e", "#a8572b")
_SHARE_SHOWN = 0.97
# The running median: over so many degrees to each side, where there are at least so many photos.
_REACH, _FEWEST, _STEP = 10.0, 10, 2.0

Errors = Mapping[str, tuple[str, float]]
"""Unit of a curve -> what the error is, and where the axis of the cumulative curve ends."""


def cumulative_share(errors: Sequence[float], missed: int = 0) -> tuple[Floats, Floats]:
    """Errors in order, and the share of all faces, missed ones too, whose error is no larger."""
    ordered = np.sort(np.asarray(errors, dtype=np.float64))
    total = len(ordered) + missed
    return ordered, np.arange(1, len(ordered) + 1) / max(total, 1)


def running_median(yaw: Sequence[float], errors: Sequence[float]) -> tuple[Floats, Floats]:
    """Angles from -90 to 90 degrees, and the median error of the photos within 10 degrees; NaN of fewer than ten.

    A median, for the mean of a few photos follows the worst of them.
    """
    angles, values = np.asarray(yaw, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    grid = np.arange(-90.0, 90.0 + _STEP, _STEP)
    near = [values[np.abs(angles - angle) <= _REACH] for angle in grid]
    return grid, np.array([np.median(each) if len(each) >= _FEWEST else np.nan for each in near])


def cumulative(title: str, curves: Sequence[Curve], errors_are: Errors | None = None) -> bytes:
    """PNG: share of faces over the error, one panel a unit; all of one benchmark to the same error.

    Parameters
    ----------
    title : str
        Its heading.
    curves : sequence of Curve
        One with errors at least.
    errors_are : mapping, optional
        See `Errors`; a unit that it does not know has an axis to where 97 % of the errors are.

    Raises
    ------
    ImportError
        Without matplotlib; the message tells what to install.
    """
    units = list(dict.fromkeys(curve.unit for curve in curves if curve.errors))
    figure, panels = _panels(title, units)
    for unit, panel in zip(units, panels, strict=True):
        members = [curve for curve in curves if curve.unit == unit and curve.errors]
        what, end = (errors_are or {}).get(unit, ("error", 0.0))
        end = end or max(float(np.quantile(curve.errors, _SHARE_SHOWN)) for curve in members) or 1.0
        for color, curve in zip(_cycled(members), members, strict=True):
            errors, share = cumulative_share(curve.errors, curve.missed)
            name = f"{curve.name} ({curve.missed} missed)" if curve.missed else curve.name
            # to the end of the axis, where nothing more is found
            x, y = [0, *errors, max(end, errors[-1])], 100 * np.array([0, *share, share[-1]])
            panel.step(x, y, where="post", color=color, linewidth=1.8, label=name)
        panel.set(xlim=(0, end), ylim=(0, 100), xlabel=f"{what}, {unit}", ylabel="faces up to this error, %")
        panel.set_xticks(np.linspace(0, end, 6) if errors_are and unit in errors_are else panel.get_xticks())
        panel.set_xlim(0, end)
        panel.legend(loc="lower right", fontsize=8, frameon=False)
    return _png(figure)


def over_yaw(title: str, curves: Sequence[Curve], errors_are: Errors | None = None) -> bytes:
    """PNG: errors over the yaw with their running median, one panel a unit, of the curves that have a yaw.

    Parameters as of `cumulative`. Photos above what is shown are counted in a corner.

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
        what, _ = (errors_are or {}).get(unit, ("error", 0.0))
        medians = [running_median(curve.yaw, curve.errors) for curve in members]
        # the lines are never cut; of the photos, a few are
        highest = max(float(np.nanmax(values, initial=0.0)) for _, values in medians)
        end = max(1.25 * max(float(np.quantile(curve.errors, _SHARE_SHOWN)) for curve in members), 1.1 * highest) or 1.0
        for color, curve, (angles, values) in zip(_cycled(members), members, medians, strict=True):
            panel.scatter(curve.yaw, curve.errors, s=5, color=color, alpha=0.25, linewidths=0)
            panel.plot(angles, values, color=color, linewidth=1.8, label=curve.name)
        panel.set(xlim=(-95, 95), ylim=(0, end), xlabel="yaw, degrees", ylabel=f"{what}, {unit}")
        panel.set_xticks(range(-90, 91, 30))
        panel.legend(
            loc="upper center", fontsize=8, frameon=False, title_fontsize=8,
            title=f"lines: running median, {_REACH:.0f} degrees to each side, {_FEWEST} photos or more",
        )  # fmt: skip
        above = sum(int((np.asarray(curve.errors) > end).sum()) for curve in members)
        if above:
            note = f"{above} of {sum(len(curve.errors) for curve in members)} dots lie above"
            panel.annotate(note, (0.99, 1.01), xycoords="axes fraction", ha="right", fontsize=8, color="#555555")
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
