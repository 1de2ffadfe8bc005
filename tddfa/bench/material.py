"""The images for the measurements. They are rendered, so they are the same everywhere and need no files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.files import write_atomic
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config
from tddfa.model.face_model import FaceModel
from tddfa.synthetic import GroundTruth, Head, State, backdrop, degrade, render

SIZE = (720, 1280)
MANY = 20

_LARGE = 330.0
# Face sizes from the back row to the front row: heads in front are larger, and hide the shoulders behind them.
_SMALL = (86.0, 92.0, 98.0, 104.0)
_ROWS, _COLUMNS = len(_SMALL), 5
_HEAD_COUNT = 4
_FRAME_COUNT = 6
_NOISE = 1.5
# FaceBoxes' box from the box of the landmarks: its side, and its upward shift, as fractions of the longer side.
_BOX_SIDE, _BOX_UP = 1.126, 0.174


@dataclass(frozen=True)
class Material:
    """Files of images of 1280 x 720 px, and the boxes of the faces in them.

    Attributes
    ----------
    one, many : Path
        An image with one large face, and one with twenty small faces.
    frames : tuple of Path
        A few frames of a head that turns forth and back.
    one_boxes, many_boxes : tuple of tuple of float
        x1, y1, x2, y2, score of each face, placed as FaceBoxes places its boxes.
    """

    one: Path
    many: Path
    frames: tuple[Path, ...]
    one_boxes: tuple[tuple[float, ...], ...]
    many_boxes: tuple[tuple[float, ...], ...]


def make(folder: Path) -> Material:
    """Render the images into a folder, with the file that `load` reads."""
    model = FaceModel.load(verified(Config.load(config_path("open_mb05")).face_model))
    heads = [Head.procedural(model, seed) for seed in range(_HEAD_COUNT)]
    height, width = SIZE
    background, rng = backdrop(SIZE, seed=1), np.random.default_rng(0)

    def save(name: str, states: Sequence[tuple[Head, State]]) -> list[tuple[float, ...]]:
        image, targets = render(SIZE, states, background)
        image_io.write(folder / name, degrade(image, rng, noise=_NOISE))
        return [_box(target) for target in targets if target is not None]

    large = State(yaw=15, size=_LARGE, x=width / 2, y=0.5 * height)
    small = []
    for k, (row, column) in enumerate(np.ndindex(_ROWS, _COLUMNS)):
        x, y = (column + 0.5) * width / _COLUMNS, (row + 0.5) * height / _ROWS
        yaw, pitch = rng.uniform((-40, -10), (40, 10)).tolist()
        small.append((heads[k % _HEAD_COUNT], State(yaw, pitch, size=_SMALL[row], x=x, y=y)))
    boxes = {"one": save("one.jpg", [(heads[0], large)]), "many": save("many.jpg", small)}
    for k in range(_FRAME_COUNT):
        save(f"frame-{k}.jpg", [(heads[0], State(yaw=2.0 * k, size=200, x=width / 2 + 3 * k, y=0.45 * height))])
    write_atomic(folder / "boxes.json", json.dumps(boxes).encode())
    return load(folder)


def _box(target: GroundTruth) -> tuple[float, ...]:
    low, high = target.box[:2].astype(np.float64), target.box[2:].astype(np.float64)
    side = float((high - low).max())
    x, y = ((low + high) / 2).tolist()
    y, half = y - _BOX_UP * side, _BOX_SIDE * side / 2
    return x - half, y - half, x + half, y + half, 1.0


def load(folder: Path) -> Material:
    """Load the material that `make` has written to a folder, for example in another process."""
    boxes = json.loads((folder / "boxes.json").read_text(encoding="utf-8"))
    frames = [folder / f"frame-{k}.jpg" for k in range(_FRAME_COUNT)]
    return Material(
        folder / "one.jpg",
        folder / "many.jpg",
        (*frames, *frames[-2:0:-1]),
        tuple(tuple(map(float, box)) for box in boxes["one"]),
        tuple(tuple(map(float, box)) for box in boxes["many"]),
    )


def read(paths: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """Read the images (720, 1280, 3), BGR."""
    return [image_io.read(path) for path in paths]
