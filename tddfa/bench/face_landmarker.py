"""MediaPipe's Face Landmarker in its own process: to compare with it, and to label photos."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked
from tddfa.bench.peer import PeerError, Process

DRIVER = Path(__file__).with_name("peers") / "face_landmarker.py"
"""Runs the Face Landmarker."""

COUNT = 478
"""Number of its points."""

_START_TIMEOUT, _IMAGE_TIMEOUT = 120.0, 60.0
# Points of the mesh for each of the 68 landmarks of 300-W. Two points stand for their midpoint.
_OF_68: tuple[tuple[int, ...], ...] = (
    (127,), (234,), (93,), (132, 58), (58, 172), (136,), (150,), (176,), (152,),
    (400,), (379,), (365,), (397, 288), (361,), (323,), (454,), (356,),
    (70,), (63,), (105,), (66,), (107,), (336,), (296,), (334,), (293,), (300,),
    (168, 6), (197, 195), (5,), (4,), (75,), (97,), (2,), (326,), (305,),
    (33,), (160,), (158,), (133,), (153,), (144,), (362,), (385,), (387,), (263,), (373,), (380,),
    (61,), (39,), (37,), (0,), (267,), (269,), (291,), (321,), (314,), (17,), (84,), (91,),
    (78,), (82,), (13,), (312,), (308,), (317,), (14,), (87,),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class LandmarkedFace:
    """A face as MediaPipe sees it.

    Attributes
    ----------
    points : ndarray (478, 3) float64
        px of the image, pixel centres at whole numbers; larger z is nearer.
    blendshapes : dict of str to float
        ARKit's expression weights by name, 0..1.
    """

    points: NDArray[np.float64]
    blendshapes: dict[str, float]


class FaceLandmarker:
    """A running Face Landmarker; several threads may call it, one at a time is served.

    Parameters
    ----------
    python : str
        Python interpreter with mediapipe.
    model : path
        ``face_landmarker.task``.

    Attributes
    ----------
    version : str
        Of mediapipe.

    Raises
    ------
    PeerError
        If it does not start.
    """

    def __init__(self, python: str, model: str | os.PathLike[str]) -> None:
        self._lock = threading.Lock()
        self._scratch = tempfile.TemporaryDirectory()
        # absolute, because the process starts in another folder
        python = str(Path(python).absolute()) if os.sep in python else python
        try:
            self._process = Process(python, Path(self._scratch.name), DRIVER)
        except PeerError:
            self._scratch.cleanup()
            raise
        try:
            about = self._process.request({"model": str(Path(model).absolute())}, _START_TIMEOUT)
        except PeerError:
            self.close()
            raise
        self.version = str(about.get("version", ""))

    def __call__(self, image: NDArray[np.uint8]) -> LandmarkedFace | None:
        """Find the face that fills most of an image.

        Parameters
        ----------
        image : ndarray (h, w, 3) uint8
            BGR.

        Returns
        -------
        LandmarkedFace or None
            None without a face.

        Raises
        ------
        PeerError
            If the process fails.
        """
        path = Path(self._scratch.name) / "image.png"
        with self._lock:
            path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
            answer = self._process.request({"image": str(path)}, _IMAGE_TIMEOUT)
        if answer.get("points") is None:
            return None
        try:
            points = checked("points", answer["points"], (COUNT, 3), np.float64)
            weights = {str(name): float(weight) for name, weight in answer["blendshapes"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PeerError(f"expected an answer with {COUNT} points and blendshapes: {error}") from error
        return LandmarkedFace(points, weights)

    def close(self) -> None:
        """End the process."""
        self._process.close()
        self._scratch.cleanup()

    def __enter__(self) -> FaceLandmarker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def landmarks_68(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """The points of the mesh (478, 3) that are nearest to the 68 landmarks of 300-W: (68, 3).

    The jaw is that of the mesh, which ends at the outline of the face.

    Examples
    --------
    >>> landmarks_68(np.arange(478)[:, None] * np.ones(3))[[0, 3, 27], 0]
    array([127.,  95.,  87.])
    """
    return np.array([np.asarray(points, dtype=np.float64)[list(rows)].mean(axis=0) for rows in _OF_68])
