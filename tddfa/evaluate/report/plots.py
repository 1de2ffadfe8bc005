"""Plots of results: cumulative error curves, and errors over the yaw. Needs matplotlib."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tddfa._shared.packages import needs
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import Curve

_COLORS = ("#1f5fa8", "#d1495b", "#2a9d6f", "#e09f3e", "#7a4fa3", "#6c757d", "#0b8a9e", "#a8572b")
# Fraction of the errors up to which an axis reaches by default.
_SHOWN_FRACTION = 0.97
# The running median: degrees to each side, minimum number of images, step of the grid in degrees.
_REACH, _FEWEST, _STEP = 10.0, 10, 2.0

Axes = Mapping[str, tuple[str, float]]
"""Unit of a curve -> name of the error, and end of the axis of the cumulative plot."""


def cumulative_fraction(errors: Sequence[float], missed: int = 0) -> tuple[Floats, Floats]:
    """Sorted errors, and the fraction of all faces, with missed ones, whose error is not larger.

    Examples
    --------
    >>> cumulative_fraction([3.0, 1.0], missed=2)
    (array([1., 3.]), array([0.25, 0.5 ]))
    """
    ordered = np.sort(np.asarray(errors, dtype=np.float64))
    total = len(ordered) + missed
    return ordered, np.arange(1, len(ordered) + 1) / max(total, 1)


def running_median(yaw: Sequence[float], errors: Sequence[float]) -> tuple[Floats, Floats]:
    """Angles from -90 to 90 degrees, and the median error of the images within 10 degrees; NaN for fewer than ten.

    The median is used because one large error dominates the mean of few images.

    Examples
    --------
    >>> angles, medians = running_median([0.0] * 10, range(10))
    >>> float(medians[angles == 0][0])
    4.5
    """
    angles, values = np.asarray(yaw, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    grid = np.arange(-90.0, 90.0 + _STEP, _STEP)
    near = [values[np.abs(angles - angle) <= _REACH] for angle in grid]
    return grid, np.array([np.median(each) if len(each) >= _FEWEST else np.nan for each in near])


def cumulative(title: str, curves: Sequence[Curve], axes: Axes | None = None) -> bytes:
    """Plot the fraction of faces over the error, one panel per unit.

    Parameters
    ----------
    title : str
        Heading.
    curves : sequence of Curve
        At least one with errors.
    axes : mapping, optional
        See `Axes`. Without an entry, the axis of a unit ends at the 97th percentile of the errors.

    Returns
    -------
    bytes
        PNG.

    Raises
    ------
    ImportError
        Without matplotlib; the message has the command that installs it.
    """
    units = list(dict.fromkeys(curve.unit for curve in curves if curve.errors))
    figure, panels = _panels(title, units)
    for unit, panel in zip(units, panels, strict=True):
        members = [curve for curve in curves if curve.unit == unit and curve.errors]
        what, end = (axes or {}).get(unit, ("error", 0.0))
        end = end or max(float(np.quantile(curve.errors, _SHOWN_FRACTION)) for curve in members) or 1.0
        for color, curve in zip(_cycled(members), members, strict=True):
            errors, fraction = cumulative_fraction(curve.errors, curve.missed)
            name = _plain(f"{curve.name} ({curve.missed} missed)" if curve.missed else curve.name)
            # the curve stays constant up to the end of the axis
            x, y = [0, *errors, max(end, errors[-1])], 100 * np.array([0, *fraction, fraction[-1]])
            panel.step(x, y, where="post", color=color, linewidth=1.8, label=name)
        panel.set(xlim=(0, end), ylim=(0, 100), xlabel=f"{what}, {unit}", ylabel="faces up to this error, %")
        panel.set_xticks(np.linspace(0, end, 6) if axes and unit in axes else panel.get_xticks())
        panel.set_xlim(0, end)
        panel.legend(loc="lower right", fontsize=8, frameon=False)
    return _png(figure)


def over_yaw(title: str, curves: Sequence[Curve], axes: Axes | None = None) -> bytes:
    """Plot errors over the yaw with their running median, one panel per unit, of the curves that have a yaw.

    Parameters, return value and errors are as in `cumulative`. A note in the corner counts the errors above the axis.
    """
    turned = [curve for curve in curves if curve.yaw]
    units = list(dict.fromkeys(curve.unit for curve in turned))
    figure, panels = _panels(title, units)
    for unit, panel in zip(units, panels, strict=True):
        members = [curve for curve in turned if curve.unit == unit]
        what, _ = (axes or {}).get(unit, ("error", 0.0))
        medians = [running_median(curve.yaw, curve.errors) for curve in members]
        # the lines are always whole; a few dots may be above the axis
        highest = max(float(np.nanmax(values, initial=0.0)) for _, values in medians)
        end = (
            max(1.25 * max(float(np.quantile(curve.errors, _SHOWN_FRACTION)) for curve in members), 1.1 * highest)
            or 1.0
        )
        for color, curve, (angles, values) in zip(_cycled(members), members, medians, strict=True):
            panel.scatter(curve.yaw, curve.errors, s=5, color=color, alpha=0.25, linewidths=0)
            panel.plot(angles, values, color=color, linewidth=1.8, label=_plain(curve.name))
        panel.set(xlim=(-95, 95), ylim=(0, end), xlabel="yaw, degrees", ylabel=f"{what}, {unit}")
        panel.set_xticks(range(-90, 91, 30))
        panel.legend(
            loc="upper center",
            fontsize=8,
            frameon=False,
            title_fontsize=8,
            title=f"lines: running median, {_REACH:.0f} degrees to each side, at least {_FEWEST} images",
        )
        above = sum(int((np.asarray(curve.errors) > end).sum()) for curve in members)
        if above:
            note = f"{above} of {sum(len(curve.errors) for curve in members)} dots above"
            panel.annotate(note, (0.99, 1.01), xycoords="axes fraction", ha="right", fontsize=8, color="#555555")
    return _png(figure)


def _plain(text: str) -> str:
    """Text as it is: between two dollar signs, matplotlib would read a formula."""
    return text.replace("$", r"\$")


def _cycled(members: Sequence[Curve]) -> list[str]:
    return [_COLORS[i % len(_COLORS)] for i in range(len(members))]


def _panels(title: str, units: Sequence[str]) -> tuple[Any, list[Any]]:
    if not units:
        raise ValueError(f"{title}: expected a curve with errors, got none")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(needs("a plot", "matplotlib")) from error
    # no pyplot: it would choose a backend and keep figures alive
    figure = Figure(figsize=(6.8 * len(units), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(1, len(units), i + 1) for i in range(len(units))]
    figure.suptitle(_plain(title), fontsize=11)
    for panel in panels:
        panel.grid(color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    # without the version of matplotlib, equal plots are equal files
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()
