"""Temporal smoothing of faces, and a measure of jitter.

Smoothing works on the parameters of a face (rotation, scale, position, shape, expression), not on its points. So a
smoothed face has one camera, one shape and one expression, and its landmarks, mesh and pose agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tddfa.decoder import Decoder
from tddfa.geometry.camera import Camera
from tddfa.geometry.rotation import VIEW_TO_IMAGE, rotation_from_vector, vector_from_rotation
from tddfa.types import Face


def _gain(cutoff: float | NDArray[np.float64], dt: float) -> NDArray[np.float64]:
    """Weight of a new value in an exponential mean with this cutoff frequency (Hz): Casiez et al., equation 3."""
    return np.asarray(1 / (1 + 1 / (2 * np.pi * np.maximum(cutoff, 1e-9) * dt)))


@dataclass(frozen=True)
class Tuning:
    """Parameters of a 1 EUR filter.

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

    cutoff: float
    slope: float
    speed_cutoff: float = 1.0


class OneEuroFilter:
    """1 EUR filter of a vector.

    G. Casiez, N. Roussel, D. Vogel: 1 EUR filter, a simple speed-based low-pass filter for noisy input in interactive
    systems. CHI 2012.

    Parameters
    ----------
    tuning : Tuning
        Its speeds are in units of the vector per second.
    together : bool
        Take one cutoff, from the length of the speed vector. Else each component has its own.

    Examples
    --------
    >>> from tddfa.tracking.smoothing import OneEuroFilter, Tuning
    >>> smooth = OneEuroFilter(Tuning(cutoff=1.0, slope=0.0))
    >>> [smooth(np.array([value]), 1 / 30).round(3).tolist() for value in (0.0, 1.0, 1.0)]
    [[0.0], [0.173], [0.316]]
    """

    def __init__(self, tuning: Tuning, *, together: bool = True) -> None:
        self._tuning, self._together = tuning, together
        self._value: NDArray[np.float64] | None = None
        self._speed = np.zeros(0)

    def __call__(self, value: NDArray[np.floating], dt: float) -> NDArray[np.float64]:
        """Filter the next value, `dt` seconds after the last one. If `dt` is 0, the last result is returned."""
        new = np.asarray(value, dtype=np.float64)
        if self._value is None:
            self._value, self._speed = new, np.zeros_like(new)
        if dt <= 0:
            return self._value
        self._speed = self._speed + _gain(self._tuning.speed_cutoff, dt) * ((new - self._value) / dt - self._speed)
        speed = np.linalg.norm(self._speed) if self._together else np.abs(self._speed)
        self._value = self._value + _gain(self._tuning.cutoff + self._tuning.slope * speed, dt) * (new - self._value)
        return self._value


class OneEuroRotation:
    """1 EUR filter of rotations.

    The result moves along the arc between rotations (slerp), and the speed is in rad/s.

    Parameters
    ----------
    tuning : Tuning
        Its speeds are in rad/s.

    Examples
    --------
    >>> from tddfa.geometry.rotation import euler_from_rotation, rotation_from_euler
    >>> from tddfa.tracking.smoothing import OneEuroRotation, Tuning
    >>> smooth = OneEuroRotation(Tuning(cutoff=1.0, slope=0.0))
    >>> rotations = [smooth(rotation_from_euler(yaw, 0, 0), 1 / 30) for yaw in (0, 10)]
    >>> round(euler_from_rotation(rotations[1]).yaw, 2)
    1.73
    """

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._value: NDArray[np.float64] | None = None
        self._speed = np.zeros(3)

    def __call__(self, rotation: NDArray[np.float64], dt: float) -> NDArray[np.float64]:
        """Filter the next rotation (3, 3), `dt` seconds after the last one."""
        if self._value is None or dt <= 0:
            self._value = rotation if self._value is None else self._value
            return self._value
        arc = vector_from_rotation(rotation @ self._value.T)
        self._speed = self._speed + _gain(self._tuning.speed_cutoff, dt) * (arc / dt - self._speed)
        gain = _gain(self._tuning.cutoff + self._tuning.slope * np.linalg.norm(self._speed), dt)
        self._value = rotation_from_vector(gain * arc) @ self._value
        return self._value


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
        self._rotation = OneEuroRotation(self.ROTATION)
        self._position = OneEuroFilter(self.POSITION)
        self._scale = OneEuroFilter(self.SCALE)
        # the part of the camera's matrix that is neither rotation nor scale: nearly constant, like the shape
        self._rest = OneEuroFilter(self.SHAPE)
        self._shape = OneEuroFilter(self.SHAPE)
        self._expression = OneEuroFilter(self.EXPRESSION, together=False)
        names = decoder.face_model.expression_names
        self._is_eye = np.array([name.startswith("eye") for name in names], dtype=bool)
        self._eyes = OneEuroFilter(self.EYES, together=False)

    def __call__(self, face: Face, dt: float) -> Face:
        """Smooth the next face, `dt` seconds after the last one. `dt` is ignored for the first face."""
        camera = face.camera
        rotation, scale = camera.rotation, camera.scale
        linear = camera.matrix[:, :3].astype(np.float64)
        rest = rotation.T @ VIEW_TO_IMAGE @ linear / scale
        # the centre of the landmarks, not the model's origin: the origin is off the face, and swings as the head turns
        centre = face.landmarks.mean(axis=0).astype(np.float64)

        rotation = self._rotation(rotation, dt)
        scale = float(np.exp(self._scale(np.log([scale]), dt)[0]))
        rest = self._rest(rest, dt)
        # in model units, by the smoothed scale, so that one tuning suits near and far faces
        centre = self._position(centre / scale, dt) * scale
        shape = self._shape(face.params.shape, dt).astype(np.float32)
        expression = self._expression(face.params.expression, dt).astype(np.float32)
        expression[self._is_eye] = self._eyes(face.params.expression[self._is_eye], dt)

        linear = VIEW_TO_IMAGE @ (scale * rotation) @ rest
        offset = centre - linear @ self._decoder.model_landmarks(shape, expression).mean(axis=0)
        smooth = Camera(np.column_stack([linear, offset]))
        return self._decoder.rebuild(face, camera=smooth, shape=shape, expression=expression)


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

    Examples
    --------
    >>> from tddfa.tracking.smoothing import mean_face
    >>> flipped = aligner(image[:, ::-1].copy())[0]
    >>> mean = mean_face([face, flipped], face, aligner.decoder)
    >>> np.allclose(mean.camera.matrix, (face.camera.matrix + flipped.camera.matrix) / 2, atol=1e-3)
    True
    """
    if len(faces) == 1:
        return faces[0]
    matrices = np.array([other.camera.matrix for other in faces], dtype=np.float64)
    weights = np.linalg.norm(matrices[:, :, :3], axis=(1, 2)) + 1e-12
    weights /= weights.sum()
    shape, expression = (
        (weights @ np.array([getattr(other.params, name) for other in faces])).astype(np.float32)
        for name in ("shape", "expression")
    )
    return decoder.rebuild(face, camera=Camera(matrices.mean(axis=0)), shape=shape, expression=expression)


def jitter(tracks: NDArray[np.floating]) -> float:
    """Jitter of landmarks: mean length of their second difference over frames, % of the face size.

    Parameters
    ----------
    tracks : ndarray (frames, points, 2 or more)
        Landmarks of one face, px; only x and y are used. The face size is the square root of the area of their box.

    Returns
    -------
    float
        0 for uniform motion; NaN for fewer than three frames.

    Examples
    --------
    >>> from tddfa.tracking.smoothing import jitter
    >>> uniform = face.landmarks + np.arange(5)[:, None, None]
    >>> round(jitter(uniform), 3)
    0.0
    """
    points = np.asarray(tracks, dtype=np.float64)[..., :2]
    if len(points) < 3:
        return float("nan")
    size = np.sqrt(np.ptp(points, axis=1).prod(axis=-1)).mean()
    return float(100 * np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean() / size)


class JitterMeter:
    """`jitter` of all faces of a video, frame by frame; it keeps the last two frames only.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from tddfa.tracking.smoothing import JitterMeter
    >>> meter = JitterMeter()
    >>> for shift in (0, 1, 0):
    ...     meter.add([replace(face, track_id=0, landmarks=face.landmarks + [shift, 0, 0])])
    >>> 1 < meter.value < 3
    True
    """

    def __init__(self) -> None:
        self._last: dict[int | None, list[NDArray[np.float64]]] = {}
        self._sum = 0.0
        self._count = 0

    def add(self, faces: Sequence[Face]) -> None:
        """Add the faces of the next frame. A face that was not in the frame before starts anew."""
        last: dict[int | None, list[NDArray[np.float64]]] = {}
        for face in faces:
            points = face.landmarks[:, :2].astype(np.float64)
            history = [*self._last.get(face.track_id, [])[-2:], points]
            if len(history) == 3:
                size = float(np.sqrt(np.ptp(points, axis=0).prod()))
                change = history[2] - 2 * history[1] + history[0]
                self._sum += float(np.linalg.norm(change, axis=1).mean()) / max(size, 1e-6)
                self._count += 1
            last[face.track_id] = history
        self._last = last

    @property
    def value(self) -> float:
        """Mean second difference, % of the face size; NaN until a face was in three frames in a row."""
        return 100 * self._sum / self._count if self._count else float("nan")
