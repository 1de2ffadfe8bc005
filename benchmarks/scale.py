"""Time `tddfa scale` against a plain loop over the same photos, in alternation; and its memory over many photos.

    python benchmarks/scale.py --photos 300 --rounds 3

The photos are crops of the examples, of 1 MP, each of other pixels. The plain loop reads, aligns and writes the same
table in one process, with as many threads as there are cores. ``tddfa scale`` has one worker per core, with one thread
each. Its start (Ray, processes, models) is told apart: it is the time before the first shard, once per run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from tddfa import Aligner
from tddfa._shared.cores import available_cores
from tddfa.scale import Cluster, Job
from tddfa.scale.engine import execute
from tddfa.scale.plan import write_plan
from tddfa.scale.sources import list_items
from tddfa.scale.stores import Store
from tddfa.scale.tables import TableFile, faces_schema

INPUTS = Path(__file__).resolve().parents[1] / "examples/inputs"
WIDTH, HEIGHT = 1152, 868
MIB = 1 << 20


def make_photos(folder: Path, count: int) -> None:
    """Write photos of 1 MP: crops of the examples, moved, scaled and brightened."""
    rng = np.random.default_rng(7)
    sources = [cv2.imread(str(path)) for path in sorted(INPUTS.glob("*.jpg"))]
    for number in range(count):
        image = sources[number % len(sources)]
        scale = max(WIDTH / image.shape[1], HEIGHT / image.shape[0]) * rng.uniform(1.0, 1.2)
        large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        left = int(rng.integers(0, large.shape[1] - WIDTH + 1))
        top = int(rng.integers(0, (large.shape[0] - HEIGHT) // 4 + 1))
        photo = cv2.convertScaleAbs(large[top : top + HEIGHT, left : left + WIDTH], alpha=rng.uniform(0.8, 1.2))
        cv2.imwrite(str(folder / f"{number:06d}.jpg"), photo, [cv2.IMWRITE_JPEG_QUALITY, 90])


def memory(process: int) -> float:
    """Resident memory of a process, MiB."""
    fields = Path(f"/proc/{process}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def cpu_seconds(process: int) -> float:
    """CPU time of a process so far, s."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Measured(NamedTuple):
    """Seconds to start and to work, CPU seconds per photo, faces, and for each worker its memory by photos."""

    start: float
    work: float
    cpu_per_photo: float
    faces: int
    sizes: dict[int, list[tuple[int, float]]]


def plain(photos: Path, out: Path, count: int) -> Measured:
    begin = time.perf_counter()
    aligner = Aligner.load("open_mb05", device="cpu")
    aligner(np.zeros((64, 64, 3), np.uint8))
    loaded, before = time.perf_counter(), time.process_time()
    schema = faces_schema(aligner.decoder.face_model.expression_names)
    with TableFile(out, schema) as table:
        for path in sorted(photos.iterdir()):
            for face in aligner(path):
                table.add([{"path": str(path), **face.to_dict(aligner.decoder, dense=False)}])
    work = time.perf_counter() - loaded
    return Measured(loaded - begin, work, (time.process_time() - before) / count, table.rows, {})


def scaled(photos: Path, out: Path, shard: int, workers: int) -> Measured:
    job = Job([str(photos)], str(out), shard_size=shard, model={"device": "cpu"})
    begin = time.perf_counter()
    plan = write_plan(Store(job.out), list_items(str(photos)), shard)
    faces, start, ended = 0, 0.0, begin
    done: dict[int, int] = {}
    first: dict[int, tuple[int, float]] = {}  # after the first shard of a worker: loading the model is told apart
    last: dict[int, tuple[int, float]] = {}
    sizes: dict[int, list[tuple[int, float]]] = {}
    for summary in execute(job, job.identity(), plan.tasks, Cluster(workers=workers)):
        process, ended = summary.process, time.perf_counter()
        start = start or ended - begin - summary.seconds
        faces += summary.faces
        done[process] = done.get(process, 0) + summary.photos
        sizes.setdefault(process, []).append((done[process], memory(process)))
        last[process] = done[process], cpu_seconds(process)
        first.setdefault(process, last[process])
    counted = sum(last[process][0] - first[process][0] for process in last)
    spent = sum(last[process][1] - first[process][1] for process in last)
    return Measured(start, ended - begin - start, spent / max(counted, 1), faces, sizes)


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 (a script's result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shard-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--only-scale", action="store_true", help="no plain loop: for the memory over many photos")
    options = parser.parse_args()
    os.environ.setdefault("RAY_worker_niceness", "0")  # as the plain loop; Ray's default is 15
    results: dict[str, list[Measured]] = {"plain loop": [], "tddfa scale": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        make_photos(folder / "photos", options.photos)
        for _ in range(options.rounds):
            say(f"load average {os.getloadavg()[0]:.1f}")
            if not options.only_scale:
                results["plain loop"].append(plain(folder / "photos", folder / "plain.parquet", options.photos))
            results["tddfa scale"].append(
                scaled(folder / "photos", folder / "out", options.shard_size, options.workers)
            )
            shutil.rmtree(folder / "out")
            for kind, (*_, measured) in ((kind, values) for kind, values in results.items() if values):
                say(
                    f"{kind}: {measured.start:.1f} s to start, {options.photos / measured.work:.2f} photos/s, "
                    f"{1000 * measured.cpu_per_photo:.0f} ms of CPU per photo, {measured.faces} faces"
                )
                for sizes in measured.sizes.values():
                    shown = sizes[:: max(1, len(sizes) // 8)]
                    say("  MiB after photos: " + ", ".join(f"{size:.0f} ({count})" for count, size in shown))
    for kind, values in results.items():
        if values:
            rate = options.photos / float(np.median([measured.work for measured in values]))
            cpu = float(np.median([measured.cpu_per_photo for measured in values]))
            say(f"median of {kind}: {rate:.2f} photos/s, {1000 * cpu:.0f} ms of CPU per photo")


if __name__ == "__main__":
    main()
