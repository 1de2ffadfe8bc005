"""Detect the faces of an image as boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from FaceBoxes.anchors import Anchors
from FaceBoxes.decoding import decoded
from FaceBoxes.detections import Detections
from FaceBoxes.scales import Scales
from FaceBoxes.search import Search, check_settings

Model = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]
"""``image (1, h, w, 3) uint8`` BGR -> ``scores (1, n)``, ``offsets (1, n, 4)`` and, where the network has them,
``points (1, n, 10)`` and ``rotations (1, n, 6)`` for the priors of its size."""


@dataclass(frozen=True)
class Detector:
    """The FaceBoxes detector: a network, its prior boxes and non-maximum suppression.

    Parameters
    ----------
    model : callable
        The network, such as an ONNX model: a function from a batch of images to named outputs (`Model`).
    anchors : Anchors or None
        Layout of the network's prior boxes. None reads it from the attribute ``metadata`` of `model`
        (`FaceBoxes.anchors.Anchors.from_metadata`), or takes the layout of the paper if there is no such attribute.
    max_height, max_width : int
        A larger image is shrunk to at most this height, then to at most this width; the aspect ratio is kept.
    max_area : int or None
        A larger image is shrunk to this area (height times width, px). It replaces `max_height` and `max_width`, so
        that long images keep their resolution.
    min_area : int or None
        A smaller image is enlarged to this area (height times width, px), but at most to twice its sides. Its smallest
        faces then have enough pixels for the network. None enlarges no image.
    small_area : int or None
        Also detect on a small copy of the image with this area (height times width, px). In this copy, faces that fill
        the image are small enough for the prior boxes. Boxes that are parts of a larger one are then dropped
        (`FaceBoxes.merging`). There is no copy if the sides of the resized image are less than twice as long. None does
        neither.
    tiles : {"auto", "off"}
        ``auto`` also detects on overlapping tiles at native resolution, one after the other, if the image would be
        shrunk more than twice. Otherwise it also detects on close-ups of the faces that are small in the whole image.
    score : float
        Boxes of at most this score are dropped before the suppression. This does not change the result for the other
        boxes, because a box can be suppressed only by a better one.
    iou : float
        Intersection over union from which the worse of two boxes is suppressed.
    max_candidates, max_faces : int
        Maximum numbers of boxes before and after the suppression. The best boxes are kept.
    mean_poses : bool
        Whether points and rotations are averaged over all boxes of a face (`FaceBoxes.merging.with_mean_poses`). The
        mean is more accurate than the values of the best box.

    Raises
    ------
    TypeError, ValueError
        If a threshold or a limit is no number or out of range.

    Examples
    --------
    >>> from FaceBoxes.anchors import Anchors
    >>> def network(images):
    ...     count = len(Anchors().priors(*images.shape[1:3]))
    ...     return {"scores": np.zeros((1, count), np.float32), "offsets": np.zeros((1, count, 4), np.float32)}
    >>> len(Detector(network, score=0.5)(image))
    0
    """

    model: Model
    _: KW_ONLY
    anchors: Anchors | None = None
    max_height: int = 720
    max_width: int = 1080
    max_area: int | None = None
    min_area: int | None = None
    small_area: int | None = None
    tiles: str = "off"
    score: float = 0.5
    iou: float = 0.3
    max_candidates: int = 5000
    max_faces: int = 750
    mean_poses: bool = False

    def __post_init__(self) -> None:
        """Check the thresholds and limits."""
        check_settings(self)

    @cached_property
    def layout(self) -> Anchors:
        """Layout of the prior boxes: `anchors`, or that in the model's metadata, for which the model is loaded."""
        return self.anchors or Anchors.from_metadata(getattr(self.model, "metadata", {}))

    @property
    def scales(self) -> Scales:
        """Sizes of the views that the network takes."""
        return Scales(
            self.max_height, self.max_width, self.max_area, self.min_area, self.small_area, self.tiles == "auto"
        )

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """Detect the faces of an image.

        Parameters
        ----------
        image : ndarray (h, w, 3) uint8
            BGR.

        Returns
        -------
        Detections
            Empty if there is no face.

        Raises
        ------
        TypeError, ValueError
            If `image` has the wrong type, shape or dtype.
        """
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            raise TypeError(f"image: expected a uint8 array, got {getattr(image, 'dtype', type(image).__name__)}")
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"image: expected shape (height, width, 3), BGR, got {image.shape}")
        return self._search(image, self._candidates)

    @cached_property
    def _search(self) -> Search:
        return Search(self.scales, self.iou, self.max_candidates, self.max_faces, self.score, self.mean_poses)

    def _candidates(self, pixels: NDArray[np.uint8]) -> Detections:
        """Boxes above the minimum score, in px of the network's input."""
        prior = self.layout.priors(*pixels.shape[:2])
        return decoded(prior, self.model(pixels[None]), self._search.min_score)
