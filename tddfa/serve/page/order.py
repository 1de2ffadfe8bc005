"""Order of the jobs of the page: which job is next, and which result is shown.

>>> from tddfa.serve.page.order import Line
>>> line = Line()
>>> with line.place() as first, line.place() as second:
...     first(), second()
(0, 1)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Line:
    """A waiting line: the first one is served, and the others follow in the order in which they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: list[object] = []

    @contextmanager
    def place(self) -> Iterator[Callable[[], int]]:
        """Hold a place; yields a function that counts the places before it.

        Examples
        --------
        >>> from tddfa.serve.page.order import Line
        >>> with Line().place() as before:
        ...     before()
        0
        """
        mine = object()
        with self._lock:
            self._places.append(mine)

        def before() -> int:
            with self._lock:
                return self._places.index(mine)

        try:
            yield before
        finally:
            with self._lock:
                self._places.remove(mine)


class Newest:
    """The newest run of each page; only its result is shown."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str | None, tuple[str | None, object]] = {}

    def start(self, page: str | None, upload: str | None) -> object:
        """Begin a run with an upload, which replaces the previous run; return the argument of `finish`."""
        run = object()
        with self._lock:
            self._runs[page] = upload, run
        return run

    def replace(self, page: str | None, upload: str | None) -> None:
        """Forget the run of a page if its upload is not the one that the page shows now."""
        with self._lock:
            if page in self._runs and self._runs[page][0] != upload:
                del self._runs[page]

    def finish(self, page: str | None, run: object) -> bool:
        """End a run; return whether it is still the newest one.

        Examples
        --------
        >>> from tddfa.serve.page.order import Newest
        >>> newest = Newest()
        >>> first, second = newest.start("page", "a.jpg"), newest.start("page", "b.jpg")
        >>> newest.finish("page", first), newest.finish("page", second)
        (False, True)
        """
        with self._lock:
            if self._runs.get(page, (None, None))[1] is not run:
                return False
            del self._runs[page]
            return True
