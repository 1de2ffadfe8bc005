"""Heads in several views whose cameras are known: rendered ones, and stored ones in EG3D's layout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.arrays import checked
from tddfa._shared.image_io import SUFFIXES
from tddfa.datasets.files import read_arrays
from tddfa.geometry.triangulation import matrices, pinhole
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config
from tddfa.model.face_model import FaceModel
from tddfa.synthetic import Head, State, backdrop, degrade, render
from tddfa.synthetic.render import expression_weights

LAYOUT = (
    "DIR/multiview/<head>/*.png, views in the order of their names; DIR/multiview/<head>.npz with an array landmarks "
    "(views, 68, 2) in px, or in 0..1 of the picture; and DIR/multiview/dataset.json (or one in each head's folder), "
    "EG3D's: labels, a list of [name, 25 numbers], a view each: 4x4 camera to world, 3x3 normalised intrinsics"
)

# How far views go to both sides, up and down, degrees.
_YAW, _PITCH = 50.0, 22.0
_NOISE = 1.5
_FACE_SHARE = 0.45
_EXPRESSIONS = ("jawOpen", "mouthSmile", "browInnerUp", "eyeBlink")
_MAX_JSON_BYTES = 1 << 28
_LABELS = 25


@dataclass(frozen=True, eq=False)
class View:
    """One view of a head.

    Attributes
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    camera : ndarray (3, 4) float64
        The head's space to px.
    landmarks : ndarray (68, 2) float64
        px.
    yaw : float or None
        Degrees, where it is known.
    path : str
        The picture's file; empty of a rendered one.
    """

    image: NDArray[np.uint8]
    camera: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    yaw: float | None = None
    path: str = ""


@dataclass(frozen=True, eq=False)
class ViewedHead:
    """A head, and how its views are got.

    Attributes
    ----------
    name : str
        Which one.
    unit : str
        Of its space.
    views : callable
        How many are wanted -> the views; nothing is read or rendered before.
    points : ndarray (68, 3) float64 or None
        The landmarks in its space, where they are known.
    """

    name: str
    unit: str
    views: Callable[[int], Iterator[View]]
    points: NDArray[np.float64] | None = None


def rendered_heads(heads: int, size: int, seed: int) -> list[ViewedHead]:
    """Made-up heads of the open face model, each with an expression of its own, from around.

    Parameters
    ----------
    heads, size, seed : int
        How many, the side of the pictures in px, and who they are.
    """
    model = FaceModel.load(verified(Config.load(config_path("open_mb05")).face_model))
    rng = np.random.default_rng(seed)
    return [_rendered(model, int(who), index, size) for index, who in enumerate(rng.integers(2**31, size=heads))]


def _rendered(model: FaceModel, seed: int, index: int, size: int) -> ViewedHead:
    head = Head.procedural(model, seed)
    weights = np.random.default_rng(seed).uniform(0, 0.6, len(_EXPRESSIONS))
    expression = dict(zip(_EXPRESSIONS, weights.tolist(), strict=True))
    wall = backdrop((size, size), seed)

    def views(count: int) -> Iterator[View]:
        rng = np.random.default_rng(seed)
        for yaw, pitch in _directions(count):
            state = State(
                yaw, pitch, float(rng.normal(0, 5)), _FACE_SHARE * size, size / 2, 0.52 * size, expression=expression
            )
            image, (truth,) = render((size, size), [(head, state)], wall)
            assert truth is not None
            yield View(
                degrade(image, rng, noise=_NOISE),
                matrices(truth.camera.matrix[None, :2])[0],
                truth.landmarks[:, :2].astype(np.float64),
                yaw,
            )

    points = model.landmarks(head.shape, expression_weights(model, expression)).astype(np.float64)
    return ViewedHead(f"rendered-{index}", model.unit, views, points)


def _directions(count: int) -> Iterator[tuple[float, float]]:
    """Yaw and pitch, evenly spread over an ellipse: the sunflower's seeds (Vogel, 1979)."""
    golden = np.pi * (3 - np.sqrt(5))
    for k in range(count):
        radius = np.sqrt((k + 0.5) / count)
        yield float(_YAW * radius * np.cos(k * golden)), float(_PITCH * radius * np.sin(k * golden))


def stored_heads(data: Path) -> list[ViewedHead]:
    """Heads of ``DIR/multiview``; none where there is no such folder.

    Raises
    ------
    ValueError
        If a file is not what it should be; the message names it, and `LAYOUT` when one is missing.
    """
    folder = data / "multiview"
    heads = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    return [ViewedHead(head.name, "", _Stored(head)) for head in heads]


class _Stored:
    """The views of one folder, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, count: int) -> Iterator[View]:
        pictures = sorted(p for p in self.folder.iterdir() if p.suffix.lower() in SUFFIXES)
        own, shared = self.folder / "dataset.json", self.folder.parent / "dataset.json"
        labels = _read_labels(own if own.is_file() else shared)
        points_file = self.folder.with_name(f"{self.folder.name}.npz")
        if not points_file.is_file():
            raise ValueError(f"{points_file}: no such file; expected {LAYOUT}")
        landmarks = read_arrays(points_file, ["landmarks"])["landmarks"]
        try:
            landmarks = checked("landmarks", landmarks, (None, 68, 2), np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{points_file}: {error}") from error
        if not len(pictures) == len(labels) == len(landmarks):
            raise ValueError(
                f"{self.folder}: expected a camera and landmarks for each of {len(pictures)} pictures, got "
                f"{len(labels)} cameras and {len(landmarks)} sets of landmarks"
            )
        shares = bool(len(landmarks) and np.abs(landmarks).max() <= 2)
        taken = min(count, len(pictures))
        for k in (i * len(pictures) // taken for i in range(taken)):
            image = image_io.read(pictures[k])
            height, width = image.shape[:2]
            points = landmarks[k] * (width, height) - 0.5 if shares else landmarks[k]
            try:
                camera = pinhole(labels[k, :16].reshape(4, 4), labels[k, 16:].reshape(3, 3), (height, width))
            except ValueError as error:
                raise ValueError(f"{self.folder}: camera {k}: {error}") from error
            yield View(image, camera, points, path=str(pictures[k]))


def _read_labels(path: Path) -> NDArray[np.float64]:
    """Cameras (v, 25) of EG3D's ``dataset.json``, in the order of the names."""
    try:
        size = path.stat().st_size
        if size > _MAX_JSON_BYTES:
            raise ValueError(f"expected at most {_MAX_JSON_BYTES >> 20} MiB, got {size >> 20}")
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        rows = sorted((str(name), values) for name, values in content["labels"])
        return checked("labels", [values for _, values in rows], (None, _LABELS), np.float64)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path}: not EG3D's list of cameras: {error}; expected {LAYOUT}") from error
