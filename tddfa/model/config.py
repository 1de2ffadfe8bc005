"""`Config`: the files and settings of a model, read from a yml file."""

from __future__ import annotations

import os
import reprlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from FaceBoxes.search import check_settings
from tddfa._shared.arrays import checked_number
from tddfa._shared.errors import ConfigError as ConfigError
from tddfa._shared.settings import build_settings, read_mapping
from tddfa.model.assets import AssetError, config_path

PRECISIONS = ("float", "int8")
"""Precisions that networks are stored in."""

BASE_KEY = "base"
"""Key that names the config on which a file is based."""

UPSTREAM_KEY = "checkpoint_fp"
"""Key that every config of 3DDFA_V2 has, and none of ours."""


_MAX_NAME = 1000  # of another config, characters


@dataclass(frozen=True)
class CropRule:
    """The square part of an image that the regressor takes as its input.

    Attributes
    ----------
    size : int
        Side of the crop that the network takes, px.
    box_shift_y, box_scale : float
        Square from a box: its centre is the centre of the box moved down by ``box_shift_y * length``, its side is
        ``box_scale * length``.
    landmark_scale : float
        Square from landmarks: its side is ``landmark_scale`` times the longer side of their bounding box, and it has
        the same centre.
    rounded : bool
        Round as 3DDFA_V2 does, to get the same numbers. The side of a square from a box is truncated to whole px. The
        image is cropped at the nearest px. Results are mapped back with the unrounded edges, with the first px of the
        crop on the left edge. If False, the crop has the exact edges, and each px is mapped back to its exact position.

    box_length : {"mean", "longer"}
        Length of a box of width w and height h: ``(w + h) / 2``, or the longer side. ``longer`` is for detectors whose
        boxes fit the landmarks: boxes of turned faces are then narrow. `landmark_scale` refers to the longer side too.

    Examples
    --------
    >>> CropRule(size=120, box_shift_y=0.155, box_scale=1.11, landmark_scale=1.25).rounded
    False
    """

    size: int
    box_shift_y: float
    box_scale: float
    landmark_scale: float
    rounded: bool = False
    box_length: Literal["mean", "longer"] = "mean"

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 1 <= self.size <= 4096:
            raise ConfigError(f"size: expected 1..4096 px, got {self.size}")
        for name in ("box_scale", "landmark_scale"):
            if not 0 < getattr(self, name) < 100:
                raise ConfigError(f"{name}: expected a number over 0 and under 100, got {getattr(self, name)}")
        if self.box_length not in ("mean", "longer"):
            raise ConfigError(f"box_length: expected mean or longer, got {self.box_length!r}")
        if not -10 < self.box_shift_y < 10:
            raise ConfigError(f"box_shift_y: expected a number between -10 and 10, got {self.box_shift_y}")


@dataclass(frozen=True)
class FaceBoxesConfig:
    """A FaceBoxes network, its int8 version where there is one, and the arguments of `FaceBoxes.Detector`."""

    SETTINGS_OF: ClassVar[str] = "model"

    model: Path
    kind: Literal["faceboxes"] = "faceboxes"
    model_int8: Path | None = None
    score: float = 0.5
    iou: float = 0.3
    max_height: int = 720
    max_width: int = 1080
    max_area: int | None = None
    min_area: int | None = None
    small_area: int | None = None
    tiles: Literal["auto", "off"] = "off"
    max_candidates: int = 5000
    max_faces: int = 750

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_settings(self)

    @property
    def file(self) -> Path:
        """The file with the network."""
        return self.model


@dataclass(frozen=True)
class YuNetConfig:
    """YuNet's network and the arguments of `tddfa.detector.YuNet`."""

    SETTINGS_OF: ClassVar[str] = "model"

    model: Path
    kind: Literal["yunet"] = "yunet"
    score: float = 0.5
    iou: float = 0.3
    max_area: int = 2_073_600
    min_area: int | None = None
    small_area: int | None = None
    tiles: Literal["auto", "off"] = "off"
    max_candidates: int = 5000
    max_faces: int = 750

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_settings(self)

    @property
    def file(self) -> Path:
        """The file with the network."""
        return self.model


@dataclass(frozen=True)
class BoxFileConfig:
    """A file of boxes in place of a network: the arguments of `tddfa.detector.BoxFile`."""

    SETTINGS_OF: ClassVar[str] = "boxes"

    boxes: Path
    kind: Literal["boxes"] = "boxes"
    score: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        checked_number("score", self.score, 0, 1)

    @property
    def file(self) -> Path:
        """The file with the boxes."""
        return self.boxes


DetectorConfig = FaceBoxesConfig | YuNetConfig | BoxFileConfig
"""The section ``detector`` of a config; its key ``kind`` chooses (default: ``faceboxes``).

Without a network and without ``kind``, it is of the kind of the base.
"""


@dataclass(frozen=True)
class Config:
    """The files and settings of a model, as a ``.yml`` file of ``configs`` lists them.

    Attributes
    ----------
    name : str
        Name of the file without its suffix.
    model : Path
        Regressor, ``.onnx``.
    face_model : Path
        Face model, ``.npz``.
    kind : {"parameters", "jvcr"}
        What the regressor predicts: ``parameters`` are camera and coefficients of the face model, ``jvcr`` are points
        (`tddfa.jvcr`). Faces from points have no mesh, unless the face model is fitted to the points. The face model's
        mean face gives their pose.
    crop : CropRule
        Crop that the regressor takes.
    detector : FaceBoxesConfig, YuNetConfig or BoxFileConfig
        Face detector. In the file, ``kind: faceboxes|yunet|boxes`` selects the detector, and the other keys are its
        settings. The value may also be the name of another config, whose detector is then used: ``detector:
        mb05_120x120`` selects the detector of 3DDFA_V2.
    min_score : float or None
        Faces with a lower face score of the regressor are dropped; None keeps all.
    rotations : {"auto", "all", "off"}
        How faces of any roll are found (`tddfa.Aligner`).
    sure_score : float or None
        A face with a lower face score is also aligned in rotated crops. A face found in a rotated crop needs this
        score.
    model_int8 : Path or None
        The regressor in int8 (`tddfa.onnx_tools.quantise`), if there is one.
    refine : int
        Number of further passes, each on a crop around the landmarks of the previous pass (`tddfa.Aligner`).
    flip : bool
        The first, third, … of these passes use horizontally flipped crops. Each result is averaged with the previous
        one if their squares overlap (`tddfa.Aligner`).

    Examples
    --------
    >>> from tddfa.model.assets import config_path
    >>> config = Config.load(config_path("open_mb05"))
    >>> config.name, config.refine, config.flip
    ('open_mb05', 1, True)
    """

    RENAMED: ClassVar[dict[str, str]] = {"mirrored": "flip"}
    BELONGS_TO: ClassVar[dict[str, str]] = {"model_int8": "model"}  # that of the base is another network

    name: str
    model: Path
    face_model: Path
    crop: CropRule
    detector: DetectorConfig
    kind: Literal["parameters", "jvcr"] = "parameters"
    min_score: float | None = None
    rotations: Literal["auto", "all", "off"] = "off"
    sure_score: float | None = None
    model_int8: Path | None = None
    refine: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.refine <= 10:
            raise ConfigError(f"refine: expected 0..10, got {self.refine}")
        for name in ("min_score", "sure_score"):
            if getattr(self, name) is not None:
                checked_number(name, getattr(self, name), 0, 1)

    def with_precision(self, precision: str) -> Config:
        """Return the config with the networks of a precision.

        A detector without an int8 network keeps its own.

        Parameters
        ----------
        precision : {"float", "int8"}

        Raises
        ------
        ConfigError
            If the regressor has no int8 network.
        ValueError
            If `precision` has another value.

        Examples
        --------
        >>> from tddfa.model.assets import config_path
        >>> Config.load(config_path("open_mb05")).with_precision("int8").model.name
        'open_mb05_int8.onnx'
        """
        if precision not in PRECISIONS:
            # an aligner also takes auto, which becomes one of them
            raise ValueError(f"precision: expected one of {', '.join((*PRECISIONS, 'auto'))}, got {precision!r}")
        if precision == "float":
            return self
        if self.model_int8 is None:
            raise ConfigError(f"{self.name}: this model has no int8 network (its config has no key model_int8)")
        detector = self.detector
        if isinstance(detector, FaceBoxesConfig) and detector.model_int8 is not None:
            detector = replace(detector, model=detector.model_int8)
        return replace(self, model=self.model_int8, detector=detector)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Config:
        """Read a ``.yml`` file. Nothing is converted or written.

        Its key ``base`` names another config. Keys that the file leaves out are taken from that config. This includes
        keys of ``crop``, and of a ``detector`` that names no network. A file with a ``model`` but without
        ``model_int8`` has no int8 network.

        Raises
        ------
        ConfigError
            If the file cannot be read or is based on itself, or if a key is unknown, renamed, missing or of the wrong
            type. Also if the file is a config of 3DDFA_V2; `tddfa.compat.convert_config` converts it. The message names
            the file and the key.

        Examples
        --------
        >>> written = (tmp / "fast.yml").write_text("{base: open_mb05, refine: 0}")
        >>> fast = Config.load(tmp / "fast.yml")
        >>> fast.name, fast.refine, fast.model.name
        ('fast', 0, 'open_mb05.onnx')
        """
        return cls._load(Path(path), ())

    @classmethod
    def _load(cls, path: Path, based: tuple[Path, ...]) -> Config:
        """Read a file on which the files of `based` are based, one on the other."""
        content = read_mapping(path)
        if UPSTREAM_KEY in content:
            raise ConfigError(
                f"{path}: a config of 3DDFA_V2: expected the file that tddfa.compat.convert_config({str(path)!r}) makes"
            )
        based = (*based, path.resolve())
        defaults: dict[str, Any] = {}
        if BASE_KEY in content:
            base = cls._named(path, BASE_KEY, content.pop(BASE_KEY), based)
            defaults = {field.name: getattr(base, field.name) for field in fields(base) if field.name != "name"}
        if isinstance(content.get("detector"), str):
            defaults["detector"] = cls._named(path, "detector", content.pop("detector"), based).detector
        return build_settings(cls, content, path, defaults=defaults, name=path.stem)

    @classmethod
    def _named(cls, path: Path, key: str, name: Any, based: tuple[Path, ...]) -> Config:
        """Read the config that a key of the file `path` names: by its name, or by its path from that file."""
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= _MAX_NAME:
            raise ConfigError(f"{path}: {key}: expected the name of a config, got {reprlib.repr(name)}")
        try:
            beside = path.parent / name
            other = beside if beside.suffix in (".yml", ".yaml") and beside.is_file() else config_path(name)
        except (AssetError, OSError) as error:  # OSError: a name that no file can have
            raise ConfigError(f"{path}: {key}: {error}") from error
        if other.resolve() in based:
            raise ConfigError(f"{path}: {key}: expected another config, got {name}, which is based on this one")
        return cls._load(other, based)
