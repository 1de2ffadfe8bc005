"""JSON and YAML of untrusted files: no code is run, and whatever a parser raises becomes one error."""

from __future__ import annotations

import json
from typing import Any

import yaml

from tddfa._shared.errors import FormatError, reason

MAX_YAML = 1 << 20
"""Maximum number of characters of YAML. The parser takes ten seconds for them."""

_MAX_DIGITS = 308  # of a float of 64 bits


def parse_json(text: str) -> Any:
    """Parse JSON.

    Raises
    ------
    FormatError
        If the text is not JSON, is nested too deep, or has a whole number that is too large for a float. The message is
        one line without the file name: the caller adds it.

    Examples
    --------
    >>> from tddfa._shared.reading.text import parse_json
    >>> parse_json('{"faces": []}')
    {'faces': []}
    """
    try:
        return json.loads(text, parse_int=_whole)
    except (ValueError, RecursionError, MemoryError) as error:  # ValueError: also a number with thousands of digits
        raise FormatError(f"not JSON that can be read: {reason(error)}") from error


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:  # an array of floats that is made of it raises `OverflowError`
        raise ValueError(f"expected numbers of at most {_MAX_DIGITS} digits, got one of {len(digits)}")
    return int(digits)


class Loader(yaml.SafeLoader):
    """Loader of plain values that refuses a key which occurs twice in a mapping: PyYAML would take the last one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping, and check its keys."""
        node = super().compose_mapping_node(anchor)
        known = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in known:
                raise yaml.composer.ComposerError(None, None, f"key {key.value!r} occurs twice", key.start_mark)
            known.add(name)
        return node


def parse_yaml(text: str, loader: type[Loader] = Loader) -> Any:
    """Parse YAML of plain values.

    Raises
    ------
    FormatError
        If the text is not YAML, is too long or nested too deep, if a key occurs twice, or if a value does not fit its
        tag. The message is like the one of `parse_json`.

    Examples
    --------
    >>> from tddfa._shared.reading.text import parse_yaml
    >>> parse_yaml("refine: 1")
    {'refine': 1}
    """
    if len(text) > MAX_YAML:
        raise FormatError(f"expected at most {MAX_YAML} characters of YAML, got {len(text)}")
    try:
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise FormatError(reason(error)) from error
    except Exception as error:  # the constructors of tags raise what `int`, `date` and indexing raise
        raise FormatError(f"a value that does not fit its tag: {reason(error)}") from error
