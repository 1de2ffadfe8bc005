"""A yml file to a frozen dataclass: every key is known and checked, paths are relative to the file."""

from __future__ import annotations

import dataclasses
import os
import reprlib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from tddfa._shared.errors import ConfigError, FormatError
from tddfa._shared.reading.regular import read_text
from tddfa._shared.reading.text import parse_yaml

# Settings fill a screen; a larger file is something else.
MAX_BYTES = 64 * 1024

# Native code counts in 32 bits; no setting needs more.
MAX_INTEGER = 2**31 - 1

_EXPECTED = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}

T = TypeVar("T")


def load_settings(cls: type[T], path: str | os.PathLike[str], renamed: Mapping[str, str] | None = None) -> T:
    """Read a ``.yml`` file into a dataclass.

    Fields may be numbers, texts, one of several words (``Literal``), booleans, paths, tuples or dataclasses; each may
    also be None. Of several dataclasses (``A | B``), the key ``kind`` selects one. Each of these classes has a field
    ``kind``: a ``Literal`` of its word, with this word as its default. Without the key, the class is that of the
    default (`build_settings`) if the default counts, or else the first.

    Parameters
    ----------
    cls : type
        A dataclass. It and every dataclass nested in it may have these class variables.
        ``RENAMED: ClassVar[dict[str, str]] = {"old": "new"}`` lists old keys.
        ``BELONGS_TO: ClassVar[dict[str, str]] = {"key": "other"}`` lists keys whose default (`build_settings`) does
        not count if another key is given. ``SETTINGS_OF: ClassVar[str] = "other"`` does the same for all keys.
    path : path
        The file; at most `MAX_BYTES` bytes. Paths in it are relative to its folder.
    renamed : mapping of str to str, optional
        More old keys of `cls`, with the new ones.

    Raises
    ------
    ConfigError
        If the file cannot be read, or if a key is unknown, renamed, missing or of the wrong type; the message names
        the file and the key.
    """
    return build_settings(cls, read_mapping(path), path, renamed=renamed)


def read_mapping(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the keys and values of a ``.yml`` file; no code in it is run.

    Raises
    ------
    ConfigError
        If the file cannot be read, is larger than `MAX_BYTES`, or holds something else than keys and values.
    """
    path = Path(path)
    try:
        content = parse_yaml(read_text(path, MAX_BYTES))
    except (OSError, FormatError) as error:
        raise ConfigError(f"{path}: not a readable yml file: {' '.join(str(error).split())}") from error
    return _mapping(content, str(path))


def build_settings(
    cls: type[T],
    content: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    renamed: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    **given: Any,
) -> T:
    """Build the dataclass `cls` from the content of a file, as `load_settings` does.

    Parameters
    ----------
    content : mapping
        See `read_mapping`.
    path : path
        The file, for messages and for relative paths.
    defaults : mapping, optional
        Values of fields that the file leaves out. The fields of a nested dataclass are the defaults of its keys, if
        the file has the same class there.
    **given
        Fields of `cls` that the caller sets. They are unknown keys if the file has them.
    """
    return _build(cls, content, Path(path), "", renamed or {}, given, defaults or {})


def _build(
    cls: type[T],
    content: Any,
    path: Path,
    key: str,
    renamed: Mapping[str, str],
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> T:
    """Build a dataclass from the value of `key`, which is empty at the top level, and ``augment.scale`` below."""
    where = f"{path}: {key}: " if key else f"{path}: "
    prefix = f"{key}." if key else ""
    fields = {field.name: field for field in dataclasses.fields(cls) if field.name not in given}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    renamed = {**getattr(cls, "RENAMED", {}), **renamed}
    content = _mapping(content, where.rstrip(": "))
    lost = {name for name, other in getattr(cls, "BELONGS_TO", {}).items() if other in content}
    if getattr(cls, "SETTINGS_OF", None) in content:
        lost |= set(defaults)
    defaults = {name: value for name, value in defaults.items() if name not in lost}
    for name in content:
        if name in renamed:
            raise ConfigError(f"{where}key {name!r} is now {renamed[name]!r}")
        if name not in fields:
            raise ConfigError(f"{where}unknown key {name!r}; known keys are {', '.join(fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in content and name not in defaults:
            raise ConfigError(f"{where}missing key {name!r}")
    values = {
        name: _convert(hints[name], value, path, f"{prefix}{name}", defaults.get(name))
        for name, value in content.items()
    }
    try:
        return cls(**{**defaults, **values}, **given)
    except ValueError as error:
        raise ConfigError(f"{path}: {prefix}{error}") from error


def _mapping(content: Any, where: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: expected keys and values, got {reprlib.repr(content)}")
    return content


def _convert(kind: Any, value: Any, path: Path, key: str, default: Any = None) -> Any:
    """Convert the value of a key to the type of its field."""
    arguments = typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        choices = [argument for argument in arguments if dataclasses.is_dataclass(argument)]
        if len(choices) > 1:
            content = _mapping(value, f"{path}: {key}")
            own = {"kind", getattr(type(default), "SETTINGS_OF", "kind")} & set(content)
            kind = type(default) if type(default) in choices and not own else _chosen(choices, content, path, key)
        else:
            kind = next(argument for argument in arguments if argument is not type(None))
        return _convert(kind, value, path, key, default)
    if typing.get_origin(kind) is typing.Literal:
        # YAML reads the words on and off as booleans
        word = {True: "on", False: "off"}[value] if isinstance(value, bool) else value
        if not isinstance(word, str) or word not in arguments:
            raise ConfigError(f"{path}: {key}: expected one of {', '.join(arguments)}, got {reprlib.repr(value)}")
        return word
    if typing.get_origin(kind) is tuple:
        any_length = arguments[-1] is Ellipsis
        if not isinstance(value, list) or not (any_length or len(value) == len(arguments)):
            length = "" if any_length else f" of {len(arguments)}"
            raise ConfigError(f"{path}: {key}: expected a list{length}, got {reprlib.repr(value)}")
        kinds = arguments[:1] * len(value) if any_length else arguments
        return tuple(_convert(kinds[i], item, path, f"{key}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        same = type(default) is kind
        defaults = {field.name: getattr(default, field.name) for field in dataclasses.fields(kind)} if same else {}
        return _build(kind, value, path, key, {}, {}, defaults)
    if kind is Path and isinstance(value, str) and value:
        return Path(os.path.normpath(path.parent / value))
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ConfigError(f"{path}: {key}: expected a number of at most {MAX_INTEGER}, got {reprlib.repr(value)}")
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    raise ConfigError(f"{path}: {key}: expected {_EXPECTED.get(kind, kind)}, got {reprlib.repr(value)}")


def _chosen(choices: list[Any], content: Mapping[str, Any], path: Path, key: str) -> Any:
    """Choose a dataclass by the word of the key ``kind``."""
    by_word = {str(field.default): c for c in choices for field in dataclasses.fields(c) if field.name == "kind"}
    word = content.get("kind", next(iter(by_word)))
    if not isinstance(word, str) or word not in by_word:
        raise ConfigError(f"{path}: {key}.kind: expected one of {', '.join(by_word)}, got {reprlib.repr(word)}")
    return by_word[word]
