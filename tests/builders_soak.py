"""Long runs of commands, in a process of their own that notes its memory and its descriptors at each unit of work.

``python builders_soak.py photos|video|webcam COUNT FOLDER`` prints a list of ``[unit, MB, descriptors]`` as JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np

PHOTO = Path(__file__).resolve().parents[1] / "examples/inputs/astronaut.jpg"
SAMPLES = 200


def state(pid: int | str = "self") -> tuple[float, int]:
    """Resident memory, MB, and the number of open descriptors of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return kilobytes * 1024 / 1e6, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


class Notes:
    """Notes the state at some of `count` units."""

    def __init__(self, count: int) -> None:
        self._step = max(count // SAMPLES, 1)
        self._unit = 0
        self.noted: list[tuple[int, float, int]] = []

    def __call__(self) -> None:
        self._unit += 1
        if self._unit % self._step == 0:
            self.noted.append((self._unit, *state()))


def make_clip(path: Path, count: int) -> Path:
    """A video of a face that slides to and fro, and is gone for a while every 300 frames."""
    from tddfa.video import Writer

    image = np.ascontiguousarray(cv2.imread(str(PHOTO))[:300, 60:380])
    with Writer(path, fps=25) as writer:
        for index in range(count):
            shift = 2 * abs(index % 60 - 30)
            writer.write(np.zeros_like(image) if index % 300 > 290 else np.roll(image, shift, axis=1), index / 25)
    return path


def photos(count: int, folder: Path, note: Notes) -> int:
    """``tddfa image`` on many photos of different sizes, some of which are damaged."""
    from tddfa._shared import image_io
    from tddfa.cli import main

    source = cv2.imread(str(PHOTO))
    kinds = [cv2.imencode(".jpg", cv2.resize(source, (side, side)))[1].tobytes() for side in (320, 400, 512)]
    kinds.append(kinds[0][:5000])
    (folder / "in").mkdir()
    for index in range(count):
        (folder / f"in/{index:06d}.jpg").write_bytes(kinds[index % len(kinds)])
    read = image_io.read

    def noting(*arguments: object, **options: object) -> object:
        note()
        return read(*arguments, **options)

    image_io.read = noting
    words = ["-f", str(folder / "in"), "-o", "2d_sparse", "3d", "--json", "--out", str(folder / "out")]
    return main(["image", *words, "--device", "cpu", "--threads", "1"])


def tracked(count: int, folder: Path, note: Notes, command: list[str]) -> int:
    from tddfa.cli import main
    from tddfa.tracking.tracker import Tracker

    run = Tracker.run

    def noting(self: object, frames: object) -> object:
        for pair in run(self, frames):
            note()
            yield pair

    Tracker.run = noting
    return main([*command, "--out", str(folder / "out"), "--device", "cpu", "--threads", "1"])


def video(count: int, folder: Path, note: Notes) -> int:
    """``tddfa video`` with a drawn video and records."""
    clip = make_clip(folder / "clip.mp4", count)
    return tracked(count, folder, note, ["video", "-f", str(clip), "--save", str(folder / "faces.jsonl")])


def webcam(count: int, folder: Path, note: Notes) -> int:
    """``tddfa webcam`` without a display; in the place of a camera, frames that never end, of which it takes some."""
    from tddfa import video
    from tddfa.video import Frame, Reader

    image = np.ascontiguousarray(cv2.imread(str(PHOTO))[:300, 60:380])

    class Camera(Reader):
        live = True

        def _frames(self, start: int) -> Generator[Frame, None, None]:
            for index in itertools.count(start):
                yield Frame(np.roll(image, 2 * abs(index % 60 - 30), axis=1), index, index / 25)
                time.sleep(0.01)

    camera = Camera("made")
    camera.size, camera.fps, camera.count = (320, 300), 25.0, None
    video.open_source = lambda _: camera
    return tracked(count, folder, note, ["webcam", "--frames", str(count)])


if __name__ == "__main__":
    kind, count, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    notes = Notes(count)
    printed = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the command prints a line for each photo
    status = {"photos": photos, "video": video, "webcam": webcam}[kind](count, folder, notes)
    os.write(printed, json.dumps({"status": status, "noted": notes.noted}).encode())
