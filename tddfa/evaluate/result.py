"""What a benchmark is given and what it gives: plain data, to JSON and back."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from tddfa._shared.errors import TddfaError
from tddfa._shared.files import write_atomic
from tddfa.aligner import Aligner

Item = TypeVar("Item")

Track = Callable[[Sequence[Any], str], Iterator[Any]]
"""Goes through a sequence and shows how far it is: ``track(photos, "AFLW2000-3D")``."""

_MAX_BYTES = 1 << 30


class DataMissing(TddfaError):
    """A data set is not where it was looked for; the message tells what layout was expected."""


def number(value: float) -> float | None:
    """A number as rows hold it: to six digits after the point, and None in place of what is not finite."""
    return round(float(value), 6) if math.isfinite(value) else None


def _untracked(items: Sequence[Any], label: str) -> Iterator[Any]:
    del label
    return iter(items)


@dataclass(frozen=True)
class Setup:
    """What every benchmark is given.

    Attributes
    ----------
    data : Path
        The folder in which the data sets lie.
    aligner : Aligner
        The model.
    limit : int or None
        Take so many items at most, evenly spread; None takes all.
    track : callable
        Shows progress; see `Track`.
    """

    data: Path
    aligner: Aligner
    limit: int | None = None
    track: Track = _untracked

    def chosen(self, items: Iterable[Item]) -> list[Item]:
        """The items that `limit` leaves, evenly spread over all."""
        listed = list(items)
        if self.limit is None or self.limit >= len(listed):
            return listed
        return [listed[i * len(listed) // self.limit] for i in range(self.limit)]


@dataclass(frozen=True)
class Figure:
    """One number of a result.

    Attributes
    ----------
    name : str
        Unique in its result, stable, for programs: ``nme_2d.truth.original.0-30``.
    label : str
        For people: ``68 points, crop from the truth, yaw 0-30``.
    value : float or None
        None where it is not defined, of no photos, say.
    unit : str
        "%", "deg", "ms", "photos", …; empty for a plain number.
    """

    name: str
    label: str
    value: float | None
    unit: str = ""

    def __post_init__(self) -> None:
        """Names are keys. NaN is no number of JSON: it becomes None."""
        if not all(isinstance(text, str) for text in (self.name, self.label, self.unit)):
            raise TypeError(f"Figure: expected name, label and unit as text, got {self.name!r}")
        if self.value is not None:
            value = float(self.value)
            object.__setattr__(self, "value", value if math.isfinite(value) else None)


@dataclass(frozen=True)
class Curve:
    """Errors to be plotted: as a cumulative curve, and over the yaw where that is known.

    Attributes
    ----------
    name : str
        What the legend says.
    errors : tuple of float
        One a photo (or a face, or a point).
    unit : str
        Of the errors.
    yaw : tuple of float
        Degrees, as many as errors, or none.
    missed : int
        How many faces have no error, for they were not found: the cumulative curve counts them, and ends below 1.
    """

    name: str
    errors: tuple[float, ...]
    unit: str
    yaw: tuple[float, ...] = ()
    missed: int = 0

    def __post_init__(self) -> None:
        """Check one against the other."""
        if self.yaw and len(self.yaw) != len(self.errors):
            raise ValueError(f"Curve.yaw: expected {len(self.errors)} angles, got {len(self.yaw)}")


@dataclass(frozen=True)
class Worst:
    """One of the worst cases, for the contact sheet.

    Attributes
    ----------
    path : str
        The picture, relative to `Setup.data` where it lies there.
    error : float
        What it is among the worst by.
    truth, found : list of points
        x, y in px; drawn in green and in red. Either may be empty. Four that are the corners of an upright rectangle,
        one after the other, are drawn as a box.
    caption : str
        Written in place of the error where there is none: ``missed``.
    """

    path: str
    error: float = 0.0
    truth: list[list[float]] = field(default_factory=list)
    found: list[list[float]] = field(default_factory=list)
    caption: str = ""


@dataclass(frozen=True)
class Result:
    """What a benchmark gives.

    Attributes
    ----------
    benchmark : str
        Its name on the command line.
    settings : mapping of str to (str, int, float or None)
        How it was done: label set, crop source, bins, number of items, …
    figures : sequence of Figure
        The numbers, in the order they are shown.
    items : sequence of mapping
        A row a photo (or a face, or a frame): its name and its own numbers, missed ones too.
    curves : sequence of Curve
        What is plotted.
    worst : sequence of Worst
        Worst first.
    notes : sequence of str
        What a reader has to know.
    """

    benchmark: str
    settings: Mapping[str, Any]
    figures: Sequence[Figure]
    items: Sequence[Mapping[str, Any]] = ()
    curves: Sequence[Curve] = ()
    worst: Sequence[Worst] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Names of figures are keys: they may not come twice."""
        names = [figure.name for figure in self.figures]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"Result.figures: expected each name once, got {', '.join(twice)} twice")

    def value(self, name: str) -> float | None:
        """The value of a figure.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        return {figure.name: figure.value for figure in self.figures}[name]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as JSON, whole or not at all."""
        text = json.dumps(asdict(self), indent=1, allow_nan=False)
        return write_atomic(path, text.encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Result:
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If the file holds something else; the message names it.
        OSError
            If it cannot be read.
        """
        path = Path(path)
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{path}: expected at most {_MAX_BYTES >> 20} MiB")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            keys = [part.name for part in fields(cls)]
            if not isinstance(content, dict) or not set(keys) <= set(content):
                found = ", ".join(map(str, content))[:80] if isinstance(content, dict) else type(content).__name__
                raise ValueError(f"expected an object with {', '.join(keys)}, got {found or 'an empty one'}")
            return cls(
                benchmark=str(content["benchmark"]),
                settings=dict(content["settings"]),
                figures=tuple(Figure(**figure) for figure in content["figures"]),
                items=tuple(dict(item) for item in content["items"]),
                curves=tuple(
                    Curve(**{**curve, "errors": tuple(curve["errors"]), "yaw": tuple(curve["yaw"])})
                    for curve in content["curves"]
                ),
                worst=tuple(Worst(**worst) for worst in content["worst"]),
                notes=tuple(str(note) for note in content["notes"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not a result of tddfa evaluate: {error}") from error
