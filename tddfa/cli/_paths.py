"""Input files and pages of a command, names of outputs, and checks: outputs can be written, and replace no input."""

from __future__ import annotations

import argparse
import glob
import itertools
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tddfa._shared.files import is_sidecar, safe_stem
from tddfa._shared.terminal.parser import UsageError
from tddfa.cli._common import integer, print_error

ALL_PAGES = "all"
_OUTPUT_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".gif", ".mp4", ".mov", ".avi", ".mkv", ".webm",
    ".json", ".jsonl", ".csv", ".npz", ".ply", ".obj", ".glb",
)  # fmt: skip
_MAX_PAGE = 10_000


class Photo(NamedTuple):
    """An image to align: a file, or a page of it.

    Attributes
    ----------
    path : Path
        The file.
    page : int or None
        Its page, from 1, if one was asked for.
    stem : str
        Beginning of the names of its outputs.
    """

    path: Path
    page: int | None
    stem: str

    @property
    def name(self) -> str:
        """Name in messages."""
        return str(self.path) if self.page is None else f"{self.path}, page {self.page}"


def add_page_option(parser: Any) -> None:
    """Add ``--page``."""
    parser.add_argument(
        "--page", type=_page, metavar="N|all",
        help="page of multi-page TIFF files, from 1, or all of them; outputs of all are named <photo>_page<N> "
        "(default: 1)",
    )  # fmt: skip


def _page(text: str) -> int | str:
    if text.lower() == ALL_PAGES:
        return ALL_PAGES
    try:
        return int(integer(1, _MAX_PAGE)(text))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"expected a page from 1, or {ALL_PAGES}, got {text!r}") from error


def photos(paths: Sequence[Path], page: int | str | None) -> list[Photo]:
    """Return the images of files, with names of outputs that differ; `page` is the value of ``--page``."""
    if page != ALL_PAGES:
        number = None if page is None else int(page)
        return [Photo(path, number, stem) for path, stem in zip(paths, output_stems(paths), strict=True)]
    pages = [(path, number) for path in paths for number in _page_numbers(path)]
    named = [path if k is None else path.with_name(f"{path.stem}_page{k}{path.suffix}") for path, k in pages]
    return [Photo(path, k, stem) for (path, k), stem in zip(pages, output_stems(named), strict=True)]


def _page_numbers(path: Path) -> list[int] | list[None]:
    """Numbers of the pages of a file of several."""
    from tddfa._shared.image_io import ImageError, page_count

    try:
        count = page_count(path)
    except ImageError:
        count = 1  # reading the file gives the error
    return list(range(1, count + 1)) if count > 1 else [None]


class Skipped(NamedTuple):
    """An entry of a folder, or of what matches a pattern, that is no photo."""

    path: Path
    reason: str


class Inputs(NamedTuple):
    """What the names, folders and patterns of a command line stand for.

    Attributes
    ----------
    paths : list of Path
        The files. A missing one that was named is among them: reading it gives the error.
    skipped : list of Skipped
        The other entries of folders and patterns.
    complete : bool
        Whether each of them gave at least one file.
    """

    paths: list[Path]
    skipped: list[Skipped]
    complete: bool


def input_files(patterns: Sequence[str], *, suffixes: Sequence[str] | None = None, kind: str = "image") -> Inputs:
    """Expand names, folders and patterns to files; print an error for each that gives none.

    Parameters
    ----------
    patterns : sequence of str
    suffixes : sequence of str, optional
        Of the files of a folder that are taken; by default those of images.
    kind : str
        What they are, for messages.
    """
    paths: list[Path] = []
    skipped: list[Skipped] = []
    complete = True
    for pattern in patterns:
        try:
            found, others = _expand(pattern, suffixes, kind)
        except OSError as error:  # a folder that may not be read, a name that is too long
            print_error(f"{pattern}: {error.strerror or error}")
            found, others = [], []
        complete &= bool(found)
        paths += found
        skipped += others
    return Inputs(paths, skipped, complete)


def _expand(pattern: str, suffixes: Sequence[str] | None, kind: str) -> tuple[list[Path], list[Skipped]]:
    """Expand a name, a folder or a pattern to files and what is skipped; print an error if there are no files."""
    from tddfa._shared.image_io import SUFFIXES

    path = Path(pattern)
    if path.is_dir():
        found, skipped = _sorted_out(path.iterdir(), SUFFIXES if suffixes is None else suffixes, kind)
        if not found:
            print_error(f"{path}: no {kind} in this folder")
        return found, skipped
    if path.exists() or not glob.has_magic(pattern):
        return [path], []  # reading a missing file gives the error
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207 - a pattern may be absolute
    found, skipped = _sorted_out(map(Path, names), None, kind)
    if not found:
        print_error(f"{pattern}: no file matches")
    if "**" in pattern:  # it matches folders on the way to their files
        skipped = [entry for entry in skipped if not entry.path.is_dir()]
    return found, skipped


def _sorted_out(entries: Iterable[Path], suffixes: Sequence[str] | None, kind: str) -> tuple[list[Path], list[Skipped]]:
    """Files, of `suffixes` if they are given, and the other entries; both sorted."""
    found: list[Path] = []
    skipped: list[Skipped] = []
    for entry in sorted(entries):
        if not entry.is_file():
            skipped.append(Skipped(entry, _kind(entry)))
        elif suffixes is not None and (entry.suffix.lower() not in suffixes or is_sidecar(entry.name)):
            skipped.append(Skipped(entry, f"not {'an' if kind == 'image' else 'a'} {kind}"))
        else:
            found.append(entry)
    return found, skipped


def _kind(entry: Path) -> str:
    if entry.is_dir():
        return "folder"
    return "not a file" if entry.exists() else "link to a missing file"


def output_stems(paths: Sequence[Path]) -> list[str]:
    """Names of the outputs without suffix; images of one name get a number, so that no output replaces another.

    Names that differ by a space or another character that files beside an ``.obj`` do not have count as one.
    """
    from tddfa.export.obj import side_stem

    def key(stem: str) -> str:
        # file systems of Windows and macOS do not distinguish upper and lower case
        return side_stem(stem).casefold()

    wanted = [safe_stem(path.stem) for path in paths]
    own = {key(stem) for stem in wanted}
    stems: list[str] = []
    taken: set[str] = set()
    for stem in wanted:
        if key(stem) in taken:
            numbered = (f"{stem}-{k}" for k in itertools.count(2))
            stem = next(s for s in numbered if key(s) not in taken | own)
        stems.append(stem)
        taken.add(key(stem))
    return stems


def source_stem(source: str) -> str:
    """Name of the outputs of a video: that of its file; for a URL without the query, which may hold a secret.

    A folder keeps what follows a dot in its name.
    """
    path = urlsplit(source).path if "://" in source else source
    file = Path(path.rstrip("/"))
    stem = file.name if file.is_dir() else file.stem
    return safe_stem(stem) if stem else "video"


def check_folder(option: str, path: Path) -> None:
    """Check, before the work starts, that a folder for outputs can be made and written; nothing is left behind.

    Parameters
    ----------
    option : str
        Option that gave the folder, for the message: ``--out``.
    path : Path
        The folder; it need not exist yet.

    Raises
    ------
    ValueError
        If `path` or a folder above it is a file, or cannot be written; the message names it.
    UsageError
        If there is no such folder yet, and its name is that of an image, a video or another output.
    """
    if path.suffix.lower() in _OUTPUT_SUFFIXES and not path.exists():
        raise UsageError(f"{option}: expected a folder, got the name of a file: {path}")
    existing = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    if not existing.is_dir():
        raise ValueError(f"{option}: {existing} is not a folder")
    try:
        # permission bits do not show a read-only file system, or one that takes no files, such as /proc
        with tempfile.TemporaryDirectory(prefix=".tddfa-", dir=existing):
            pass
    except OSError as error:
        raise ValueError(f"{option}: {path} cannot be written: {error.strerror or error}") from error


def check_file(option: str, path: Path) -> None:
    """Check that an output file can be written: it is no folder, and `check_folder` accepts its folder."""
    if path.is_dir():
        raise ValueError(f"{option}: {path} is a folder")
    check_folder(option, path.parent)


def check_targets(out: Path, stems: Sequence[str], tails: Sequence[str], sources: Sequence[Path]) -> None:
    """Check, before the work starts, that the folder can be written and that no output replaces an input.

    Parameters
    ----------
    out : Path
        The folder of the outputs.
    stems : sequence of str
        Beginnings of the names of outputs (`output_stems`).
    tails : sequence of str
        Regular expressions of the rest of a name.
    sources : sequence of Path
        All files that are read.

    Raises
    ------
    ValueError
        If the folder cannot be written, or if an output could replace an input; the message names the folder or file.
    """
    from tddfa.export.obj import side_stem

    check_folder("--out", out)
    # file systems of Windows and macOS do not distinguish upper and lower case
    taken = {name.casefold() for stem in stems for name in (stem, side_stem(stem))}
    written = [re.compile(f"(.*){tail.casefold()}", re.DOTALL) for tail in tails]
    for source in sources:
        matches = (pattern.fullmatch(source.name.casefold()) for pattern in written)
        if any(match is not None and match[1] in taken for match in matches) and (
            source.parent.resolve() == out.resolve()
        ):
            raise ValueError(f"{source}: an output of this run could replace it; give another --out")
