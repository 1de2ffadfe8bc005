"""Which files a command is to read, and what their results are called."""

from __future__ import annotations

import glob
import itertools
from collections.abc import Sequence
from pathlib import Path

from tddfa.cli_common import complain


def input_files(patterns: Sequence[str]) -> tuple[list[Path], bool]:
    """Files that names, folders and patterns stand for, and whether each stood for some; complain of those that do not.

    A file that is missing counts as one: it is said so when it is read.
    """
    paths: list[Path] = []
    complete = True
    for pattern in patterns:
        try:
            found = _expand(pattern)
        except OSError as error:  # a folder that may not be read, a name that is too long
            complain(f"{pattern}: {error.strerror or error}")
            found = []
        complete &= bool(found)
        paths += found
    return paths, complete


def _expand(pattern: str) -> list[Path]:
    """Files that a name, a folder or a pattern stands for; complain where there are none."""
    from tddfa.image_io import SUFFIXES

    path = Path(pattern)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            complain(f"{path}: no photo in this folder")
        return found
    if path.exists() or not glob.has_magic(pattern):
        return [path]  # one that is missing is said so when it is read
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207 - a pattern may be absolute
    found = sorted(p for p in map(Path, names) if p.is_file())
    if not found:
        complain(f"{pattern}: no file of such a name")
    return found


def output_stems(paths: Sequence[Path]) -> list[str]:
    """Names for the outputs; photos of one name get a number, so that none writes over another's."""
    # upper and lower case are one to the file systems of Windows and macOS
    own = {path.stem.casefold() for path in paths}
    stems: list[str] = []
    taken: set[str] = set()
    for path in paths:
        numbered = (f"{path.stem}-{k}" for k in itertools.count(2))
        free = path.stem.casefold() not in taken
        stem = path.stem if free else next(s for s in numbered if s.casefold() not in taken | own)
        stems.append(stem)
        taken.add(stem.casefold())
    return stems
