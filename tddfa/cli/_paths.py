"""Which files a command is to read, what their results are called, and that none takes the place of what is read."""

from __future__ import annotations

import glob
import itertools
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tddfa.cli._common import print_error


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
            print_error(f"{pattern}: {error.strerror or error}")
            found = []
        complete &= bool(found)
        paths += found
    return paths, complete


def _expand(pattern: str) -> list[Path]:
    """Files that a name, a folder or a pattern stands for; complain where there are none."""
    from tddfa._shared.image_io import SUFFIXES

    path = Path(pattern)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            print_error(f"{path}: no photo in this folder")
        return found
    if path.exists() or not glob.has_magic(pattern):
        return [path]  # one that is missing is said so when it is read
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207 - a pattern may be absolute
    found = sorted(p for p in map(Path, names) if p.is_file())
    if not found:
        print_error(f"{pattern}: no file of such a name")
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


def source_stem(source: str) -> str:
    """Name for the outputs of a video, after its file: of an address, not its query, which may hold a secret."""
    path = urlsplit(source).path if "://" in source else source
    return Path(path.rstrip("/")).stem or "video"


def check_folder(out: Path) -> None:
    """Refuse to start where the folder of the outputs is none, or cannot be made or written; leave nothing behind.

    Raises
    ------
    ValueError
        If it is so; the message names the folder.
    """
    there = next(folder for folder in (out, *out.absolute().parents) if os.path.lexists(folder))
    if not there.is_dir():
        raise ValueError(f"--out: {there} is not a folder")
    try:
        # permissions do not tell of a file system that is read-only, or that is none, as /proc
        with tempfile.TemporaryDirectory(prefix=".tddfa-", dir=there):
            pass
    except OSError as error:
        raise ValueError(f"--out: {out} cannot be written: {error.strerror or error}") from error


def check_targets(out: Path, stems: Sequence[str], tails: Sequence[str], sources: Sequence[Path]) -> None:
    """Refuse to start where an output could write over a file that is read, or where the folder is none.

    Parameters
    ----------
    out : Path
        The folder of the outputs.
    stems : sequence of str
        What their names begin with (`output_stems`).
    tails : sequence of str
        What follows in a name, each a regular expression.
    sources : sequence of Path
        All that is read.

    Raises
    ------
    ValueError
        If it is so; the message names the folder or the file.
    """
    check_folder(out)
    # upper and lower case are one to the file systems of Windows and macOS
    taken = {stem.casefold() for stem in stems}
    written = [re.compile(f"(.*){tail.casefold()}", re.DOTALL) for tail in tails]
    for source in sources:
        matches = (pattern.fullmatch(source.name.casefold()) for pattern in written)
        if any(match is not None and match[1] in taken for match in matches) and (
            source.parent.resolve() == out.resolve()
        ):
            raise ValueError(f"{source}: an output of this run could take its place; give another --out")
