"""Frames of a camera, by OpenCV."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator

import cv2

from tddfa._shared import opencv_log
from tddfa.video.frame import MAX_FPS, Frame, VideoError
from tddfa.video.reader import Reader

_LOG = logging.getLogger(__name__)

_MAX_FAILED_READS = 5  # in a row


class CameraReader(Reader):
    """A camera, read by OpenCV."""

    def __init__(self, index: int) -> None:
        super().__init__(f"camera {index}")
        if index < 0:
            raise VideoError(f"camera {index}: expected an index of 0 or more")
        self.live = True
        with opencv_log.silent():  # it prints several lines to stderr if there is no camera
            self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            self._capture.release()
            raise VideoError(f"{self.name}: no such camera, or another program uses it")
        width, height = (int(self._capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.size = (width, height) if width > 0 and height > 0 else None
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps <= MAX_FPS else None

    def _frames(self, start: int) -> Generator[Frame, None, None]:
        began: float | None = None
        index = failed = 0
        while failed < _MAX_FAILED_READS:
            done, image = self._capture.read()
            now = time.monotonic()
            if not done or image is None:
                failed += 1
                continue
            failed = 0
            began = now if began is None else began
            if index >= start:
                yield Frame(image, index, now - began)
            index += 1
        if began is None:
            raise VideoError(f"{self.name}: it gives no frames")
        _LOG.warning("%s: it stopped after %d frames", self.name, index)

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()
