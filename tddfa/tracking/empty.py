"""What the tracker remembers of frames without a face, so that it need not search each of them in full."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tddfa.tracking.settings import TrackerSettings

Box = NDArray[np.float32]


class EmptyFrames:
    """Decides what is searched in frames without a face.

    Parameters
    ----------
    interval : int
        Frames between slow searches, at first.
    settings : TrackerSettings
        `rejected_iou`, `rejected_gain` and `longest_interval` are used.
    """

    def __init__(self, interval: int, settings: TrackerSettings) -> None:
        self._shortest, self._settings = interval, settings
        self._since_rotated = interval
        self.reset()

    def reset(self) -> None:
        """Forget all: there is a face, or another scene."""
        self._searches = 0  # for faces at any roll
        self._rejected: list[tuple[Box, int]] = []  # and the frames for which each is not tried again

    def next_frame(self) -> None:
        """Count a frame, with or without a face."""
        self._since_rotated += 1
        self._rejected = [(box, frames - 1) for box, frames in self._rejected if frames > 1]

    def begins_rotated_search(self) -> bool:
        """Whether to search this frame for faces at any roll: after searches in vain, less and less often."""
        intervals = min(2 ** max(self._searches - 1, 0), self._settings.longest_interval)
        if self._since_rotated < intervals * self._shortest:
            return False
        self._since_rotated = 0
        self._searches = min(self._searches + 1, 64)
        return True

    def untried(self, boxes: list[Box]) -> list[Box]:
        """Leave out the boxes in whose place the regressor has just found no face."""
        if not self._rejected:
            return boxes
        rejected = np.array([box for box, _ in self._rejected])
        return [box for box in boxes if not self._was_rejected(box, rejected)]

    def _was_rejected(self, box: Box, rejected: NDArray[np.float32]) -> bool:
        shared = np.minimum(rejected[:, 2:4], box[2:4]) - np.maximum(rejected[:, :2], box[:2])
        shared = np.prod(np.maximum(shared, 0), axis=1)
        areas = np.prod(rejected[:, 2:4] - rejected[:, :2], axis=1) + np.prod(box[2:4] - box[:2])
        same = shared >= self._settings.rejected_iou * (areas - shared)
        return bool((same & (box[4] < rejected[:, 4] + self._settings.rejected_gain)).any())

    def reject(self, boxes: list[Box]) -> None:
        """Note boxes in which the regressor has found no face."""
        if self._shortest > 1:
            self._rejected += [(box, self._shortest - 1) for box in boxes]
