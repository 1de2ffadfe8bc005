"""Filters that steady a face over the frames of a video, and the measure of how steady it is.

They work on what the regressor says (rotation, scale, position, shape, expression), not on points: a smoothed face is
a face still, with a mesh and a pose that agree.
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
    """Share of a new value in an exponential mean with this cutoff frequency (Hz): Casiez et al., equation 3."""
    return np.asarray(1 / (1 + 1 / (2 * np.pi * np.maximum(cutoff, 1e-9) * dt)))


@dataclass(frozen=True)
class Tuning:
    """How a filter of Casiez et al. is set.

    Attributes
    ----------
    cutoff : float
        Cutoff frequency at rest, Hz: the lower, the steadier.
    slope : float
        How much the cutoff rises with speed, Hz by unit a second: the higher, the less it lags.
    speed_cutoff : float
        Cutoff frequency of the speed itself, Hz.
    """

    cutoff: float
    slope: float
    speed_cutoff: float = 1.0


class OneEuroFilter:
    """The 1 EUR filter of a vector, with one speed for all of it or one for each component.

    G. Casiez, N. Roussel, D. Vogel: 1 EUR filter, a simple speed-based low-pass filter for noisy input in interactive
    systems. CHI 2012.

    Parameters
    ----------
    tuning : Tuning
        In the vector's own units.
    together : bool
        One cutoff from the length of the speed; else each component has its own.
    """

    def __init__(self, tuning: Tuning, *, together: bool = True) -> None:
        self._tuning, self._together = tuning, together
        self._value: NDArray[np.float64] | None = None
        self._speed = np.zeros(0)

    def __call__(self, value: NDArray[np.floating], dt: float) -> NDArray[np.float64]:
        """Take a value `dt` seconds after the last one; return the filtered one."""
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
    """The same filter for rotations: it moves along the arc between them (slerp); its speed is in radians a second."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._value: NDArray[np.float64] | None = None
        self._speed = np.zeros(3)

    def __call__(self, rotation: NDArray[np.float64], dt: float) -> NDArray[np.float64]:
        """Take a rotation (3, 3) `dt` seconds after the last one; return the filtered one."""
        if self._value is None or dt <= 0:
            self._value = rotation if self._value is None else self._value
            return self._value
        arc = vector_from_rotation(rotation @ self._value.T)
        self._speed = self._speed + _gain(self._tuning.speed_cutoff, dt) * (arc / dt - self._speed)
        gain = _gain(self._tuning.cutoff + self._tuning.slope * np.linalg.norm(self._speed), dt)
        self._value = rotation_from_vector(gain * arc) @ self._value
        return self._value


class OneEuro:
    """One face, steadied as it comes: no frame is waited for.

    Rotation on the sphere, position by the face's size, scale by its logarithm, each expression by itself (a blink is
    over in a tenth of a second), and the shape, which does not change while a person does, by a long mean.

    Parameters
    ----------
    decoder : Decoder
        Of the faces.
    """

    # Speeds in model units (cm), radians, e-folds and weights a second. Set on heads with known motion and the noise of
    # the regressor, so that jitter is halved and nothing lags by a frame; tests/tddfa/tracking/test_smoothing.py holds that.
    POSITION = Tuning(cutoff=0.8, slope=0.8)
    ROTATION = Tuning(cutoff=0.8, slope=7.0)
    SCALE = Tuning(cutoff=0.3, slope=2.0)
    EXPRESSION = Tuning(cutoff=1.0, slope=2.0, speed_cutoff=2.0)
    SHAPE = Tuning(cutoff=0.05, slope=0.0)

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._rotation = OneEuroRotation(self.ROTATION)
        self._position = OneEuroFilter(self.POSITION)
        self._scale = OneEuroFilter(self.SCALE)
        # what of the camera's matrix is neither rotation nor scale: nearly constant, as the shape is
        self._rest = OneEuroFilter(self.SHAPE)
        self._shape = OneEuroFilter(self.SHAPE)
        self._expression = OneEuroFilter(self.EXPRESSION, together=False)

    def __call__(self, face: Face, dt: float) -> Face:
        """Take a face `dt` seconds after the last one (anything for the first); return it smoothed."""
        camera = face.camera
        rotation, scale = camera.rotation, camera.scale
        linear = camera.matrix[:, :3].astype(np.float64)
        rest = rotation.T @ VIEW_TO_IMAGE @ linear / scale
        # The middle of the landmarks, not the model's origin: that lies off the face, and swings as the head turns.
        middle = face.landmarks.mean(axis=0).astype(np.float64)

        rotation = self._rotation(rotation, dt)
        scale = float(np.exp(self._scale(np.log([scale]), dt)[0]))
        rest = self._rest(rest, dt)
        # in model units, by a scale that no longer jitters: the same tuning for a near face and a far one
        middle = self._position(middle / scale, dt) * scale
        shape = self._shape(face.params.shape, dt).astype(np.float32)
        expression = self._expression(face.params.expression, dt).astype(np.float32)

        linear = VIEW_TO_IMAGE @ (scale * rotation) @ rest
        offset = middle - linear @ self._decoder.model_landmarks(shape, expression).mean(axis=0)
        smooth = Camera(np.column_stack([linear, offset]))
        return self._decoder.rebuild(face, camera=smooth, shape=shape, expression=expression)


def mean_face(faces: Sequence[Face], face: Face, decoder: Decoder) -> Face:
    """Mean of one face over several frames: one camera, one shape, one expression.

    3DDFA_V2's demos draw the mean of the vertices, ``mean(A_i @ (m + B @ c_i) + t_i)``. The mean camera with
    coefficients weighted by the scale of their camera is nearest to it; what remains is the covariance of rotation and
    coefficients, which is far below a pixel over a few frames.

    Parameters
    ----------
    faces : sequence of Face
        The same face in several frames; a frame may count more than once.
    face : Face
        Its box, score, Roi, track id and visibility are kept.
    decoder : Decoder
        Of these faces.

    Returns
    -------
    Face
        Its landmarks are the projection of the mean coefficients by the mean camera.
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
    """How much landmarks tremble: their mean second difference over frames, in per cent of the face's size.

    Parameters
    ----------
    tracks : ndarray (frames, points, 2 or more)
        Landmarks of one face, px; x and y count. The face's size is the square root of the area of their box.

    Returns
    -------
    float
        0 for uniform motion; NaN for fewer than three frames.
    """
    points = np.asarray(tracks, dtype=np.float64)[..., :2]
    if len(points) < 3:
        return float("nan")
    size = np.sqrt(np.ptp(points, axis=1).prod(axis=-1)).mean()
    return float(100 * np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean() / size)


class JitterMeter:
    """`jitter` of all faces of a video, taken up frame by frame; it keeps two frames and no more."""

    def __init__(self) -> None:
        self._last: dict[int | None, list[NDArray[np.float64]]] = {}
        self._sum = 0.0
        self._count = 0

    def add(self, faces: Sequence[Face]) -> None:
        """Take up the faces of the next frame; one that was not in the frame before starts anew."""
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
        """Mean second difference, per cent of the face's size; NaN before any face was seen in three frames."""
        return 100 * self._sum / self._count if self._count else float("nan")
