"""Fit a face model to landmarks: camera, shape and expression, for many faces at once.

`tddfa.fitting.equations` has the solver. For two landmarks on opposite lids or lips, their *difference* is fitted
too, with a larger weight: a small error of the pose moves both landmarks and leaves the gap between them. So eyes close
as far as their landmarks do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked
from tddfa.fitting.equations import PAIRS, Guess, Prior, Problem, VertexMap, sideways, unsure
from tddfa.geometry.camera import Camera
from tddfa.model.face_model import FaceModel

__all__ = ["PAIRS", "Fit", "Guess", "Prior", "VertexMap", "fit", "unsure_jaw"]

# Faces whose equations are in memory together; those of a person stay together.
_CHUNK = 256
_FARTHEST = 1e9  # px; squares of larger coordinates overflow


@dataclass(frozen=True, eq=False)
class Fit:
    """Parameters of n faces.

    Attributes
    ----------
    camera : ndarray (n, 3, 4) float32
        Face model to px (frames: `tddfa.geometry.camera`); z of the model's origin is 0, or as 3D landmarks have it.
    shape : ndarray (n, s) float32
        Shape coefficients.
    expression : ndarray (n, e) float32
        Expression weights, within the face model's bounds.
    error : ndarray (n,) float32
        Weighted mean distance of landmarks and fit in the image, % of the face's size; NaN where too few landmarks are
        known, with all parameters 0.
    """

    camera: NDArray[np.float32]
    shape: NDArray[np.float32]
    expression: NDArray[np.float32]
    error: NDArray[np.float32]


def fit(
    landmarks: ArrayLike,
    model: FaceModel,
    vertex_map: VertexMap | None = None,
    prior: Prior | None = None,
    weights: ArrayLike | None = None,
    *,
    guess: Guess | None = None,
    persons: ArrayLike | None = None,
) -> Fit:
    """Fit a face model to landmarks.

    Parameters
    ----------
    landmarks : array_like (n, k, 2) or (n, k, 3)
        px, x right, y down; z, if given, in px too, larger towards the viewer. NaN if unknown.
    model : FaceModel
        The face model to fit.
    vertex_map : VertexMap, optional
        Positions of the landmarks on it; by default they are the 68 of 300-W.
    prior : Prior, optional
        Expected noise and spread of coefficients.
    weights : array_like (n, k), optional
        Weight of each landmark, 0 or more; 1 by default.
    guess : Guess, optional
        Initial pose and coefficients of the n faces. The fit starts there. The guess and `prior` define how near pose
        and coefficients stay to it.
    persons : array_like (n,), optional
        Name or number of the person: faces of one person get one shape.

    Returns
    -------
    Fit
        Parameters of the n faces.

    Raises
    ------
    ValueError
        If an argument has the wrong type, shape or dtype; the message names it.

    Examples
    --------
    >>> from tddfa.fitting.landmarks import fit
    >>> fits = fit(face.landmarks[None, :, :2], aligner.face_model)
    >>> fits.camera.shape, bool(fits.error[0] < 1)
    ((1, 3, 4), True)
    """
    points = np.asarray(landmarks)
    axes = points.shape[-1] if points.ndim == 3 and points.shape[-1] == 3 else 2
    vertex_map = VertexMap.of_300w(model) if vertex_map is None else vertex_map
    prior = Prior() if prior is None else prior
    count = len(vertex_map.triangles)
    points = checked("landmarks", points, (None, count, axes), np.float64, finite=False)
    farthest = np.abs(points, where=np.isfinite(points), out=np.zeros_like(points)).max(initial=0)
    if farthest > _FARTHEST:
        raise ValueError(f"landmarks: expected coordinates within {_FARTHEST:g} of 0, got {farthest:g}")
    given = np.ones(points.shape[:2]) if weights is None else checked("weights", weights, points.shape[:2], np.float64)
    if given.size and given.min() < 0:
        raise ValueError(f"weights: expected 0 or more, got {given.min()}")
    known = np.isfinite(points).all(axis=2)
    given = given * known
    chosen = None if persons is None else np.unique(checked_persons(persons, len(points)), return_inverse=True)[1]
    if guess is not None:
        sizes = len(guess), guess.shape.shape[1], guess.expression.shape[1]
        wanted = len(points), model.shape_count, model.expression_count
        if sizes != wanted:
            raise ValueError(f"guess: expected {wanted} faces, shape and expression coefficients, got {sizes}")
    solved, order = [], []
    for rows in _chunks(len(points), chosen):
        part = Problem(
            np.nan_to_num(points[rows], nan=0.0),
            given[rows],
            model,
            vertex_map,
            prior,
            None if guess is None else guess.take(rows),
            None if chosen is None else chosen[rows],
        )
        solved.append(part.solve())
        order.append(rows)
    if not solved:
        none = (
            np.zeros((0, 3, 4)),
            np.zeros((0, model.shape_count)),
            np.zeros((0, model.expression_count)),
            np.zeros(0),
        )
        solved = [none]
    back = np.argsort(np.concatenate(order)) if order else np.zeros(0, dtype=np.intp)
    camera, shape, expression, error = (
        np.concatenate(arrays).astype(np.float32)[back] for arrays in zip(*solved, strict=True)
    )
    return Fit(camera, shape, expression, error)


def checked_persons(persons: ArrayLike, count: int) -> NDArray[np.generic]:
    """Names or numbers of persons (n,), checked."""
    array = np.asarray(persons)
    if array.shape != (count,) or array.dtype.kind not in "iuU":
        raise ValueError(f"persons: expected {count} names or numbers, got shape {array.shape} of {array.dtype}")
    return array


def _chunks(count: int, persons: NDArray[np.intp] | None) -> Iterator[NDArray[np.intp]]:
    """Yield rows whose equations are solved together: about `_CHUNK`, and all rows of a person together."""
    order = np.arange(count) if persons is None else np.argsort(persons, kind="stable")
    # the row after which a person ends, or any row
    ends = np.arange(1, count + 1) if persons is None else np.append(np.flatnonzero(np.diff(persons[order])) + 1, count)
    first = 0
    while first < count:
        fitting = ends[(ends > first) & (ends <= first + _CHUNK)]
        last = int(fitting[-1] if len(fitting) else ends[ends > first][0])
        yield order[first:last]
        first = last


def unsure_jaw(camera: NDArray[np.float32], model: FaceModel) -> NDArray[np.bool_]:
    """Which of the 68 landmarks are points of the jaw that annotators of photos place elsewhere on a turned face.

    On the far side they mark the outline, on the near side they spread the points along the visible edge. These lines
    are not the jaw itself, and a fit to them is turned less than the face.

    Parameters
    ----------
    camera : ndarray (n, 3, 4)
        Face model to px.
    model : FaceModel
        The fitted face model.

    Returns
    -------
    ndarray (n, 68) bool
    """
    rotation = np.stack([Camera(matrix).rotation for matrix in camera]) if len(camera) else np.zeros((0, 3, 3))
    return unsure(rotation, sideways(VertexMap.of_300w(model), model))
