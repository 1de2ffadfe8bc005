"""Speed of the model on this machine: a short run of ``tddfa bench``. It needs no data."""

from __future__ import annotations

from tddfa.bench.run import Plan, run
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.result import Figure, Result, Setup

_BENCHMARK = BENCHMARKS["latency"]

STAGES = (
    "read,detect*,crop,network.*,decode.*,align.*,normals,rasterise,interpolate,*.1,ply,obj,video.step,process.warm"
)
"""The stages of `tddfa.bench` that are timed."""


def evaluate(setup: Setup, rounds: int = 5, patterns: str = STAGES) -> Result:
    """Time the stages with one thread and with all threads, in turn.

    Parameters
    ----------
    setup : Setup
        Its data are not used.
    rounds : int
        Number of measurements of each stage.
    patterns : str
        The stages, as in ``tddfa bench --stages``.

    Raises
    ------
    ValueError
        If the aligner has no detector, or if a pattern matches no stage.
    """
    setup.detector(_BENCHMARK.name)  # an error if there is none
    bar = iter(setup.track(range(rounds), _BENCHMARK.name))

    def progress(text: str) -> None:
        if text.startswith("round "):
            next(bar, None)

    next(bar, None)
    report = run(setup.aligner, Plan(patterns, rounds=rounds), progress=progress)
    figures = []
    for row in report.rows:
        for variant in report.variants:
            timing = row.timings.get(variant.name)
            name, label = f"{row.stage}.{variant.name}", f"{row.label}, {variant.label}"
            figures.append(Figure(name, label, None if timing is None else timing.median, "ms", "lower"))
            if timing is not None and row.stage.startswith("network."):
                rate = row.faces_per_second(variant.name)
                figures.append(Figure(f"{name}.rate", f"{label}: throughput", rate, "faces/s", "higher"))
    return Result(
        benchmark=_BENCHMARK.name,
        settings={
            "rounds": rounds,
            "threads": "1; one per core",  # in turn, whatever the model was loaded with
            **{key: report.about[key] for key in ("machine", "cores", "system", "device", "python", "numpy", "opencv")},
        },
        figures=figures,
        items=[
            {
                "name": row.stage,
                **{
                    f"{variant} {part}": getattr(timing, part)
                    for variant, timing in row.timings.items()
                    for part in ("median", "lower", "upper", "minimum", "count")
                },
            }
            for row in report.rows
        ],
        notes=[
            "Medians, ms; the stages are timed in turn, round by round, on rendered images of 1280 x 720 px.",
            *(f"Not timed: {reason}." for reason in report.reasons()),
        ],
    )
