"""One run of the benchmark: stages, variants and rounds to a `Report`."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import cv2
import numpy as np

from tddfa import __version__
from tddfa.aligner import Aligner
from tddfa.bench import material, memory
from tddfa.bench.material import Material
from tddfa.bench.peer import Peer, PeerError
from tddfa.bench.report import Report, Row, Variant
from tddfa.bench.stages import Context, Stage, chosen, stages, with_threads
from tddfa.bench.timing import Job, measure, sampler

COLD = "process.cold"
_COLD_LABEL = "photo to 3d file, from start to exit"


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes
    ----------
    patterns : str
        Of names of stages: ``detect*,3d.1``; ``*`` is all.
    rounds : int
        How often each is timed.
    threads : sequence of (int or None)
        Of networks, OpenCV and the renderer; each is a column, None is one a core.
    config, device, precision : str
        What `Aligner.load` was given: processes of their own (memory, the whole process) load it again. No config
        leaves those out.
    memory : bool
        Measure the memory of each stage too.
    images : int
        So many pictures must not make a process grow; 0 does not look.
    peer : Path or None
        A checkout of 3DDFA_V2 to be timed beside.
    peer_python : str
        The interpreter it runs on.
    """

    patterns: str = "*"
    rounds: int = 20
    threads: Sequence[int | None] = (1, None)
    config: str | None = None
    device: str = "auto"
    precision: Literal["float", "int8"] = "float"
    memory: bool = False
    images: int = 0
    peer: Path | None = None
    peer_python: str = field(default=sys.executable)


def run(aligner: Aligner, plan: Plan, progress: Callable[[str], None] = lambda _: None) -> Report:
    """Measure.

    Parameters
    ----------
    aligner : Aligner
        The model, with a detector.
    plan : Plan
        What, and how often.
    progress : callable
        Called with what is being done.

    Raises
    ------
    ValueError
        If the plan asks for stages that there are not.
    """
    every = stages(gpu=aligner.device != "cpu")
    if plan.config is not None:
        every.append(Stage(COLD, _COLD_LABEL, partial(_cold_process, plan)))
    wanted = chosen(every, plan.patterns)
    if plan.rounds < 1:
        raise ValueError(f"rounds: expected 1 or more, got {plan.rounds}")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="tddfa-bench-")))
        progress("rendering the pictures")
        pictures = material.make(scratch / "material")
        variants = _ours(plan)
        jobs = []
        for variant in variants:
            context = Context(with_threads(aligner, variant.threads), pictures, scratch, variant.threads)
            jobs += [Job(s.name, variant.name, _lazily(s, context, variant.threads)) for s in wanted]
        failures: dict[tuple[str, str], str] = {}
        peers: dict[str, Peer] = {}
        if plan.peer is not None:
            for variant in [Variant(f"peer-{v.name}", f"3DDFA_V2, {v.label}", v.threads, v.name) for v in variants]:
                progress(f"starting {plan.peer}")
                variants.append(variant)
                try:
                    peer = stack.enter_context(
                        Peer(
                            plan.peer.resolve(), pictures, scratch, python=plan.peer_python, threads=variant.threads,
                            gpu=aligner.device != "cpu",
                        )
                    )  # fmt: skip
                except PeerError as error:
                    failures[("*", variant.name)] = str(error)
                    continue
                peers[variant.name] = peer
                jobs += _peer_jobs(peer, variant, wanted)
        # the variants of one stage one after the other
        order = {stage.name: k for k, stage in enumerate(wanted)}
        jobs.sort(key=lambda job: order[job.stage])
        timings, failed = measure(jobs, plan.rounds, lambda done: progress(f"round {done} of {plan.rounds}"))
        failures |= failed
        rows = [
            Row(s.name, s.label, s.faces, {v.name: t for v in variants if (t := timings.get((s.name, v.name)))})
            for s in wanted
        ]
        peaks, growth = _memory(plan, wanted, pictures, scratch, progress)
        return Report(
            about=_about(aligner, plan, peers),
            variants=variants,
            rows=rows,
            failures={f"{stage} {variant}": reason for (stage, variant), reason in failures.items()},
            peak_mb=peaks,
            growth_mb=growth,
        )


def _ours(plan: Plan) -> list[Variant]:
    cores = os.cpu_count() or 1
    found: dict[int, Variant] = {}
    for threads in plan.threads:
        count = threads or cores
        label = "1 thread" if count == 1 else f"{count} threads"
        found.setdefault(count, Variant(f"threads-{count}", label, threads))
    return list(found.values())


def _lazily(stage: Stage, context: Context, threads: int | None) -> Callable[[], float]:
    """A sample of a stage, which is made when its first sample is taken: should that fail, it fails alone."""
    made: list[Callable[[], float]] = []

    def sample() -> float:
        if not made:
            run = stage.make(context)
            # a process is timed from the outside, and has nothing to warm up
            made.append(partial(_timed, run) if stage.name == COLD else sampler(run, threads))
        return made[0]()

    return sample


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _cold_process(plan: Plan, context: Context) -> Callable[[], object]:
    command = [sys.executable, "-m", "tddfa", "image", "-f", str(context.material.one), "-o", "3d"]
    command += ["--out", str(context.scratch / "cold"), "--show_flag", "false", "-c", str(plan.config)]
    command += [
        "--device",
        plan.device,
        "--precision",
        plan.precision,
        *([] if context.threads is None else ["--threads", str(context.threads)]),
    ]

    def start() -> object:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"exit status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    return start


def _peer_jobs(peer: Peer, variant: Variant, wanted: Sequence[Stage]) -> Iterator[Job]:
    for stage in wanted:
        if stage.name in peer.stages:
            yield Job(stage.name, variant.name, partial(peer.sample, stage.name))
        elif stage.name == COLD:
            yield Job(COLD, variant.name, peer.cold)


def _memory(
    plan: Plan, wanted: Sequence[Stage], pictures: Material, scratch: Path, progress: Callable[[str], None]
) -> tuple[dict[str, float | str | None], float | str | None]:
    if plan.config is None:
        return {}, None
    loading = {
        "config": plan.config, "device": plan.device, "precision": plan.precision, "threads": plan.threads[0],
    }  # fmt: skip
    about = (loading, pictures.one.parent, scratch)
    peaks = {}
    for stage in wanted if plan.memory else []:
        if stage.name != COLD:
            progress(f"memory: {stage.name}")
            peaks[stage.name] = memory.of_stage(stage.name, *about)
    if plan.images:
        progress(f"memory over {plan.images} pictures")
    return peaks, memory.growth(plan.images, *about) if plan.images else None


def _about(aligner: Aligner, plan: Plan, peers: dict[str, Peer]) -> dict[str, object]:
    peer = next(iter(peers.values()), None)
    return {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "machine": _processor(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "config": plan.config,
        "precision": plan.precision,
        "device": aligner.device,
        "rounds": plan.rounds,
        "images": plan.images,
        "peer": None if plan.peer is None else str(plan.peer),
        "peer_config": peer and peer.config,
        "peer_network": peer and peer.network,
        "peer_why_not_onnx": (peer and peer.why_not_onnx) or None,
        "peer_peak_mb": peer and peer.peak_mb(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
