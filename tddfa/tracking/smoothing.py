"""Temporal smoothing of faces.

Smoothing works on the parameters of a face (rotation, scale, position, shape, expression), not on its points. So a
smoothed face has one camera, one shape and one expression, and its landmarks, mesh and pose agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tddfa.decoder import Decoder
from tddfa.geometry.camera import Camera, nearest_rotations
from tddfa.geometry.rotation import VIEW_TO_IMAGE, rotation_from_vector, vector_from_rotation
from tddfa.types import Face

Floats = NDArray[np.float64]


def _gain(cutoff: float | NDArray[np.float64], dt: float) -> NDArray[np.float64]:
    """Weight of a new value in an exponential mean with this cutoff frequency (Hz): Casiez et al., equation 3."""
    return np.asarray(1 / (1 + 1 / (2 * np.pi * np.maximum(cutoff, 1e-9) * dt)))


@dataclass(frozen=True)
class Tuning:
    """Parameters of a 1 EUR filter, or of one for each component (arrays).

    Attributes
    ----------
    cutoff : float
        Cutoff frequency at rest, Hz (`mincutoff` in the paper). A lower one gives less jitter.
    slope : float
        Increase of the cutoff with speed, Hz per unit/s (`beta` in the paper). A higher one gives less lag.
    speed_cutoff : float
        Cutoff frequency of the speed, Hz (`dcutoff` in the paper).

    Examples
    --------
    >>> from tddfa.tracking.smoothing import Tuning
    >>> Tuning(cutoff=0.8, slope=7.0).speed_cutoff
    1.0
    """

    cutoff: float | NDArray[np.float64]
    slope: float | NDArray[np.float64]
    speed_cutoff: float | NDArray[np.float64] = 1.0


def filter_step(
    value: Floats, speed: Floats, new: Floats, dt: float, tuning: Tuning, *, together: int = 0
) -> tuple[Floats, Floats]:
    """One step of 1 EUR filters.

    G. Casiez, N. Roussel, D. Vogel: 1 EUR filter, a simple speed-based low-pass filter for noisy input in interactive
    systems. CHI 2012.

    Parameters
    ----------
    value, speed : ndarray (..., d)
        Last results; at the start, the first value and 0.
    new : ndarray (..., d)
        Next value.
    dt : float
        Time since the last one, s; more than 0.
    tuning : Tuning
        Its speeds are in units of the value per second.
    together : int
        Number of leading components that share one cutoff, computed from the length of their speed. Each other
        component has its own cutoff.

    Returns
    -------
    value, speed : ndarray (..., d)

    Examples
    --------
    >>> from tddfa.tracking.smoothing import Tuning, filter_step
    >>> value, speed = filter_step(np.zeros(1), np.zeros(1), np.ones(1), 1 / 30, Tuning(cutoff=1.0, slope=0.0))
    >>> value.round(3).tolist()
    [0.173]
    """
    change = new - value
    speed = speed + _gain(tuning.speed_cutoff, dt) * (change / dt - speed)
    fast = np.abs(speed)
    if together:
        fast[..., :together] = np.linalg.norm(speed[..., :together], axis=-1, keepdims=True)
    return value + _gain(tuning.cutoff + tuning.slope * fast, dt) * change, speed


def rotation_step(rotations: Floats, turning: Floats, new: Floats, dt: float, tuning: Tuning) -> tuple[Floats, Floats]:
    """One step of 1 EUR filters of rotations (n, 3, 3): along the arc between rotations (slerp).

    Parameters
    ----------
    rotations, turning : ndarray (n, 3, 3), (n, 3)
        Last results; at the start, the first rotations and 0.
    new, dt, tuning
        See `filter_step`; speeds are in rad/s.

    Examples
    --------
    >>> from tddfa.geometry.rotation import euler_from_rotation, rotation_from_euler
    >>> from tddfa.tracking.smoothing import Tuning, rotation_step
    >>> first, second = (rotation_from_euler(yaw, 0, 0)[None] for yaw in (0, 10))
    >>> rotation, _ = rotation_step(first, np.zeros((1, 3)), second, 1 / 30, Tuning(cutoff=1.0, slope=0.0))
    >>> round(euler_from_rotation(rotation[0]).yaw, 2)
    1.73
    """
    arcs = np.array([vector_from_rotation(each @ last.T) for last, each in zip(rotations, new, strict=True)])
    turning = turning + _gain(tuning.speed_cutoff, dt) * (arcs / dt - turning)
    gain = _gain(tuning.cutoff + tuning.slope * np.linalg.norm(turning, axis=1), dt)
    return np.array([rotation_from_vector(arc) for arc in gain[:, None] * arcs]) @ rotations, turning


class OneEuro:
    """1 EUR filters of the parameters of one face: smoothing without delay.

    The rotation is filtered on the sphere, the position in units of the face, and the scale by its logarithm. Each
    expression weight has its own filter; those of the eyes follow faster, because a blink takes a tenth of a second.
    The shape of a person is constant, so its filter is slow.

    Parameters
    ----------
    decoder : Decoder
        Decoder of the faces.

    Examples
    --------
    >>> from tddfa.tracking.smoothing import OneEuro
    >>> smooth = OneEuro(aligner.decoder)
    >>> bool(abs(smooth(face, 1 / 30).landmarks - face.landmarks).max() < 0.01)
    True
    """

    # Speeds are in model units (cm), rad, e-folds and weights per second. Chosen on heads with known motion and the
    # regressor's noise, so that jitter is halved at a lag under one frame: tests/tddfa/tracking/test_smoothing.py.
    POSITION = Tuning(cutoff=0.8, slope=0.8)
    ROTATION = Tuning(cutoff=0.8, slope=7.0)
    SCALE = Tuning(cutoff=0.3, slope=2.0)
    EXPRESSION = Tuning(cutoff=1.0, slope=2.0, speed_cutoff=2.0)
    # a blink of three frames keeps 87 % of its height if it is 0.3 high, and 96 % if it is 1 high
    EYES = Tuning(cutoff=1.0, slope=4.0, speed_cutoff=8.0)
    SHAPE = Tuning(cutoff=0.05, slope=0.0)

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._state: _State | None = None

    def __call__(self, face: Face, dt: float) -> Face:
        """Smooth the next face, `dt` seconds after the last one. `dt` is ignored for the first face."""
        return smooth_all([self], [face], dt)[0]


class _State(NamedTuple):
    """What the filters of one face keep; of several faces, arrays (n, ...).

    `values` are the position (3), the part of the camera's matrix that is neither rotation nor scale (9), shape and
    expression.
    """

    rotation: Floats
    turning: NDArray[np.float64]  # rad/s
    scale: NDArray[np.float64]  # its logarithm
    growth: NDArray[np.float64]  # 1/s
    values: NDArray[np.float64]
    speeds: NDArray[np.float64]


@lru_cache(maxsize=4)
def _tuning(names: tuple[str, ...], shape_count: int) -> Tuning:
    """Parameters of each of `_State.values`, arrays."""
    # the rest of the matrix is nearly constant, like the shape
    each = [OneEuro.POSITION] * 3 + [OneEuro.SHAPE] * (9 + shape_count)
    each += [OneEuro.EYES if name.startswith("eye") else OneEuro.EXPRESSION for name in names]
    return Tuning(*(np.array([getattr(tuning, field.name) for tuning in each]) for field in fields(Tuning)))


def smooth_all(smoothers: Sequence[OneEuro], faces: Sequence[Face], dt: float) -> list[Face]:
    """Smooth the faces of a frame, each by its own filters, `dt` seconds after the last frame.

    All filters are of the same decoder, and a result is that of ``smoother(face, dt)``.

    Examples
    --------
    >>> from tddfa.tracking.smoothing import OneEuro, smooth_all
    >>> smoothers = [OneEuro(aligner.decoder), OneEuro(aligner.decoder)]
    >>> len(smooth_all(smoothers, [face, face], 1 / 30))
    2
    """
    if not faces:
        return []
    decoder = smoothers[0]._decoder
    new = _measured(faces)
    known = [smoother._state for smoother in smoothers]
    # a first face is its own last one: nothing changes
    rows = [_State(*(column[k] for column in new)) if last is None else last for k, last in enumerate(known)]
    state = _State(*(np.array(column) for column in zip(*rows, strict=True)))
    if dt > 0:
        tuning = _tuning(decoder.face_model.expression_names, decoder.face_model.shape_count)
        state = _filtered(state, new, tuning, dt)
    for k, smoother in enumerate(smoothers):
        smoother._state = _State(*(column[k] for column in state))
    return _faces(decoder, faces, state)


def _measured(faces: Sequence[Face]) -> _State:
    """The parameters of faces, without motion. The position is in px."""
    linear = np.array([face.camera.matrix[:, :3] for face in faces], dtype=np.float64)
    rotation, scale = nearest_rotations(linear)
    rest = rotation.transpose(0, 2, 1) @ VIEW_TO_IMAGE @ linear / scale[:, None, None]
    # the centre of the landmarks, not the model's origin: the origin is off the face, and swings as the head turns
    centre = np.array([face.landmarks.mean(axis=0) for face in faces])
    parts = [
        centre / scale[:, None],
        rest.reshape(-1, 9),
        np.array([face.params.shape for face in faces]),
        np.array([face.params.expression for face in faces]),
    ]
    values = np.concatenate(parts, axis=1, dtype=np.float64)
    none = np.zeros_like(values)
    return _State(rotation, none[:, :3], np.log(scale), none[:, 0], values, none)


def _filtered(state: _State, new: _State, tuning: Tuning, dt: float) -> _State:
    rotation, turning = rotation_step(state.rotation, state.turning, new.rotation, dt, OneEuro.ROTATION)
    scale, growth = filter_step(state.scale, state.growth, new.scale, dt, OneEuro.SCALE)
    values = new.values.copy()
    # positions are in model units, by the smoothed scale, so that one tuning suits near and far faces
    values[:, :3] *= np.exp(new.scale - scale)[:, None]
    values, speeds = filter_step(state.values, state.speeds, values, dt, tuning, together=3)
    return _State(rotation, turning, scale, growth, values, speeds)


def _faces(decoder: Decoder, faces: Sequence[Face], state: _State) -> list[Face]:
    shape_count = decoder.face_model.shape_count
    scale = np.exp(state.scale)
    linear = VIEW_TO_IMAGE @ (scale[:, None, None] * state.rotation) @ state.values[:, 3:12].reshape(-1, 3, 3)
    shape = state.values[:, 12 : 12 + shape_count].astype(np.float32)
    expression = state.values[:, 12 + shape_count :].astype(np.float32)
    centre = decoder.model_landmarks(shape, expression).mean(axis=1)
    matrices = np.empty((len(faces), 3, 4), dtype=np.float32)
    matrices[:, :, :3] = linear
    matrices[:, :, 3] = state.values[:, :3] * scale[:, None] - (linear @ centre[:, :, None])[:, :, 0]
    return decoder.rebuild_all(faces, matrices, shape, expression)


def mean_face(faces: Sequence[Face], face: Face, decoder: Decoder) -> Face:
    """Mean of one face over several frames: one camera, one shape, one expression.

    3DDFA_V2's demos draw the mean of the vertices, ``mean(A_i @ (m + B @ c_i) + t_i)``. The mean camera matrix with the
    mean of the coefficients, weighted by the scale of their cameras, is nearly the same: on
    ``examples/inputs/videos/crossing.mp4``, over three frames, vertices are within 0.1 px of it, and 0.0002 px on
    average.

    Parameters
    ----------
    faces : sequence of Face
        The same face in several frames. A frame may occur more than once.
    face : Face
        The face whose box, score, Roi, track id and visibility the result keeps.
    decoder : Decoder
        Decoder of the faces.

    Returns
    -------
    Face
        Its landmarks are those of its own camera, shape and expression.

    Raises
    ------
    ValueError
        If `faces` is empty.

    Examples
    --------
    >>> from tddfa.tracking.smoothing import mean_face
    >>> flipped = aligner(image[:, ::-1].copy())[0]
    >>> mean = mean_face([face, flipped], face, aligner.decoder)
    >>> np.allclose(mean.camera.matrix, (face.camera.matrix + flipped.camera.matrix) / 2, atol=1e-3)
    True
    """
    if not faces:
        raise ValueError("faces: expected one face or more, got none")
    if all(other is face for other in faces):
        return face
    matrices = np.array([other.camera.matrix for other in faces], dtype=np.float64)
    weights = np.linalg.norm(matrices[:, :, :3], axis=(1, 2)) + 1e-12
    weights /= weights.sum()
    shape, expression = (
        (weights @ np.array([getattr(other.params, name) for other in faces])).astype(np.float32)
        for name in ("shape", "expression")
    )
    return decoder.rebuild(face, camera=Camera(matrices.mean(axis=0)), shape=shape, expression=expression)
