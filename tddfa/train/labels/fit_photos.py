"""Photos with landmarks to labelled crops: a face model is fitted to each, and a contact sheet shows the fits."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa import draw
from tddfa._shared import image_io
from tddfa._shared.arrays import checked
from tddfa.datasets.pts import read_pts
from tddfa.fitting.landmarks import Fit, Prior, VertexMap, fit, unsure_jaw
from tddfa.geometry.camera import Camera
from tddfa.model.face_model import FaceModel
from tddfa.train.data.photos import first_by_name
from tddfa.train.data.samples import Sample, crop_face, write_samples
from tddfa.train.data.shards import read_arrays
from tddfa.types import Mesh

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

CONTACT_SHEET = "fits.png"

_SHEET_ROWS, _SHEET_COLUMNS = 8, 4
_GROUND_TRUTH_COLOR, _FITTED_COLOR = (0, 220, 0), (40, 40, 255)


@dataclass(frozen=True)
class Fitted:
    """Summary of the written labels.

    Attributes
    ----------
    faces, left_out, validation : int
        Faces written, faces whose fit is too far off, and faces of those written that are marked for validation.
    error : float
        Mean distance of landmarks and fit, % of the face's size.
    """

    faces: int
    left_out: int
    validation: int
    error: float


def read_landmarks(
    folder: Path, path: str | os.PathLike[str] | None = None, first: float = 1.0
) -> tuple[list[Path], NDArray[np.float64]]:
    """Photos of a folder, and the landmarks (n, k, 2 or 3) of each, px.

    Parameters
    ----------
    folder : Path
        Of the photos, one face each.
    path : path, optional
        ``.npz`` with `landmarks` (n, k, 2 or 3), px from 0, and `names` (n,) of the photos; without it, a ``.pts``
        file is read beside each photo.
    first : float
        Fraction of the photos, the first by name.

    Raises
    ------
    OSError, ValueError
        If a file is missing or damaged; the message names it.
    """
    if path is None:
        photos = first_by_name(folder, first)
        # the files' own numbers, from 1, in single precision: the shipped labels were fitted to these
        numbers = np.array([read_pts(photo.with_suffix(".pts")) + 1 for photo in photos], dtype=np.float32)
        return photos, (numbers - np.float32(1)).astype(np.float64)
    arrays = read_arrays(path)
    for name in ("names", "landmarks"):
        if name not in arrays:
            raise ValueError(f"{path}: expected an array {name!r}, got {', '.join(sorted(arrays))}")
    points = arrays["landmarks"]
    axes = points.shape[-1] if points.ndim == 3 and points.shape[-1] == 3 else 2
    names = np.atleast_1d(arrays["names"])
    if names.dtype.kind != "U" or names.ndim != 1:
        raise ValueError(f"{path}: names: expected text (n,), got {names.dtype} {names.shape}")
    try:
        points = checked("landmarks", points, (len(names), None, axes), np.float64, finite=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    order = np.argsort(names)[: int(first * len(names))]
    # a name is a file of the folder, and nothing outside of it
    return [folder / Path(str(names[i])).name for i in order], points[order]


def read_vertex_map(path: str | os.PathLike[str], model: FaceModel) -> VertexMap:
    """Read where landmarks are on a face model.

    Parameters
    ----------
    path : path
        ``.npz`` with `vertices` (k,), or `triangles` and `weights` (k, 3); and optionally `pairs` (p, 2) of landmarks
        whose distance is fitted too.
    model : FaceModel
        With these vertices.

    Raises
    ------
    ValueError
        If the file is no such map, or names vertices that the face model does not have; the message names file and
        array.
    """
    arrays = read_arrays(path)
    try:
        if "vertices" in arrays:
            where = VertexMap.of_vertices(arrays["vertices"])
        elif "triangles" in arrays and "weights" in arrays:
            triangles = checked("triangles", arrays["triangles"], (None, 3), np.int32)
            weights = checked("weights", arrays["weights"], (len(triangles), 3))
            none = np.zeros((0, 2), dtype=np.intp)
            where = VertexMap(triangles, weights, none, np.zeros(len(triangles), dtype=bool))
        else:
            raise ValueError(f"expected 'vertices', or 'triangles' and 'weights', got {', '.join(sorted(arrays))}")
        pairs = checked("pairs", arrays.get("pairs", np.zeros((0, 2), dtype=np.int64)), (None, 2), np.int64)
        for name, index, count in (
            ("vertices", where.triangles, len(model.mean)),
            ("pairs", pairs, len(where.weights)),
        ):
            if index.size and (index.min() < 0 or index.max() >= count):
                raise ValueError(f"{name}: expected indices 0..{count - 1}, got {index.min()}..{index.max()}")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return replace(where, pairs=pairs.astype(np.intp))


def fit_photos(
    out: Path,
    photos: list[Path],
    landmarks: NDArray[np.float64],
    model: FaceModel,
    *,
    vertex_map: VertexMap | None = None,
    prior: Prior | None = None,
    source: str = "photos",
    validation: float = 0.05,
    max_yaw: float = 90.0,
    max_error: float = 3.0,
) -> Fitted:
    """Fit a face model to photos, and write a folder of labelled crops with a contact sheet, ``fits.png``.

    Parameters
    ----------
    out : Path
        Folder to write.
    photos : list of Path
        One face each.
    landmarks : ndarray (n, k, 2) or (n, k, 3)
        px of each photo; see `tddfa.fitting.landmarks.fit`.
    model : FaceModel
        The face model to fit.
    vertex_map : VertexMap, optional
        Where the landmarks are on it; by default they are the 68 of 300-W, which the labels keep too.
    prior : Prior, optional
        Of the fit.
    source : str
        Name of the photos in the labels.
    validation : float
        Fraction of the faces, the last ones, that are marked for validation; at least one of two faces or more if it
        is over 0.
    max_yaw : float
        Faces turned farther, degrees, keep their landmarks alone: annotators of photos see another jaw on a turned
        face, and a fit to it is turned less. Counts for the 68 landmarks in 2D only.
    max_error : float
        Fits that are off by more, % of the face's size, are left out.

    Raises
    ------
    OSError, ValueError
        If a photo cannot be read, or if every fit is left out.
    """
    is_300w = vertex_map is None
    where = VertexMap.of_300w(model) if vertex_map is None else vertex_map
    fits = fit(landmarks, model, where, prior)
    kept = np.flatnonzero(fits.error <= max_error)
    if not len(kept):
        raise ValueError(f"max_error: expected some fits within {max_error} %, got none of {len(photos)}")
    fits = Fit(*(getattr(fits, name)[kept] for name in Fit.__dataclass_fields__))
    landmarks = landmarks[kept]
    annotated = is_300w and landmarks.shape[2] == 2
    if annotated:
        landmarks = np.where(unsure_jaw(fits.camera, model)[..., None], np.nan, landmarks)
    validated = min(max(1, round(validation * len(kept))) if validation > 0 else 0, len(kept) - 1)
    samples: list[Sample] = []
    for i, row in enumerate(kept.tolist()):
        sample = _fitted_sample(photos[row], fits, i, model, landmarks[i] if is_300w else None)
        samples.append(replace(sample, source=source, validation=i >= len(kept) - validated))

    def written(sample: Sample, camera: Floats) -> Sample:
        too_far = annotated and abs(Camera(camera).euler_degrees().yaw) > max_yaw
        return replace(sample, camera=None, shape=None, expression=None) if too_far else sample

    write_samples(out, [written(*each) for each in zip(samples, fits.camera, strict=True)], model)
    # the worst first, then some evenly from all
    count = _SHEET_ROWS * _SHEET_COLUMNS
    worst = np.argsort(-fits.error)[: count // 2].tolist()
    others = np.linspace(0, len(samples) - 1, count - count // 2).astype(int).tolist()
    shown = [samples[i] for i in dict.fromkeys([*worst, *others])]
    image_io.write(out / CONTACT_SHEET, contact_sheet(shown, model, where))
    return Fitted(len(kept), len(photos) - len(kept), validated, float(fits.error.mean()))


def contact_sheet(samples: list[Sample], model: FaceModel, vertex_map: VertexMap) -> Image:
    """Faces with their landmarks (green) and the fitted ones (red), and beside each the fitted surface.

    Parameters
    ----------
    samples : list of Sample
        With parameters, and landmarks where they have some.
    model : FaceModel
        Of the fits.
    vertex_map : VertexMap
        Where the fitted landmarks are on it.
    """
    tiles = []
    for sample in samples:
        assert sample.camera is not None
        assert sample.shape is not None
        assert sample.expression is not None
        vertices = Camera(sample.camera).project(model.vertices(sample.shape, sample.expression))
        marked = _enlarged(sample.crop)
        if sample.landmarks is not None:
            _mark(marked, sample.landmarks, _GROUND_TRUTH_COLOR)
        _mark(marked, vertex_map.on(vertices)[:, :2].astype(np.float32), _FITTED_COLOR)
        surface = draw.mesh(sample.crop, [Mesh(vertices, model.triangles)])
        tiles.append(np.hstack([marked, _enlarged(surface)]))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % _SHEET_COLUMNS)
    rows = [np.hstack(tiles[i : i + _SHEET_COLUMNS]) for i in range(0, len(tiles), _SHEET_COLUMNS)]
    return np.vstack(rows)


def _enlarged(image: Image) -> Image:
    return np.asarray(cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR))


def _mark(enlarged: Image, points: Floats, color: tuple[int, int, int]) -> None:
    """Draw the known points (k, 2), px of the crop, on the enlarged crop."""
    for x, y in points[np.isfinite(points).all(axis=1)].tolist():
        # coordinates in eighths of a px, so that marks are where landmarks are
        at = round((2 * x + 0.5) * 8), round((2 * y + 0.5) * 8)
        cv2.circle(enlarged, at, 12, color, -1, cv2.LINE_AA, 3)


def _fitted_sample(photo: Path, fits: Fit, i: int, model: FaceModel, landmarks: NDArray[np.float64] | None) -> Sample:
    """The stored crop around the landmarks of fit `i`, with its parameters."""
    camera = Camera(fits.camera[i])
    crop, matrix = crop_face(image_io.read(photo), camera.project(model.landmarks(fits.shape[i], fits.expression[i])))
    scale = matrix[0, 0]
    own = (scale * camera.matrix).astype(np.float32)
    own[:2, 3] += matrix[:, 2].astype(np.float32)
    own[2, 3] = 0
    ground_truth = None
    if landmarks is not None:
        ground_truth = (landmarks[:, :2] * scale + matrix[:, 2]).astype(np.float32)
    return Sample(crop, "", own, fits.shape[i], fits.expression[i], ground_truth)
