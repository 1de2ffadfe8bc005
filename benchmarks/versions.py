"""Time the stages of two versions of this package in alternation: ``python benchmarks/versions.py OLD NEW``.

OLD and NEW are Python interpreters, each with its version installed. Each version runs in its own process; samples
alternate between the two, so that a busy machine slows both. The printed ratio, new time over old time, is the median
of the ratios of neighbouring samples. Times are CPU time of the process by default, and wall time with ``--wall``.

The versions need `tddfa.bench` with the same names of stages.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_SAMPLE_SECONDS = 0.05

# Runs in each interpreter. It may use only what both versions have.
_WORKER = """
import json, pathlib, sys, time
from tddfa import Aligner
from tddfa.bench import material, stages

folder, scratch, threads, wall, seconds = json.loads(sys.stdin.readline())
clock = time.perf_counter if wall else time.process_time
aligner = Aligner.load("open_mb05", threads=threads)
context = stages.Context(aligner, material.load(pathlib.Path(folder)), pathlib.Path(scratch), threads=threads)
every = {stage.name: stage for stage in stages.stages()}
every["default.1"] = None  # older versions have no stage for the default call
calls, counts = {"default.1": lambda: context.aligner(context.images[1])}, {}
print(json.dumps(sorted(every)), flush=True)
for line in sys.stdin:
    name = line.strip()
    if name not in calls:
        calls[name] = every[name].make(context)
    call = calls[name]
    if name not in counts:
        call()
        begin = time.perf_counter()
        call()
        counts[name] = max(1, round(seconds / max(time.perf_counter() - begin, 1e-6)))
    begin = clock()
    for _ in range(counts[name]):
        call()
    print(json.dumps((clock() - begin) / counts[name]), flush=True)
"""

_MATERIAL = "import pathlib, sys; from tddfa.bench import material; material.make(pathlib.Path(sys.argv[1]))"


class _Version:
    """A process with one version of the package."""

    def __init__(self, python: str, settings: list[Any], folder: str) -> None:
        # another folder than a checkout, which Python would import from
        self._process = subprocess.Popen(
            [python, "-c", _WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
        )
        self.stages: list[str] = self._ask(json.dumps(settings))

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"expected an answer to {line!r}, got none: the process ended")
        return json.loads(answer)

    def sample(self, stage: str) -> float:
        """Time one sample of a stage, seconds per call."""
        return float(self._ask(stage))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    """Print a table of the stages."""
    parser = argparse.ArgumentParser(description="Time the stages of two versions of tddfa in alternation.")
    parser.add_argument("old", help="Python interpreter with the old version")
    parser.add_argument("new", help="Python interpreter with the new version")
    parser.add_argument(
        "--stages", default="default.1,align.1,align.20,decode.dense,3d.1,depth.1,pncc.1,pose.1,uv_tex.1"
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true", help="measure wall time")
    args = parser.parse_args()
    names = args.stages.split(",")
    # not resolved: the link in an environment's folder is what makes it that environment
    pythons = [str(Path(python).absolute()) for python in (args.old, args.new)]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([pythons[1], "-c", _MATERIAL, folder], check=True, cwd=folder)
        settings = [folder, folder, args.threads, args.wall, _SAMPLE_SECONDS]
        versions = [_Version(python, settings, folder) for python in pythons]
        for version, python in zip(versions, pythons, strict=True):
            if missing := sorted(set(names) - set(version.stages)):
                sys.exit(f"{python}: expected the stages {', '.join(missing)}, got {', '.join(version.stages)}")
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for number in range(args.rounds + 1):
            for name in names:
                order = versions if number % 2 else versions[::-1]
                pair = [version.sample(name) for version in order]
                if number:  # the first round warms up
                    times[name].append((pair[0], pair[1]) if number % 2 else (pair[1], pair[0]))
        for version in versions:
            version.close()
    sys.stdout.write(f"{'stage':14} {'old, ms':>9} {'new, ms':>9} {'ratio':>6}\n")
    for name, pairs in times.items():
        old, new = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(new / old for old, new in pairs)
        sys.stdout.write(f"{name:14} {old:9.3f} {new:9.3f} {ratio:6.2f}\n")


if __name__ == "__main__":
    main()
