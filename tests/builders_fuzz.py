"""Hostile files: mutations of valid ones, arrays of any kind, and the check that a reader refuses or takes them."""

from __future__ import annotations

import contextlib
import io
import math
import random
import signal
import struct
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

EXAMPLES = 40
"""Examples of a test in the default run, always the same."""

_EXAMPLES_PER_ROUND = 400
_MAX_SECONDS = 15  # of one example, in time of the processor; the limit of a message
_WAITING = 20  # by which the time on the clock of a busy machine may be longer
_MAX_MESSAGE = 2000

_NUMBERS = (
    b"0", b"-1", b"1e999", b"nan", b"-inf", b"9" * 5000, b"1" * 400, b"0x10", b"1_0", b"2147483648",
    b"9223372036854775808",
)  # fmt: skip
_BYTES = (b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b"\xed\xa0\x80", b"\x1b[31m", "\u0661".encode())


class Hang(BaseException):
    """An example took too long. No `Exception`, so that no reader turns it into an error of a file."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `Hang` in a ``with`` block that works longer than `seconds`, or waits much longer."""

    def stop(*_: object) -> None:
        raise Hang(f"took more than {seconds} s")

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, 1), (signal.ITIMER_REAL, signal.SIGALRM, _WAITING))
    before = [signal.signal(number, stop) for _, number, _ in timers]
    for timer, _, factor in timers:
        signal.setitimer(timer, factor * seconds)
    try:
        yield
    finally:
        for (timer, number, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def is_taken(read: Callable[[], object], errors: type[Exception] | tuple[type[Exception], ...], name: str = "") -> bool:
    """Whether a reader takes what it gets. One of `errors` refuses it, in one line that has `name`; others pass."""
    try:
        with within(_MAX_SECONDS):
            read()
    except errors as error:
        message = str(error)
        assert name in message, f"expected a message with {name}, got {message!r}"
        assert "\n" not in message and len(message) < _MAX_MESSAGE, f"expected one line, got {message!r}"
        return False
    return True


def explore(
    strategy: Any,
    check: Callable[[Any], bool],
    seconds: float = 0.0,
    examples: float = math.inf,
    refuses: bool = True,
    few: int = EXAMPLES,
) -> int:
    """Give examples of a strategy to a check: a few that are always the same, then others until the time is over.

    `check` is true for what the reader took. The few must have some that are refused, if anything is (`refuses`):
    others test nothing. Returns the number of examples.
    """
    taken: list[bool] = []

    def run(example: Any) -> None:
        try:
            taken.append(check(example))
        except Hang as hang:
            raise Hang(f"{hang}: {example!r}") from None

    options: dict[str, Any] = {
        "deadline": None,
        "database": None,
        "suppress_health_check": list(hypothesis.HealthCheck),
    }
    with warnings.catch_warnings():
        # about a strategy that is long as text: it holds the files
        warnings.simplefilter("ignore", hypothesis.errors.HypothesisWarning)
        hypothesis.settings(max_examples=few, derandomize=True, **options)(hypothesis.given(strategy)(run))()
        assert not all(taken) or not refuses, "every example was taken"
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(taken) < examples:
            count = int(min(_EXAMPLES_PER_ROUND, examples - len(taken)))
            hypothesis.settings(max_examples=count, **options)(hypothesis.given(strategy)(run))()
    return len(taken)


def chance(draw: Any) -> random.Random:
    """Numbers by chance that follow from one choice of Hypothesis, whose own choices take 20 times as long."""
    return random.Random(draw(st.integers(0, 2**32 - 1)))


@st.composite
def mutated(draw: Any, seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """A valid file with bytes changed, left out or put in; `words` are those that its format has a meaning for."""
    # one after the other, so that a failure is told with the fewest
    count, by = draw(st.integers(1, 5)), chance(draw)
    data = bytearray(by.choice(seeds))
    for _ in range(count):
        _mutate(data, seeds, (*words, *_NUMBERS, *_BYTES), by)
    return bytes(data)


def _mutate(data: bytearray, seeds: Sequence[bytes], known: Sequence[bytes], by: random.Random) -> None:
    at = by.randint(0, len(data))
    end = min(at + by.randint(0, by.choice((8, len(data)))), len(data))
    how = by.choice(("flip", "put in", "replace", "leave out", "repeat", "cut", "number", "splice"))
    if how == "flip" and at < len(data):
        data[at] ^= 1 << by.randint(0, 7)
    elif how == "put in":
        data[at:at] = by.choice(known)
    elif how == "replace":
        data[at:end] = by.choice((by.choice(known), by.randbytes(by.randint(0, 8))))
    elif how == "leave out":
        del data[at:end]
    elif how == "repeat":
        data[at:at] = data[at:end] * by.randint(1, 5)
    elif how == "cut":
        del data[at:]
    elif how == "number":  # of a binary header
        kind = by.choice(("<B", "<H", ">H", "<I", ">I", "<q"))
        size = struct.calcsize(kind)
        top = 1 << (8 * size - 1)
        values = (top - 1, 0, 1, 2, 7, 255) if kind == "<q" else (2 * top - 1, top, top - 1, 0, 1, 2, 7, 255)
        data[at : at + size] = struct.pack(kind, by.choice(values))
    elif how == "splice":
        other = by.choice(seeds)
        data[at:] = other[by.randint(0, len(other)) :]


@st.composite
def texts(draw: Any, seeds: Sequence[str], words: Sequence[str] = ()) -> bytes:
    """A valid text with words put in the place of others, or as of `mutated`."""
    encoded = [word.encode() for word in words]
    count, by = draw(st.integers(1, 4)), chance(draw)
    if by.random() < 1 / 3:
        sources = [seed.encode() for seed in seeds]
        data = bytearray(by.choice(sources))
        for _ in range(count):
            _mutate(data, sources, (*encoded, *_NUMBERS, *_BYTES), by)
        return bytes(data)
    parts = by.choice(seeds).encode().split(b" ")
    for _ in range(count):
        parts[by.randrange(len(parts))] = by.choice((*encoded, *_NUMBERS))
    return b" ".join(parts)


_DTYPES = ("f4", "f8", "f2", ">f4", "i1", "i4", "i8", "u1", "u8", "?", "c8", "U3", "S2", "M8[s]", "V4", "O", "f4,i4")
_LENGTHS = (0, 1, 2, 3, 4, 5, 6, 67, 68, 69)


def another(like: np.ndarray[Any, Any], by: random.Random) -> np.ndarray[Any, Any]:
    """An array of another type, of another shape or with other numbers than `like`."""
    how = by.choice(("type", "shape", "numbers", "all"))
    shape, dtype = like.shape, like.dtype
    if how in ("type", "all"):
        dtype = np.dtype(by.choice(_DTYPES))
    if how in ("shape", "all"):
        lengths = (*_LENGTHS, *like.shape)
        shape = tuple(by.choices(lengths, k=by.randint(0, 4))) if by.random() < 0.5 else like.shape[::-1]
        shape = shape if np.prod(shape, dtype=float) < 1e5 else shape[:1]
    kept = how in ("type", "numbers") and by.random() < 0.5
    if kept and like.dtype.kind in "biuf" and dtype.kind in "biufc":
        with np.errstate(all="ignore"):
            array = like.astype(dtype)
    else:
        array = np.zeros(shape, dtype)
    if array.size and array.dtype.kind in "iuf":
        limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else np.finfo(array.dtype)
        special = [limits.min, limits.max, 0, 1, *((np.nan, np.inf) if array.dtype.kind == "f" else (5, 6))]
        array.flat[by.randrange(array.size)] = by.choice(special)
    return array


@st.composite
def array_files(draw: Any, valid: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """A ``.npz`` file with other arrays than the valid ones, some left out, or one whose bytes are damaged."""
    content = dict(valid)
    count, by = draw(st.integers(1, 3)), chance(draw)
    if by.random() < 1 / 4:
        data = bytearray(npz(content, by.choice((np.savez, np.savez_compressed))))
        words = (b"PK\x03\x04", b"'fortran_order': True", b"'|O'", b"(4, 4611686018427387904)", *_NUMBERS, *_BYTES)
        for _ in range(count):
            _mutate(data, [bytes(data)], words, by)
        return bytes(data)
    for name in by.sample(sorted(content), min(count, len(content))):
        if by.random() < 1 / 6:
            del content[name]
        else:
            content[name] = another(content[name], by)
    return npz(content)


def npz(content: Mapping[str, Any], save: Callable[..., None] = np.savez) -> bytes:
    """The bytes of a ``.npz`` file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about types that are no numbers
        save(buffer, **content)
    return buffer.getvalue()


def written(path: Path, data: bytes) -> Path:
    """Write a file; return its path."""
    path.write_bytes(data)
    return path


_FLOATS = (np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, 2.0**31, -(2.0**31), 2.0**63, 1e20, -0.0, 0.5)


@st.composite
def numbers(
    draw: Any, shape: tuple[int, ...], dtype: Any = np.float32, low: float = -20.0, high: float = 60.0
) -> np.ndarray[Any, Any]:
    """An array of a shape: ordinary numbers, and a few that are none, too large or at a limit."""
    by = chance(draw)
    array = np.random.default_rng(by.getrandbits(32)).uniform(low, high, shape).astype(dtype)
    for _ in range(by.randint(0, 4) if array.size else 0):
        if array.dtype.kind == "f":
            value = by.choice(_FLOATS)
        else:
            limits = np.iinfo(array.dtype)
            value = by.choice((limits.min, limits.max, 0, 1))
        array.flat[by.randrange(array.size)] = value
    return array
