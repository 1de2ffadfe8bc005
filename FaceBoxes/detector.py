"""Detect the faces of an image as boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import NDArray

from FaceBoxes.anchors import decode, priors
from FaceBoxes.merging import is_part
from FaceBoxes.nms import nms
from FaceBoxes.scales import Scales, View

TILES = ("auto", "off")
"""Values of ``tiles``."""

Model = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]
"""``image (1, h, w, 3) uint8`` BGR -> ``scores (1, n)``, ``offsets (1, n, 4)`` for the priors of its size."""


@dataclass(frozen=True, eq=False)
class Detections:
    """The faces of an image, best first.

    Attributes
    ----------
    xyxy : ndarray (n, 4) float32
        x1, y1, x2, y2 in image px; a box may extend beyond the image.
    scores : ndarray (n,) float32
        Face probability, 0..1.

    Examples
    --------
    >>> len(Detections([[10, 20, 50, 70]], [0.9]))
    1
    """

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check the shapes of the arrays."""
        xyxy = np.ascontiguousarray(self.xyxy, dtype=np.float32)
        scores = np.ascontiguousarray(self.scores, dtype=np.float32)
        if xyxy.ndim != 2 or xyxy.shape[1] != 4:
            raise ValueError(f"Detections.xyxy: expected shape (n, 4), got {xyxy.shape}")
        if scores.shape != (len(xyxy),):
            raise ValueError(f"Detections.scores: expected shape ({len(xyxy)},), got {scores.shape}")
        object.__setattr__(self, "xyxy", xyxy)
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.scores)


@dataclass(frozen=True)
class Detector:
    """The FaceBoxes detector: a network, its prior boxes and non-maximum suppression.

    Parameters
    ----------
    model : callable
        See `Model`: an ONNX network, or any function of that type.
    max_height, max_width : int
        A larger image is shrunk to at most this height, then to at most this width; the aspect ratio is kept. Images
        are never enlarged.
    max_area : int or None
        A larger image is shrunk to at most this height times width, px, in place of the two sides, so that long images
        keep their resolution.
    small_area : int or None
        Also detect on a copy of the image with this height times width, px, where faces that fill the image are small
        enough for the prior boxes; and drop boxes that are parts of a larger one (`FaceBoxes.merging`). Images whose
        sides are less than twice as long need no copy. None does neither.
    tiles : {"auto", "off"}
        ``auto`` also detects on overlapping tiles at native resolution, one after the other, if the image would be
        shrunk more than twice.
    score : float
        Boxes below this score are dropped before the suppression. (This does not change its result for the others: a
        box can be suppressed only by a better one.)
    iou : float
        Intersection over union from which the worse of two boxes is suppressed.
    max_candidates, max_faces : int
        Maximum number of boxes that enter the suppression, and that it returns, best first.

    Raises
    ------
    ValueError
        If a threshold or a limit is out of range.

    Examples
    --------
    >>> def network(images):
    ...     count = len(priors(*images.shape[1:3]))
    ...     return {"scores": np.zeros((1, count), np.float32), "offsets": np.zeros((1, count, 4), np.float32)}
    >>> len(Detector(network, score=0.5)(image))
    0
    """

    model: Model
    _: KW_ONLY
    max_height: int = 720
    max_width: int = 1080
    max_area: int | None = None
    small_area: int | None = None
    tiles: str = "off"
    score: float = 0.5
    iou: float = 0.3
    max_candidates: int = 5000
    max_faces: int = 750

    def __post_init__(self) -> None:
        """Check the thresholds and limits."""
        if not 0 <= self.score <= 1:
            raise ValueError(f"Detector.score: expected a number in [0, 1], got {self.score}")
        if not 0 < self.iou <= 1:
            raise ValueError(f"Detector.iou: expected a number in (0, 1], got {self.iou}")
        for name in ("max_height", "max_width", "max_area", "small_area", "max_candidates", "max_faces"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"Detector.{name}: expected 1 or more, got {value}")
        if self.tiles not in TILES:
            raise ValueError(f"Detector.tiles: expected one of {', '.join(TILES)}, got {self.tiles!r}")

    @property
    def scales(self) -> Scales:
        """Sizes of the views that the network takes."""
        return Scales(self.max_height, self.max_width, self.max_area, self.small_area, self.tiles == "auto")

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
        found = [self._detect(view) for view in self.scales.views(np.ascontiguousarray(image))]
        if len(found) == 1:
            xyxy, scores = found[0]
        else:
            xyxy, scores = (np.concatenate(values) for values in zip(*found, strict=True))
            xyxy, scores = self._best(xyxy, scores)
        if self.small_area is not None or len(found) > 1:
            whole = ~is_part(xyxy, scores)
            xyxy, scores = xyxy[whole], scores[whole]
        if len(found) > 1:
            kept = nms(xyxy, scores, self.iou, self.max_faces)
            xyxy, scores = xyxy[kept], scores[kept]
        return Detections(xyxy, scores)

    def _detect(self, view: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes (n, 4) in image px and scores (n,) of a view, best first."""
        outputs = self.model(view.pixels[None])
        scores, offsets = outputs["scores"][0], outputs["offsets"][0]
        height, width = view.pixels.shape[:2]
        prior = priors(height, width)
        if scores.shape != (len(prior),) or offsets.shape != (len(prior), 4):
            raise ValueError(
                f"model: expected scores (1, {len(prior)}) and offsets (1, {len(prior)}, 4) for an image of "
                f"{width} x {height} px, got {scores.shape} and {offsets.shape}"
            )
        candidates = np.flatnonzero(scores > self.score)
        xyxy, scores = decode(prior[candidates], offsets[candidates]), scores[candidates]
        if view.min_side or any(view.seams):
            counts = view.counts(xyxy)
            xyxy, scores = xyxy[counts], scores[counts]
        xyxy, scores = self._best(xyxy, scores)
        # in image px from here on: the suppression counts whole pixels, as that of 3DDFA_V2 does
        xyxy = view.to_image(xyxy)
        kept = nms(xyxy, scores, self.iou, self.max_faces)
        return xyxy[kept], scores[kept]

    def _best(
        self, xyxy: NDArray[np.float32], scores: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keep at most `max_candidates` boxes, in their order."""
        if len(scores) <= self.max_candidates:
            return xyxy, scores
        best = np.sort(np.argpartition(-scores, self.max_candidates - 1)[: self.max_candidates])
        return xyxy[best], scores[best]
