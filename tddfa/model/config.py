"""A yml file to a `Config`: every key is known and checked, paths are relative to the file."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from tddfa._shared.errors import ConfigError as ConfigError
from tddfa._shared.settings import build_settings, read_mapping

PRECISIONS = ("float", "int8")


@dataclass(frozen=True)
class CropRule:
    """What part of a picture the regressor was trained to see.

    Attributes
    ----------
    size : int
        Side of the crop, px.
    box_shift_y, box_scale : float
        From a box of width w and height h, with ``old = (w + h) / 2``: the centre is moved down by
        ``box_shift_y * old``, and the side is ``box_scale * old``.
    landmark_scale : float
        From landmarks: the side is ``landmark_scale`` times the longer side of their bounding box, about its centre.
    rounded : bool
        Compute as 3DDFA_V2 does, to the same numbers. The side from a box is cut to whole px; the picture is cut at the
        px nearest to the edges, yet what the network says of its crop is mapped back by the edges as they were, its
        first px to the left edge itself. False cuts at the true edges, and maps back by where each px was.
    """

    size: int
    box_shift_y: float
    box_scale: float
    landmark_scale: float
    rounded: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 1 <= self.size <= 4096:
            raise ConfigError(f"size: expected 1..4096 px, got {self.size}")
        for name in ("box_scale", "landmark_scale"):
            if not 0 < getattr(self, name) < 100:
                raise ConfigError(f"{name}: expected a number over 0 and under 100, got {getattr(self, name)}")
        if not -10 < self.box_shift_y < 10:
            raise ConfigError(f"box_shift_y: expected a number between -10 and 10, got {self.box_shift_y}")


@dataclass(frozen=True)
class DetectorConfig:
    """The detector's network, that in 8 bits where there is one, and the arguments of `FaceBoxes.Detector`."""

    model: Path
    model_int8: Path | None = None
    score: float = 0.5
    iou: float = 0.3
    max_height: int = 720
    max_width: int = 1080
    max_candidates: int = 5000
    max_faces: int = 750


@dataclass(frozen=True)
class Config:
    """What a regressor needs from outside.

    Attributes
    ----------
    name : str
        The file's name without its suffix.
    model : Path
        The regressor, ``.onnx``.
    face_model : Path
        The face model, ``.npz``.
    crop : CropRule
        What it sees.
    detector : DetectorConfig
        Where its boxes come from.
    min_score : float or None
        A detected face whose score by the regressor is lower is dropped.
    model_int8 : Path or None
        The regressor in 8 bits (`tddfa.onnx_tools.quantise`), where there is one.
    refine : int
        How many more times a face is aligned from the landmarks found (`tddfa.Aligner`).
    mirrored : bool
        These passes see every other crop turned over left to right, and count with those before (`tddfa.Aligner`).
    """

    name: str
    model: Path
    face_model: Path
    crop: CropRule
    detector: DetectorConfig
    min_score: float | None = None
    model_int8: Path | None = None
    refine: int = 0
    mirrored: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.refine <= 10:
            raise ConfigError(f"refine: expected 0..10, got {self.refine}")

    def with_precision(self, precision: str) -> Config:
        """The same with the networks of a precision, "float" or "int8"; a detector that has no other stays as it is.

        Raises
        ------
        ConfigError
            If the regressor has none of 8 bits.
        ValueError
            If `precision` is something else.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
        if precision == "float":
            return self
        if self.model_int8 is None:
            raise ConfigError(f"{self.name}: this model has no int8 network (its config has no key model_int8)")
        detector = replace(self.detector, model=self.detector.model_int8 or self.detector.model)
        return replace(self, model=self.model_int8, detector=detector)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Config:
        """Read a ``.yml`` file, ours or one of 3DDFA_V2's (`tddfa.compat.config`).

        Raises
        ------
        ConfigError
            If it cannot be read, or if a key is unknown, missing or of another type; the message names file and key.
        """
        path = Path(path)
        content = read_mapping(path)
        if "checkpoint_fp" in content:
            # only 3DDFA_V2's configs have this key
            from tddfa.compat.config import resolve

            return resolve(path, content)
        return build_settings(cls, content, path, name=path.stem)
