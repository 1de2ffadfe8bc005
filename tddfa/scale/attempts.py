"""Attempts at a shard: a photo that ends every process that reads it is found, and left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tddfa._shared.reading.text import parse_json
from tddfa.scale.job import STATE
from tddfa.scale.plan import Task
from tddfa.scale.stores import Store

TRIES = f"{STATE}/tries"
"""Folder of the shards in progress."""

REASON = "the process that was reading it ended unexpectedly, twice"
"""Error of such a photo."""

_CAREFUL_AFTER = 3  # attempts that ended with their process; a machine may be shut down, or short of memory
_DEATHS = 2  # of processes at one photo


class Attempt:
    """One attempt at a shard. What it notes outlives its process.

    An error of Python becomes a row of errors. A bug of a decoder or a lack of memory ends the process. Then Ray starts
    another process, which tries the shard again. After three ended attempts, the photos are read one by one, and each
    is noted before it is read.

    Examples
    --------
    >>> from tddfa.scale.attempts import Attempt
    >>> from tddfa.scale.plan import Task
    >>> from tddfa.scale.stores import Store
    >>> store, task = Store(str(tmp)), Task(0, "", 0, 0, "a")
    >>> [Attempt(store, task).is_careful for _ in range(4)]
    [False, False, False, True]
    >>> for _ in range(2):
    ...     Attempt(store, task).begin(7)
    >>> Attempt(store, task).has_ended_processes(7)
    True
    """

    def __init__(self, store: Store, task: Task) -> None:
        self._store = store
        self._name = f"{TRIES}/{task.shard:08d}.json"
        self._inputs = task.inputs
        self._tries, self._deaths = _before(store.read(self._name), task.inputs)
        self.is_careful = self._tries >= _CAREFUL_AFTER
        self._tries += 1
        self._write(None)

    def begin(self, number: int) -> None:
        """Note that an item of the shard is read now."""
        self._write(number)

    def has_ended_processes(self, number: int) -> bool:
        """Whether two processes ended at an item."""
        return self._deaths.get(str(number), 0) >= _DEATHS

    def finish(self) -> None:
        """Forget the attempts."""
        self._store.remove(self._name)

    def _write(self, number: int | None) -> None:
        content = {"inputs": self._inputs, "tries": self._tries, "at": number, "deaths": self._deaths}
        self._store.write(self._name, json.dumps(content).encode())


def noted(store: Store) -> dict[str, bytes | None]:
    """Read the notes on the shards in progress, by the names of their files."""
    return {name: store.read(f"{TRIES}/{name}") for name in store.names(TRIES)}


def forgive(store: Store, before: Mapping[str, bytes | None]) -> None:
    """Take back the last attempt of a run at each shard, because the run ended, not a process.

    Parameters
    ----------
    store : Store
    before : mapping
        Result of `noted` before the run. Notes that have not changed since then belong to other runs.

    Examples
    --------
    >>> from tddfa.scale.attempts import Attempt, forgive, noted
    >>> from tddfa.scale.plan import Task
    >>> from tddfa.scale.stores import Store
    >>> store, task = Store(str(tmp)), Task(0, "", 0, 0, "a")
    >>> for _ in range(9):
    ...     before = noted(store)
    ...     attempt = Attempt(store, task)
    ...     forgive(store, before)
    >>> attempt.is_careful
    False
    """
    for name, content in noted(store).items():
        if content is None or content == before.get(name):
            continue
        try:
            own: Any = parse_json(content.decode())
            own |= {"tries": max(int(own["tries"]) - 1, 0), "at": None}
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            continue
        store.write(f"{TRIES}/{name}", json.dumps(own).encode())


def _before(content: bytes | None, inputs: str) -> tuple[int, dict[str, int]]:
    """Attempts before this one, and how many processes ended at which item; none if the file is damaged."""
    try:
        found: Any = {} if content is None else parse_json(content.decode())
        if found.get("inputs") != inputs:
            return 0, {}
        deaths = {str(number): int(count) for number, count in found["deaths"].items()}
        if found["at"] is not None:
            deaths[str(found["at"])] = deaths.get(str(found["at"]), 0) + 1
        return int(found["tries"]), deaths
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return 0, {}
