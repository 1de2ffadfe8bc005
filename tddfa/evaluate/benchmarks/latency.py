"""How fast the model is on this machine: a short run of what ``tddfa bench`` does."""

from __future__ import annotations

from tddfa.bench.run import Plan, run
from tddfa.evaluate.result import Figure, Result, Setup

NAME = "latency"
LAYOUT = "no data: pictures are rendered"

STAGES = (
    "read,detect*,crop,network.*,decode.*,align.*,normals,rasterise,interpolate,*.1,ply,obj,video.step,process.warm"
)
"""What is timed, of the stages of `tddfa.bench`."""


def evaluate(setup: Setup, rounds: int = 5, patterns: str = STAGES) -> Result:
    """Time the stages with one thread and with all, in turn.

    Parameters
    ----------
    setup : Setup
        Its data are not looked at.
    rounds : int
        How often each stage is timed.
    patterns : str
        Which, as of ``tddfa bench --stages``.

    Raises
    ------
    ValueError
        If the aligner has no detector, or if a pattern matches no stage.
    """
    if setup.aligner.detector is None:
        raise ValueError(f"{NAME}: expected a model with a detector, this one has none")
    bar = iter(setup.track(range(rounds), NAME))

    def progress(text: str) -> None:
        if text.startswith("round "):
            next(bar, None)

    next(bar, None)
    report = run(setup.aligner, Plan(patterns=patterns, rounds=rounds), progress)
    figures = []
    for row in report.rows:
        for variant in report.variants:
            timing = row.timings.get(variant.name)
            name, label = f"{row.stage}.{variant.name}", f"{row.label}, {variant.label}"
            figures.append(Figure(name, label, None if timing is None else timing.median, "ms"))
            if timing is not None and row.stage.startswith("network."):
                figures.append(
                    Figure(f"{name}.rate", f"{label}: throughput", 1000 * row.faces / timing.median, "faces/s")
                )
    return Result(
        benchmark=NAME,
        settings={
            "rounds": rounds,
            **{key: report.about[key] for key in ("machine", "cores", "system", "device", "python", "numpy", "opencv")},
        },
        figures=figures,
        items=[
            {
                "name": row.stage,
                **{
                    f"{variant} {part}": getattr(timing, part)
                    for variant, timing in row.timings.items()
                    for part in ("median", "lower", "upper", "least", "count")
                },
            }
            for row in report.rows
        ],
        notes=[
            "Medians, ms; the stages were taken in turn, round by round, on rendered pictures of 1280 x 720 px.",
            *(f"Not timed: {reason}." for reason in report.reasons()),
        ],
    )
