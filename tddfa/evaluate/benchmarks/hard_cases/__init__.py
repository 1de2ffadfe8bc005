"""Benchmarks of cases that are rare in 300-W and AFLW2000-3D: profiles, closed eyes, identity and inaccurate boxes.

Photos for training, for the choice of a training and for the reported figures are separate.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from tddfa.datasets.cfp import CHOOSE, REPORT

Part = TypeVar("Part")

PERSONS = {"report": REPORT, "choose": CHOOSE}
"""Persons of CFP by split."""

# Fractions of the files of LFPW and of closed eyes, by name.
_LFPW = {"report": (0.7, 1.0), "choose": (0.6, 0.7)}
_CLOSED = {"report": (0.8, 1.0), "choose": (0.6, 0.8)}


def persons_of(split: str) -> range:
    """The persons of CFP that belong to a split.

    Raises
    ------
    ValueError
        If it is neither ``report`` nor ``choose``.
    """
    return _of(PERSONS, split)


def part_of_lfpw(labels: list[Path], split: str) -> list[Path]:
    """The ``.pts`` files of LFPW that belong to a split: the last 30 % by name, or those from 60 to 70 %."""
    return _part(labels, _of(_LFPW, split))


def part_of_closed(photos: list[Path], split: str) -> list[Path]:
    """The photos of closed eyes that belong to a split: the last 20 % by name, or those from 60 to 80 %."""
    return _part(photos, _of(_CLOSED, split))


def _of(parts: Mapping[str, Part], split: str) -> Part:
    if split not in parts:
        raise ValueError(f"split: expected {' or '.join(parts)}, got {split!r}")
    return parts[split]


def _part(items: list[Path], part: tuple[float, float]) -> list[Path]:
    ordered = sorted(items)
    first, last = (int(fraction * len(ordered)) for fraction in part)
    return ordered[first:last]
