"""Paths of the shipped and fetched configs and models, and the hashes of the shipped ones."""

from __future__ import annotations

import difflib
import os
from functools import lru_cache
from pathlib import Path

from tddfa._shared.errors import TddfaError
from tddfa._shared.files import sha256_of

REGISTRY = {
    "configs/open_face.npz": "8e055232549969cc9b5ce46ee715560be512392008de71f2d89797796cba06be",
    "weights/faceboxes.onnx": "0477677324527f9da25d2617b9d27417887051f8c8728504a20bf254ef233ab3",
    "weights/faceboxes_int8.onnx": "5c1e03f6884ce11fdd672c989e2679152b855fc5dca21563df474fa0f72aa74f",
    "weights/open_mb05+.onnx": "58058ad534e2348476a42946e27fc75e48816215236bfe7f409cf8b82fb75628",
    "weights/open_clean_mb05.onnx": "caccba5695a047adeb17e55325df4e0abe26b19aa40ccbe414872fb5475ca1c2",
    "weights/jvcr_s.onnx": "83cc5068771a22e9f8a387e3e7cda44fe06294262b67eabf805c9b5d2fa32a76",
    "weights/open_mb05.onnx": "76777391ea16b3315db2d0fa4a7d998b2c08711931c2434a577a8d2523bc9f96",
    "weights/open_mb05_int8.onnx": "311869a64f045d0ea762cd138b2547f6b8786370c4fc3d9cccf59e9ed8fb2883",
    "weights/scan.onnx": "d5bc17642818d29059081a13b7000b8014dfbb43ed888f6a43bd6babc03ff35d",
}
"""sha256 of every shipped binary file, by its path below `data_folder`."""

NOT_IN_WHEELS = ("weights/jvcr_s.onnx", "weights/open_clean_mb05.onnx", "weights/open_mb05+.onnx")
"""Files of `REGISTRY` that a checkout has, and an installed wheel does not."""

FETCHED_CONFIGS = {
    "mb05_120x120": "3ddfa_v2",
    "mb1_120x120": "3ddfa_v2",
    "open_mb05_3ddfa_v2": "3ddfa_v2",
    "open_mb05_yunet": "yunet --from FILE",
}
"""Configs that ``tddfa fetch`` writes to the cache folder, and its arguments."""

CACHE_VARIABLE = "TDDFA_CACHE"
"""Environment variable with the path of the cache folder."""


WEIGHTS_VARIABLE = "TDDFA_WEIGHTS"
"""Environment variable with the path of a folder of weights, for those that the installed package does not have."""


class AssetError(TddfaError, ValueError):
    """A file of a model is missing, or differs from the released one."""


@lru_cache(maxsize=1)
def data_folder() -> Path:
    """Folder of ``configs`` and ``weights``: the installed package, or the checkout."""
    package = Path(__file__).resolve().parents[1]
    return package if (package / "configs").is_dir() else package.parent


def cache_folder() -> Path:
    """Folder of fetched and converted files: ``TDDFA_CACHE`` if set, else the user's cache folder of the system."""
    moved = os.environ.get(CACHE_VARIABLE)
    if moved:
        return Path(moved).expanduser()
    import pooch

    return Path(pooch.os_cache("tddfa"))


def _rank(path: Path) -> tuple[bool, str]:
    """Sort key: the default model and its variants before others."""
    return not path.stem.startswith("open_mb05"), path.stem


def config_files() -> list[Path]:
    """Files of the shipped configs, the default first, then of the fetched ones, each sorted by name.

    Examples
    --------
    >>> [path.stem for path in config_files()][:2]
    ['open_mb05', 'open_mb05+']
    """
    return [*_shipped_configs(), *_fetched_configs()]


def _shipped_configs() -> list[Path]:
    return sorted((data_folder() / "configs").glob("*.yml"), key=_rank)


def _fetched_configs() -> list[Path]:
    return sorted(cache_folder().glob("*/*.yml"))


def config_path(name: str | os.PathLike[str]) -> Path:
    """Path of a config, by its name or its file.

    Parameters
    ----------
    name : str or path
        Name of a shipped or fetched config, in any case, or a ``.yml`` file.

    Raises
    ------
    AssetError
        If there is no such config; the message lists the names.

    Examples
    --------
    >>> config_path("open_mb05").name
    'open_mb05.yml'
    """
    path = Path(name)
    if path.suffix in (".yml", ".yaml") and path.is_file():
        return path
    # `configs/open_mb05.yml` means the shipped one, whatever the working folder is
    wanted = path.stem if path.parent == Path("configs") and path.suffix in (".yml", ".yaml") else str(name)
    # the cache folder is looked for only if it is needed: Pooch, which knows it, loads a hundred other modules
    for files in (_shipped_configs, _fetched_configs):
        for candidate in files():
            if candidate.stem.casefold() == wanted.casefold():
                return candidate
    names = [candidate.stem for candidate in config_files()]
    if wanted in FETCHED_CONFIGS:
        hint = f"; `tddfa fetch {FETCHED_CONFIGS[wanted]}` gets it"
    else:
        near = difflib.get_close_matches(wanted.casefold(), names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
    raise AssetError(f"{os.fspath(name)}: no such config{hint}; give a .yml file or one of: {', '.join(names)}")


def located(path: str | os.PathLike[str]) -> Path:
    """Return `path`, or, for weights that the package does not have, the file of that name in ``TDDFA_WEIGHTS``.

    The function does not check that the file exists.

    Examples
    --------
    >>> located(data_folder() / "weights/open_mb05.onnx").name
    'open_mb05.onnx'
    """
    path = Path(path)
    folder = os.environ.get(WEIGHTS_VARIABLE)
    if folder and not path.is_file() and path.resolve().parent == (data_folder() / "weights").resolve():
        return Path(folder).expanduser() / path.name
    return path


def verified(path: str | os.PathLike[str]) -> Path:
    """Return the path of a model file (see `located`), after a check of the sha256 if the file is a shipped one.

    Raises
    ------
    AssetError
        If the file is missing, or if its sha256 is wrong.

    Examples
    --------
    >>> verified(data_folder() / "weights/open_mb05.onnx").name
    'open_mb05.onnx'
    """
    path, folder = Path(path), data_folder().resolve()
    name = path.resolve().relative_to(folder).as_posix() if path.resolve().is_relative_to(folder) else ""
    path = located(path)
    if not path.is_file():
        hint = (
            f"; a checkout has it: --weights CHECKOUT/weights, or {WEIGHTS_VARIABLE}" if name in NOT_IN_WHEELS else ""
        )
        raise AssetError(f"{path}: no such file{hint}")
    expected = REGISTRY.get(name)
    if expected is None:
        return path
    resolved = path.resolve()
    stat = resolved.stat()
    actual = _sha256(resolved, stat.st_size, stat.st_mtime_ns)
    if actual != expected:
        raise AssetError(
            f"{path}: not the released file: expected sha256 {expected}, got {actual} ({stat.st_size} bytes); "
            "install again, or save a changed model under another name"
        )
    return path


@lru_cache(maxsize=32)
def _sha256(path: Path, _size: int, _modified: int) -> str:
    # size and modification time are only keys of the cache
    return sha256_of(path)
