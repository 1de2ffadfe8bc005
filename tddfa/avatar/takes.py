"""Files of a take: the motion of the faces of a video, for other programs.

============= ==================================================================================
.glb          an animated head per track, with texture (`tddfa.avatar.animation`)
.livelink.csv the first track as Epic's Live Link Face app records it (`tddfa.avatar.livelink`)
============= ==================================================================================
"""

from __future__ import annotations

import os
from pathlib import Path

from tddfa.avatar.animation import AnimationRecorder
from tddfa.avatar.livelink import LiveLinkRecorder
from tddfa.avatar.performance import Performer
from tddfa.tracking.records import Recorder

SUFFIXES = (".glb", ".livelink.csv")
"""Endings of the names of takes."""


def is_take(path: str | os.PathLike[str]) -> bool:
    """Whether a file name has the suffix of a take.

    Examples
    --------
    >>> from tddfa.avatar import is_take
    >>> is_take("take.livelink.csv"), is_take("faces.npz")
    (True, False)
    """
    return Path(path).name.lower().endswith(SUFFIXES)


def open_take(path: str | os.PathLike[str], performer: Performer, *, fps: float = 30.0) -> Recorder:
    """Create the recorder of a take; missing folders are created.

    Parameters
    ----------
    path : path-like
        Its name ends in one of `SUFFIXES`.
    performer : Performer
        Computes the motion of the faces.
    fps : float
        Frames of the video per second, for timecodes.

    Raises
    ------
    ValueError
        If the name has another suffix.
    OSError
        If the folder cannot be written.

    Examples
    --------
    >>> from tddfa.avatar import Performer, open_take
    >>> from tddfa.video import Frame
    >>> with open_take(tmp / "take.glb", Performer(aligner.decoder)) as take:
    ...     take.add(Frame(image, 0, 0.0), [face])
    >>> (tmp / "take.glb").stat().st_size > 10000
    True
    """
    path = Path(path)
    if not is_take(path):
        raise ValueError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".glb":
        return AnimationRecorder(path, performer)
    return LiveLinkRecorder(path, performer, fps=fps)
