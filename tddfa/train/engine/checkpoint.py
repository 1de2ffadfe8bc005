"""Checkpoints: the whole state of a training in one file, written atomically."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from tddfa._shared.errors import TddfaError, reason
from tddfa._shared.files import write_atomic

FORMAT = 1
_MAKERS = (torch.empty, torch.zeros, torch.ones, torch.full, torch.tensor, torch.randn)
_MADE_PER_TENSOR = 4  # of the file, while its network is built

N = TypeVar("N", bound=nn.Module)


class CheckpointError(TddfaError, ValueError):
    """The file is not a checkpoint of this training."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # it may tell a tensor of the file


def save_checkpoint(path: str | os.PathLike[str], state: Mapping[str, Any]) -> Path:
    """Write a state of tensors, numbers and strings, and lists and dicts of them.

    Raises
    ------
    OSError
        If it cannot be written; an existing checkpoint stays unchanged.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    return write_atomic(path, buffer.getvalue())


def load_checkpoint(path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """Read a state; no code in the file is run.

    Parameters
    ----------
    path : path
    kind : str
        Expected value of its key ``kind``, such as "regressor".

    Raises
    ------
    FileNotFoundError
        If there is no file.
    CheckpointError
        If it is damaged, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's, zipfile's and pickle's errors share no class
        raise CheckpointError(f"{path}: not a checkpoint that can be read: {reason(error)}") from error
    if not isinstance(state, dict) or not isinstance(state.get("format"), int) or state["format"] != FORMAT:
        got = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f"{path}: expected a checkpoint of format {FORMAT}, got {got!r:.80}")
    if not isinstance(state.get("kind"), str) or state["kind"] != kind:
        raise CheckpointError(f"{path}: expected a checkpoint of a {kind}, got one of a {state.get('kind')!r:.80}")
    return state


class _ShapesOnly(TorchFunctionMode):
    """Leaves out random initial weights: torch imports its compiler for them, where there is no memory (1.5 s).

    Ends a network that has many more tensors than the file: a number of layers in a damaged file may be any.
    """

    def __init__(self, tensors: int) -> None:
        super().__init__()
        self._tensors = tensors
        self._left = _MADE_PER_TENSOR * (tensors + 10)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # in no other function: one that ends `torch.no_grad` must not fail
        self._left -= func in _MAKERS
        if self._left < 0 and func in _MAKERS:
            raise ValueError(f"it describes a network of many more than the {self._tensors} tensors that it has")
        options = kwargs or {}
        if getattr(func, "__name__", "").endswith(("normal_", "uniform_")):
            return options["tensor"] if "tensor" in options else args[0]
        return func(*args, **options)


def described_shapes(build: Callable[[Any], nn.Module], described: Any, tensors: int) -> dict[str, torch.Size]:
    """Shapes of the weights of a network that a file of so many tensors describes; takes no memory for them.

    Raises
    ------
    ValueError
        If it has many more tensors; `build` may raise others.
    """
    with torch.device("meta"), _ShapesOnly(tensors):
        return {name: value.shape for name, value in build(described).state_dict().items()}


@contextmanager
def taken_from(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise `CheckpointError` if a ``with`` block cannot use the state of a checkpoint, which may be of any kind."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # networks are built with whatever is in there
        raise CheckpointError(f"{path}: not a complete checkpoint: {reason(error)}") from error


def load_network(path: str | os.PathLike[str], kind: str, build: Callable[[Any], N]) -> N:
    """Build the network of a checkpoint with its weights, in evaluation mode.

    Parameters
    ----------
    path : path
    kind : str
        See `load_checkpoint`.
    build : callable
        Makes an untrained network from what `Task.describe` returned.

    Raises
    ------
    FileNotFoundError, CheckpointError
        If the checkpoint is missing, damaged or of a different network.
    """
    state = load_checkpoint(path, kind)
    with taken_from(path):
        expected = described_shapes(build, state["describe"], len(state["network"]))
        for name, shape in expected.items():
            if state["network"][name].shape != shape:
                raise ValueError(f"{name}: expected shape {tuple(shape)}, got {tuple(state['network'][name].shape)}")
        with _ShapesOnly(len(expected)):
            network = build(state["describe"])
        network.load_state_dict(state["network"])
    return network.eval()
