"""Meta-joint optimisation: try several losses ahead, follow the best (Guo et al., ECCV 2020, algorithm 1)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

B = TypeVar("B")


def look_ahead(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    objectives: Mapping[str, Callable[[B], Tensor]],
    batches: Sequence[B],
    judge: Callable[[], float],
    after_backward: Callable[[], object] = lambda: None,
) -> tuple[str, dict[str, float]]:
    """From the same state, take one step per batch with each objective; keep the state with the smallest error.

    Parameters
    ----------
    network : nn.Module
        In training mode; it is left in the best state.
    optimizer : torch.optim.Optimizer
        Of its parameters; its state (moments) is saved and restored with the network's.
    objectives : mapping of str to callable
        By name, the loss of a batch, computed with `network`.
    batches : sequence
        The meta-train batches: k batches are k steps ahead.
    judge : callable
        Error of the network on a batch that no step used (the meta-test batch); lower is better.
    after_backward : callable
        Called before each step, to clip gradients.

    Returns
    -------
    tuple of str and dict
        The best objective, and the error of each. Of equal errors the first is best.

    Raises
    ------
    ValueError
        If there are no objectives, or if every error is NaN.
    """
    if not objectives:
        raise ValueError("objectives: expected at least one, got none")
    start = _state(network, optimizer)
    errors: dict[str, float] = {}
    best: tuple[str, Any] | None = None
    for name, objective in objectives.items():
        if errors:
            _restore(network, optimizer, start)
        for batch in batches:
            optimizer.zero_grad(set_to_none=True)
            objective(batch).backward()  # type: ignore[no-untyped-call]
            after_backward()
            optimizer.step()
        with torch.no_grad():
            errors[name] = float(judge())
        if errors[name] == errors[name] and (best is None or errors[name] < errors[best[0]]):
            best = name, _state(network, optimizer)
    if best is None:
        _restore(network, optimizer, start)
        raise ValueError(f"judge: expected a number for at least one objective, got NaN for {', '.join(errors)}")
    _restore(network, optimizer, best[1])
    return best[0], errors


def _state(network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    values = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return values, copy.deepcopy(optimizer.state_dict())


def _restore(
    network: nn.Module, optimizer: torch.optim.Optimizer, state: tuple[dict[str, Tensor], dict[str, Any]]
) -> None:
    network.load_state_dict(state[0])
    # the optimiser keeps the tensors it is given, and the state may be needed again
    optimizer.load_state_dict(copy.deepcopy(state[1]))
