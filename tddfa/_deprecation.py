"""Names that will go: a warning that says what takes their place, and when.

The policy is in docs/deprecation.md.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Deprecation:
    """A name that will be removed.

    Attributes
    ----------
    name : str
        Dotted name.
    since, removal : str
        Versions in which the warning came, and in which the name goes.
    instead : str
        What takes its place.
    """

    name: str
    since: str
    removal: str
    instead: str

    def __post_init__(self) -> None:
        """Check that there is a version between the warning and the removal."""
        if not release(self.since)[:2] < release(self.removal)[:2]:
            raise ValueError(f"removal: expected a later minor version than {self.since}, got {self.removal}")

    def __str__(self) -> str:
        """The text of the warning."""
        removed = f"will be removed in {self.removal}"
        return f"{self.name} is deprecated since {self.since} and {removed}; use {self.instead}"

    def is_over(self, version: str) -> bool:
        """Whether the name should have been removed in `version`; a development version counts as its release."""
        return release(version) >= release(self.removal)


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version.

    Raises
    ------
    ValueError
        If `version` does not begin with numbers and dots.

    Examples
    --------
    >>> release("0.2"), release("0.2.1.dev3")
    ((0, 2, 0), (0, 2, 1))
    """
    found = re.match(r"\d+(?:\.\d+){0,2}", version)
    if found is None:
        raise ValueError(f"version: expected numbers and dots, got {version!r}")
    numbers = [int(number) for number in found[0].split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def deprecated(
    *, since: str, removal: str, instead: str
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Mark a function or method: each call warns, with the line of the caller.

    Parameters
    ----------
    since, removal : str
        Versions; `removal` is a later minor version.
    instead : str
        What takes its place.

    Raises
    ------
    ValueError
        If the versions are wrong.

    Examples
    --------
    >>> @deprecated(since="0.2", removal="0.4", instead="tddfa.draw.mesh")
    ... def render(): return "drawn"
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = render()
    >>> str(caught[0].message).partition(" ")[2]
    'is deprecated since 0.2 and will be removed in 0.4; use tddfa.draw.mesh'
    """

    def mark(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        notice = Deprecation(f"{function.__module__}.{function.__qualname__}", since, removal, instead)

        @functools.wraps(function)
        def wrapper(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
            warnings.warn(str(notice), DeprecationWarning, stacklevel=2)
            return function(*arguments, **options)

        wrapper.__doc__ = f"Deprecated: {notice}.\n\n{function.__doc__ or ''}".rstrip()
        return wrapper

    return mark
