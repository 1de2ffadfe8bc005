"""Configs of 3DDFA_V2, as its ``configs`` folder has them: the files that they name are converted on first use."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tddfa._shared.files import write_atomic
from tddfa._shared.packages import reason
from tddfa._shared.settings import read_mapping
from tddfa.compat import bfm, fetch
from tddfa.model.assets import AssetError, cache_folder
from tddfa.model.config import Config, ConfigError, CropRule, FaceBoxesConfig

CROP = CropRule(size=120, box_shift_y=0.14, box_scale=1.58, landmark_scale=2**0.5, rounded=True)
"""The crop of 3DDFA_V2."""

_REQUIRED = ("arch", "widen_factor", "checkpoint_fp", "bfm_fp", "size", "num_params")
# Keys that 3DDFA_V2's TDDFA reads as well, and the only values that its files work with.
_FIXED = {"shape_dim": 40, "exp_dim": 10, "mode": "small"}
_OPTIONAL = ("param_mean_std_fp", *_FIXED)


def convert_config(path: str | os.PathLike[str]) -> Path:
    """Convert a config of 3DDFA_V2, and the files that it names, to a config that `tddfa.Aligner.load` reads.

    The files are looked for below the folder above the config (its repository), the folder of the config, and the
    working folder. If the weights, the face model or the detector are missing, the converted ones of ``tddfa fetch
    3ddfa_v2`` are used. For weights or a face model that exist, a missing file that belongs to them, such as the
    whitening, is taken from the downloads of that command. The results are written to the folder ``converted`` of the
    cache, once for the same files.

    Parameters
    ----------
    path : path
        A ``.yml`` file of 3DDFA_V2, such as ``3DDFA_V2/configs/mb1_120x120.yml``.

    Returns
    -------
    Path
        The converted config; its file has the same name.

    Raises
    ------
    ConfigError
        If a key is unknown or missing, has a value that is not supported, or if a file is missing or cannot be
        converted; the message is one line.

    Examples
    --------
    With a checkout of 3DDFA_V2::

        aligner = Aligner.load(convert_config("3DDFA_V2/configs/mb1_120x120.yml"))
    """
    path = Path(path)
    config = resolve(path, read_mapping(path))
    files = (str(file.resolve()) for file in (config.model, config.face_model, config.detector.file))
    text = fetch.config_text(config.name, *files)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    converted = cache_folder() / "converted" / key / f"{config.name}.yml"
    if not converted.is_file():
        try:
            write_atomic(converted, text.encode())
        except OSError as error:
            raise ConfigError(f"{path}: {error}") from error
    return converted


def resolve(path: str | os.PathLike[str], content: Mapping[str, Any], *, called: str | None = None) -> Config:
    """Make a `Config` of the keys of a config of 3DDFA_V2, and convert the files that they name.

    Parameters
    ----------
    path : path
        The config, as the place to look for its files.
    content : mapping
        Keys and values.
    called : str, optional
        The name of the config in messages; by default its path. With it, `path` need not exist, and the weights give
        the model its name.

    Raises
    ------
    ConfigError
        As `convert_config`.
    """
    files = _Files(Path(path), called)
    for key in content:
        if key not in (*_REQUIRED, *_OPTIONAL):
            known = ", ".join((*_REQUIRED, *_OPTIONAL))
            raise ConfigError(f"{files.called}: unknown key {key!r}; 3DDFA_V2 has {known}")
    for key in _REQUIRED:
        if key not in content:
            raise ConfigError(f"{files.called}: missing key {key!r}")
    for key, expected in {"arch": "mobilenet", "size": 120, "num_params": 62, **_FIXED}.items():
        if content.get(key, expected) != expected:
            raise ConfigError(f"{files.called}: {key}: expected {expected}, got {content[key]!r}")
    factor = content["widen_factor"]
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not factor > 0:
        raise ConfigError(f"{files.called}: widen_factor: expected a number greater than 0, got {factor!r}")
    for key in ("checkpoint_fp", "bfm_fp", "param_mean_std_fp"):
        value = content.get(key, fetch.WHITENING)
        if not isinstance(value, str | os.PathLike) or not os.fspath(value):
            raise ConfigError(f"{files.called}: {key}: expected a path, got {value!r}")
    return files.config(content)


def detector(path: str | os.PathLike[str], *, called: str | None = None) -> Path:
    """Path of the converted FaceBoxes of the repository of the config `path`, or of the fetched one.

    Parameters
    ----------
    path, called
        As in `resolve`.

    Raises
    ------
    ConfigError
        If both are missing.
    """
    return _Files(Path(path), called).detector()


class _Files:
    """The files that belong to a config of 3DDFA_V2."""

    def __init__(self, path: Path, called: str | None = None) -> None:
        self.path, self.called = path, called or str(path)
        self.has_file = called is None  # otherwise it stands for keys that a caller has given
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
            name=self.path.stem if self.has_file else Path(weights).stem,
            model=self._converted(
                (weights, whitening), f"{Path(weights).stem}.onnx", lambda f: fetch.convert_regressor(*f)
            ),
            face_model=self._face_model(str(content["bfm_fp"])),
            crop=CROP,
            detector=FaceBoxesConfig(self.detector()),
        )

    def detector(self) -> Path:
        return self._converted((fetch.DETECTOR,), "faceboxes.onnx", lambda f: fetch.convert_detector(*f))

    def _face_model(self, bases: str) -> Path:
        # one face model, whatever its name is there
        return self._converted(
            (bases, fetch.TRIANGLES, fetch.UV, fetch.INDICES), "bfm_noneck_v3.npz", lambda f: bfm.face_model(*f)
        )

    def _converted(self, names: tuple[str, ...], target: str, convert: Callable[[list[Path]], bytes]) -> Path:
        """Path of the conversion of some files; they are converted if that file does not exist yet.

        If the first one is missing, the fetched conversion takes its place.
        """
        found = {name: self.find(name) for name in names}
        fetched = fetch.folder() / target
        if found[names[0]] is None and fetched.is_file():
            return fetched
        there = []
        for name, file in found.items():
            if file is None and name in fetch.FILES and (fetch.folder() / "source" / name).is_file():
                file = fetch.folder() / "source" / name
            if file is None:
                raise ConfigError(f"{self.called}: {name}: no such file; `tddfa fetch 3ddfa_v2` gets it")
            there.append(file)
        try:
            key = fetch.fingerprint(dict(zip(names, there, strict=True)))
            converted = cache_folder() / "converted" / f"{Path(target).stem}-{key[:16]}{Path(target).suffix}"
            if not converted.is_file():
                write_atomic(converted, convert(there))
        except ImportError as error:
            raise ConfigError(f"{self.called}: converting {names[0]}: {reason(error)}") from error
        except AssetError:
            raise
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.called}: {error}") from error
        return converted
