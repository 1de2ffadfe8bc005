"""A reader of pickled arrays and tensors that runs no code of the file.

A pickle is a program that can call anything that Python can import. This module runs only the few instructions that
files of arrays need, on its own stack, and neither imports nor calls what a file names. A file that names anything but
NumPy arrays, torch tensors and plain containers is refused; the message has the name.
"""

from __future__ import annotations

import io
import math
import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.errors import TddfaError, reason

# Limit of instructions per pickle; the largest released file has some thousands.
_MAX_INSTRUCTIONS = 1_000_000
_MAX_DIMENSIONS = 8
_SMALL = 1 << 16  # bytes that calls may make whatever the size of the file
_MAX_LINE = 1 << 20  # of a number or a name as text


class RefusedError(TddfaError, ValueError):
    """A file is damaged, or has something else than arrays, tensors, containers, numbers and text."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # it may tell a name of the file


@dataclass(frozen=True)
class Storage:
    """The data of one or more tensors in the file.

    Attributes
    ----------
    key : str
        Name in the file.
    dtype : numpy dtype
        Type of the elements.
    count : int
        Number of elements, as the file claims.
    """

    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage whose numbers have not been read yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that the tensor is within its storage, and takes no more memory than it."""
        if len(self.shape) != len(self.strides) or len(self.shape) > _MAX_DIMENSIONS:
            raise RefusedError(f"a tensor of shape {self.shape} with strides {self.strides}")
        if min((*self.shape, *self.strides, self.offset), default=0) < 0:
            raise RefusedError(f"a tensor with a negative size, stride or offset: {self.shape}, {self.strides}")
        count = math.prod(self.shape)
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if count > self.storage.count or (count and last >= self.storage.count):
            raise RefusedError(
                f"a tensor of shape {self.shape} at {self.offset} in a storage of {self.storage.count} numbers"
            )

    def read(self, storage: NDArray[Any]) -> NDArray[Any]:
        """Copy the tensor out of the data of its storage."""
        strides = tuple(step * storage.itemsize for step in self.strides)
        view = np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, strides, writeable=False)
        return np.array(view, order="C")


@dataclass
class _Name:
    """A name in the file; it can be called if `call` is given."""

    text: str
    call: Callable[..., Any] | None = None
    dtype: np.dtype[Any] | None = None


@dataclass
class _Dtype:
    """A NumPy dtype that is being built."""

    dtype: np.dtype[Any]


@dataclass
class _Array:
    """A NumPy array that is being built."""

    value: NDArray[Any] | None = None


@dataclass
class _Call:
    """State of the reader: stack, marks and memo, and the bytes that calls may still make."""

    room: int
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def make(self, value: Any) -> None:
        """Count the memory of bytes and arrays: calls of a small text, again and again, would make gigabytes."""
        self.room -= len(value) if isinstance(value, bytes) else getattr(value, "nbytes", 0)
        if self.room < 0:
            raise RefusedError("bytes and arrays that are larger than the file: it refers to one text many times")

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise RefusedError("an instruction without its arguments")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.stack.append(value)
        return value

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise RefusedError("an instruction without its arguments")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


def _plain_dtype(text: Any) -> np.dtype[Any]:
    if not isinstance(text, str):
        raise RefusedError(f"a dtype called {_described(text)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # about old names, which no released file has
            dtype = np.dtype(text)
    except (TypeError, ValueError, SyntaxError, Warning) as error:
        raise RefusedError(f"a dtype called {text!r}") from error
    if dtype.kind not in "biuf" or dtype.subdtype is not None:
        raise RefusedError(f"an array of dtype {dtype}: only numbers are read")
    return dtype


def _dtype(text: Any, *_flags: Any) -> _Dtype:
    return _Dtype(_plain_dtype(text))


def _array_of(data: Any, dtype: np.dtype[Any], shape: Any, order: str) -> NDArray[Any]:
    if isinstance(data, str):
        # Python 2 wrote bytes as text
        data = data.encode("latin1")
    if not isinstance(data, bytes | bytearray) or not _whole_numbers(shape):
        raise RefusedError("an array that is not made of bytes and a shape")
    if len(shape) > _MAX_DIMENSIONS or min(shape, default=0) < 0:
        raise RefusedError(f"an array of shape {shape}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise RefusedError(f"an array of shape {shape} and dtype {dtype} in {len(data)} bytes")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)


def _reconstruct(*_arguments: Any) -> _Array:
    return _Array()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    if not isinstance(dtype, _Dtype):
        raise RefusedError("an array without its dtype")
    return _array_of(data, dtype.dtype, shape, str(order))


def _scalar(dtype: Any, data: Any) -> Any:
    if not isinstance(dtype, _Dtype):
        raise RefusedError("a number without its dtype")
    return _array_of(data, dtype.dtype, (), "C")[()]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedError("text in another encoding than NumPy uses")
    return text.encode("latin1")


def _no_bytes(*arguments: Any) -> bytes:
    # older protocols write empty bytes so
    if arguments:
        raise RefusedError("a call of bytes with arguments: only empty bytes are read")
    return b""


def _ordered_dict(*pairs: Any) -> dict[Any, Any]:
    if pairs:
        raise RefusedError("a call of OrderedDict with arguments: only an empty one is read")
    return {}


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_flags: Any) -> Tensor:
    if not isinstance(storage, Storage) or not _whole_numbers(shape) or not _whole_numbers(strides):
        raise RefusedError("a tensor that is not made of a storage, a shape and strides")
    if not _whole_numbers((offset,)):
        raise RefusedError("a tensor without its offset")
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any, *_flags: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise RefusedError("a parameter without its tensor")
    return tensor


_STORAGES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1", "BoolStorage": "?",
}  # fmt: skip

_KNOWN: dict[str, tuple[Callable[..., Any] | None, str | None]] = {
    "collections.OrderedDict": (_ordered_dict, None),
    "_codecs.encode": (_encode, None),
    "__builtin__.bytes": (_no_bytes, None),
    "builtins.bytes": (_no_bytes, None),
    "numpy.ndarray": (None, None),
    "numpy.dtype": (_dtype, None),
    **{f"numpy.{core}.multiarray._reconstruct": (_reconstruct, None) for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": (_scalar, None) for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": (_from_buffer, None) for core in ("core", "_core")},
    "torch._utils._rebuild_tensor": (_tensor, None),
    "torch._utils._rebuild_tensor_v2": (_tensor, None),
    "torch._utils._rebuild_parameter": (_parameter, None),
    **{f"torch.{name}": (None, dtype) for name, dtype in _STORAGES.items()},
}
"""All names that a file may have; each stands for a function of this module, never for the named object itself."""


def _named(module: Any, name: Any) -> _Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise RefusedError("a name that is not text")
    text = f"{module}.{name}"
    if text not in _KNOWN:
        raise RefusedError(f"it names {text[:200]}; only NumPy arrays, torch tensors and plain containers are read")
    call, dtype = _KNOWN[text]
    return _Name(text, call, None if dtype is None else np.dtype(dtype))


def _persistent(description: Any) -> Storage:
    if not isinstance(description, tuple) or len(description) < 5 or description[0] != "storage":
        raise RefusedError("a reference to something outside the file")
    kind, key, _, count = description[1:5]
    if len(description) > 5 and description[5] is not None:
        raise RefusedError("a storage that is a view of another")
    if not isinstance(kind, _Name) or kind.dtype is None or not isinstance(key, str) or not _whole_numbers((count,)):
        raise RefusedError("a tensor's storage with another description than torch writes")
    if count < 0:
        raise RefusedError(f"a storage of {count} numbers")
    return Storage(key, kind.dtype, count)


def _build(target: Any, state: Any) -> None:
    if isinstance(target, _Dtype):
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise RefusedError("a dtype that is not plain")
        if any(part is not None for part in state[2:5]):
            raise RefusedError("an array of records: only numbers are read")
        target.dtype = target.dtype.newbyteorder(state[1]) if state[1] in "<>" else target.dtype
    elif isinstance(target, _Array):
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _Dtype):
            raise RefusedError("an array that is not plain")
        target.value = _array_of(state[4], state[2].dtype, state[1], "F" if state[3] else "C")
    elif not isinstance(target, dict):
        raise RefusedError(f"the state of {_described(target)}")
    # the state of a dict of tensors (versions of torch's modules) is ignored


def _reduce(function: Any, arguments: Any) -> Any:
    if not isinstance(function, _Name) or function.call is None or not isinstance(arguments, tuple):
        raise RefusedError(f"a call of {_described(function)}")
    try:
        return function.call(*arguments)
    except TypeError as error:
        raise RefusedError(f"a call of {function.text} with arguments that it does not take") from error


def _described(value: Any) -> str:
    return value.text if isinstance(value, _Name) else f"a {type(value).__name__.lstrip('_').lower()}"


def _set_items(target: Any, items: list[Any]) -> None:
    if not isinstance(target, dict) or len(items) % 2:
        raise RefusedError("keys and values for an object that is not a dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | bytes | int | float | None):
            raise RefusedError(f"a dict with {_described(key)} as its key")
        target[key] = value


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, set):
        # torch keeps names in sets; they are not read
        return
    if not isinstance(target, list):
        raise RefusedError("elements for an object that is not a list")
    target += items


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = frozenset(
    ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
     "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
     "BINBYTES8", "BYTEARRAY8")
)  # fmt: skip
_MEMO_PUT, _MEMO_GET = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _step(on: _Call, name: str, argument: Any) -> None:
    stack = on.stack
    if name in _LITERALS:
        stack.append(argument)
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name in _MEMO_PUT:
        on.memo[argument] = on.top()
    elif name == "MEMOIZE":
        on.memo[len(on.memo)] = on.top()
    elif name in _MEMO_GET:
        if argument not in on.memo:
            raise RefusedError("a reference to an object that does not exist")
        stack.append(on.memo[argument])
    elif name == "MARK":
        on.marks.append(len(stack))
    elif name == "POP":
        on.pop()
    elif name == "POP_MARK":
        on.pop_to_mark()
    elif name == "EMPTY_DICT":
        stack.append({})
    elif name == "EMPTY_LIST":
        stack.append([])
    elif name == "EMPTY_SET":
        stack.append(set())
    elif name in _TUPLES:
        stack.append(tuple(reversed([on.pop() for _ in range(_TUPLES[name])])))
    elif name == "TUPLE":
        stack.append(tuple(on.pop_to_mark()))
    elif name == "LIST":
        stack.append(on.pop_to_mark())
    elif name == "DICT":
        items = on.pop_to_mark()
        stack.append({})
        _set_items(stack[-1], items)
    elif name == "SETITEM":
        value, key = on.pop(), on.pop()
        _set_items(on.top(), [key, value])
    elif name == "SETITEMS":
        items = on.pop_to_mark()
        _set_items(on.top(), items)
    elif name == "APPEND":
        item = on.pop()
        _extend(on.top(), [item])
    elif name in ("APPENDS", "ADDITEMS"):
        items = on.pop_to_mark()
        _extend(on.top(), items)
    elif name == "GLOBAL":
        stack.append(_named(*argument.split(" ", 1)))
    elif name == "STACK_GLOBAL":
        text, module = on.pop(), on.pop()
        stack.append(_named(module, text))
    elif name == "REDUCE":
        arguments, function = on.pop(), on.pop()
        stack.append(_reduce(function, arguments))
        on.make(stack[-1])
    elif name == "BUILD":
        state = on.pop()
        target = on.top()
        _build(target, state)
        if isinstance(target, _Array):
            on.make(target.value)
    elif name == "BINPERSID":
        stack.append(_persistent(on.pop()))
    elif name not in ("PROTO", "FRAME"):
        raise RefusedError(f"the instruction {name}, which no file of arrays needs")


class _Bounded:
    """A file that gives no more than it has: Python reserves memory for as many bytes as are asked for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        start = file.tell()
        self._end = file.seek(0, io.SEEK_END)
        file.seek(start)

    def tell(self) -> int:
        return self._file.tell()

    def left(self) -> int:
        return self._end - self._file.tell()

    def read(self, count: int) -> bytes:
        left = self.left()
        if count > left:
            raise RefusedError(f"damaged: it claims {count} bytes, {left} are left")
        return self._file.read(count)

    def readline(self) -> bytes:
        return self._file.readline(_MAX_LINE)


def read_pickle(file: IO[bytes]) -> Any:
    """Read one pickle; the file is then at the end of it.

    Parameters
    ----------
    file : binary file
        At the start of the pickle.

    Returns
    -------
    object
        Dicts, lists, tuples, numbers, text, bytes, NumPy arrays (read-only), and `Tensor`, whose data is elsewhere in
        the file.

    Raises
    ------
    RefusedError
        If the pickle names anything else, claims more data than it has, or is damaged.
    """
    bounded = _Bounded(file)
    # Python 2 wrote an array as text, which becomes bytes, and then the array
    on = _Call(room=2 * bounded.left() + _SMALL)
    try:
        return _run(on, bounded)
    except RefusedError:
        raise
    except (
        ValueError, EOFError, OverflowError, RecursionError, UnicodeError, IndexError, TypeError, MemoryError, Warning,
    ) as error:  # fmt: skip
        raise RefusedError(f"damaged: {reason(error)}") from error


def _run(on: _Call, file: _Bounded) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # about text with backslashes, which no released file has
        for count, (instruction, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], file))):
            if count >= _MAX_INSTRUCTIONS:
                raise RefusedError(f"more than {_MAX_INSTRUCTIONS} instructions")
            if instruction.name == "STOP":
                return _finished(on.pop())
            _step(on, instruction.name, argument)
    raise RefusedError("damaged: it has no end")


def _finished(root: Any) -> Any:
    """Replace the objects used for building by their arrays."""
    done: dict[int, Any] = {}
    return _replaced(root, done, 0)


def _replaced(value: Any, done: dict[int, Any], depth: int) -> Any:
    if isinstance(value, _Name):
        raise RefusedError(f"the name {value.text} in place of a value")
    if isinstance(value, _Dtype):
        return value.dtype
    if isinstance(value, _Array):
        if value.value is None:
            raise RefusedError("an array without its numbers")
        return value.value
    if not isinstance(value, dict | list | tuple):
        return value
    if id(value) in done:
        return done[id(value)]
    if depth > 50:
        raise RefusedError("containers nested more than 50 levels deep")
    if isinstance(value, dict):
        result: Any = {}
        done[id(value)] = result
        result.update((key, _replaced(item, done, depth + 1)) for key, item in value.items())
    elif isinstance(value, list):
        result = []
        done[id(value)] = result
        result.extend(_replaced(item, done, depth + 1) for item in value)
    else:
        result = tuple(_replaced(item, done, depth + 1) for item in value)
        done[id(value)] = result
    return result
