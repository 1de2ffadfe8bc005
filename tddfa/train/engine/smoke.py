"""Result of a smoke test: a training from end to end in about a minute, on rendered data."""

from __future__ import annotations

from dataclasses import dataclass

from tddfa.train.engine.loop import Outcome


@dataclass(frozen=True)
class SmokeResult:
    """Result of a smoke test.

    Attributes
    ----------
    passed : bool
        Whether the loss fell and the exported network works on data that was not trained on.
    outcome : Outcome
        Outcome of the training.
    lines : tuple of str
        Measurements of the exported network, to be printed.
    """

    passed: bool
    outcome: Outcome
    lines: tuple[str, ...] = ()
