"""Faces that are hard to detect: close-ups, rolled heads, small faces in large and long images.

The images are made from photos with landmarks, with fixed seeds. A face is found if a detected box has an IoU of at
least 0.4 with the box of the labelled landmarks, and the error of the inner 51 landmarks is under 12 % of the distance
between the outer eye corners (faces under 32 px: the IoU alone). The size of a face is the longer side of the box of
its landmarks.

Data: the folders of the benchmark ``300w``: images with a .pts file of the same name beside each, of ``lfpw`` the last
30 % by name. Backgrounds: DIR/negatives, the second half by name; without them the background is grey.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa import landmarks68
from tddfa._shared import image_io
from tddfa._shared.image_io import has_image_name
from tddfa.datasets import files as sources
from tddfa.datasets.pts import held_out, pts_folders, read_pts
from tddfa.evaluate import metrics
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup
from tddfa.geometry.boxes import box_iou
from tddfa.types import Face

_BENCHMARK = BENCHMARKS["detection-stress"]

FRAMES, SIZES = (1.1, 1.3, 1.6), (300, 500, 720, 1080, 2000)
"""Close-ups: sides of the frame, times the face, and px."""
ANGLES = tuple(range(0, 360, 15))
"""Rolled heads, degrees."""
SCENES: tuple[tuple[int, int, int], ...] = (
    (1920, 1080, 16),
    (1920, 1080, 24),
    (1920, 1080, 32),
    (600, 9000, 60),
    (9000, 600, 60),
    (6000, 4000, 60),
)
"""Width and height of an image, and size of the face in it, px."""

_ROLLED_PHOTOS, _SCENE_PHOTOS = 60, 30
_MIN_IOU, _MAX_ERROR, _MIN_ALIGNED = 0.4, 12.0, 32
# Side of the frame around a rolled or a pasted face, times the face; px of the image of a rolled one.
_ROLLED_FRAME, _ROLLED_SIZE, _PASTED_FRAME = 2.5, 500, 1.8
_SEED = 17
# Side of the square parts of photos that make a background, px: they are not enlarged.
_CELL = 320
_GREY = 127
_CONVENTION = "300w"

Image = NDArray[np.uint8]
Scene = tuple[Image, Floats]
"""An image and the landmarks (68, 2) of its face, px."""
Make = Callable[[Image, Floats, np.random.Generator], Scene]


@dataclass(frozen=True)
class _Row:
    """A situation: its key, its description, its photos, and the function that makes it from one of them."""

    key: str
    label: str
    labels: Sequence[Path]
    make: Make


def evaluate(setup: Setup) -> Result:
    """Count the faces that are found in each situation, and the other faces that are reported.

    Raises
    ------
    DataMissing
        If there are no photos with landmarks.
    ValueError
        If the aligner has no detector, or if a file is damaged; the message names it.
    """
    setup.detector(_BENCHMARK.name)  # an error if there is none
    labels = [path for folder in pts_folders(setup.data) for path in held_out(folder)]
    if not labels:
        raise DataMissing(f"no .pts files in {setup.data}: expected {_BENCHMARK.data}")
    labels = setup.chosen(labels)
    backgrounds = _backgrounds(setup.data / "negatives")
    figures: list[Figure] = []
    items: list[dict[str, object]] = []
    groups: dict[str, list[bool]] = {}
    for number, row in enumerate(_rows(labels, backgrounds)):

        def one(item: tuple[int, Path], row: _Row = row, number: int = number) -> tuple[bool, int]:
            index, path = item
            image, points = row.make(*_photo(path), np.random.default_rng((_SEED, number, index)))
            return _found(setup, image, points)

        jobs = list(enumerate(row.labels))
        done = sources.parallel_map(one, jobs)
        found: list[bool] = []
        others = 0
        for (_, path), (hit, extra) in zip(setup.track(jobs, row.label), done, strict=True):
            found.append(hit)
            others += extra
            name = sources.relative_name(path, setup.data)
            items.append({"name": name, "situation": row.key, "found": hit, "others": extra})
        groups.setdefault(row.key.partition(".")[0], []).extend(found)
        figures.append(Figure(f"{row.key}.found", f"{row.label}: found", 100 * np.mean(found), "%", "higher"))
        figures.append(Figure(f"{row.key}.others", f"{row.label}: other faces", others, "faces", "lower"))
    for group, every in groups.items():
        label = f"{_GROUPS[group]}, all: found"
        figures.append(Figure(f"{group}.found", label, 100 * np.mean(every), "%", "higher"))
    return Result(
        benchmark=_BENCHMARK.name,
        settings={"photos": len(labels), "backgrounds": len(backgrounds)},
        figures=figures,
        items=items,
        notes=[] if backgrounds else ["Without photos in the folder negatives, the backgrounds are grey."],
    )


_GROUPS = {"closeup": "close-ups", "rolled": "rolled heads", "scene": "small faces in large images"}


def _rows(labels: Sequence[Path], backgrounds: Sequence[Path]) -> Iterator[_Row]:
    def spread(count: int) -> list[Path]:
        count = min(count, len(labels))
        return [labels[i * len(labels) // count] for i in range(count)]

    for frame in FRAMES:
        for size in SIZES:
            label = f"close-up, frame {frame:g} times the face, {size} px"
            yield _Row(f"closeup.{frame:g}.{size}", label, labels, _fixed(partial(closeup, frame=frame, size=size)))
    for angle in ANGLES:
        label = f"head rolled by {angle} degrees"
        yield _Row(f"rolled.{angle}", label, spread(_ROLLED_PHOTOS), _fixed(partial(rolled, angle=angle)))
    for width, height, size in SCENES:
        label = f"{width} x {height} px with a face of {size} px"
        make = partial(_scene, shape=(height, width), size=size, photos=backgrounds)
        yield _Row(f"scene.{width}x{height}.{size}", label, spread(_SCENE_PHOTOS), make)


def _fixed(make: Callable[[Image, Floats], Scene]) -> Make:
    def ignoring(image: Image, points: Floats, rng: np.random.Generator) -> Scene:
        del rng
        return make(image, points)

    return ignoring


def _scene(
    image: Image,
    points: Floats,
    rng: np.random.Generator,
    *,
    shape: tuple[int, int],
    size: int,
    photos: Sequence[Path],
) -> Scene:
    return pasted(image, points, size, background(shape, photos, rng), rng)


def closeup(image: Image, points: Floats, frame: float, size: int) -> Scene:
    """Crop a square around a face, `frame` times its size and inside the image, and resize it to `size` px."""
    low, high = points.min(axis=0), points.max(axis=0)
    half = frame * (high - low).max() / 2
    first = np.maximum(np.floor((low + high) / 2 - half), 0).astype(int)
    last = np.minimum(np.ceil((low + high) / 2 + half), image.shape[1::-1]).astype(int)
    crop = image[first[1] : last[1], first[0] : last[0]]
    return _resized(crop, points - first, size / max(crop.shape[:2]))


def rolled(image: Image, points: Floats, angle: float) -> Scene:
    """Rotate an image about its face, counterclockwise; the border is repeated."""
    low, high = points.min(axis=0), points.max(axis=0)
    x, y = ((low + high) / 2).tolist()
    matrix = cv2.getRotationMatrix2D((x, y), angle, _ROLLED_SIZE / (_ROLLED_FRAME * float((high - low).max())))
    matrix[:, 2] += _ROLLED_SIZE / 2 - np.array([x, y])
    size = (_ROLLED_SIZE, _ROLLED_SIZE)
    turned = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned), points @ matrix[:, :2].T + matrix[:, 2]


def pasted(image: Image, points: Floats, size: int, canvas: Image, rng: np.random.Generator) -> Scene:
    """Paste a face of `size` px at a random place of a canvas, in place."""
    side = float(np.ptp(points, axis=0).max())
    patch, points = closeup(image, points, _PASTED_FRAME, max(round(_PASTED_FRAME * side), 1))
    patch, points = _resized(patch, points, size / float(np.ptp(points, axis=0).max()))
    height, width = patch.shape[:2]
    top, left = rng.integers(canvas.shape[0] - height + 1), rng.integers(canvas.shape[1] - width + 1)
    canvas[top : top + height, left : left + width] = patch
    return canvas, points + np.array([left, top])


def background(shape: tuple[int, int], photos: Sequence[Path], rng: np.random.Generator) -> Image:
    """Make an image (height, width) of parts of photos; grey if there are none."""
    canvas = np.full((*shape, 3), _GREY, dtype=np.uint8)
    for top in range(0, shape[0] if photos else 0, _CELL):
        for left in range(0, shape[1], _CELL):
            part = image_io.read(photos[int(rng.integers(len(photos)))])[:_CELL, :_CELL]
            cell = canvas[top : top + _CELL, left : left + _CELL]
            height, width = min(part.shape[0], cell.shape[0]), min(part.shape[1], cell.shape[1])
            cell[:height, :width] = part[:height, :width]
    return canvas


def _resized(image: Image, points: Floats, scale: float) -> Scene:
    height, width = (max(round(scale * side), 1) for side in image.shape[:2])
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    resized = np.asarray(cv2.resize(image, (width, height), interpolation=method))
    # pixel centres are at whole numbers
    return resized, (points + 0.5) * (width / image.shape[1], height / image.shape[0]) - 0.5


@lru_cache(maxsize=4)
def _photo(label: Path) -> Scene:
    path = sources.image_beside(label)
    if path is None:
        raise ValueError(f"{label}: expected its image beside it, got none")
    image, points = image_io.read(path), read_pts(label)
    sources.check_landmarks(label, points, image)
    return image, points


def _backgrounds(folder: Path) -> list[Path]:
    paths = sorted(p for p in folder.iterdir() if has_image_name(p)) if folder.is_dir() else []
    return paths[len(paths) // 2 :]


def _found(setup: Setup, image: Image, points: Floats) -> tuple[bool, int]:
    """Whether the face is found, and the number of other faces."""
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])[None]
    aligned = np.ptp(points, axis=0).max() >= _MIN_ALIGNED

    def correct(face: Face) -> bool:
        if box_iou(box, face.box[None].astype(np.float64)).item() < _MIN_IOU:
            return False
        return not aligned or metrics.nme_eyes(_landmarks(setup, face), points, landmarks68.INNER) < _MAX_ERROR

    hits = [correct(face) for face in setup.aligner(image)]
    return any(hits), len(hits) - any(hits)


def _landmarks(setup: Setup, face: Face) -> Floats:
    if _CONVENTION in setup.aligner.face_model.landmark_offsets:
        return setup.aligner.decoder.landmarks(face, _CONVENTION).astype(np.float64)
    return face.landmarks.astype(np.float64)
