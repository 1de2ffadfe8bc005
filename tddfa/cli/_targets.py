"""Whether a command will be able to write: asked before the work, not found out after it."""

from __future__ import annotations

import os
from pathlib import Path


def check_folder(option: str, path: Path) -> None:
    """Refuse a folder for outputs that is none and cannot become one.

    Parameters
    ----------
    option : str
        Where it was given, for the message: ``--out``.
    path : Path
        The folder; it need not be there yet.

    Raises
    ------
    ValueError
        If it, or what it would lie in, is a file, or may not be written to; the message names which.
    """
    there = next((place for place in (path, *path.parents) if place.exists()), Path())
    if not there.is_dir():
        raise ValueError(f"{option}: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{option}: {there} may not be written to")


def check_file(option: str, path: Path) -> None:
    """Refuse a file for an output that is a folder, or that has nowhere to be; as `check_folder`."""
    if path.is_dir():
        raise ValueError(f"{option}: {path} is a folder")
    check_folder(option, path.parent)
