"""3DDFA_V2's own configs, as they stand in its ``configs`` folder: what they name is converted on first use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tddfa._shared.files import write_atomic
from tddfa.compat import fetch
from tddfa.model.assets import AssetError, cache_folder
from tddfa.model.config import Config, ConfigError, CropRule, DetectorConfig

CROP = CropRule(size=120, box_shift_y=0.14, box_scale=1.58, landmark_scale=2**0.5, rounded=True)
"""What 3DDFA_V2 cuts."""

_REQUIRED = ("arch", "widen_factor", "checkpoint_fp", "bfm_fp", "size", "num_params")
_OPTIONAL = ("param_mean_std_fp",)


def resolve(path: str | os.PathLike[str], content: Mapping[str, Any]) -> Config:
    """Make a `Config` of what a config of 3DDFA_V2 says.

    Its paths are looked for from the folder above it (its repository), from its own folder, and from the working
    folder; FaceBoxes and the face model's other files at their places in the repository. What is not there is taken
    from what ``tddfa fetch 3ddfa_v2`` has put into the cache folder.

    Parameters
    ----------
    path : path
        The ``.yml`` file.
    content : mapping
        What it holds.

    Raises
    ------
    ConfigError
        If a key is unknown or missing, if it asks for something that cannot be read here, or if a file is missing; the
        message is one line.
    """
    path = Path(path)
    for key in content:
        if key not in (*_REQUIRED, *_OPTIONAL):
            known = ", ".join((*_REQUIRED, *_OPTIONAL))
            raise ConfigError(f"{path}: unknown key {key!r}; those of 3DDFA_V2 are {known}")
    for key in _REQUIRED:
        if key not in content:
            raise ConfigError(f"{path}: missing key {key!r}")
    for key, expected in (("arch", "mobilenet"), ("size", 120), ("num_params", 62)):
        if content[key] != expected:
            raise ConfigError(f"{path}: {key}: expected {expected}, got {content[key]!r}")
    for key in ("checkpoint_fp", "bfm_fp"):
        if not isinstance(content[key], str) or not content[key]:
            raise ConfigError(f"{path}: {key}: expected a path, got {content[key]!r}")
    return _Files(path).config(content)


def detector(path: str | os.PathLike[str]) -> Path:
    """Converted FaceBoxes of the repository that the config `path` lies in, or else the fetched one.

    Raises
    ------
    ConfigError
        If there is neither.
    """
    return _Files(Path(path)).detector()


class _Files:
    """The files around a config of 3DDFA_V2."""

    def __init__(self, path: Path) -> None:
        self.path = path
        folder = path.resolve().parent
        self.roots = (folder.parent, folder, Path.cwd())

    def find(self, name: str) -> Path | None:
        for root in self.roots:
            if (root / name).is_file():
                return root / name
        return None

    def config(self, content: Mapping[str, Any]) -> Config:
        whitening = str(content.get("param_mean_std_fp", fetch.WHITENING))
        weights = str(content["checkpoint_fp"])
        return Config(
            name=self.path.stem,
            model=self._converted(
                (weights, whitening), f"{Path(weights).stem}.onnx", lambda f: fetch.convert_regressor(*f)
            ),
            face_model=self._face_model(str(content["bfm_fp"])),
            crop=CROP,
            detector=DetectorConfig(self.detector()),
        )

    def detector(self) -> Path:
        return self._converted((fetch.DETECTOR,), "faceboxes.onnx", lambda f: fetch.convert_detector(*f))

    def _face_model(self, bases: str) -> Path:
        from tddfa.compat import bfm

        # one face model, whatever it is called there
        return self._converted(
            (bases, fetch.TRIANGLES, fetch.UV, fetch.INDICES), "bfm_noneck_v3.npz", lambda f: bfm.face_model(*f)
        )

    def _converted(self, names: tuple[str, ...], target: str, convert: Callable[[list[Path]], bytes]) -> Path:
        """Path of the conversion of some files; it is made where it is not there yet."""
        found = [self.find(name) for name in names]
        there = [file for file in found if file is not None]
        if len(there) < len(names):
            fetched = fetch.folder() / target
            if fetched.is_file():
                return fetched
            missing = next(name for name, file in zip(names, found, strict=True) if file is None)
            raise ConfigError(f"{self.path}: {missing}: no such file; `tddfa fetch 3ddfa_v2` gets it")
        try:
            key = fetch.fingerprint(dict(zip(names, there, strict=True)))
            converted = cache_folder() / "converted" / f"{Path(target).stem}-{key[:16]}{Path(target).suffix}"
            if not converted.is_file():
                write_atomic(converted, convert(there))
        except ImportError as error:
            raise ConfigError(f"{self.path}: converting {names[0]}: {fetch.needs_extra(error)}") from error
        except AssetError:
            raise
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.path}: {error}") from error
        return converted
