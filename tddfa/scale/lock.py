"""One driver per folder of results: a lock of the operating system on a disk, a heartbeat in an object store."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tddfa._shared.errors import TddfaError
from tddfa.scale.stores import Store

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = "_tddfa/lock"
"""File of the lock, in the folder of results."""

_BEAT = 5.0  # seconds between two heartbeats
_SILENCE = 30.0  # seconds without one after which an owner counts as dead


class LockedError(TddfaError, OSError):
    """Another run writes to this folder."""


class Lock:
    """A lock that is held; `check` raises when it was lost."""

    def __init__(self) -> None:
        self.lost: str | None = None

    def check(self) -> None:
        """Raise `LockedError` if another run has taken the lock, as after a pause of this machine."""
        if self.lost is not None:
            raise LockedError(self.lost)


@contextlib.contextmanager
def locked(store: Store, *, beat: float = _BEAT, silence: float = _SILENCE) -> Iterator[Lock]:
    """Hold the lock of a folder of results.

    On a disk, the operating system releases the lock when its owner ends for any reason. In an object store, the owner
    writes a new number every `beat` seconds. An owner that writes none for `silence` seconds is dead, and the lock is
    taken over. The clocks of other machines are not used.

    Raises
    ------
    LockedError
        If another run holds it.

    Examples
    --------
    >>> from tddfa.scale.lock import locked
    >>> from tddfa.scale.stores import Store
    >>> store = Store(str(tmp))
    >>> with locked(store), locked(store):
    ...     pass
    Traceback (most recent call last):
        ...
    tddfa.scale.lock.LockedError: ...: another run writes to this folder (...)
    """
    if store.is_local and fcntl is not None:
        with _locked_file(store):
            yield Lock()
    else:
        with _locked_object(store, beat, silence) as lock:
            yield lock


@contextlib.contextmanager
def _locked_file(store: Store) -> Iterator[None]:
    assert fcntl is not None
    path = Path(store.path(NAME))
    path.parent.mkdir(parents=True, exist_ok=True)
    # the file stays: removing it would let a third run lock a new one while the second holds the old one
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise LockedError(_message(store, file.read())) from None
        file.truncate(0)
        file.write(_owner())
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


@contextlib.contextmanager
def _locked_object(store: Store, beat: float, silence: float) -> Iterator[Lock]:
    token = secrets.token_hex(8)
    if not store.create(NAME, _owner(token, 0)):
        _wait_for_silence(store, beat, silence)
        store.write(NAME, _owner(token, 0))
    lock, stopped = Lock(), threading.Event()

    def keep() -> None:
        count = 0
        while not stopped.wait(beat):
            count += 1
            with contextlib.suppress(Exception):  # the network may come back before the others lose patience
                if _token(store.read(NAME)) != token:
                    lock.lost = f"{store.url}: another run has taken over this folder"
                    return
                store.write(NAME, _owner(token, count))

    thread = threading.Thread(target=keep, name="tddfa-lock", daemon=True)
    thread.start()
    try:
        yield lock
    finally:
        stopped.set()
        thread.join()
        if lock.lost is None:
            store.remove(NAME)


def _wait_for_silence(store: Store, beat: float, silence: float) -> None:
    """Return when the owner of the lock is dead or has released it; raise if it lives."""
    first = store.read(NAME)
    end = time.monotonic() + silence
    while first is not None and time.monotonic() < end:
        time.sleep(min(beat, silence) / 5)
        now = store.read(NAME)
        if now is None:
            return
        if now != first:
            raise LockedError(_message(store, now, first))  # it may be read while it is written


def _owner(token: str = "", count: int = 0) -> bytes:
    return json.dumps({"host": platform.node(), "process": os.getpid(), "token": token, "count": count}).encode()


def _token(content: bytes | None) -> str | None:
    return None if content is None else str(json.loads(content)["token"])


def _message(store: Store, *contents: bytes) -> str:
    """Name the owner, by the first content that names one."""
    who = "it has just started or ended"
    for content in contents:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            owner = json.loads(content)
            who = f"process {owner['process']} on {owner['host']}"
            break
    return f"{store.url}: another run writes to this folder ({who})"
