"""Memory of a stage: each stage runs in its own process, which loads only what the stage needs."""

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
from tddfa.bench.process_memory import peak_mb, resident_mb
from tddfa.bench.stages import Context, image_to_file, stages

_TIMEOUT_SECONDS = 900
_CALLS = 3
# Growth is counted after this fraction of the images: the first ones fill caches.
_SETTLED_FRACTION = 0.1


def stage_peak_mb(stage: str, loading: Mapping[str, Any], *, material: Path, scratch: Path) -> float | str | None:
    """Measure the peak memory of a process that loads the model and runs a stage a few times, MB.

    Parameters
    ----------
    stage : str
        Name of the stage.
    loading : mapping
        Arguments of `Aligner.load`.
    material, scratch : Path
        Folder of the images, and folder for output files.

    Returns
    -------
    float, str or None
        None where the system does not report it; the reason, if the stage fails.
    """
    result = _run_child({"stage": stage, "calls": _CALLS}, loading, material, scratch)
    return result if isinstance(result, str) else result.get("peak_mb")


def growth_mb(images: int, loading: Mapping[str, Any], *, material: Path, scratch: Path) -> float | str | None:
    """Measure how much the memory of a process grows while it aligns and draws many images, MB.

    Growth is counted after the first tenth of the images. Parameters and return value are those of `stage_peak_mb`.
    """
    result = _run_child({"images": images}, loading, material, scratch)
    return result if isinstance(result, str) else result.get("growth_mb")


def _run_child(
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
            env={**os.environ, **_blas_threads(loading.get("threads"))},
        )
        if done.returncode != 0:
            return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit status {done.returncode}"
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())


def _blas_threads(threads: int | None) -> dict[str, str]:
    return {} if threads is None else {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}


def main(spec: Mapping[str, Any]) -> dict[str, float | None]:
    """Measure in this process what `stage_peak_mb` or `growth_mb` asks for."""
    loading = spec["loading"]
    context = Context(
        Aligner.load(**loading), load(Path(spec["material"])), Path(spec["scratch"]), threads=loading.get("threads")
    )
    if "images" in spec:
        return {"growth_mb": _growth(context, spec["images"])}
    (stage,) = (stage for stage in stages(gpu=True) if stage.name == spec["stage"])
    run = stage.make(context)
    for _ in range(spec["calls"]):
        run()
    return {"peak_mb": peak_mb()}


def _growth(context: Context, images: int) -> float | None:
    run = image_to_file(context)
    settled: float | None = None
    for k in range(images):
        run()
        if k == int(_SETTLED_FRACTION * images):
            settled = resident_mb()
    now = resident_mb()
    return None if now is None or settled is None else now - settled


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(main(json.loads(sys.argv[1])))}\n")
