"""Photos with ground-truth landmarks or boxes to crops: faces, and windows without a face."""

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

# From a face's box to the centre and side of the square that the network sees (configs/open_mb05.yml).
_BOX_SHIFT, _BOX_SCALE = 0.155, 1.11
# A window shows no face if its distance from the face is this large, in sides of the face's own square, or if it is
# this much smaller.
_FAR, _MAX_FAR = 0.7, 1.6
_PART = (0.2, 0.36)
_TRIES = 20


def first_by_name(folder: str | os.PathLike[str], fraction: float) -> list[Path]:
    """List the first of a folder's ``.jpg`` and ``.png`` photos by name.

    Parameters
    ----------
    folder : path
        Of the photos.
    fraction : float
        Fraction of the photos, 0..1; the count is rounded down.

    Raises
    ------
    FileNotFoundError
        If there are no photos.
    """
    photos = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not photos:
        raise FileNotFoundError(f"{folder}: expected photos (.jpg, .png), got none")
    return photos[: int(fraction * len(photos))]


def photo_samples(photos: Sequence[Path], source: str) -> Iterator[Sample]:
    """Crops of photos with a ``.pts`` file of ground-truth landmarks beside each."""
    for photo in photos:
        landmarks = read_pts(photo.with_suffix(".pts")).astype(np.float32)
        crop, matrix = crop_face(read(photo), landmarks)
        points = landmarks @ matrix[:, :2].T + matrix[:, 2]
        yield Sample(crop, source, landmarks=points.astype(np.float32))


def nonface_samples(photos: Sequence[Path], count: int, seed: int) -> Iterator[Sample]:
    """Crops without a face.

    Of the crops, 40 % are windows of photos away from all faces, 40 % are windows that show a part of a face, far from
    the centre or far too large, 10 % are rendered rooms and 10 % are noise.

    Parameters
    ----------
    photos : sequence of path
        Each with a ``.txt`` file beside it of the boxes of *all* its faces.
    count : int
        Number of crops.
    seed : int
        The same seed gives the same crops.
    """
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        kind = rng.choice(("away", "beside", "room", "noise"), p=(0.4, 0.4, 0.1, 0.1))
        crop = None
        if kind in ("away", "beside"):
            photo = photos[int(rng.integers(len(photos)))]
            crop = _window(read(photo), squares_of_boxes(read_lines(photo.with_suffix(".txt"))), kind == "beside", rng)
        if crop is None:
            crop = _noise(rng) if kind == "noise" else backdrop((STORED_SIZE, STORED_SIZE), int(rng.integers(2**31)))
        yield Sample(crop, f"nonface-{kind}", face=False)


def squares_of_boxes(boxes: Boxes) -> Boxes:
    """Centre and side (n, 3) of the squares that the network would see of boxes (n, 4)."""
    size = (boxes[:, 2] - boxes[:, 0] + boxes[:, 3] - boxes[:, 1]) / 2
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    return np.column_stack([x, y + _BOX_SHIFT * size, _BOX_SCALE * size])


def _window(image: Image, faces: Boxes, beside: bool, rng: np.random.Generator) -> Image | None:
    """A window without a face; None if none was found. Faces much smaller than the window are ignored."""
    height, width = image.shape[:2]
    for _ in range(_TRIES):
        if beside and len(faces):
            x, y, own = faces[int(rng.integers(len(faces)))]
            if rng.random() < 0.25:
                side = own * rng.uniform(*_PART)
                centre = np.array([x, y]) + rng.uniform(-0.35, 0.35, 2) * own
            else:
                side = own * np.exp(rng.uniform(-0.3, 0.3))
                angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(_FAR, _MAX_FAR) * max(side, own)
                centre = np.array([x, y]) + distance * np.array([np.cos(angle), np.sin(angle)])
        else:
            side = np.exp(rng.uniform(np.log(24), np.log(0.9 * min(height, width))))
            centre = rng.uniform(0, 1, 2) * (width, height)
        distance_to_face = np.linalg.norm(faces[:, :2] - centre, axis=1) / np.maximum(side, faces[:, 2])
        size_ratio = faces[:, 2] / side
        no_face = (distance_to_face >= _FAR) | (size_ratio > 1 / _PART[1] - 0.01) | (size_ratio < 0.15)
        inside = (centre > 0).all() and (centre < (width, height)).all()
        if inside and side >= 16 and no_face.all():
            border = int(rng.choice(BORDERS))
            return crop_square(image, centre, side * STORED_SCALE / LANDMARK_SCALE, border)[0]
    return None


def _noise(rng: np.random.Generator) -> Image:
    """Noise of random coarseness, grey or coloured."""
    out = np.full((STORED_SIZE, STORED_SIZE, 3), rng.uniform(20, 230, 3), dtype=np.float32)
    for _ in range(int(rng.integers(1, 4))):
        cells = int(np.exp(rng.uniform(np.log(2), np.log(STORED_SIZE))))
        field = rng.normal(0, rng.uniform(5, 60), (cells, cells, int(rng.choice([1, 3])))).astype(np.float32)
        out += cv2.resize(field, (STORED_SIZE, STORED_SIZE), interpolation=cv2.INTER_CUBIC).reshape(*out.shape[:2], -1)
    return np.clip(out, 0, 255).astype(np.uint8)
