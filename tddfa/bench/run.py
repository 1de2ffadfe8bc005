"""One run of the benchmark, from a `Plan` to a `Report`."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from tddfa import __version__
from tddfa._shared.cores import available_cores
from tddfa.aligner import Aligner
from tddfa.bench import material, memory
from tddfa.bench.material import Material
from tddfa.bench.peer import Peer, PeerError
from tddfa.bench.report import Report, Row, Variant
from tddfa.bench.stages import Context, Stage, chosen, stages, with_threads
from tddfa.bench.timing import Job, measure, sampler, seconds_per_call

COLD = "process.cold"
_COLD_LABEL = "image to 3d file, whole process"
# Arguments of `Aligner.load` whose options have other names.
_OPTIONS = {"convention": "--landmarks"}


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes
    ----------
    patterns : str
        Patterns of stage names, such as ``detect*,3d.1``; ``*`` is all.
    rounds : int
        Number of rounds of timing.
    threads : sequence of (int or None)
        Numbers of threads to compare, each in a column; None is one per core. They apply to the networks, OpenCV and
        the renderer.
    config : str, optional
        Config that new processes load: ``process.cold`` and the memory measurements. Without a config, these are left
        out.
    device, precision : str
        Further arguments of `Aligner.load` for these processes.
    loading : mapping
        The remaining arguments of `Aligner.load`.
    memory : bool
        Measure the peak memory of each stage too.
    images : int
        Number of images over which to measure the growth of memory; 0 skips it.
    peer : Path, optional
        A checkout of 3DDFA_V2 to time too.
    peer_python : str
        Python interpreter of the checkout.
    peer_mediapipe : str, optional
        A Python interpreter with MediaPipe, to time its FaceMesh too.

    Raises
    ------
    ValueError
        If `rounds` is less than 1.

    Examples
    --------
    >>> plan = Plan("crop,network.*", threads=(1,))
    >>> plan.rounds, plan.memory
    (20, False)
    """

    patterns: str = "*"
    _: KW_ONLY
    rounds: int = 20
    threads: Sequence[int | None] = (1, None)
    config: str | None = None
    device: str = "auto"
    precision: str = "float"
    loading: Mapping[str, Any] = field(default_factory=dict)
    memory: bool = False
    images: int = 0
    peer: Path | None = None
    peer_python: str = sys.executable
    peer_mediapipe: str | None = None

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds: expected 1 or more, got {self.rounds}")


def run(aligner: Aligner, plan: Plan, *, progress: Callable[[str], None] = lambda _: None) -> Report:
    """Measure what a plan lists.

    Parameters
    ----------
    aligner : Aligner
        The model, with a detector.
    plan : Plan
        What to measure.
    progress : callable
        Called with a short text at each step.

    Raises
    ------
    ValueError
        If a pattern of the plan matches no stage.
    """
    selected = selected_stages(plan, gpu=aligner.device != "cpu")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="tddfa-bench-")))
        progress("rendering the images")
        session = _Session(aligner, plan, selected, material.make(scratch / "material"), scratch, progress)
        variants = _variants(plan)
        peer_variants = [_peer_variant(variant, toolkit) for toolkit in _toolkits(plan) for variant in variants]
        peers, failures = session.start_peers(peer_variants, stack)
        jobs = [job for variant in variants for job in session.jobs(variant)]
        jobs += [job for name, peer in peers.items() for job in session.peer_jobs(peer, name)]
        # group the variants of a stage
        order = {stage.name: k for k, stage in enumerate(selected)}
        jobs.sort(key=lambda job: order[job.stage])
        timings, failed = measure(jobs, plan.rounds, progress=lambda done: progress(f"round {done} of {plan.rounds}"))
        columns = [*variants, *peer_variants]
        return Report(
            about=_about(aligner, plan, peers),
            variants=columns,
            rows=[
                Row(s.name, s.label, s.faces, {v.name: t for v in columns if (t := timings.get((s.name, v.name)))})
                for s in selected
            ],
            failures={f"{stage} {variant}": reason for (stage, variant), reason in (failures | failed).items()},
            peak_mb=session.peak_mb(),
            growth_mb=session.growth_mb(),
        )


def selected_stages(plan: Plan, *, gpu: bool) -> list[Stage]:
    """The stages that a plan measures.

    Raises
    ------
    ValueError
        If one of its patterns matches no stage.
    """
    every = stages(gpu=gpu)
    if plan.config is not None:
        every.append(Stage(COLD, _COLD_LABEL, partial(_cold_process, plan)))
    return chosen(every, plan.patterns)


def _variants(plan: Plan) -> list[Variant]:
    by_count: dict[int, Variant] = {}
    for threads in plan.threads:
        count = threads or available_cores()
        label = "1 thread" if count == 1 else f"{count} threads"
        by_count.setdefault(count, Variant(f"threads-{count}", label, threads=threads))
    return list(by_count.values())


def _toolkits(plan: Plan) -> Iterator[str]:
    if plan.peer is not None:
        yield "3DDFA_V2"
    if plan.peer_mediapipe is not None:
        yield "MediaPipe"


def _peer_variant(variant: Variant, toolkit: str) -> Variant:
    name = f"peer-{variant.name}" if toolkit == "3DDFA_V2" else f"{toolkit.lower()}-{variant.name}"
    label = f"{toolkit}, {variant.label}"
    return Variant(name, label, threads=variant.threads, baseline=variant.name, toolkit=toolkit)


@dataclass(frozen=True)
class _Session:
    """The parts of a run that share its model, images and folders."""

    aligner: Aligner
    plan: Plan
    stages: Sequence[Stage]
    material: Material
    scratch: Path
    progress: Callable[[str], None]

    def jobs(self, variant: Variant) -> Iterator[Job]:
        """Jobs of a variant of this package."""
        threads = variant.threads
        context = Context(with_threads(self.aligner, threads), self.material, self.scratch, threads=threads)
        for stage in self.stages:
            yield Job(stage.name, variant.name, _lazy_sample(stage, context))

    def start_peers(
        self, variants: Sequence[Variant], stack: ExitStack
    ) -> tuple[dict[str, Peer], dict[tuple[str, str], str]]:
        """Start a peer for each variant: the peers that run, by variant, and the failures of the others."""
        peers: dict[str, Peer] = {}
        failures: dict[tuple[str, str], str] = {}
        plan = self.plan
        for variant in variants:
            self.progress(f"starting {variant.label}")
            mediapipe = variant.toolkit == "MediaPipe"
            try:
                peer = Peer(
                    None if mediapipe or plan.peer is None else plan.peer.resolve(),
                    self.material,
                    self.scratch,
                    python=plan.peer_mediapipe if mediapipe and plan.peer_mediapipe else plan.peer_python,
                    threads=variant.threads,
                    gpu=self.aligner.device != "cpu",
                )
            except PeerError as error:
                failures["*", variant.name] = str(error)
            else:
                peers[variant.name] = stack.enter_context(peer)
        return peers, failures

    def peer_jobs(self, peer: Peer, variant: str) -> Iterator[Job]:
        """Jobs of a peer, for the stages that it has."""
        for stage in self.stages:
            if stage.name in peer.stages:
                yield Job(stage.name, variant, partial(peer.sample, stage.name))
            elif stage.name == COLD:
                yield Job(COLD, variant, peer.sample_process)

    def peak_mb(self) -> dict[str, float | str | None]:
        """Peak memory by stage, if the plan asks for it."""
        if not self.plan.memory or self.plan.config is None:
            return {}
        peaks: dict[str, float | str | None] = {}
        for stage in self.stages:
            if stage.name != COLD:
                self.progress(f"memory: {stage.name}")
                peaks[stage.name] = memory.stage_peak_mb(
                    stage.name, self._loading(), material=self.material.one.parent, scratch=self.scratch
                )
        return peaks

    def growth_mb(self) -> float | str | None:
        """Growth of memory over many images, if the plan asks for it."""
        if not self.plan.images or self.plan.config is None:
            return None
        self.progress(f"memory over {self.plan.images} images")
        return memory.growth_mb(
            self.plan.images, self._loading(), material=self.material.one.parent, scratch=self.scratch
        )

    def _loading(self) -> dict[str, object]:
        plan = self.plan
        return {
            **plan.loading,
            "config": plan.config,
            "device": plan.device,
            "precision": plan.precision,
            "threads": plan.threads[0],
        }


def _lazy_sample(stage: Stage, context: Context) -> Callable[[], float]:
    """Return a `Job.sample` that prepares its stage on the first call, so that an error affects this stage only."""
    sample: Callable[[], float] | None = None

    def call() -> float:
        nonlocal sample
        if sample is None:
            function = stage.make(context)
            # a new process needs no warm-up
            cold = stage.name == COLD
            sample = partial(seconds_per_call, function) if cold else sampler(function, threads=context.threads)
        return sample()

    return call


def _cold_process(plan: Plan, context: Context) -> Callable[[], object]:
    command = [sys.executable, "-m", "tddfa", "image", "-f", str(context.material.one), "-o", "3d"]
    command += ["--out", str(context.scratch / "cold"), "--show_flag", "false", "-c", str(plan.config)]
    command += ["--device", plan.device, "--precision", plan.precision]
    for name, value in plan.loading.items():
        if value is not None and value is not False:
            option = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
            command += [option] if value is True else [option, str(value)]
    if context.threads is not None:
        command += ["--threads", str(context.threads)]

    def start() -> object:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"exit status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    return start


def _about(aligner: Aligner, plan: Plan, peers: dict[str, Peer]) -> dict[str, object]:
    peer, mediapipe = (
        next((peer for name, peer in peers.items() if name.startswith("mediapipe") == wanted), None)
        for wanted in (False, True)
    )
    return {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "machine": _processor(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "available_cores": available_cores(),
        "config": plan.config,
        "precision": plan.precision,
        **{name: value for name, value in plan.loading.items() if value is not None and value is not False},
        "device": aligner.device,
        "rounds": plan.rounds,
        "images": plan.images,
        "peer": None if plan.peer is None else str(plan.peer),
        "peer_config": peer and peer.config,
        "peer_network": peer and peer.network,
        "peer_onnx_error": (peer and peer.onnx_error) or None,
        "peer_peak_mb": peer and peer.peak_mb(),
        "mediapipe": mediapipe and mediapipe.config,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
