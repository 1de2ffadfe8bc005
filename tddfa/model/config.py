"""A yml file to a `Config`: every key is known and checked, paths are relative to the file."""

from __future__ import annotations

import dataclasses
import os
import reprlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from tddfa._shared.errors import ConfigError as ConfigError

PRECISIONS = ("float", "int8")

# A config is a screenful; anything larger is something else.
_MAX_BYTES = 64 * 1024

T = TypeVar("T")


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
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise ConfigError(f"{path}: expected a config of at most {_MAX_BYTES} bytes")
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: not a readable yml file: {' '.join(str(error).split())}") from error
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: expected keys and values, got {type(content).__name__}")
        if "checkpoint_fp" in content:
            # only 3DDFA_V2's configs have this key
            from tddfa.compat.config import resolve

            return resolve(path, content)
        if "name" in content:
            raise ConfigError(f"{path}: unknown key 'name': a config is named by its file")
        return _build(cls, {"name": path.stem, **content}, f"{path}: ", path.parent)


def _build(cls: type[T], content: dict[str, Any], where: str, folder: Path) -> T:
    """Make the dataclass `cls` of `content`, key by key; `where` begins every message."""
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in content:
        if key not in fields:
            raise ConfigError(f"{where}unknown key {key!r}; known are {', '.join(fields)}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in content:
            values[name] = _convert(hints[name], content[name], f"{where}{name}", folder)
        elif field.default is dataclasses.MISSING:
            raise ConfigError(f"{where}missing key {name!r}")
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from error


def _convert(kind: Any, value: Any, where: str, folder: Path) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected keys and values, got {reprlib.repr(value)}")
        return _build(kind, value, f"{where}.", folder)
    if kind in (Path, Path | None):
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{where}: expected a path, got {reprlib.repr(value)}")
        return Path(os.path.normpath(folder / value))
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind in (float, float | None) and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is str and isinstance(value, str):
        return value
    if kind == float | None and value is None:
        return None
    expected = {int: "a whole number", str: "a text", bool: "true or false"}.get(kind, "a number")
    raise ConfigError(f"{where}: expected {expected}, got {reprlib.repr(value)}")
