"""Labels from landmarks: ``tddfa train fit PHOTOS OUT`` makes a folder of crops to train on of photos and landmarks."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tddfa.cli._common import FAILED, fraction, print_error, print_line

if TYPE_CHECKING:
    from tddfa.model.face_model import FaceModel
    from tddfa.train.data.samples import Sample
    from tddfa.train.labels.fitting import Fit, VertexMap

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

_SHEET_ROWS, _SHEET_COLUMNS = 8, 4
_TRUE, _FITTED = (0, 220, 0), (40, 40, 255)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tddfa train fit``."""
    parser.add_argument("photos", type=Path, metavar="PHOTOS", help="folder of photos, one face each")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write: crops, labels.npz, fits.png")
    parser.add_argument(
        "--landmarks", type=Path, metavar="FILE.npz",
        help="landmarks (n, k, 2 or 3) in px from 0, and names (n,) of the photos; by default a .pts lies beside each",
    )  # fmt: skip
    parser.add_argument(
        "--map", type=Path, metavar="FILE.npz",
        help="where they lie on the face model: vertices (k,), or triangles and weights (k, 3), and pairs (p, 2) whose "
        "distance counts, as of lids; by default they are the 68 of 300-W",
    )  # fmt: skip
    parser.add_argument(
        "--first", type=fraction, default=1.0, metavar="SHARE", help="only the first so many by name, 0..1"
    )
    parser.add_argument(
        "--validation", type=fraction, default=0.05, metavar="SHARE",
        help="the last so many by name are marked for validation, and never trained on (default: %(default)g, of two "
        "photos or more one at least; 0: none)",
    )  # fmt: skip
    parser.add_argument("--source", default="photos", metavar="NAME", help="what the labels call the photos")
    parser.add_argument(
        "-c", "--config", default="open_mb05", metavar="NAME|FILE.yml", help="whose face model (default: %(default)s)"
    )
    parser.add_argument(
        "--deviation", choices=("unit", "alike"), default="unit",
        help="what coefficients usually are: of variance 1, as the open face model's shape, or such that each moves "
        "the face as much as the others, for a face model in another scale (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-yaw", type=float, default=90.0, metavar="DEGREES",
        help="of faces turned farther keep the landmarks alone, not the fit: what annotators of photos see on a turned "
        "face makes fits that are turned less; of the 68 in 2D only (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--max-error", type=float, default=3.0, metavar="PERCENT",
        help="drop fits that are off by more, %% of the face's size (default: %(default)g)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Fit, write the crops and the contact sheet; 0, or 1 with a message."""
    from tddfa.cli._common import expected_errors, own_config

    try:
        from tddfa.model.assets import config_path, verified
        from tddfa.model.config import Config
        from tddfa.model.face_model import FaceModel
        from tddfa.train.labels.fitting import Prior, VertexMap, fit

        model = FaceModel.load(verified(Config.load(config_path(own_config(options.config))).face_model))
        photos, landmarks = _landmarks(options)
        where = VertexMap.of_300w(model) if options.map is None else read_map(options.map, model)
        prior = Prior() if options.deviation == "unit" else Prior(shape=None, expression=None)
        found = fit(landmarks, model, where, prior)
        kept = np.flatnonzero(found.error <= options.max_error)
        if not len(kept):
            raise ValueError(f"--max-error: expected some fits within {options.max_error} %, got none of {len(photos)}")
        _write(options, [photos[i] for i in kept], landmarks[kept], _rows(found, kept), model, where)
    except expected_errors() as error:
        print_error(str(error))
        return FAILED
    print_line(
        f"{options.out}: {len(kept)} faces, off by {found.error[kept].mean():.2f} % of their size on average; "
        f"{len(photos) - len(kept)} left out; {_validation_count(options, len(kept))} marked for validation"
    )
    return 0


def read_map(path: str | os.PathLike[str], model: FaceModel) -> VertexMap:
    """Read where landmarks lie on a face model: see ``tddfa train fit --help``.

    Raises
    ------
    ValueError
        If the file is no such map, or names vertices that the face model has not; the message names file and array.
    """
    from tddfa._shared.arrays import checked
    from tddfa.train.data.shards import read_arrays
    from tddfa.train.labels.fitting import VertexMap

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
        for name, index, most in (("vertices", where.triangles, len(model.mean)), ("pairs", pairs, len(where.weights))):
            if index.size and (index.min() < 0 or index.max() >= most):
                raise ValueError(f"{name}: expected indices 0..{most - 1}, got {index.min()}..{index.max()}")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return VertexMap(where.triangles, where.weights, pairs.astype(np.intp), where.jaw)


def contact_sheet(samples: list[Sample], fitted: list[Floats], model: FaceModel) -> Image:
    """Faces with their landmarks (green) and the fitted ones (red), and beside each the fitted surface.

    Parameters
    ----------
    samples : list of Sample
        With parameters, and landmarks where they have some.
    fitted : list of ndarray (k, 2)
        Where the fit puts the landmarks, px of each crop.
    model : FaceModel
        Of the fits.
    """
    import cv2

    from tddfa.draw import mesh
    from tddfa.geometry.camera import Camera
    from tddfa.types import Mesh

    tiles = []
    for sample, points in zip(samples, fitted, strict=True):
        assert sample.camera is not None
        assert sample.shape is not None
        assert sample.expression is not None
        marked = cv2.resize(sample.crop, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        for where, color in ((sample.landmarks, _TRUE), (points, _FITTED)):
            for x, y in [] if where is None else where[np.isfinite(where).all(axis=1)].tolist():
                # eight steps a px, so that marks lie where landmarks do
                at = round((2 * x + 0.5) * 8), round((2 * y + 0.5) * 8)
                cv2.circle(marked, at, 12, color, -1, cv2.LINE_AA, 3)
        vertices = Camera(sample.camera).project(model.vertices(sample.shape, sample.expression))
        surface = mesh(sample.crop, [Mesh(vertices, model.triangles)])
        tiles.append(np.hstack([marked, cv2.resize(surface, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)]))
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % _SHEET_COLUMNS)
    rows = [np.hstack(tiles[i : i + _SHEET_COLUMNS]) for i in range(0, len(tiles), _SHEET_COLUMNS)]
    return np.vstack(rows)


def _landmarks(options: argparse.Namespace) -> tuple[list[Path], NDArray[np.float64]]:
    """The photos, and the landmarks (n, k, 2 or 3) of each."""
    from tddfa._shared.arrays import checked
    from tddfa.datasets.pts import read_pts
    from tddfa.train.data.photos import first_by_name
    from tddfa.train.data.shards import read_arrays

    if options.landmarks is None:
        photos = first_by_name(options.photos, options.first)
        return photos, np.array([read_pts(photo.with_suffix(".pts")) for photo in photos])
    arrays = read_arrays(options.landmarks)
    for name in ("names", "landmarks"):
        if name not in arrays:
            raise ValueError(f"{options.landmarks}: expected an array {name!r}, got {', '.join(sorted(arrays))}")
    points = arrays["landmarks"]
    axes = points.shape[-1] if points.ndim == 3 and points.shape[-1] == 3 else 2
    names = np.atleast_1d(arrays["names"])
    points = checked(f"{options.landmarks}: landmarks", points, (len(names), None, axes), np.float64, finite=False)
    order = np.argsort(names)[: int(options.first * len(names))]
    # a name is a file of the folder, and nothing outside of it
    return [options.photos / Path(str(names[i])).name for i in order], points[order]


def _validation_count(options: argparse.Namespace, faces: int) -> int:
    wanted = max(1, round(options.validation * faces)) if options.validation > 0 else 0
    return int(min(wanted, faces - 1))


def _rows(found: Fit, rows: NDArray[np.intp]) -> Fit:
    from tddfa.train.labels.fitting import Fit

    return Fit(*(getattr(found, name)[rows] for name in Fit.__dataclass_fields__))


def _write(
    options: argparse.Namespace,
    photos: list[Path],
    landmarks: NDArray[np.float64],
    found: Fit,
    model: FaceModel,
    where: VertexMap,
) -> None:
    from tddfa._shared import image_io
    from tddfa.geometry.camera import Camera
    from tddfa.train.data.augment import STORED_SCALE
    from tddfa.train.data.samples import Sample, cut_square, write_samples
    from tddfa.train.labels.fitting import unsure_jaw

    samples: list[Sample] = []
    turned: list[bool] = []
    fitted: list[Floats] = []
    first_kept = len(photos) - _validation_count(options, len(photos))
    is_300w = options.map is None
    annotated = is_300w and landmarks.shape[2] == 2
    if annotated:
        landmarks = np.where(unsure_jaw(found.camera, model)[..., None], np.nan, landmarks)
    for i, photo in enumerate(photos):
        camera = Camera(found.camera[i])
        box = camera.project(model.landmarks(found.shape[i], found.expression[i]))[:, :2]
        low, high = box.min(axis=0), box.max(axis=0)
        crop, matrix = cut_square(image_io.read(photo), (low + high) / 2, STORED_SCALE * float((high - low).max()))
        scale = matrix[0, 0]
        own = (scale * camera.matrix).astype(np.float32)
        own[:2, 3] += matrix[:, 2].astype(np.float32)
        own[2, 3] = 0
        true = (landmarks[i, :, :2] * scale + matrix[:, 2]).astype(np.float32) if is_300w else None
        samples.append(
            Sample(crop, options.source, own, found.shape[i], found.expression[i], true, validation=i >= first_kept)
        )
        vertices = Camera(own).project(model.vertices(found.shape[i], found.expression[i]))
        turned.append(annotated and abs(camera.euler_degrees().yaw) > options.max_yaw)
        fitted.append(where.on(vertices)[:, :2].astype(np.float32))
    kept = [
        replace(sample, camera=None, shape=None, expression=None) if turned[i] else sample
        for i, sample in enumerate(samples)
    ]
    write_samples(options.out, kept, model)
    # the worst first, then some as they come
    count = _SHEET_ROWS * _SHEET_COLUMNS
    worst = np.argsort(-found.error)[: count // 2].tolist()
    others = np.linspace(0, len(samples) - 1, count - count // 2).astype(int).tolist()
    shown = list(dict.fromkeys([*worst, *others]))
    sheet = contact_sheet([samples[i] for i in shown], [fitted[i] for i in shown], model)
    image_io.write(options.out / "fits.png", sheet)
