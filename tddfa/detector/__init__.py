"""`Detector`: detects the faces of an image as boxes and scores, with five points and head poses if they are known."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

import FaceBoxes
from FaceBoxes import Detections
from tddfa._shared.image_source import Color, ImageSource, as_bgr, source_name
from tddfa.detector.box_file import BoxFile
from tddfa.detector.poses import HeadPoses
from tddfa.detector.yunet import YuNet
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.model.assets import config_path, verified
from tddfa.model.config import BoxFileConfig, Config, DetectorConfig, FaceBoxesConfig
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model, chosen_precision

__all__ = ["BoxFile", "Detections", "Detector", "Find", "HeadPoses", "YuNet"]

Find = Callable[..., Detections]
"""``image (h, w, 3) uint8`` BGR -> `Detections`. If its attribute ``needs_name`` is True, it is called with the image
and its name (`BoxFile`)."""

# Of the score of `Detector.lowered`.
_LOWERED = 0.2
# The largest score that it lowers.
_LOWERED_FROM = 0.4
# Scores may be beyond 0 and 1 by this much, and products of the axes of a rotation may differ by this much from those
# of unit vectors: float32 and decimals are rounded.
_SCORE_ROUNDING, _ROTATION_ROUNDING = 1e-5, 0.05


@dataclass(frozen=True)
class Detector:
    """Finds the faces of images: any function from an image to `Detections`, with its input and output checked.

    Parameters
    ----------
    find : callable
        A function from an image to `Detections` (`Find`): a `FaceBoxes.Detector`, a `YuNet`, a `BoxFile` or your own.
    head_poses : HeadPoses or None
        Computes the `translations` of the detections from their boxes and rotations.

    Examples
    --------
    The detector of a config, and one of your own:

    >>> from tddfa import Aligner, Detections, Detector
    >>> detector = Detector.load("open_mb05", device="cpu")
    >>> found = detector("examples/inputs/astronaut.jpg")
    >>> found[found.scores > 0.5].xyxy.shape
    (1, 4)
    >>> by_hand = Detector(lambda image: Detections([[173, 70, 273, 192]], [1.0]))
    >>> len(Aligner.load("open_mb05", device="cpu", detector=by_hand)(image))
    1
    """

    find: Find
    head_poses: HeadPoses | None = None

    def __post_init__(self) -> None:
        """Check that it can be called."""
        if not callable(self.find):
            raise TypeError(f"find: expected a function image -> Detections, got {type(self.find).__name__}")

    @classmethod
    def load(
        cls,
        config: str | os.PathLike[str] = "open_mb05",
        *,
        device: str = "auto",
        precision: str = "float",
        threads: int | None = None,
        tiles: str | None = None,
        poses: bool = False,
    ) -> Detector:
        """Load the detector that a config chooses (its key ``detector``), without the regressor.

        Parameters
        ----------
        config, device, precision, threads, tiles
            See `tddfa.Aligner.load`.
        poses : bool
            Also give the position of each head (`Detections.translations`), in the unit of the config's face model, cm
            for ``open_mb05``. The detector must predict rotations.

        Raises
        ------
        AssetError, ConfigError, FileNotFoundError, ValueError
            If a file is missing, does not match its hash, or has content that is not understood.
        """
        settings = Config.load(config_path(config))
        settings = settings.with_precision(chosen_precision(settings, precision, device))
        detector = cls.from_config(settings.detector, device=device, threads=threads, tiles=tiles)
        if not poses:
            return detector
        return replace(detector.posed, head_poses=HeadPoses.of_model(FaceModel.load(verified(settings.face_model))))

    @classmethod
    def from_config(
        cls, settings: DetectorConfig, *, device: str = "auto", threads: int | None = None, tiles: str | None = None
    ) -> Detector:
        """Load a detector from the section ``detector`` of a config. `tiles` replaces the config's value unless None.

        Raises
        ------
        AssetError, ConfigError, FileNotFoundError, ValueError
            See `load`.
        """
        if isinstance(settings, BoxFileConfig):
            return cls(BoxFile(settings.boxes, settings.score))
        names = {field.name for field in fields(settings)} - {"kind", "model", "model_int8", "tiles"}
        options: dict[str, Any] = {name: getattr(settings, name) for name in sorted(names)}
        options["tiles"] = settings.tiles if tiles is None else tiles
        kind = FaceBoxes.Detector if isinstance(settings, FaceBoxesConfig) else YuNet
        return cls(kind(Model(verified(settings.model), device, threads), **options))

    @property
    def needs_name(self) -> bool:
        """Whether `find` looks up boxes by the name of the image. Such boxes refer to the unchanged image."""
        return bool(getattr(self.find, "needs_name", False))

    @property
    def score(self) -> float | None:
        """Score below which `find` drops boxes; None if it has no such attribute."""
        return getattr(self.find, "score", None)

    @property
    def tiles(self) -> str | None:
        """``auto`` or ``off``, see `FaceBoxes.Detector`; None if `find` has no such attribute."""
        return getattr(self.find, "tiles", None)

    def with_options(self, **options: Any) -> Detector:
        """Return the detector with other settings, such as `score` and `iou`.

        Raises
        ------
        ValueError
            If `find` has no such setting, or if a value is out of range.

        Examples
        --------
        >>> from tddfa import Detector
        >>> Detector.load("open_mb05", device="cpu").with_options(score=0.7, iou=0.5).score
        0.7
        """
        find = self.find
        known = {field.name for field in fields(find)} if is_dataclass(find) else set()
        for name in options:
            if name not in known:
                raise ValueError(f"{name}: this detector has no such setting")
        return replace(self, find=replace(find, **options)) if options else self  # type: ignore[type-var]

    @cached_property
    def lowered(self) -> Detector | None:
        """The detector with a fifth of its minimum score, and without tiles; None if it has no such setting.

        It is also None if the minimum score is over 0.4, because then only certain boxes are wanted.

        Examples
        --------
        >>> from tddfa import Detector
        >>> Detector.load("open_mb05", device="cpu").lowered.score
        0.05
        """
        known = {field.name for field in fields(self.find)} if is_dataclass(self.find) else set()
        if "score" not in known or self.score is None or self.score > _LOWERED_FROM:
            return None
        off = {"tiles": "off"} if "tiles" in known else {}
        return self.with_options(score=_LOWERED * self.score, **off)

    @cached_property
    def posed(self) -> Detector:
        """The detector with `mean_poses` switched on, if it has this setting: slower, with more accurate rotations.

        Examples
        --------
        >>> from tddfa import Detector
        >>> Detector.load("open_mb05", device="cpu").posed.find.mean_poses
        True
        """
        known = {field.name for field in fields(self.find)} if is_dataclass(self.find) else set()
        return self.with_options(mean_poses=True) if "mean_poses" in known else self

    def __call__(
        self,
        image: ImageSource,
        *,
        color: Color = "bgr",
        name: str | os.PathLike[str] | None = None,
        intrinsics: Intrinsics | None = None,
    ) -> Detections:
        """Detect the faces of an image.

        Parameters
        ----------
        image : ndarray (h, w, 3) uint8, path, or PIL.Image.Image
            The image, in any form that `tddfa.read_image` accepts.
        color : {"bgr", "rgb"}
            Order of the channels of an array.
        name : path or None
            Name of the image, needed only by a detector that reads boxes from a file. None takes the name of the image
            file.
        intrinsics : Intrinsics or None
            The camera, for `translations`. None takes `Intrinsics.assumed`.

        Returns
        -------
        Detections
            Best first; empty if there is no face. Boxes without an area are dropped.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type, shape or dtype, or if `find` returns anything other than finite
            `Detections` with scores from 0 to 1 and, where it has them, rotations.
        tddfa.TddfaError
            If a file cannot be read as an image, or has no boxes for it.
        """
        pixels = as_bgr("image", image, color)
        if self.needs_name:
            found = self.find(pixels, source_name(image) if name is None else name)
        else:
            found = self.find(pixels)
        found = _checked(found)
        # those of FaceBoxes are made from two axes, so they are rotations
        if found.rotations is not None and len(found) and not isinstance(self.find, FaceBoxes.Detector):
            _check_rotations(found.rotations)
        if self.head_poses is None:
            return found
        camera = Intrinsics.assumed(pixels.shape[:2]) if intrinsics is None else intrinsics
        return replace(found, translations=self.head_poses.translations(found, camera).astype(np.float32))


def _checked(found: Any) -> Detections:
    """Return the detections that have an area, best first."""
    if not isinstance(found, Detections):
        raise TypeError(f"detector: expected a function that returns Detections, got {type(found).__name__}")
    if not len(found):
        return found
    arrays = (found.xyxy, found.scores, found.points, found.rotations, found.translations)
    if not all(np.isfinite(values).all() for values in arrays if values is not None):
        raise ValueError(
            "detector: expected finite boxes, scores, points, rotations and translations, got NaN or infinity"
        )
    low, high = float(found.scores.min()), float(found.scores.max())
    if low < 0 or high > 1:
        if low < -_SCORE_ROUNDING or high > 1 + _SCORE_ROUNDING:
            raise ValueError(f"detector: expected scores from 0 to 1, got {low:g} to {high:g}")
        found = replace(found, scores=found.scores.clip(0, 1))
    # the offsets of a network may swap the edges of a box: it is no face then
    area = (found.xyxy[:, :2] < found.xyxy[:, 2:]).all(axis=1)
    if not area.all():
        found = found[area]
    if (found.scores[1:] > found.scores[:-1]).any():
        found = found[np.argsort(-found.scores, kind="stable")]
    return found


def _check_rotations(matrices: NDArray[np.float32]) -> None:
    """Refuse matrices (n, 3, 3) whose columns are not three axes at right angles, or are those of a mirror image."""
    columns = matrices.astype(np.float64)  # squares of large numbers overflow in float32
    away = np.abs(columns.transpose(0, 2, 1) @ columns - np.eye(3)).max(axis=(1, 2))
    wrong = (away > _ROTATION_ROUNDING) | (np.linalg.det(columns) < 0)
    if wrong.any():
        raise ValueError(f"detector: expected rotations, got {matrices[wrong.argmax()].tolist()}")
