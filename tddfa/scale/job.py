"""`Job`: the settings of a run, and the part of them that all results in a folder must share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tddfa import __version__
from tddfa._shared.errors import FormatError, TddfaError, reason
from tddfa._shared.files import sha256_of
from tddfa._shared.reading.text import parse_json
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config
from tddfa.model.runtime import chosen_precision
from tddfa.scale.stores import Store

STATE = "_tddfa"
"""Folder of what a run keeps about itself, in the folder of results."""

JOB = f"{STATE}/job.json"
"""What the results in a folder were made of."""

FORMAT = 1
"""Version of the layout of a folder of results."""

FACES, CROPS, MESHES, ERRORS = "faces", "crops", "meshes", "errors.parquet"
_OWN = {STATE, FACES, CROPS, MESHES, ERRORS}

# They change how fast a run is, not what it gives.
_WITHOUT_EFFECT = ("out", "batch_size", "threads")


class MixedError(TddfaError, ValueError):
    """A folder holds results of another model, other options or another source, or files of something else."""


@dataclass(frozen=True)
class Job:
    """Photos and videos, a model, and a folder for the faces.

    Attributes
    ----------
    sources : sequence of str
        See `tddfa.scale.sources.list_items`.
    out : str
        Folder of the results: a path, or a URL that fsspec knows.
    column : str or None
        Column of Parquet files with paths or bytes.
    config : str
        Name or ``.yml`` file of the model; every machine needs it.
    model : mapping
        Further arguments of `Aligner.load`, such as ``device`` and ``precision``.
    tracking : mapping
        Arguments of `Tracker`, for videos.
    dense : bool
        Fill ``visible`` and ``six_dof``, which take the dense surface: about 6 ms per face.
    crops : int or None
        Side of aligned crops, px; None makes none.
    meshes : {"ply", "obj", "glb"} or None
        Format of meshes; None makes none.
    shard_size : int
        Photos per shard. A killed worker loses at most one shard of work. Each shard gives one Parquet file.
    batch_size : int
        Photos whose faces go through the regressor together.
    threads : int or None
        CPU threads per network. None takes one per core; in a worker, one per CPU of the worker.

    Examples
    --------
    >>> from tddfa.scale import Job
    >>> Job(["photos"], "out").shard_size
    256
    """

    sources: Sequence[str]
    out: str
    column: str | None = None
    config: str = "open_mb05"
    model: Mapping[str, Any] = field(default_factory=dict)
    tracking: Mapping[str, Any] = field(default_factory=dict)
    dense: bool = False
    crops: int | None = None
    meshes: str | None = None
    shard_size: int = 256
    batch_size: int = 16
    threads: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("shard_size", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        if isinstance(self.sources, str):
            raise TypeError(f"sources: expected a sequence of str, got one str, {self.sources!r}")

    def identity(self) -> dict[str, Any]:
        """Return what the rows depend on: version, model and options, as plain data.

        Raises
        ------
        AssetError, ConfigError
            If the model is missing, or not the released one.

        Examples
        --------
        >>> from tddfa.scale import Job
        >>> Job(["photos"], "out").identity()["precision"]
        'float'
        """
        settings = Config.load(config_path(self.config))
        precision = chosen_precision(settings, self.model.get("precision", "float"), self.model.get("device", "auto"))
        options = {name: value for name, value in asdict(self).items() if name not in _WITHOUT_EFFECT}
        model = options.pop("model")
        model.pop("precision", None)
        model.pop("threads", None)
        if model.get("device") in ("auto", "cpu"):
            # what auto finds depends on the machine, and may differ among workers; rows have the provider
            del model["device"]
        return {
            "format": FORMAT,
            "version": __version__,
            "model": model_hash(settings.with_precision(precision)),
            **plain_settings(settings),
            "precision": precision,
            **json.loads(json.dumps(options)),
            **{name: value for name, value in model.items() if value is not None},
        }


def model_hash(settings: Config) -> str:
    """Return the sha256 of the sha256 of regressor, detector and face model.

    Examples
    --------
    >>> from tddfa.model.assets import config_path
    >>> from tddfa.model.config import Config
    >>> from tddfa.scale.job import model_hash
    >>> len(model_hash(Config.load(config_path("open_mb05"))))
    64
    """
    files = (settings.model, settings.detector.file, settings.face_model)
    digests = [sha256_of(verified(file)) for file in files]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def plain_settings(settings: Config) -> dict[str, Any]:
    """Return the settings of a config by ``settings.NAME``, except its name and its files (`model_hash`).

    Examples
    --------
    >>> from tddfa.model.assets import config_path
    >>> from tddfa.model.config import Config
    >>> from tddfa.scale.job import plain_settings
    >>> plain_settings(Config.load(config_path("open_mb05")))["settings.refine"]
    1
    """
    flat: dict[str, Any] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{name}.{key}", inner)
        elif not isinstance(value, Path):
            flat[name] = value

    add("settings", {key: value for key, value in asdict(settings).items() if key != "name"})
    plain: dict[str, Any] = json.loads(json.dumps(flat, default=repr))
    return plain


def check(store: Store, identity: Mapping[str, Any]) -> None:
    """Check that the folder is empty, or holds results of the same sources, model and options.

    Raises
    ------
    MixedError
        If it holds other files, or other results; the message names the difference.

    Examples
    --------
    >>> from tddfa.scale.job import check
    >>> from tddfa.scale.stores import Store
    >>> (tmp / "notes.txt").touch()
    >>> check(Store(str(tmp)), {})
    Traceback (most recent call last):
        ...
    tddfa.scale.job.MixedError: ...: expected an empty folder or one of tddfa scale, found notes.txt
    """
    try:
        names = store.names()
    except NotADirectoryError:
        raise MixedError(f"{store.url}: expected a folder, got a file") from None
    foreign = [name for name in names if name not in _OWN]
    content = store.read(JOB)
    if content is None:
        foreign = [name for name in names if name != STATE]
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise MixedError(f"{store.url}: expected an empty folder or one of tddfa scale, found {foreign[0]}{more}")
    if content is None:
        return
    try:
        before = parse_json(content.decode())
        if not isinstance(before, dict):
            raise FormatError(f"expected an object, got a {type(before).__name__}")
    except ValueError as error:
        raise MixedError(f"{store.url}: {JOB} is damaged: {reason(error)}") from error
    now = json.loads(json.dumps(identity))
    changed = [name for name in {**now, **before} if now.get(name) != before.get(name)]
    if changed and store.names(FACES):
        pairs = ((name[:60], _short(before.get(name)), _short(now.get(name))) for name in changed[:6])
        lines = ", ".join(f"{name} {old}, not {new}" for name, old, new in pairs)
        raise MixedError(f"{store.url}: the results in it were made with {lines}; give another --out")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:20]}…{text[-38:]}"
