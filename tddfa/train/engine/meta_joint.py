"""Meta-joint optimisation: which of several losses to follow next is tried out (Guo et al., ECCV 2020, algorithm 1)."""

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
    """From one and the same state, take a step a batch by each objective; stay where the judge likes it best.

    Parameters
    ----------
    network : nn.Module
        In training mode; it ends in the best state.
    optimizer : torch.optim.Optimizer
        Of its parameters; its own state (moments) goes with the network's.
    objectives : mapping of str to callable
        Name to a loss of a batch, computed with `network`.
    batches : sequence
        The meta-train batches; k of them are k steps ahead.
    judge : callable
        Error of the network as it is, on a batch that no step saw (the meta-test batch); less is better.
    after_backward : callable
        Called before each step, to clip gradients.

    Returns
    -------
    tuple of str and dict
        The objective that won, and the error of each. Of equal errors the first wins.

    Raises
    ------
    ValueError
        If there is no objective, or if every error is NaN.
    """
    if not objectives:
        raise ValueError("objectives: expected one at least, got none")
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
        raise ValueError(f"judge: expected a number for one objective at least, got NaN for {', '.join(errors)}")
    _restore(network, optimizer, best[1])
    return best[0], errors


def _state(network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    values = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return values, copy.deepcopy(optimizer.state_dict())


def _restore(
    network: nn.Module, optimizer: torch.optim.Optimizer, state: tuple[dict[str, Tensor], dict[str, Any]]
) -> None:
    network.load_state_dict(state[0])
    # the optimiser takes over the tensors it is given, and the state may be needed again
    optimizer.load_state_dict(copy.deepcopy(state[1]))
