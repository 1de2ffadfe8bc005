"""Photos with true landmarks, or with boxes of their faces, to crops: faces, and windows that show none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared.image_io import read
from tddfa.datasets.boxes import read_lines
from tddfa.datasets.pts import read_pts
from tddfa.synthetic import backdrop
from tddfa.train.data.augment import BORDERS, LANDMARK_SCALE, STORED_SCALE
from tddfa.train.data.samples import STORED_SIZE, Sample, crop_face, crop_square

Image = NDArray[np.uint8]
Boxes = NDArray[np.float64]

# From a face's box to the middle and side of the square that the network sees (configs/open_mb05.yml).
_BOX_SHIFT, _BOX_SCALE = 0.155, 1.11
# A window is no face's if it lies so far off, in sides of the face's own square, or is so much smaller.
_FAR, _FARTHEST = 0.7, 1.6
_PART = (0.2, 0.36)
_TRIES = 20


def first_by_name(folder: str | os.PathLike[str], share: float) -> list[Path]:
    """The first of a folder's ``.jpg`` and ``.png`` photos by name.

    Parameters
    ----------
    folder : path
        Where they are.
    share : float
        0..1; that share of them, rounded down.

    Raises
    ------
    FileNotFoundError
        If there are none.
    """
    photos = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not photos:
        raise FileNotFoundError(f"{folder}: expected photos (.jpg, .png), got none")
    return photos[: int(share * len(photos))]


def photo_samples(photos: Sequence[Path], source: str) -> Iterator[Sample]:
    """Faces of photos beside which their true landmarks lie, as ``.pts``."""
    for photo in photos:
        landmarks = read_pts(photo.with_suffix(".pts")).astype(np.float32)
        crop, matrix = crop_face(read(photo), landmarks)
        placed = landmarks @ matrix[:, :2].T + matrix[:, 2]
        yield Sample(crop, source, landmarks=placed.astype(np.float32))


def nonface_samples(photos: Sequence[Path], count: int, seed: int) -> Iterator[Sample]:
    """Windows without a face.

    A third lies anywhere away from all faces of the photo, a third so near that a part of one shows, far from the
    middle or far too large; the rest is half made-up rooms, half noise.

    Parameters
    ----------
    photos : sequence of path
        Each has a ``.txt`` beside it with the boxes of *all* its faces.
    count : int
        How many.
    seed : int
        The same seed gives the same ones.
    """
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        kind = rng.choice(("away", "beside", "room", "noise"), p=(0.4, 0.4, 0.1, 0.1))
        crop = None
        if kind in ("away", "beside"):
            photo = photos[int(rng.integers(len(photos)))]
            crop = _window(read(photo), _squares(read_lines(photo.with_suffix(".txt"))), kind == "beside", rng)
        if crop is None:
            crop = _noise(rng) if kind == "noise" else backdrop((STORED_SIZE, STORED_SIZE), int(rng.integers(2**31)))
        yield Sample(crop, f"nonface-{kind}", face=False)


def _squares(boxes: Boxes) -> Boxes:
    """Middle and side (n, 3) of the squares that the network would see of these boxes."""
    size = (boxes[:, 2] - boxes[:, 0] + boxes[:, 3] - boxes[:, 1]) / 2
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    return np.column_stack([x, y + _BOX_SHIFT * size, _BOX_SCALE * size])


def _window(image: Image, faces: Boxes, beside: bool, rng: np.random.Generator) -> Image | None:
    """A window that is no face's; None if none was found. Faces too small to be seen hinder nobody."""
    height, width = image.shape[:2]
    for _ in range(_TRIES):
        if beside and len(faces):
            x, y, own = faces[int(rng.integers(len(faces)))]
            if rng.random() < 0.25:
                side = own * rng.uniform(*_PART)
                centre = np.array([x, y]) + rng.uniform(-0.35, 0.35, 2) * own
            else:
                side = own * np.exp(rng.uniform(-0.3, 0.3))
                angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(_FAR, _FARTHEST) * max(side, own)
                centre = np.array([x, y]) + distance * np.array([np.cos(angle), np.sin(angle)])
        else:
            side = np.exp(rng.uniform(np.log(24), np.log(0.9 * min(height, width))))
            centre = rng.uniform(0, 1, 2) * (width, height)
        apart = np.linalg.norm(faces[:, :2] - centre, axis=1) / np.maximum(side, faces[:, 2])
        alike = faces[:, 2] / side
        inside = (centre > 0).all() and (centre < (width, height)).all()
        if inside and side >= 16 and ((apart >= _FAR) | (alike > 1 / _PART[1] - 0.01) | (alike < 0.15)).all():
            border = int(rng.choice(BORDERS))
            return crop_square(image, centre, side * STORED_SCALE / LANDMARK_SCALE, border)[0]
    return None


def _noise(rng: np.random.Generator) -> Image:
    """Noise of some coarseness, grey or coloured."""
    out = np.full((STORED_SIZE, STORED_SIZE, 3), rng.uniform(20, 230, 3), dtype=np.float32)
    for _ in range(int(rng.integers(1, 4))):
        cells = int(np.exp(rng.uniform(np.log(2), np.log(STORED_SIZE))))
        field = rng.normal(0, rng.uniform(5, 60), (cells, cells, int(rng.choice([1, 3])))).astype(np.float32)
        out += cv2.resize(field, (STORED_SIZE, STORED_SIZE), interpolation=cv2.INTER_CUBIC).reshape(*out.shape[:2], -1)
    return np.clip(out, 0, 255).astype(np.uint8)
