"""Heads in several views with known cameras: rendered ones, and stored ones in the layout of EG3D."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.arrays import checked
from tddfa._shared.errors import reason
from tddfa._shared.image_io import has_image_name
from tddfa._shared.reading.regular import read_text
from tddfa._shared.reading.text import parse_json
from tddfa.datasets.files import read_arrays
from tddfa.geometry.triangulation import matrices, pinhole
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config
from tddfa.model.face_model import FaceModel
from tddfa.synthetic import Head, State, backdrop, degrade, render
from tddfa.synthetic.render import expression_weights

LAYOUT = (
    "DIR/multiview/<head>/*.png, views in the order of their names; DIR/multiview/<head>.npz with an array landmarks "
    "(views, 68, 2) in px, or in 0..1 of the image; and DIR/multiview/dataset.json (or one in each head's folder) of "
    "EG3D: labels, a list of [name, 25 numbers], one per view: 4x4 camera to world, 3x3 normalised intrinsics"
)

# Largest yaw and pitch of the views, degrees.
_YAW, _PITCH = 50.0, 22.0
_NOISE = 1.5
_FACE_FRACTION = 0.45
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
        Head space to px.
    landmarks : ndarray (68, 2) float64
        px.
    yaw : float or None
        Degrees; None if unknown.
    path : str
        File of the image; empty for a rendered one.
    """

    image: NDArray[np.uint8]
    camera: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    yaw: float | None = None
    path: str = ""


@dataclass(frozen=True, eq=False)
class ViewedHead:
    """A head and its views.

    Attributes
    ----------
    name : str
        Name of the head.
    unit : str
        Unit of its space.
    views : callable
        Number of views -> iterator of `View`, which are read or rendered one by one.
    points : ndarray (68, 3) float64 or None
        The landmarks in head space; None if unknown.
    """

    name: str
    unit: str
    views: Callable[[int], Iterator[View]]
    points: NDArray[np.float64] | None = None


def rendered_heads(heads: int, size: int, seed: int) -> list[ViewedHead]:
    """Make random heads of the open face model, each with its own expression, seen from several directions.

    Parameters
    ----------
    heads : int
        Number of heads.
    size : int
        Side of the images, px.
    seed : int
        The same seed gives the same heads.

    Examples
    --------
    >>> head, = rendered_heads(1, size=96, seed=0)
    >>> view = next(head.views(4))
    >>> view.image.shape, view.camera.shape, view.landmarks.shape
    ((96, 96, 3), (3, 4), (68, 2))
    """
    model = FaceModel.load(verified(Config.load(config_path("open_mb05")).face_model))
    rng = np.random.default_rng(seed)
    return [_rendered(model, int(each), index, size) for index, each in enumerate(rng.integers(2**31, size=heads))]


def _rendered(model: FaceModel, seed: int, index: int, size: int) -> ViewedHead:
    head = Head.procedural(model, seed)
    weights = np.random.default_rng(seed).uniform(0, 0.6, len(_EXPRESSIONS))
    expression = dict(zip(_EXPRESSIONS, weights.tolist(), strict=True))
    wall = backdrop((size, size), seed)

    def views(count: int) -> Iterator[View]:
        rng = np.random.default_rng(seed)
        for yaw, pitch in _directions(count):
            state = State(
                yaw, pitch, float(rng.normal(0, 5)), _FACE_FRACTION * size, size / 2, 0.52 * size, expression=expression
            )
            image, (face,) = render((size, size), [(head, state)], wall)
            assert face is not None
            yield View(
                degrade(image, rng, noise=_NOISE),
                matrices(face.camera.matrix[None, :2])[0],
                face.landmarks[:, :2].astype(np.float64),
                yaw,
            )

    points = model.landmarks(head.shape, expression_weights(model, expression)).astype(np.float64)
    return ViewedHead(f"rendered-{index}", model.unit, views, points)


def _directions(count: int) -> Iterator[tuple[float, float]]:
    """Yaw and pitch, evenly spread over an ellipse: sunflower pattern (Vogel, 1979)."""
    golden = np.pi * (3 - np.sqrt(5))
    for k in range(count):
        radius = np.sqrt((k + 0.5) / count)
        yield float(_YAW * radius * np.cos(k * golden)), float(_PITCH * radius * np.sin(k * golden))


def stored_heads(data: Path) -> list[ViewedHead]:
    """List the heads in the folder ``multiview`` of `data`; empty if there is no such folder.

    Raises
    ------
    ValueError
        While views are read: if a file is damaged or missing; the message names it and the expected layout.
    """
    folder = data / "multiview"
    heads = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    return [ViewedHead(head.name, "", _Stored(head)) for head in heads]


class _Stored:
    """The views of one folder, read one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, count: int) -> Iterator[View]:
        images = sorted(p for p in self.folder.iterdir() if has_image_name(p))
        own, shared = self.folder / "dataset.json", self.folder.parent / "dataset.json"
        labels = _labels_of(images, *_read_labels(own if own.is_file() else shared))
        points_file = self.folder.with_name(f"{self.folder.name}.npz")
        if not points_file.is_file():
            raise ValueError(f"{points_file}: no such file; expected {LAYOUT}")
        landmarks = read_arrays(points_file, ["landmarks"])["landmarks"]
        try:
            landmarks = checked("landmarks", landmarks, (None, 68, 2), np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{points_file}: {error}") from error
        if not len(images) == len(labels) == len(landmarks):
            raise ValueError(
                f"{self.folder}: expected a camera and landmarks for each of {len(images)} images, got "
                f"{len(labels)} cameras and {len(landmarks)} sets of landmarks"
            )
        normalised = bool(len(landmarks) and np.abs(landmarks).max() <= 2)
        taken = min(count, len(images))
        for k in (i * len(images) // taken for i in range(taken)):
            image = image_io.read(images[k])
            height, width = image.shape[:2]
            points = landmarks[k] * (width, height) - 0.5 if normalised else landmarks[k]
            try:
                camera = pinhole(labels[k, :16].reshape(4, 4), labels[k, 16:].reshape(3, 3), (height, width))
            except ValueError as error:
                raise ValueError(f"{self.folder}: camera {k}: {error}") from error
            yield View(image, camera, points, path=str(images[k]))


def _labels_of(images: list[Path], names: list[str], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The camera of each image, by its name; where other names are used, in the order of the names."""
    rows = {PurePosixPath(name).name: row for row, name in enumerate(names)}
    if len(rows) == len(names) and all(image.name in rows for image in images):
        return labels[[rows[image.name] for image in images]]
    return labels


def _read_labels(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Names and cameras (v, 25) of EG3D's ``dataset.json``, in the order of the names."""
    try:
        content: Any = parse_json(read_text(path, _MAX_JSON_BYTES))
        rows = sorted((str(name), values) for name, values in content["labels"])
        cameras = checked("labels", [values for _, values in rows], (None, _LABELS), np.float64)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path}: not a list of cameras of EG3D: {reason(error)}; expected {LAYOUT}") from error
    return [name for name, _ in rows], cameras
