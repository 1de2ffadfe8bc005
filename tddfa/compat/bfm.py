"""3DDFA_V2's face model as a ``.npz``: a part of the Basel Face Model 2009, with the expressions of FaceWarehouse."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked
from tddfa._shared.errors import reason
from tddfa._shared.npz import read_npz
from tddfa.compat.networks import EXPRESSION_COUNT, SHAPE_COUNT
from tddfa.compat.restricted_pickle import RefusedError, read_pickle
from tddfa.datasets.files import read_array, read_mat
from tddfa.model.face_model import FaceModel
from tddfa.model.regions import find_regions

LICENCE = (
    "Basel Face Model 2009 (Paysan et al., University of Basel), as released with 3DDFA_V2: academic use only; "
    "commercial use needs a licence of the University of Basel."
)
CONVENTION = "300w-lp"
_MAX_BYTES = 1 << 30


def read_pickled(path: str | os.PathLike[str]) -> Any:
    """Read a pickle of arrays with `tddfa.compat.restricted_pickle`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    RefusedError
        If the file has anything but arrays, plain containers, numbers and text, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.stat().st_size > _MAX_BYTES:
        raise RefusedError(f"{path}: expected at most {_MAX_BYTES} bytes, got {path.stat().st_size}")
    try:
        with path.open("rb") as file:
            return read_pickle(file)
    except RefusedError as error:
        raise RefusedError(f"{path}: not a file of arrays that can be read: {reason(error)}") from error


def read_bases(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read the mean, the bases and the landmarks from 3DDFA_V2's pickle, or from a ``.npz`` with the same arrays.

    Returns
    -------
    dict of str to ndarray
        ``u`` (3n, 1), ``w_shp`` (3n, 40), ``w_exp`` (3n, 10), ``keypoints`` (204,): rows x, y, z of each vertex, and
        the rows of the 68 landmarks.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, or an array is missing or wrong; the message names the file and the array.
    """
    path = Path(path)
    content: dict[str, Any]
    if path.suffix.lower() == ".npz":
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        try:
            content = read_npz(path, _MAX_BYTES, ("u", "w_shp", "w_exp", "keypoints"))
        except ValueError as error:
            raise ValueError(f"{path}: not a file of arrays that can be read: {reason(error)}") from error
    else:
        content = read_pickled(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected named arrays, got {type(content).__name__}")
    try:
        mean = np.asarray(content.get("u", ()))
        rows = mean.size
        if rows == 0 or rows % 3:
            raise ValueError(f"u: expected 3 numbers per vertex, got {rows} numbers")
        bases = {
            "u": checked("u", mean.reshape(-1, 1), (rows, 1)),
            "w_shp": _first_columns("w_shp", content.get("w_shp", ()), rows, SHAPE_COUNT),
            "w_exp": _first_columns("w_exp", content.get("w_exp", ()), rows, EXPRESSION_COUNT),
            "keypoints": checked("keypoints", np.asarray(content.get("keypoints", ())), (204,), np.int64),
        }
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {reason(error)}") from error
    points = bases["keypoints"].reshape(68, 3)
    if points.min() < 0 or points.max() >= rows or (points % 3 != (0, 1, 2)).any() or np.ptp(points // 3, axis=1).any():
        raise ValueError(f"{path}: keypoints: expected the x, y and z rows of 68 vertices, 0..{rows - 1}")
    return bases


def _first_columns(name: str, value: Any, rows: int, count: int) -> NDArray[Any]:
    array = np.asarray(value)
    if array.ndim != 2 or array.shape[0] != rows or array.shape[1] < count:
        raise ValueError(f"{name}: expected shape ({rows}, {count}), got {array.shape}")
    return checked(name, array[:, :count], (rows, count))


def face_model(
    bases: str | os.PathLike[str],
    triangles: str | os.PathLike[str],
    uv: str | os.PathLike[str],
    indices: str | os.PathLike[str],
) -> bytes:
    """Convert the files of 3DDFA_V2's face model to one ``.npz`` file.

    Parameters
    ----------
    bases : path
        ``bfm_noneck_v3.pkl``, or a ``.npz``; see `read_bases`.
    triangles : path
        ``tri.pkl``: (3, m) vertex indices.
    uv : path
        ``BFM_UV.mat``: UV coordinates of each vertex of the whole Basel Face Model.
    indices : path
        ``indices.npy``: indices of the vertices of this model among those.

    Returns
    -------
    bytes
        A ``.npz`` for `tddfa.FaceModel.load`.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing or has wrong content.
    """
    arrays = read_bases(bases)
    mean = arrays["u"].reshape(-1, 3)
    count = len(mean)
    corners = np.asarray(read_pickled(triangles))
    if corners.ndim != 2 or corners.shape[0] != 3 or corners.dtype.kind not in "iu":
        raise ValueError(f"{triangles}: expected whole numbers of shape (3, m), got {corners.dtype} {corners.shape}")
    if corners.min() < 0 or corners.max() >= count:
        raise ValueError(f"{triangles}: expected vertices 0..{count - 1}, got {corners.min()}..{corners.max()}")
    landmarks = np.zeros((68, 3), dtype=np.int32)
    landmarks[:] = arrays["keypoints"].reshape(68, 3)[:, :1] // 3
    weights = np.zeros((68, 3), dtype=np.float32)
    weights[:, 0] = 1
    content = {
        "mean": mean,
        "shape_basis": _by_coefficient(arrays["w_shp"]),
        "expression_basis": _by_coefficient(arrays["w_exp"]),
        # 3DDFA_V2's triangles are clockwise when seen from outside
        "triangles": np.ascontiguousarray(corners[::-1].T, dtype=np.int32),
        "landmark_triangles": landmarks,
        "landmark_weights": weights,
        "uv": _uv(uv, indices, count),
        "unit": np.array("um"),
        "licence": np.array(LICENCE),
        "convention": np.array(CONVENTION),
    }
    regions = find_regions(_model(content))
    content |= {f"region_{name}": vertices for name, vertices in regions.items() if len(vertices)}
    buffer = io.BytesIO()
    np.savez(buffer, **content)  # type: ignore[arg-type]  # NumPy's stub takes a keyword for its own switch
    return buffer.getvalue()


def _by_coefficient(basis: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(basis.T, dtype=np.float32).reshape(basis.shape[1], -1, 3)


def _uv(path: str | os.PathLike[str], indices: str | os.PathLike[str], count: int) -> NDArray[np.float32]:
    for file in (path, indices):
        if not Path(file).is_file():
            raise FileNotFoundError(f"{file}: no such file")
    sheet = read_mat(Path(path), {"UV": (None, 2)})["UV"]
    which = read_array(Path(indices), (count,))
    if not count or (which % 1).any() or which.min() < 0 or which.max() >= len(sheet):
        raise ValueError(f"{indices}: expected {count} vertices 0..{len(sheet) - 1}, got others")
    return np.asarray(np.clip(sheet[which.astype(np.intp)], 0, 1), dtype=np.float32)


def _model(content: dict[str, NDArray[Any]]) -> FaceModel:
    return FaceModel(
        mean=content["mean"],
        basis=np.concatenate([content["shape_basis"], content["expression_basis"]]),
        shape_count=SHAPE_COUNT,
        triangles=content["triangles"],
        landmark_triangles=content["landmark_triangles"],
        landmark_weights=content["landmark_weights"],
        uv=content["uv"],
        part=np.zeros(len(content["mean"]), dtype=np.uint8),
        regions={},
        expression_names=tuple(f"expression_{i}" for i in range(EXPRESSION_COUNT)),
        expression_range=None,
        unit="um",
        licence=LICENCE,
        convention=CONVENTION,
    )
