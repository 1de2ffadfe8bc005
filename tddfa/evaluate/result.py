"""Input and output of a benchmark as plain data, to JSON and back."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from tddfa._shared.errors import TddfaError, reason
from tddfa._shared.files import write_atomic
from tddfa._shared.reading.regular import read_text
from tddfa._shared.reading.text import parse_json
from tddfa.aligner import Aligner
from tddfa.detector import Detector

Item = TypeVar("Item")

Track = Callable[[Sequence[Any], str], Iterator[Any]]
"""Iterates over a sequence and shows the progress: ``track(images, "AFLW2000-3D")``."""

Better = Literal["lower", "higher", ""]
"""Which values of a figure are better; empty where neither is."""

_MAX_BYTES = 1 << 30
# Keys of `Worst` in older files -> today's.
_RENAMED = {"truth": "ground_truth", "found": "predicted"}


class DataMissing(TddfaError):
    """A data set is missing; the message names the files that are expected."""


def number(value: float) -> float | None:
    """A number as in `Result.items`: rounded to six decimals; None if it is not finite.

    Examples
    --------
    >>> number(1.23456789), number(float("nan"))
    (1.234568, None)
    """
    return round(float(value), 6) if math.isfinite(value) else None


def _untracked(items: Sequence[Any], label: str) -> Iterator[Any]:
    del label
    return iter(items)


@dataclass(frozen=True)
class Setup:
    """Input of every benchmark.

    Attributes
    ----------
    data : Path
        Folder of the data sets.
    aligner : Aligner
        The model.
    limit : int or None
        Maximum number of items of each data set, evenly spread; None takes all.
    track : callable
        Shows progress; see `Track`.

    Examples
    --------
    >>> Setup(tmp, aligner, limit=3).chosen(range(9))
    [0, 3, 6]
    """

    data: Path
    aligner: Aligner
    limit: int | None = None
    track: Track = _untracked

    def chosen(self, items: Iterable[Item]) -> list[Item]:
        """Up to `limit` of the items, evenly spread."""
        listed = list(items)
        if self.limit is None or self.limit >= len(listed):
            return listed
        return [listed[i * len(listed) // self.limit] for i in range(self.limit)]

    def detector(self, benchmark: str) -> Detector:
        """Return the detector of the aligner.

        Parameters
        ----------
        benchmark : str
            Name of the benchmark that needs it.

        Raises
        ------
        ValueError
            If the aligner has none.
        """
        if self.aligner.detector is None:
            raise ValueError(f"{benchmark}: expected a model with a detector, got one without")
        return self.aligner.detector


@dataclass(frozen=True)
class Figure:
    """One number of a result.

    Attributes
    ----------
    name : str
        Key, unique in its result: ``nme_2d.ground_truth.original.0-30``.
    label : str
        Description: ``2D NME, crop from the ground truth, original labels, yaw 0-30``.
    value : float or None
        None where it is not defined, for example the mean of no images.
    unit : str
        "%", "deg", "ms", "images", …; empty for a plain number.
    better : {"lower", "higher", ""}
        Which values are better; empty where neither is.

    Examples
    --------
    >>> Figure("nme", "NME, eyes", 3.5, "%", better="lower").value
    3.5
    """

    name: str
    label: str
    value: float | None
    unit: str = ""
    better: Better = ""

    def __post_init__(self) -> None:
        """Check the texts, and replace NaN and infinity, which JSON does not have, by None."""
        if not all(isinstance(text, str) for text in (self.name, self.label, self.unit)):
            raise TypeError(f"Figure: expected name, label and unit as text, got {self.name!r}")
        if self.better not in get_args(Better):
            raise ValueError(f"Figure.better: expected 'lower', 'higher' or '', got {self.better!r}")
        if self.value is not None:
            value = float(self.value)
            object.__setattr__(self, "value", value if math.isfinite(value) else None)


@dataclass(frozen=True)
class Curve:
    """Errors to plot: as a cumulative curve, and over the yaw where that is known.

    Attributes
    ----------
    name : str
        Text of the legend.
    errors : tuple of float
        One per image (or face, or point).
    unit : str
        Of the errors.
    yaw : tuple of float
        Degrees, as many as errors, or none.
    missed : int
        Number of missed faces, which have no error. The cumulative curve counts them, and ends below 100 %.

    Examples
    --------
    >>> Curve("crop from the detector", (2.5, 4.0), "%", yaw=(-10.0, 35.0), missed=1).missed
    1
    """

    name: str
    errors: tuple[float, ...]
    unit: str
    yaw: tuple[float, ...] = ()
    missed: int = 0

    def __post_init__(self) -> None:
        """Check yaw against errors."""
        if self.yaw and len(self.yaw) != len(self.errors):
            raise ValueError(f"Curve.yaw: expected {len(self.errors)} angles, got {len(self.yaw)}")


@dataclass(frozen=True)
class Worst:
    """One of the worst cases, for the contact sheet.

    Attributes
    ----------
    path : str
        Path of the image; relative to `Setup.data` if the image is in this folder.
    error : float
        Error of the case. The cases are sorted by it.
    ground_truth, predicted : list of points
        x, y in px; drawn in green and in red. Either may be empty. The four corners of an upright rectangle, in
        order, are drawn as a box.
    caption : str
        Text in place of the error: ``missed``.
    """

    path: str
    error: float = 0.0
    ground_truth: list[list[float]] = field(default_factory=list)
    predicted: list[list[float]] = field(default_factory=list)
    caption: str = ""


@dataclass(frozen=True)
class Result:
    """Result of a benchmark.

    Attributes
    ----------
    benchmark : str
        Its name on the command line.
    settings : mapping of str to (str, int, float or None)
        How it was measured: label set, crop source, bins, number of items, …
    figures : sequence of Figure
        The numbers, in the order in which they are shown.
    items : sequence of mapping
        One row per image (or face, or frame): its name and its own numbers. Missed faces have a row too.
    curves : sequence of Curve
        Errors to plot.
    worst : sequence of Worst
        Worst first.
    notes : sequence of str
        Remarks on the figures, one sentence or more each.

    Examples
    --------
    >>> result = Result("300w", {"images": 2}, [Figure("nme", "NME", 3.5, "%", better="lower")])
    >>> Result.load(result.save(tmp / "300w.json")).value("nme")
    3.5
    """

    benchmark: str
    settings: Mapping[str, Any]
    figures: Sequence[Figure]
    items: Sequence[Mapping[str, Any]] = ()
    curves: Sequence[Curve] = ()
    worst: Sequence[Worst] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check that each name is used once."""
        names = [figure.name for figure in self.figures]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"Result.figures: expected each name once, got {', '.join(twice)} twice")

    def value(self, name: str) -> float | None:
        """The value of a figure.

        Raises
        ------
        KeyError
            If no figure has that name.
        """
        return {figure.name: figure.value for figure in self.figures}[name]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as JSON, atomically."""
        text = json.dumps(asdict(self), indent=1, allow_nan=False)
        return write_atomic(path, text.encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Result:
        """Read a file that `save` wrote.

        Raises
        ------
        ValueError
            If the file holds something else; the message names it.
        OSError
            If it cannot be read.
        """
        path = Path(path)
        try:
            content = parse_json(read_text(path, _MAX_BYTES))
            keys = [part.name for part in fields(cls)]
            if not isinstance(content, dict) or not set(keys) <= set(content):
                got = ", ".join(map(str, content))[:80] if isinstance(content, dict) else type(content).__name__
                raise ValueError(f"expected an object with {', '.join(keys)}, got {got or 'an empty one'}")
            return cls(
                benchmark=str(content["benchmark"]),
                settings=dict(content["settings"]),
                figures=tuple(Figure(**figure) for figure in content["figures"]),
                items=tuple(dict(item) for item in content["items"]),
                curves=tuple(
                    Curve(**{**curve, "errors": tuple(curve["errors"]), "yaw": tuple(curve["yaw"])})
                    for curve in content["curves"]
                ),
                worst=tuple(
                    Worst(**{_RENAMED.get(key, key): value for key, value in worst.items()})
                    for worst in content["worst"]
                ),
                notes=tuple(str(note) for note in content["notes"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not a result of tddfa evaluate: {reason(error)}") from error
