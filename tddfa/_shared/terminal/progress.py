"""Progress bars: one function for all of them. They are shown only in a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")


def is_watched() -> bool:
    """Whether stderr is a terminal. In a file or a pipe, each update of a bar would be a line."""
    return sys.stderr.isatty()


def _shape() -> dict[str, Any]:
    """Size for a terminal that does not report one, such as in CI, where tqdm would draw nothing."""
    try:
        known = os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError, AttributeError):  # stderr is no terminal
        known = True
    return {} if known else {"ncols": 80, "nrows": 24}


def progress_bar(total: float | None = None, *, show: bool = True, **options: Any) -> tqdm[Any]:
    """Return a bar of tqdm, to be updated by hand; it prints nothing if stderr is no terminal or `show` is false."""
    from tqdm import tqdm

    return tqdm(total=total, disable=not (show and is_watched()), leave=False, **{**_shape(), **options})


def progress(
    items: Iterable[T], total: int | None = None, *, label: str | None = None, unit: str = "it", show: bool = True
) -> Iterator[T]:
    """Yield the items, and show a progress bar if stderr is a terminal.

    Parameters
    ----------
    items : iterable
        The items to process.
    total : int, optional
        How many there will be, if `items` has no length.
    label : str, optional
        Text before the bar.
    unit : str
        Name of an item.
    show : bool
        Whether a terminal sees the bar.

    Examples
    --------
    >>> from tddfa._shared.terminal.progress import progress
    >>> list(progress(range(3), unit="frame"))
    [0, 1, 2]
    """
    return iter(progress_bar(total, show=show, iterable=items, desc=label, unit=unit))
