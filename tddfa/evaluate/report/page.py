"""Results of several models as one page: a summary, then one table per benchmark with a column per model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.report.table import MADE_BY, limited, shown
from tddfa.evaluate.result import Figure, Result

SUMMARY = (
    ("AFLW2000-3D", "aflw2000-3d", (
        ("2D NME, yaw 0-30, convention of the labels", "nme_2d.300w-lp.ground_truth.original.0-30"),
        ("2D NME, yaw 30-60, convention of the labels", "nme_2d.300w-lp.ground_truth.original.30-60"),
        ("2D NME, yaw 60-90, convention of the labels", "nme_2d.300w-lp.ground_truth.original.60-90"),
        ("2D NME, mean of the yaw bins, convention of the labels", "nme_2d.300w-lp.ground_truth.original.bins"),
        ("the same, re-annotated labels", "nme_2d.300w-lp.ground_truth.reannotated.bins"),
        ("the same, original labels, crop from the detector", "nme_2d.300w-lp.detector.original.bins"),
        ("2D NME, mean of the yaw bins, the model's own landmarks", "nme_2d.ground_truth.original.bins"),
        ("head pose, mean error of the angles", "pose.ground_truth.mean"),
        ("faces missed by the detector", "missed.detector"),
    )),
    ("LFPW, last 30 %", "300w", (
        ("NME, inner 51 points", "lfpw (last 30 %).nme.ground_truth.51"),
        ("NME, eyes", "lfpw (last 30 %).nme.ground_truth.eyes"),
        ("NME, mouth", "lfpw (last 30 %).nme.ground_truth.mouth"),
        ("eye openness (EAR), correlation", "lfpw (last 30 %).ear_correlation.ground_truth"),
    )),
    ("detection, last 30 %", "detection", (("AP at IoU 0.5, all faces", "detect.last-30.ap.iou50.all"),)),
    ("images without a face", "negatives", (("false faces", "false.faces.count"),)),
)  # fmt: skip
"""Rows of the summary: label of the data, benchmark, and (label, figure) of each row."""

_SHOWN_OF_HASH = 12
# Settings that say more about the machine than about the measurement.
_NOT_ON_A_PAGE = ("system", "limit")
_KEYS = {
    "lowest score": "score threshold of the curves",
    "score": "the detector's own score threshold",
    "face score": "threshold of the face score",
    "bins": "yaw bins by",
    "crops": "crops from",
    "rendered frames": "frames of a rendered scene",
    "scan_sha256": "network of scans, sha256",
}

# Unit of a figure whose label is the heading of its group -> label of its row.
_VALUES = {"ms": "time", "%": "mean"}
_ARROWS = {"lower": "↓", "higher": "↑", "": ""}

Columns = Mapping[str, Result | None]


def markdown(columns: Mapping[str, Mapping[str, Result]]) -> str:
    """A page of several models side by side.

    Parameters
    ----------
    columns : mapping of str to mapping of str to Result
        Heading of a column -> its results, as of `tddfa.evaluate.report.table.load_folder`.

    Returns
    -------
    str
        Markdown.

    Examples
    --------
    >>> result = Result("300w", {}, [Figure("nme", "NME, eyes", 3.456, "%", better="lower")])
    >>> print(markdown({"open_mb05": {"300w": result}}).splitlines()[-1])
    | NME, eyes, % ↓ | 3.46 |
    """
    names = list(dict.fromkeys(name for results in columns.values() for name in results))
    order = [*(name for name in BENCHMARKS if name in names), *(name for name in names if name not in BENCHMARKS)]
    absent = [name for name in BENCHMARKS if name not in names]
    # the page names what it lacks
    missing = f" Not on this page, not run or without data: {', '.join(absent)}." if absent else ""
    lines = [
        "# Results",
        "",
        "Made with `tddfa evaluate --all --data DIR -c CONFIG`, which writes `results/evaluate/CONFIG/*.json`, and "
        "`tddfa evaluate --write RESULTS.md results/evaluate/*/`. The docstrings of the modules in "
        "`tddfa/evaluate/benchmarks` describe the protocols. ↓: lower is better; ↑: higher is better; a dash: not "
        f"measured or not defined.{missing}",
        "",
        *_summary(columns),
    ]
    made_by = {column: _made_by(results) for column, results in columns.items()}
    rows = [
        [label, *(_hash(name, made_by[column].get(name)) for column in columns)]
        for name, label in MADE_BY.items()
        if any(name in settings for settings in made_by.values())
    ]
    lines += ["## Made by", "", *_grid(["", *columns], rows), ""]
    for name in order:
        lines += _section(name, {column: results.get(name) for column, results in columns.items()}, made_by)
    return "\n".join(lines)


def _summary(columns: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """The rows of `SUMMARY` that at least one model has. Without such rows, there is no heading either."""
    rows = []
    for data, benchmark, chosen in SUMMARY:
        results = {column: results.get(benchmark) for column, results in columns.items()}
        figures = _figures(results)
        for label, name in chosen:
            present = [each[name] for each in figures.values() if name in each]
            if present:
                cells = [shown(each[name]) if name in each else "–" for each in figures.values()]
                rows.append([f"{data}: {_row_label(label, present[0])}", *cells])
    if not rows:
        return []
    note = "Landmarks and pose on the crop from the ground truth. The tables below have all other figures."
    parts = [f"{column}, {what}" for column, each in columns.items() for what in _limits(each)]
    return [
        "## Summary",
        "",
        note,
        "",
        *_grid(["", *columns], rows),
        "",
        *([f"**Part of the data only**: {_escaped('; '.join(parts))}.", ""] if parts else []),
    ]


def _limits(results: Mapping[str, Result]) -> Iterator[str]:
    limits = {name: result.settings["limit"] for name, result in results.items() if "limit" in result.settings}
    for limit in dict.fromkeys(limits.values()):
        of = [name for name in limits if limits[name] == limit]
        yield f"{', '.join(of)}: {limited(limit)}"


def _made_by(results: Mapping[str, Result]) -> Mapping[str, Any]:
    return next((result.settings for result in results.values() if "config" in result.settings), {})


def _hash(name: str, value: Any) -> str:
    if value is None:
        return "–"
    return f"`{str(value)[:_SHOWN_OF_HASH]}`" if name.endswith("sha256") else _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _section(name: str, results: Columns, made_by: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = [f"## {name}", ""]
    if name in BENCHMARKS:
        lines += [_escaped(BENCHMARKS[name].summary.replace("``", "`")), ""]
    there = {column: result for column, result in results.items() if result is not None}
    told = {
        key
        for column, result in there.items()
        for key, value in result.settings.items()
        if key in MADE_BY and value != made_by[column].get(key, value)
    }
    described = {column: _settings(result, told) for column, result in there.items()}
    settings = [
        _by_column(key, {column: each.get(key, "–") for column, each in described.items()})
        for key in dict.fromkeys(key for each in described.values() for key in each)
    ]
    if settings:
        lines += [_escaped("; ".join(settings)) + ".", ""]
    lines += [*_grid(["", *results], list(_rows(results))), ""]
    notes = []
    for note in dict.fromkeys(note for result in there.values() for note in result.notes):
        of = [column for column, result in there.items() if note in result.notes]
        models = "" if len(of) == len(there) else f"{', '.join(of)}: "
        notes.append(f"- {_escaped(models + note)}")
    return [*lines, *notes, *([""] if notes else [])]


def _by_column(key: str, values: Mapping[str, str]) -> str:
    """A setting once if all models share it, else once per model."""
    if len(set(values.values())) == 1:
        return f"{key}: {next(iter(values.values()))}"
    return f"{key}: " + ", ".join(f"{value} ({column})" for column, value in values.items())


def _settings(result: Result, told: Collection[str]) -> dict[str, str]:
    """Settings of a result by label. Of the settings that all results have, only those in `told` are included."""
    hidden = (*MADE_BY, *_NOT_ON_A_PAGE)
    settings = {key: value for key, value in result.settings.items() if key not in hidden}
    labelled = {
        MADE_BY[key]: _hash(key, result.settings[key]) for key in MADE_BY if key in told and key in result.settings
    }
    if "limit" in result.settings:
        labelled["part of the data only"] = limited(result.settings["limit"])
    for key, value in settings.items():
        what, dot, of = key.partition(".")
        bins, _, span = of.rpartition(".")
        low, dash, high = span.partition("-")
        if not dot:
            labelled[_KEYS.get(key, key)] = _hash(key, value)
        elif dash and low.isdigit() and high.isdigit():
            by = f"{what} by yaw{f', {bins}' * bool(bins)}".replace("_", " ")
            labelled[by] = f"{labelled[by]}, {_text(value)}" if by in labelled else _text(value)
        elif span.startswith("over_"):
            labelled[f"{what} {span.replace('_', ' ')} degrees"] = _text(value)
        else:
            labelled[f"{what} of {of}"] = _text(value)
    return labelled


def _figures(results: Columns) -> dict[str, dict[str, Figure]]:
    return {
        column: {} if result is None else {figure.name: figure for figure in result.figures}
        for column, result in results.items()
    }


def _rows(results: Columns) -> Iterator[list[str]]:
    """One row per figure. If several labels begin alike, their common beginning has its own row above them."""
    figures = _figures(results)
    every = {name: figure for column in figures.values() for name, figure in column.items()}
    labels = [figure.label for figure in every.values()]
    prefixes = {label: _prefix(label, labels) for label in labels}
    for prefix, group in groupby(every.items(), key=lambda item: prefixes[item[1].label]):
        members = list(group)
        together = len(members) > 1 and bool(prefix)
        if together:
            yield [f"**{prefix}**", *("" for _ in results)]
        for name, figure in members:
            label = figure.label
            if together:
                label = label[len(prefix) :].lstrip(":, ") or _VALUES.get(figure.unit, "number")
            cells = [shown(column[name]) if name in column else "–" for column in figures.values()]
            yield [_row_label(label, figure), *cells]


def _prefix(label: str, labels: Sequence[str]) -> str:
    """The beginning of a label, by which labels are grouped."""
    if any(other.startswith(f"{label}: ") for other in labels):
        return label
    before, colon, _ = label.rpartition(": ")
    return before if colon else label.rpartition(", ")[0]


def _row_label(label: str, figure: Figure) -> str:
    has_unit = not figure.unit or label.endswith(figure.unit)
    return f"{label if has_unit else f'{label}, {figure.unit}'} {_ARROWS[figure.better]}".rstrip()


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    spelled = [[_escaped(cell) for cell in row] for row in (head, *rows)]
    rule = ["---", *["--:"] * (len(head) - 1)]
    return [f"| {' | '.join(row)} |" for row in (spelled[0], rule, *spelled[1:])]


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
