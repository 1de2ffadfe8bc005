"""What a run of the benchmark found: as a table, and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tddfa._shared.files import write_atomic
from tddfa.bench.timing import Timing


@dataclass(frozen=True)
class Variant:
    """A column: one of those that are compared.

    Attributes
    ----------
    name, label : str
        For programs and for people.
    threads : int or None
        None is one a core.
    beside : str
        Of a peer: the variant of ours that it is compared with.
    """

    name: str
    label: str
    threads: int | None = None
    beside: str = ""


@dataclass(frozen=True)
class Row:
    """A stage.

    Attributes
    ----------
    stage, label : str
        For programs and for people.
    faces : int
        That a call deals with.
    timings : mapping of str to Timing
        By variant.
    """

    stage: str
    label: str
    faces: int
    timings: Mapping[str, Timing]

    def ratio(self, variant: str, to: str) -> float | None:
        """How many times as long a variant takes as another; None where one of them was not timed."""
        if variant not in self.timings or to not in self.timings:
            return None
        return self.timings[variant].median / max(self.timings[to].median, 1e-9)


@dataclass(frozen=True)
class Report:
    """All of it.

    Attributes
    ----------
    about : mapping
        Machine, versions, model and settings.
    variants : sequence of Variant
        The columns.
    rows : sequence of Row
        The stages.
    failures : mapping of str to str
        ``stage variant`` -> why it was not timed; ``* variant`` where none was.
    peak_mb : mapping of str to (float, str or None)
        Stage -> the most memory of a process that does it alone; a reason where that failed.
    growth_mb : float, str or None
        By how much a process grew over many pictures.
    """

    about: Mapping[str, Any]
    variants: Sequence[Variant]
    rows: Sequence[Row]
    failures: Mapping[str, str] = field(default_factory=dict)
    peak_mb: Mapping[str, float | str | None] = field(default_factory=dict)
    growth_mb: float | str | None = None

    def ratios(self) -> list[tuple[str, str, str]]:
        """Columns of ratios: heading, and the two variants of which the first one's time is divided by the other's."""
        own = [variant for variant in self.variants if not variant.beside]
        first = [(f"{own[0].label} / {v.label}", own[0].name, v.name) for v in own[1:]]
        labels = {variant.name: variant.label for variant in own}
        peers = [(f"3DDFA_V2 / tddfa, {labels[v.beside]}", v.name, v.beside) for v in self.variants if v.beside]
        return [*first, *peers]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as JSON, whole or not at all."""
        content = asdict(self)
        for row, written in zip(self.rows, content["rows"], strict=True):
            written["faces_a_second"] = {name: 1000 * row.faces / t.median for name, t in row.timings.items()}
            written["ratios"] = {f"{one} / {other}": row.ratio(one, other) for _, one, other in self.ratios()}
        return write_atomic(path, json.dumps(content, indent=1, allow_nan=False).encode())

    def lines(self) -> Iterator[str]:
        """The table, line by line: medians with quartiles in ms, ratios, memory; then what else there is to say."""
        table = [["stage", *(f"{v.label}, ms" for v in self.variants), *(head for head, _, _ in self.ratios())]]
        if self.peak_mb:
            table[0].append("peak MB")
        for row in self.rows:
            cells = [f"{row.stage:14} {row.label}", *(self._time(row, v.name) for v in self.variants)]
            for _, one, other in self.ratios():
                ratio = row.ratio(one, other)
                cells.append("" if ratio is None else f"{ratio:.2f}")
            if self.peak_mb:
                cells.append(_number(self.peak_mb.get(row.stage, "")))
            table.append(cells)
        widths = [max(len(cells[k]) for cells in table) for k in range(len(table[0]))]
        for cells in table:
            rest = (f"{cell:>{width}}" for cell, width in zip(cells[1:], widths[1:], strict=True))
            yield "  ".join([f"{cells[0]:<{widths[0]}}", *rest]).rstrip()
        yield ""
        yield "Medians (quartiles); stages in turn. Threads: of networks, OpenCV and renderer; BLAS has its own."
        yield from self._throughput()
        if self.growth_mb is not None:
            yield f"Memory over {self.about.get('images')} pictures: {_growth(self.growth_mb)}"
        yield from self._reasons()

    def _time(self, row: Row, variant: str) -> str:
        timing = row.timings.get(variant)
        if timing is not None:
            return f"{_ms(timing.median)} ({_ms(timing.lower)}-{_ms(timing.upper)})"
        return "-" if {f"{row.stage} {variant}", f"* {variant}"} & set(self.failures) else ""

    def _throughput(self) -> Iterator[str]:
        for variant in self.variants:
            rates = [
                f"{1000 * row.faces / row.timings[variant.name].median:.0f} at {row.faces}"
                for row in self.rows
                if row.stage.startswith("network.") and variant.name in row.timings
            ]
            if rates:
                yield f"Faces a second by batch, {variant.label}, {self.about.get('device')}: {', '.join(rates)}"

    def reasons(self) -> Iterator[str]:
        """Why something was not timed: which columns and stages, and the reason; once where it is that of several."""
        labels = {variant.name: variant.label for variant in self.variants}
        stages: dict[tuple[str, str], list[str]] = {}
        for what, reason in self.failures.items():
            stage, _, variant = what.partition(" ")
            stages.setdefault((labels.get(variant, variant), reason), []).append("nothing" if stage == "*" else stage)
        columns: dict[tuple[str, str], list[str]] = {}
        for (label, reason), which in stages.items():
            columns.setdefault((", ".join(which), reason), []).append(label)
        own = [variant.label for variant in self.variants if not variant.beside]
        for (listed, reason), where in columns.items():
            # what holds for all of ours needs no column named
            yield f"{listed}: {reason}" if where == own else f"{', '.join(where)}: {listed}: {reason}"

    def _reasons(self) -> Iterator[str]:
        for reason in self.reasons():
            yield f"- {reason}"
        for stage, peak in self.peak_mb.items():
            if isinstance(peak, str):
                yield f"- memory of {stage}: {peak}"


def _ms(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _number(value: float | str | None) -> str:
    return "-" if value is None or (isinstance(value, str) and value) else value if value == "" else f"{value:.0f}"


def _growth(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:+.1f} MB once settled"
