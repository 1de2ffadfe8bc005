"""Places of crops on an image: near a face, far from it, rolled, partly outside the image, or where no face is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa.evaluate.benchmarks.score import FAR, LARGE, SMALL, shows_no_face
from tddfa.train.data.augment import CROP_SIZE, LANDMARK_SCALE

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]
"""Map (2, 3) from px of an image to px of the crop."""

_FLIP = np.array([[-1.0, 0, CROP_SIZE - 1], [0, 1, 0]])
# Fractions of the crops: placed anywhere about the face, the others about as a detector or a tracker places them;
# rolled by any angle, the others by a few degrees.
_ANYWHERE, _ROLLED = 0.6, 0.45
# Scale and shift of the crop, as fractions of its side, for both.
_SCALES = {True: (0.35, 3.0), False: (0.82, 1.3)}
_SHIFTS = {True: 0.4, False: 0.13}
# Without a face, where boxes of faces are known: beside or within a face.
_BESIDE, _WITHIN = 0.6, 0.4
_MIN_WINDOW = 20.0
_TRIES = 30


def square_around(landmarks: NDArray[np.floating], roll: float = 0.0) -> tuple[NDArray[np.float64], float]:
    """Centre (2,) and side of the square of the crop rule around landmarks (68, 2), rolled by an angle in radians."""
    points = landmarks @ rotation(roll).T
    low, high = points.min(axis=0), points.max(axis=0)
    return rotation(-roll) @ ((low + high) / 2), max(LANDMARK_SCALE * float((high - low).max()), 1.0)


def rotation(roll: float) -> NDArray[np.float64]:
    """Matrix (2, 2) of a rotation by an angle in radians."""
    return np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])


def similarity(centre: NDArray[np.float64], side: float, roll: float) -> Matrix:
    """Map of a square to the crop, after a rotation by `roll` radians."""
    scale = CROP_SIZE / side
    turned = scale * rotation(roll)
    return np.column_stack([turned, (CROP_SIZE - 1) / 2 - turned @ centre])


def composed(later: Matrix, matrix: Matrix) -> Matrix:
    """Map that applies `matrix`, then `later`."""
    return later @ np.vstack([matrix, [0, 0, 1]])


def flipped(matrix: Matrix) -> Matrix:
    """Map to the horizontally flipped crop."""
    return composed(_FLIP, matrix)


def warped(image: Image, matrix: Matrix, border: int, size: int = CROP_SIZE) -> Image:
    """Sample a square (size, size, 3)."""
    shrink = int(0.75 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if shrink >= 2:
        # averaged first: bilinear sampling alone would use four of the many px that become one
        height, width = (max(length // shrink, 1) for length in image.shape[:2])
        factors = image.shape[1] / width, image.shape[0] / height
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
        enlarge = np.array([[factors[0], 0, (factors[0] - 1) / 2], [0, factors[1], (factors[1] - 1) / 2]])
        matrix = composed(matrix, enlarge)
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border))


def _random_roll(rng: np.random.Generator) -> float:
    return float(np.radians(rng.uniform(-180, 180) if rng.random() < _ROLLED else rng.normal(0, 8)))


def face_placement(landmarks: NDArray[np.float64], rng: np.random.Generator) -> Matrix:
    """Place a crop about a face: near the place of the crop rule, or anywhere, at any roll."""
    roll = _random_roll(rng)
    centre, side = square_around(landmarks, roll)
    anywhere = bool(rng.random() < _ANYWHERE)
    side *= float(np.exp(rng.uniform(*np.log(_SCALES[anywhere]))))
    if anywhere:
        direction = rotation(float(rng.uniform(0, 2 * np.pi))) @ [1, 0]
        centre = centre + side * abs(rng.normal(0, _SHIFTS[True])) * direction
    else:
        centre = centre + side * rng.uniform(-_SHIFTS[False], _SHIFTS[False], 2)
    return similarity(centre, side, roll)


def cut(image: Image, landmarks: NDArray[np.float64], rng: np.random.Generator) -> tuple[Image, NDArray[np.float64]]:
    """Crop a photo to a frame that may cut the face; the image as it is where nothing would be left."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    size = float((high - low).max())
    first = np.maximum(np.floor(low - size * rng.uniform(-0.5, 0.4, 2)), 0).astype(int)
    last = np.minimum(np.ceil(high + size * rng.uniform(-0.5, 0.4, 2)), image.shape[1::-1]).astype(int)
    if (last - first < 2).any():
        return image, landmarks
    return np.ascontiguousarray(image[first[1] : last[1], first[0] : last[0]]), landmarks - first


def window_placement(image: Image, squares: NDArray[np.float64], rng: np.random.Generator) -> Matrix | None:
    """Place a crop where no face is; None if no place was found.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
    squares : ndarray (n, 3)
        Centre and side of the squares of all faces.
    rng : numpy.random.Generator
    """
    height, width = image.shape[:2]
    roll = _random_roll(rng)
    for _ in range(_TRIES):
        side = float(np.exp(rng.uniform(np.log(_MIN_WINDOW), np.log(max(1.2 * min(height, width), _MIN_WINDOW + 1)))))
        centre = rng.uniform(0, 1, 2) * (width, height)
        if len(squares) and rng.random() < _BESIDE:
            x, y, own = squares[int(rng.integers(len(squares)))]
            if rng.random() < _WITHIN:
                side = float(own * rng.uniform(SMALL, 1 / LARGE))
                centre = np.array([x, y]) + own * rng.uniform(-0.35, 0.35, 2)
            else:
                side = float(own * np.exp(rng.uniform(-0.5, 0.5)))
                away = rotation(float(rng.uniform(0, 2 * np.pi))) @ [1, 0]
                centre = np.array([x, y]) + rng.uniform(FAR, 1.6) * max(side, own) * away
        if shows_no_face(centre, side, squares):
            return similarity(centre, side, roll)
    return None
