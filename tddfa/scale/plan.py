"""The plan of a run: its shards in files, and which of them are done."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tddfa._shared.errors import FormatError, reason
from tddfa._shared.reading.text import parse_json
from tddfa.scale import job as layout
from tddfa.scale.items import Item, pack, shards
from tddfa.scale.stores import Store

PLAN, DONE = f"{layout.STATE}/plan", f"{layout.STATE}/done"
"""Folders of the plan, and of the manifests of finished shards."""

_SHARDS_PER_FILE = 1000
_HASH_LENGTH = 16
_MANIFEST = re.compile(r"(\d+)-([0-9a-f]{16})-(\d+)-(\d+)\.json")
_NUMBERED = re.compile(r"part-(\d+)\.\w+")


class Task(NamedTuple):
    """A shard of the plan.

    Attributes
    ----------
    shard : int
        Its number, from 0.
    file : str
        The file of the plan that has its items.
    start, end : int
        Bytes of that file.
    inputs : str
        sha256 of its items.
    """

    shard: int
    file: str
    start: int
    end: int
    inputs: str


class Plan(NamedTuple):
    """All shards, and how many photos and videos they have."""

    tasks: list[Task]
    photos: int
    videos: int


class Done(NamedTuple):
    """A finished shard, described by the name of its manifest."""

    name: str
    inputs: str
    faces: int
    errors: int


def write_plan(store: Store, items: Iterable[Item], shard_size: int) -> Plan:
    """Cut items into shards and write them to files; a thousand shards are in memory at a time.

    Examples
    --------
    >>> from tddfa.scale.items import Item
    >>> from tddfa.scale.plan import write_plan
    >>> from tddfa.scale.stores import Store
    >>> items = [Item(name, name, "photo") for name in ("a.jpg", "b.jpg", "c.jpg")]
    >>> plan = write_plan(Store(str(tmp)), items, 2)
    >>> [task.shard for task in plan.tasks], plan.photos
    ([0, 1], 3)
    """
    tasks: list[Task] = []
    counts = {"photo": 0, "video": 0}
    waiting = bytearray()
    files = 0
    name = ""
    for number, shard in enumerate(shards(items, shard_size)):
        if number % _SHARDS_PER_FILE == 0:
            if number:
                store.write(name, bytes(waiting))
            waiting.clear()
            name = f"{PLAN}/{files:06d}.bin"
            files += 1
        data, inputs = pack(shard)
        tasks.append(Task(number, name, len(waiting), len(waiting) + len(data), inputs))
        waiting += data
        counts[shard[0].kind] += len(shard)
    if tasks:
        store.write(name, bytes(waiting))
    return Plan(tasks, counts["photo"], counts["video"])


def manifest_name(shard: int, inputs: str, faces: int, errors: int) -> str:
    """Name of the manifest of a finished shard. So a listing of the folder has all information for a restart.

    Examples
    --------
    >>> from tddfa.scale.plan import manifest_name
    >>> manifest_name(7, 64 * "a", 3, 1)
    '_tddfa/done/00000007-aaaaaaaaaaaaaaaa-3-1.json'
    """
    return f"{DONE}/{shard:08d}-{inputs[:_HASH_LENGTH]}-{faces}-{errors}.json"


def part_name(folder: str, shard: int, suffix: str) -> str:
    """Name of a file of a shard.

    Examples
    --------
    >>> from tddfa.scale.plan import part_name
    >>> part_name("faces", 7, "parquet")
    'faces/part-00000007.parquet'
    """
    return f"{folder}/part-{shard:08d}.{suffix}"


def finished(store: Store) -> Iterator[tuple[int, Done]]:
    """Give the manifests of the folder, by number of their shards."""
    for name in store.names(DONE):
        match = _MANIFEST.fullmatch(name)
        if match is not None:
            yield int(match[1]), Done(f"{DONE}/{name}", match[2], int(match[3]), int(match[4]))


def sweep(store: Store, plan: Plan, *, retry_errors: bool = False) -> dict[int, Done]:
    """Remove what no longer belongs to the plan, and return the shards that are done.

    A shard whose photos changed loses its manifest before it is done again, so that a manifest is never beside rows of
    other photos. Files of shards beyond the last are removed.

    Parameters
    ----------
    store : Store
    plan : Plan
    retry_errors : bool
        Also forget shards with errors.
    """
    inputs = {task.shard: task.inputs[:_HASH_LENGTH] for task in plan.tasks}
    done: dict[int, Done] = {}
    for shard, entry in finished(store):
        stale = inputs.get(shard) != entry.inputs or shard in done
        if stale or (retry_errors and entry.errors):
            store.remove(entry.name)
        else:
            done[shard] = entry
    files = {task.file for task in plan.tasks}
    for name in store.names(PLAN):
        if f"{PLAN}/{name}" not in files:
            store.remove(f"{PLAN}/{name}")
    for folder in (layout.FACES, layout.CROPS, layout.MESHES):
        for name in store.names(folder):
            match = _NUMBERED.fullmatch(name)
            if match is not None and int(match[1]) >= len(plan.tasks):
                store.remove(f"{folder}/{name}")
    return done


def errors_of(store: Store, done: Mapping[int, Done]) -> Iterator[list[dict[str, str]]]:
    """Give the rows of `tddfa.scale.tables.ERRORS` of each shard with errors, in the order of the shards.

    Raises
    ------
    FormatError
        If the manifest of a shard is damaged; the message names it.
    """
    for shard in sorted(done):
        entry = done[shard]
        content = store.read(entry.name) if entry.errors else None
        if content is not None:
            try:
                listed = parse_json(content.decode())["errors"]
                rows = [{"path": str(path), "reason": str(why)} for path, why in listed]
                json.dumps(rows, ensure_ascii=False).encode()  # UTF-8 can hold them
            except (KeyError, TypeError, ValueError) as error:
                again = "remove it, and its photos are read again"
                raise FormatError(f"{store.url}: {entry.name} is damaged ({reason(error)}); {again}") from error
            yield rows
