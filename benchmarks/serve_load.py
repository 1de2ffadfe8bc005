"""Load on `tddfa serve`: many clients against the plain loop in one process, in alternation.

``python benchmarks/serve_load.py`` starts the service, sends photos of 512 x 512 from 64 clients over the loopback
device, and aligns the same photos in a loop of this process, block by block in turns, so that whatever else the machine
does hits both. It prints latencies, photos per second with the clients' own CPU time subtracted, CPU time per photo,
the service's memory, and how many answers are lost or differ from the loop's. Options behind ``--`` go to the service.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from tddfa import Aligner
from tddfa._shared import image_io
from tddfa._shared.cores import available_cores

INPUTS = Path(__file__).resolve().parents[1] / "examples/inputs"
SIDE = 512
ROUTE = "/v1/faces"


def photos(count: int) -> list[bytes]:
    """JPEGs of SIDE px, all different: crops of the example photos of random scale and place, some flipped."""
    rng = np.random.default_rng(7)
    images = [image_io.read(path) for path in sorted(INPUTS.glob("*.jpg"))]
    made = []
    for index in range(count):
        image = images[index % len(images)]
        side = int(min(image.shape[:2]) * rng.uniform(0.7, 1))
        top, left = (rng.integers(0, length - side + 1) for length in image.shape[:2])
        crop = cv2.resize(image[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        made.append(image_io.encode(crop[:, ::-1] if rng.random() < 0.5 else crop, ".jpg", "photo"))
    return made


def serial(aligner: Aligner, data: bytes) -> str:
    """The faces of a photo in the plain loop, as JSON."""
    faces = aligner(image_io.decode(data, "image"))
    return json.dumps([face.to_dict(aligner.decoder) for face in faces])


@dataclass
class Block:
    """A block of photos: wall time and CPU time of this process, s."""

    wall: float
    cpu: float


@contextlib.contextmanager
def timed() -> Iterator[Block]:
    block = Block(time.perf_counter(), time.process_time())
    yield block
    block.wall, block.cpu = time.perf_counter() - block.wall, time.process_time() - block.cpu


@dataclass
class Clients:
    """Clients with a connection each. `answers` are the texts by index, `seconds` the latencies, `refused` the 503."""

    address: str
    count: int
    answers: dict[int, bytes] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.count)
        self._own = threading.local()
        self._block = 0

    def _connection(self) -> http.client.HTTPConnection:
        """One per client and block: between the blocks the service closes those that are idle."""
        if getattr(self._own, "block", None) != self._block:
            if hasattr(self._own, "connection"):
                self._own.connection.close()
            self._own.block = self._block
            self._own.connection = http.client.HTTPConnection(self.address, timeout=300)
        connection: http.client.HTTPConnection = self._own.connection
        return connection

    def post(self, index: int, data: bytes) -> None:
        connection = self._connection()
        begin = time.perf_counter()
        while True:
            connection.request("POST", ROUTE, data, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 503:
                break
            self.refused += 1
            time.sleep(float(answer.headers["Retry-After"]))
        self.seconds.append(time.perf_counter() - begin)
        if answer.status == 200:
            self.answers[index] = content

    def send(self, first: int, block: list[bytes]) -> None:
        self._block += 1
        list(self._pool.map(self.post, range(first, first + len(block)), block))


def numbers(address: str) -> tuple[float, float]:
    """Memory of the service, MB, and its CPU time, s."""
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = [
        float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])  # type: ignore[index]  # it is there
        for name in ("process_resident_memory_bytes", "process_cpu_seconds_total")
    ]
    return found[0] / 1e6, found[1]


@contextlib.contextmanager
def service(clients: int, options: list[str]) -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "tddfa",
        "serve",
        "--no-page",
        "--port",
        "0",
        "--max-requests",
        str(clients),
        *options,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip().removeprefix("http://")
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--photos", type=int, default=2000, help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--block", type=int, default=100, help="photos of a block (default: %(default)s)")
    parser.add_argument("options", nargs="*", help="options of the service, behind --")
    given = parser.parse_args()

    data = photos(given.photos)
    aligner = Aligner.load("open_mb05", device="cpu")
    serial(aligner, data[0])
    loops, blocks, server_cpu = [], [], []
    expected: list[str] = []
    memory: list[float] = []
    with service(given.clients, given.options) as address:
        clients = Clients(address, given.clients)
        clients.send(-given.block, data[: given.block])  # warm-up
        clients.seconds.clear()
        for first in range(0, len(data), given.block):
            block = data[first : first + given.block]
            with timed() as loop:
                expected += [serial(aligner, one) for one in block]
            begin = numbers(address)
            with timed() as served:
                clients.send(first, block)
            end = numbers(address)
            loops.append(loop)
            blocks.append(served)
            memory += [begin[0], end[0]]
            server_cpu.append(end[1] - begin[1])

    count, cores = len(data), available_cores()
    lost = sum(index not in clients.answers for index in range(count))
    wrong = sum(
        json.loads(clients.answers[index])["faces"] != json.loads(faces)
        for index, faces in enumerate(expected)
        if index in clients.answers
    )
    # the clients share the cores with the service
    own = [served.wall - served.cpu / cores for served in blocks]
    ratio = statistics.median(loop.wall / wall for loop, wall in zip(loops, own, strict=True))
    latency = np.percentile(clients.seconds, [50, 99])
    together, plain = sum(served.wall for served in blocks), sum(loop.wall for loop in loops)
    lines = [
        f"{count} photos of {SIDE} x {SIDE}, {given.clients} clients, blocks of {given.block}, {cores} cores",
        f"latency            p50 {1000 * latency[0]:.0f} ms, p99 {1000 * latency[1]:.0f} ms",
        f"photos per second  service {count / sum(own):.1f} without the clients' CPU time, {count / together:.1f} with "
        f"it; loop {count / plain:.1f}",
        f"service : loop     {ratio:.2f} (median of {len(blocks)} blocks)",
        f"CPU per photo      service {1000 * sum(server_cpu) / count:.1f} ms, loop "
        f"{1000 * sum(loop.cpu for loop in loops) / count:.1f} ms, clients "
        f"{1000 * sum(served.cpu for served in blocks) / count:.1f} ms",
        f"memory             {memory[0]:.0f} MB after the warm-up, {memory[-1]:.0f} MB at the end "
        f"({100 * (memory[-1] / memory[0] - 1):+.1f} %)",
        f"answers            {lost} lost, {wrong} wrong, {clients.refused} refused and sent again",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if lost or wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
