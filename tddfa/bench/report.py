"""Results of a benchmark run, as a table and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path
from typing import Any

from tddfa._shared.files import write_atomic
from tddfa.bench.timing import Timing

# A pool of threads is reported if this many more cores are busy than there should be threads.
_SURPLUS_CORES = 0.35


@dataclass(frozen=True)
class Variant:
    """A column of the table: a number of threads, of this package or of a peer.

    Attributes
    ----------
    name, label : str
        Names for programs and for readers.
    threads : int or None
        Number of threads; None is one per core.
    baseline : str
        Of a peer: name of the variant of this package with which it is compared.
    toolkit : str
        What is timed: this package or the name of a peer.
    """

    name: str
    label: str
    _: KW_ONLY
    threads: int | None = None
    baseline: str = ""
    toolkit: str = "tddfa"


@dataclass(frozen=True)
class Row:
    """A row of the table: a stage.

    Attributes
    ----------
    stage, label : str
        Names for programs and for readers.
    faces : int
        Number of faces per call.
    timings : mapping of str to Timing
        Timings by variant.
    """

    stage: str
    label: str
    faces: int
    timings: Mapping[str, Timing]

    def faces_per_second(self, variant: str) -> float:
        """Throughput of a variant."""
        return 1000 * self.faces / self.timings[variant].median

    def ratio(self, variant: str, to: str) -> float | None:
        """Time of a variant divided by that of another; None if one of them was not timed."""
        if variant not in self.timings or to not in self.timings:
            return None
        return self.timings[variant].median / max(self.timings[to].median, 1e-9)


@dataclass(frozen=True)
class Report:
    """Results of a run.

    Attributes
    ----------
    about : mapping
        Machine, versions, model and settings.
    variants : sequence of Variant
        The columns.
    rows : sequence of Row
        The stages.
    failures : mapping of str to str
        Reasons why stages were not timed, by ``stage variant``, or by ``* variant`` if no stage was.
    peak_mb : mapping of str to (float, str or None)
        Peak memory of a process that runs only this stage, by stage; the reason, if it failed.
    growth_mb : float, str or None
        Growth of the memory of a process over many images; the reason, if it failed.
    """

    about: Mapping[str, Any]
    variants: Sequence[Variant]
    rows: Sequence[Row]
    _: KW_ONLY
    failures: Mapping[str, str] = field(default_factory=dict)
    peak_mb: Mapping[str, float | str | None] = field(default_factory=dict)
    growth_mb: float | str | None = None

    def ratios(self) -> list[tuple[str, str, str]]:
        """List the columns of ratios: heading, variant in the numerator, variant in the denominator."""
        own = [variant for variant in self.variants if not variant.baseline]
        first = [(f"{own[0].label} / {v.label}", own[0].name, v.name) for v in own[1:]]
        labels = {variant.name: variant.label for variant in own}
        peers = [
            (f"{v.toolkit} / tddfa, {labels[v.baseline]}", v.name, v.baseline) for v in self.variants if v.baseline
        ]
        return [*first, *peers]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the report as JSON, atomically."""
        content = asdict(self)
        for row, written in zip(self.rows, content["rows"], strict=True):
            written["faces_per_second"] = {name: row.faces_per_second(name) for name in row.timings}
            written["ratios"] = {f"{one} / {other}": row.ratio(one, other) for _, one, other in self.ratios()}
        return write_atomic(path, json.dumps(content, indent=1, allow_nan=False).encode())

    def lines(self) -> Iterator[str]:
        """Lines of the table (times, ratios, memory), then throughput, growth of memory and failures."""
        table = self._table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for first, *others in table:
            cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
            yield "  ".join([f"{first:<{widths[0]}}", *cells]).rstrip()
        yield ""
        yield "Time per call: median (quartiles). Threads apply to the networks, OpenCV and the renderer."
        yield from (f"- warning: {warning}" for warning in self.warnings())
        yield from self._throughput()
        if self.growth_mb is not None:
            growth = self.growth_mb if isinstance(self.growth_mb, str) else f"{self.growth_mb:+.1f} MB"
            yield f"Growth of memory over {self.about.get('images')} images: {growth}"
        yield from (f"- {reason}" for reason in self.reasons())
        yield from (f"- memory of {stage}: {peak}" for stage, peak in self.peak_mb.items() if isinstance(peak, str))

    def warnings(self) -> list[str]:
        """Lines on pools of threads that are larger than they should be."""
        available = self.about.get("available_cores")
        own = [variant for variant in self.variants if not variant.baseline]
        lines = [
            f"{v.label}: more than the {available} cores that this process may use"
            for v in own
            if available is not None and (v.threads or 0) > available
        ]
        for v in own:
            if v.threads is None:
                continue
            # a pool of another library, such as BLAS, takes no notice of the number of threads
            busy = {row.stage: row.timings[v.name].cores for row in self.rows if v.name in row.timings}
            over = [f"{stage} ({cores:.1f})" for stage, cores in busy.items() if cores > v.threads + _SURPLUS_CORES]
            if over:
                lines.append(f"{v.label}: a thread pool uses more cores than that in {', '.join(over)}")
        return lines

    def _table(self) -> list[list[str]]:
        ratios = self.ratios()
        table = [["stage", *(f"{v.label}, ms" for v in self.variants), *(heading for heading, _, _ in ratios)]]
        for row in self.rows:
            times = [self._time(row, variant.name) for variant in self.variants]
            values = [row.ratio(one, other) for _, one, other in ratios]
            table.append([f"{row.stage:14} {row.label}", *times, *("" if v is None else f"{v:.2f}" for v in values)])
        if self.peak_mb:
            for cells, cell in zip(table, ["peak MB", *map(self._peak, self.rows)], strict=True):
                cells.append(cell)
        return table

    def _peak(self, row: Row) -> str:
        if row.stage not in self.peak_mb:
            return ""
        peak = self.peak_mb[row.stage]
        return f"{peak:.0f}" if isinstance(peak, float | int) else "-"

    def _time(self, row: Row, variant: str) -> str:
        timing = row.timings.get(variant)
        if timing is not None:
            return f"{_ms(timing.median)} ({_ms(timing.lower)}-{_ms(timing.upper)})"
        return "-" if {f"{row.stage} {variant}", f"* {variant}"} & set(self.failures) else ""

    def _throughput(self) -> Iterator[str]:
        for variant in self.variants:
            rates = [
                f"{row.faces_per_second(variant.name):.0f} (batch {row.faces})"
                for row in self.rows
                if row.stage.startswith("network.") and variant.name in row.timings
            ]
            if rates:
                where = f"{variant.label}, {self.about.get('device')}"
                yield f"Faces per second of the network, {where}: {', '.join(rates)}"

    def reasons(self) -> Iterator[str]:
        """Lines that say which stages and variants were not timed, and why; equal reasons are merged."""
        labels = {variant.name: variant.label for variant in self.variants}
        stages: dict[tuple[str, str], list[str]] = {}
        for key, reason in self.failures.items():
            stage, _, variant = key.partition(" ")
            name = "all stages" if stage == "*" else stage
            stages.setdefault((labels.get(variant, variant), reason), []).append(name)
        columns: dict[tuple[str, str], list[str]] = {}
        for (label, reason), names in stages.items():
            columns.setdefault((", ".join(names), reason), []).append(label)
        own = [variant.label for variant in self.variants if not variant.baseline]
        for (names_text, reason), in_columns in columns.items():
            # columns are named only if the reason does not apply to all variants of this package
            yield f"{names_text}: {reason}" if in_columns == own else f"{', '.join(in_columns)}: {names_text}: {reason}"


def _ms(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"
