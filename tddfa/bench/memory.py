"""How much memory a stage takes: each in a process of its own, which loads what that stage needs and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tddfa.aligner import Aligner
from tddfa.bench.material import load
from tddfa.bench.stages import Context, photo_to_file, stages

if sys.platform == "darwin":
    import resource

_TIMEOUT_SECONDS = 900
_CALLS = 3
# Growth is counted from here on: the first pictures fill caches.
_SETTLED_SHARE = 0.1


def peak_mb(pid: int | None = None) -> float | None:
    """The most memory that a process has held so far, MB; None where the system does not tell."""
    found = _status("VmHWM", pid)
    if found is None and pid is None and sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return found


def resident_mb() -> float | None:
    """The memory that this process holds, MB; None where the system does not tell."""
    return _status("VmRSS", None)


def _status(key: str, pid: int | None) -> float | None:
    # not ru_maxrss: on Linux that starts from what the process held that started this one
    try:
        text = Path(f"/proc/{'self' if pid is None else pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    values = [line.split()[1] for line in text.splitlines() if line.startswith(f"{key}:")]
    return int(values[0]) * 1024 / 1e6 if values else None


def of_stage(stage: str, loading: Mapping[str, Any], material: Path, scratch: Path) -> float | str | None:
    """Peak memory of a process that loads the model and does a stage a few times, MB.

    Parameters
    ----------
    stage : str
        Its name.
    loading : mapping
        Arguments of `Aligner.load`.
    material, scratch : Path
        Folders: of the pictures, and to write to.

    Returns
    -------
    float, str or None
        None where the system does not tell; a reason where the stage does not run.
    """
    answer = _child({"stage": stage, "calls": _CALLS}, loading, material, scratch)
    return answer if isinstance(answer, str) else answer.get("peak_mb")


def growth(images: int, loading: Mapping[str, Any], material: Path, scratch: Path) -> float | str | None:
    """By how much a process grows while it aligns and draws so many pictures, MB, once it has settled."""
    answer = _child({"images": images}, loading, material, scratch)
    return answer if isinstance(answer, str) else answer.get("growth_mb")


def _child(
    task: Mapping[str, Any], loading: Mapping[str, Any], material: Path, scratch: Path
) -> dict[str, float | None] | str:
    spec = json.dumps({**task, "loading": dict(loading), "material": str(material), "scratch": str(scratch)})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tddfa.bench.memory", spec],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
            env={**os.environ, **_blas(loading.get("threads"))},
        )
        if done.returncode != 0:
            return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit status {done.returncode}"
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())


def _blas(threads: int | None) -> dict[str, str]:
    return {} if threads is None else {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}


def main(spec: Mapping[str, Any]) -> dict[str, float | None]:
    """Do what `of_stage` or `growth` asks for, in this process."""
    aligner = Aligner.load(**spec["loading"])
    context = Context(aligner, load(Path(spec["material"])), Path(spec["scratch"]), spec["loading"].get("threads"))
    if "images" in spec:
        run = photo_to_file(context)
        settled: float | None = None
        for k in range(spec["images"]):
            run()
            if k == int(_SETTLED_SHARE * spec["images"]):
                settled = resident_mb()
        now = resident_mb()
        return {"growth_mb": None if now is None or settled is None else now - settled}
    (stage,) = (stage for stage in stages(gpu=True) if stage.name == spec["stage"])
    run = stage.make(context)
    for _ in range(spec["calls"]):
        run()
    return {"peak_mb": peak_mb()}


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(main(json.loads(sys.argv[1])))}\n")
