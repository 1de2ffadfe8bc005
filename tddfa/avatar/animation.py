"""Animated GLB files: a head per track of a video, which moves as the face did."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa import export
from tddfa._shared.files import created_part
from tddfa.avatar.performance import Performance, Performer
from tddfa.export.rig import Motion, Rig, metres_per_unit, morph_targets
from tddfa.geometry.rotation import quaternion_from_rotation
from tddfa.surface.texture import unwrap
from tddfa.synthetic.head import mended
from tddfa.tracking.records import Describe, Recorder
from tddfa.types import Face
from tddfa.video import Frame

TEXTURE_SIZE = 512
"""Side of the textures, px."""

# A crop replaces the one that is kept if it is better by this factor; a copy takes longer than the judgement.
_BETTER = 1.1
# Part of the face's size around it that the texture needs: ears and neck.
_MARGIN = 0.6
_JUDGED_SIDE = 96  # px, to which a crop is scaled before its sharpness is measured


@dataclass
class Keyframes:
    """Keyframes of one track, as they come: 250 bytes each.

    Attributes
    ----------
    times : array of float
        s, ascending.
    shown : list of (float, bool)
        Times from which on the face is there, or not.
    """

    times: array[float] = field(default_factory=lambda: array("f"))
    shown: list[tuple[float, bool]] = field(default_factory=list)
    _rotations: array[float] = field(default_factory=lambda: array("f"))
    _positions: array[float] = field(default_factory=lambda: array("f"))
    _weights: array[float] = field(default_factory=lambda: array("f"))

    def add(self, time: float, performance: Performance) -> None:
        """Add a frame; one that is not later than the last is left out, because keyframes ascend."""
        if self.times and np.float32(time) <= self.times[-1]:
            return
        w, x, y, z = quaternion_from_rotation(performance.rotation).tolist()
        if sum(a * b for a, b in zip((x, y, z, w), self._rotations[-4:], strict=False)) < 0:
            x, y, z, w = -x, -y, -z, -w  # the same rotation, in the hemisphere of the last one
        self.times.append(time)
        self._rotations.extend((x, y, z, w))
        self._positions.extend(performance.position.tolist())
        self._weights.extend(performance.weights.tolist())

    def show(self, time: float, shown: bool) -> None:
        """Note that the face is there from a time on, or not. A time that is not later replaces the last one."""
        while self.shown and np.float32(time) <= np.float32(self.shown[-1][0]):
            time = self.shown.pop()[0]
        if (self.shown[-1][1] if self.shown else None) != shown:
            self.shown.append((time, shown))

    def motion(self) -> Motion:
        """The keyframes as arrays."""
        count = len(self.times)
        return Motion(
            np.array(self.times, dtype=np.float32),
            np.array(self._rotations, dtype=np.float32).reshape(count, 4),
            np.array(self._positions, dtype=np.float32).reshape(count, 3),
            np.array(self._weights, dtype=np.float32).reshape(count, -1),
            self.shown,
        )


@dataclass(eq=False)
class _Portrait:
    """The best crop of a face so far, for its texture."""

    worth: float
    image: NDArray[np.uint8]
    face: Face
    corner: tuple[int, int]


class _Track:
    """One person of a take."""

    def __init__(self, face: Face) -> None:
        self.keyframes = Keyframes()
        self._shape = np.zeros(len(face.params.shape))
        self._frames = 0
        self.portrait: _Portrait | None = None

    @property
    def shape(self) -> NDArray[np.float32]:
        """Mean of the shape coefficients."""
        return self._shape.astype(np.float32)

    def add(self, frame: Frame, face: Face, performance: Performance, blink: float) -> None:
        self._frames += 1
        self._shape += (face.params.shape - self._shape) / self._frames
        self.keyframes.show(frame.time, True)
        self.keyframes.add(frame.time, performance)
        crop, corner = _crop(frame.image, face)
        if not crop.size:
            return
        yaw, pitch, _ = face.camera.euler_degrees()
        frontal = max(math.cos(math.radians(yaw)) * math.cos(math.radians(pitch)), 0.0) ** 4
        # a closed eye would be painted on the eyeball
        worth = frontal * (1 - blink) * _sharpness(crop)
        if self.portrait is None or worth > _BETTER * self.portrait.worth:
            self.portrait = _Portrait(worth, crop.copy(), face, corner)


def _crop(image: NDArray[np.uint8], face: Face) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The part of the image around a face, and its left top corner."""
    low, high = face.landmarks[:, :2].min(axis=0), face.landmarks[:, :2].max(axis=0)
    margin = _MARGIN * float((high - low).max())
    left, top = (max(int(edge - margin), 0) for edge in low)
    right, bottom = (max(int(edge + margin) + 1, 0) for edge in high)
    return image[top:bottom, left:right], (left, top)


def _sharpness(crop: NDArray[np.uint8]) -> float:
    """Contrast of fine detail; higher for larger faces, because small ones have none at this size."""
    step = max(max(crop.shape[:2]) // (2 * _JUDGED_SIDE), 1)
    grey = cv2.cvtColor(np.ascontiguousarray(crop[::step, ::step]), cv2.COLOR_BGR2GRAY)
    fine = cv2.resize(grey, (_JUDGED_SIDE, _JUDGED_SIDE), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(fine, cv2.CV_32F).std()) + 1e-3


class AnimationRecorder(Recorder):
    """Writes a GLB file with a node per track: keyframes for the head pose and the blendshapes at the times of frames.

    The mesh has the mean shape of the track, and the texture of its most frontal sharp frame with open eyes. Where a
    track is not in the video, its node has the scale 0. Positions are in metres, in the frame of `Performance`.

    Of a video, this keeps the keyframes and one crop per track. Without a face it writes no file.
    """

    def __init__(self, path: Path, performer: Performer) -> None:
        super().__init__(path)
        self._performer = performer
        self._tracks: dict[int | None, _Track] = {}
        self._start: float | None = None
        names = performer.names
        self._blinks = [names.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]
        self._part = created_part(path)

    def _add(self, frame: Frame, faces: Sequence[Face], describe: Describe) -> None:
        del describe  # the file has its own numbers
        self._start = frame.time if self._start is None else self._start
        for face in faces:
            track = self._tracks.get(face.track_id)
            if track is None:
                track = self._tracks[face.track_id] = _Track(face)
                if frame.time > self._start:
                    track.keyframes.show(self._start, False)
            performance = self._performer(face)
            track.add(frame, face, performance, float(performance.weights[self._blinks].max()))
        there = {face.track_id for face in faces}
        for track_id, track in self._tracks.items():
            if track_id not in there:
                track.keyframes.show(frame.time, False)

    def _close(self) -> None:
        try:
            if self._tracks:
                rigs, textures = zip(*(self._rig(track) for track in self._tracks.values()), strict=True)
                with self._writing():
                    export.save(self.path, list(rigs), textures=list(textures))
        finally:
            self._discard()

    def _rig(self, track: _Track) -> tuple[Rig, NDArray[np.uint8]]:
        decoder = self._performer.decoder
        model = decoder.face_model
        rest = model.vertices(track.shape, np.zeros(model.expression_count, dtype=np.float32))
        motion = track.keyframes.motion()
        rig = Rig(
            rest * np.float32(metres_per_unit(model)), model.triangles, morph_targets(model), motion.weights[0],
            np.eye(3), motion.translations[0].astype(np.float64), uv=model.uv, motion=motion,
        )  # fmt: skip
        portrait = track.portrait
        if portrait is None:  # never in the image
            return rig, np.full((16, 16, 3), 128, dtype=np.uint8)
        mesh = decoder.mesh(portrait.face)
        left, top = portrait.corner
        moved = mesh.with_vertices(mesh.vertices - np.array([left, top, 0], dtype=np.float32))
        return rig, mended(unwrap(portrait.image, moved, size=TEXTURE_SIZE), model)

    def _discard(self) -> None:
        self._part.unlink(missing_ok=True)
