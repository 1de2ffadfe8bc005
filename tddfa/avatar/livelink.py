"""CSV files as Epic's Live Link Face app records them: a row per frame, 61 values."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.files import created_part, naming
from tddfa.avatar.performance import Performance, Performer
from tddfa.geometry.rotation import euler_from_rotation
from tddfa.tracking.records import Describe, Recorder
from tddfa.types import Face
from tddfa.video import Frame

_ANGLES = (
    "HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll",
    "RightEyeYaw", "RightEyePitch", "RightEyeRoll",
)  # fmt: skip


def columns(names: Sequence[str]) -> list[str]:
    """The 61 columns of values: Apple's names with a capital, then the angles.

    Examples
    --------
    >>> from tddfa.avatar.livelink import columns
    >>> columns(["eyeBlinkLeft"])[:2]
    ['EyeBlinkLeft', 'HeadYaw']
    """
    return [*(name[0].upper() + name[1:] for name in names), *_ANGLES]


def values(performance: Performance) -> NDArray[np.float64]:
    """The 61 values: weights 0..1, then angles in rad.

    The signs are tddfa's: yaw > 0 to the subject's left, pitch > 0 up, roll > 0 to the subject's left shoulder. Eyes do
    not roll.
    """
    eyes = performance.gaze
    angles = [*euler_from_rotation(performance.rotation), *eyes.left, 0.0, *eyes.right, 0.0]
    return np.concatenate([performance.weights, np.radians(angles)])


def timecode(seconds: float, fps: float) -> str:
    """Hours, minutes, seconds, frames with three decimals.

    Examples
    --------
    >>> from tddfa.avatar.livelink import timecode
    >>> timecode(61.51, 30)
    '00:01:01:15.300'
    """
    milliframes = round(math.modf(seconds)[0] * fps * 1000)
    whole = int(seconds)
    if milliframes >= fps * 1000:
        whole, milliframes = whole + 1, 0
    frames, rest = divmod(milliframes, 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}:{frames:02}.{rest:03}"


class LiveLinkRecorder(Recorder):
    """Writes one track, the first of the video: the format has one face.

    A frame without this face is a row with the count 0 and no values, as in the app's own files. Rows are written at
    once; the file gets its name when the recorder closes.

    Attributes
    ----------
    others : set of int or None
        Tracks that were left out.
    """

    def __init__(self, path: Path, performer: Performer, *, fps: float) -> None:
        super().__init__(path)
        self._performer, self._fps = performer, fps
        self._track: int | None = None
        self._any = False
        self.others: set[int | None] = set()
        self._columns = columns(performer.names)
        self._part = created_part(path)
        self._file = self._part.open("w", encoding="ascii", newline="\n")
        self._line(["Timecode", "BlendShapeCount", *self._columns])

    def _line(self, cells: Sequence[str]) -> None:
        with self._writing():
            self._file.write(",".join(cells) + "\n")

    def _add(self, frame: Frame, faces: Sequence[Face], describe: Describe) -> None:
        del describe  # the columns are the format's
        acted = {face.track_id: self._performer(face) for face in faces}
        if acted and not self._any:
            self._any, self._track = True, min(acted, key=lambda track: -1 if track is None else track)
        mine = acted.pop(self._track, None) if self._any else None
        self.others |= acted.keys()
        numbers = [] if mine is None else [f"{value:.6f}" for value in values(mine).tolist()]
        cells = numbers or [""] * len(self._columns)
        self._line([timecode(frame.time, self._fps), str(len(numbers)), *cells])

    def _close(self) -> None:
        try:
            if self._any:
                with naming(self.path):
                    self._file.close()  # writes the last rows
                    self._part.replace(self.path)
        finally:
            self._discard()

    def _discard(self) -> None:
        with contextlib.suppress(OSError):  # the disk is still full
            self._file.close()
        self._part.unlink(missing_ok=True)
