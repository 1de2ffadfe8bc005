"""``tddfa --print-completion SHELL``: a script that completes commands, options and their values.

The package shtab writes the script from the parser. The shell then completes without starting Python, which argcomplete
would do at every press of the key. What an option takes is read from its metavar.
"""

from __future__ import annotations

import argparse
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tddfa._shared.packages import REQUIREMENTS, needs
from tddfa.cli._common import FAILED, print_error
from tddfa.cli._output_options import Kinds

_KIND = "KIND"
_FOLDERS = {"DIR", "FOLDER"}
_FILES = {"CROPS", "FILE", "OUT", "PATH", "PHOTO", "PHOTOS", "SOURCE"}


class Values(NamedTuple):
    """What an option or an argument takes.

    Attributes
    ----------
    words : tuple of str
    paths : {"file", "directory"} or None
        Paths that it takes besides.
    listed : bool
        It takes several words with commas between them.
    """

    words: tuple[str, ...]
    paths: str | None = None
    listed: bool = False


class PrintCompletion(argparse.Action):
    """Print the script for a shell, and end."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Print the script."""
        try:
            import shtab
        except ImportError:
            print_error(needs(str(option_string), REQUIREMENTS["shtab"]))
            parser.exit(FAILED)
        if values not in shtab.SUPPORTED_SHELLS:
            parser.error(f"{option_string}: expected one of {', '.join(shtab.SUPPORTED_SHELLS)}, got {values!r}")
        for action in _actions(parser):
            found = None if action.choices else values_of(action)
            if found is not None:
                action.complete = _for_shells(found, shtab.CHOICE_FUNCTIONS)  # type: ignore[attr-defined]
            if isinstance(action.metavar, str):
                action.metavar = re.sub(r"\W+", "_", action.metavar)  # other characters have a meaning in zsh
        # a script, not text to read: nothing in it is escaped
        sys.stdout.write(f"{shtab.complete(parser, str(values))}\n")
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All options and arguments of a parser and of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
        else:
            yield action


def values_of(action: argparse.Action) -> Values | None:
    """What an option or argument takes, by its metavar; None if that is a number or any name."""
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if metavar == _KIND:
        from tddfa.outputs import image_kinds

        kinds = action.names() if isinstance(action, Kinds) else image_kinds()
        return Values(tuple(kinds), listed=action.nargs == argparse.ONE_OR_MORE)
    names = [name for name in re.split(r"[^\w.]+", metavar) if name]
    words = [name for name in names if name.islower()]
    if {"NAME", "FILE.yml"} <= set(names):
        from tddfa.model.assets import config_files

        # a shell would take other names apart
        words = [path.stem for path in config_files() if re.fullmatch(r"[\w.+-]+", path.stem)]
    placeholders = {name.partition(".")[0] for name in names}
    paths = "directory" if placeholders & _FOLDERS else "file" if placeholders & _FILES else None
    return Values(tuple(words), paths) if words or paths else None


def _for_shells(values: Values, path_functions: dict[str, Any]) -> dict[str, Any]:
    """What shtab takes as the completion of an action: a function or a list for each shell."""
    paths = path_functions.get(values.paths or "", {})
    if not values.words:
        return dict(paths)
    words = " ".join(values.words)
    # shtab marks results as names of files if there is _file or _dir in the name of the function
    name = f"_tddfa_{zlib.crc32(repr(values).encode()):08x}{'' if values.paths is None else '_' + values.paths}"
    body = ['local done="" word="$1"']
    if values.listed:
        body.append('case "$word" in *,*) done="${word%,*}," word="${word##*,}" ;; esac')
    body.append(f'compgen -P "$done" -W \'{words}\' -- "$word"')
    if paths:
        body.append(f'{paths["bash"]} "$1"')
    return {
        "bash": name,
        "zsh": f"{{compadd - {words}; {paths['zsh']}}}" if paths else f"({words})",
        "fish": f"{words} {paths['fish']}" if paths else words,
        "preamble": {"bash": "\n  ".join([f"{name}() {{", *body]) + "\n}"},
    }
