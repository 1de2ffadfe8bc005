"""What a face does in one frame: its blendshapes, the pose of its head, and where it looks."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from tddfa.avatar.blendshapes import Blendshapes, Neutral
from tddfa.decoder import Decoder
from tddfa.export.rig import metres_per_unit
from tddfa.geometry.gaze import Direction, Gaze
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.types import Face

_UNKNOWN_SIZE = (1080, 1920)  # px
_AHEAD = Gaze(Direction(0.0, 0.0), Direction(0.0, 0.0))


@dataclass(frozen=True, eq=False)
class Performance:
    """The motion of one face in one frame, for an avatar.

    The frame of reference is the view's: x right, y up, z towards the viewer, with the origin in the lens. The rotation
    is the ``pose`` of the record of a face, relative to the line of sight.

    Attributes
    ----------
    track_id : int or None
        Track id of the face.
    weights : ndarray (52,) float32
        Apple's blendshapes, 0..1, in Apple's order.
    rotation : ndarray (3, 3) float64
        Rotation of the head; the identity for a head that looks into the camera.
    position : ndarray (3,) float64
        Position of the head's centre, m.
    gaze : Gaze
        Directions of both eyes relative to the head; straight ahead if the face model has no eyeballs.
    """

    track_id: int | None
    weights: NDArray[np.float32]
    rotation: NDArray[np.float64]
    position: NDArray[np.float64]
    gaze: Gaze


class Performer:
    """Converts the faces of a video to performances.

    Parameters
    ----------
    decoder : Decoder
        Decoder of the faces.
    neutral : {"auto", "none"} or Face
        What is subtracted from the blendshapes; see `Blendshapes`.
    intrinsics : Intrinsics, optional
        The camera, for the position. None assumes one (`Intrinsics.assumed`).

    Examples
    --------
    >>> from tddfa.avatar import Performer
    >>> performance = Performer(aligner.decoder, "none")(face)
    >>> performance.weights.shape, bool(performance.position[2] < 0)
    ((52,), True)
    """

    def __init__(
        self, decoder: Decoder, neutral: Neutral | Face = "auto", intrinsics: Intrinsics | None = None
    ) -> None:
        self.decoder = decoder
        self.intrinsics = intrinsics
        self._shapes = Blendshapes(decoder, neutral)
        model = decoder.face_model
        self._middle = model.mean[model.front].mean(axis=0) * metres_per_unit(model)
        self._done: WeakKeyDictionary[Face, Performance] = WeakKeyDictionary()

    @property
    def names(self) -> tuple[str, ...]:
        """Apple's names, in the order of the weights."""
        return self._shapes.names

    def __call__(self, face: Face) -> Performance:
        """Return the performance of a face of the next frame; repeated calls with one face give the same result."""
        known = self._done.get(face)
        if known is None:
            known = self._done[face] = self._performance(face)
        return known

    def _performance(self, face: Face) -> Performance:
        gaze = self.decoder.gaze(face) or _AHEAD
        return Performance(face.track_id, self._shapes.weights(face), face.camera.rotation, self._position(face), gaze)

    def _position(self, face: Face) -> NDArray[np.float64]:
        """Position (3,) of the head's centre, m: at the distance at which the surface has its size in the image."""
        camera, intrinsics = face.camera, self.intrinsics
        if intrinsics is None:
            intrinsics = Intrinsics.assumed(face.image_size or _UNKNOWN_SIZE)
        metres = metres_per_unit(self.decoder.face_model) / camera.scale  # of a px
        aside = (camera.matrix[:2, 3] - intrinsics.matrix[:2, 2]) * metres
        # the centre is behind the surface
        depth = intrinsics.focal * metres + float(camera.rotation[2] @ self._middle)
        return np.array([aside[0], -aside[1], -depth])
