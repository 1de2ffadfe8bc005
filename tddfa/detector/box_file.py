"""Boxes of faces from a file, in place of a network."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from FaceBoxes import Detections
from tddfa._shared.errors import ConfigError, FormatError, reason
from tddfa._shared.reading.regular import read_text
from tddfa._shared.reading.text import parse_json

_MAX_BYTES = 64 << 20
# Numbers in a row: the box; its score; x and y of the five points.
_WIDTHS = (4, 5, 15)
_NUMBERS = frozenset((int, float, type(None)))  # null is NaN, which is refused as such
# No photo is so large. Larger numbers overflow in float32.
_MAX_NUMBER = 1e9


@dataclass(frozen=True)
class BoxFile:
    """A detector that reads its boxes from a file.

    Parameters
    ----------
    file : path
        A text file with one box per line, ``x1 y1 x2 y2`` in image px. Its boxes are used for every image, for example
        for a fixed camera. Or a ``.json`` file with such rows for each image, by name: ``{"me.jpg": [[x1, y1, x2, y2],
        …]}``. The rows of an image may also have a score, and after it x and y of the five points of
        `FaceBoxes.detections.POINTS`.
    score : float
        Boxes with a lower score are dropped. A box without a score has the score 1.

    Raises
    ------
    ConfigError
        If the file cannot be read or has other content; the message names it.
    ValueError
        If `score` is out of range.

    Examples
    --------
    >>> written = (tmp / "boxes.json").write_text('{"me.jpg": [[10, 20, 50, 70, 0.9]]}')
    >>> BoxFile(tmp / "boxes.json")(image, "photos/me.jpg").xyxy.tolist()
    [[10.0, 20.0, 50.0, 70.0]]
    """

    needs_name: ClassVar[bool] = True
    """`tddfa.Detector` calls it with the image and its name."""

    file: str | os.PathLike[str]
    score: float = 0.0

    def __post_init__(self) -> None:
        """Read the file."""
        if not 0 <= self.score <= 1:
            raise ValueError(f"BoxFile.score: expected a number in [0, 1], got {self.score}")
        _ = self._content

    @cached_property
    def _content(self) -> Any:
        file = Path(self.file)
        parse: Callable[[str], Any] = parse_json if file.suffix.lower() == ".json" else _lines
        try:
            content = parse(read_text(file, _MAX_BYTES))
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from error
        except FormatError as error:
            raise ConfigError(f"{file}: not a file of boxes: {reason(error)}") from error
        except ValueError as error:  # a word in a line
            raise ConfigError(f"{file}: expected lines 'x1 y1 x2 y2', {reason(error)}") from error
        if parse is parse_json and not isinstance(content, dict):
            raise ConfigError(f"{file}: expected photo names and their boxes, got {type(content).__name__}")
        return content

    @property
    def has_names(self) -> bool:
        """Whether each image has boxes of its own, by name."""
        return isinstance(self._content, dict)

    def rows(self, name: str | os.PathLike[str] | None) -> NDArray[np.float64]:
        """Return the rows (n, 4, 5 or 15) of an image.

        Parameters
        ----------
        name : path or None
            Path of the image. The whole path is looked up first, then the file name alone.

        Raises
        ------
        ConfigError
            If the file lists boxes by name but not for this image, if the rows are not boxes, or if a score is not in
            0..1.
        """
        content, where = self._content, f"{self.file}: "
        if self.has_names:
            if name is None:
                raise ConfigError(f"{where}expected an image with a name, because the boxes are listed by name")
            short = Path(name).name
            content = content.get(str(name), content.get(short))
            if content is None:
                raise ConfigError(f"{where}no boxes for {short}")
            where = f"{where}{short}: "
        try:
            rows = np.asarray(content, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            rows = np.zeros(1)
        if not rows.size:
            return np.zeros((0, 4))
        if rows.ndim == 1 and isinstance(content, list) and not isinstance(content[0], list):
            raise ConfigError(
                f"{where}expected rows x1 y1 x2 y2, in px, got one without a list: {reprlib.repr(content)}"
            )
        if rows.ndim != 2 or rows.shape[1] not in _WIDTHS or not all(map(_has_numbers, content)):
            raise ConfigError(f"{where}expected rows x1 y1 x2 y2, in px, got {reprlib.repr(_first_bad(content))}")
        scores = rows[:, 4:5]
        wrong = (scores < 0) | (scores > 1)
        if wrong.any():
            raise ConfigError(f"{where}expected scores from 0 to 1, got {_text(rows[wrong.argmax()])}")
        return rows

    def __call__(self, _image: NDArray[np.uint8], name: str | os.PathLike[str] | None = None) -> Detections:
        """Return the faces of an image.

        Parameters
        ----------
        name : path or None
            Path of the image, as in `rows`. The pixels of the image are not used.

        Returns
        -------
        Detections
            In the order of the file.

        Raises
        ------
        ConfigError
            See `rows`; or if the first corner of a box is not above and to the left of the second.
        """
        rows = self.rows(name)
        # NaN is not less
        right = (np.abs(rows) < _MAX_NUMBER).all(axis=1) & (rows[:, :2] < rows[:, 2:4]).all(axis=1)
        if not right.all():
            raise ConfigError(
                f"{self.file}: expected finite boxes x1 y1 x2 y2 with x1 < x2 and y1 < y2, "
                f"got {_text(rows[right.argmin()])}"
            )
        numbers = rows.astype(np.float32)
        scores = numbers[:, 4] if rows.shape[1] > 4 else np.ones(len(rows), np.float32)
        found = Detections(numbers[:, :4], scores, numbers[:, 5:].reshape(-1, 5, 2) if rows.shape[1] == 15 else None)
        return found[found.scores >= self.score]


def _first_bad(content: Any) -> Any:
    """First row that has a wrong number of values, or not as many as the first; the content where there are no rows."""
    if not isinstance(content, list) or not isinstance(content[0], list) or len(content[0]) not in _WIDTHS:
        return content[0] if isinstance(content, list) else content
    rows = (row for row in content if not isinstance(row, list) or len(row) != len(content[0]) or not _has_numbers(row))
    return next(rows, content)


def _has_numbers(row: list[Any]) -> bool:
    """Whether a row has numbers alone: NumPy also converts texts and booleans."""
    return _NUMBERS.issuperset(map(type, row))


def _text(row: NDArray[np.float64]) -> str:
    return " ".join(f"{value:g}" for value in row)


def _lines(text: str) -> list[list[float]]:
    lines = [line.split("#")[0].replace(",", " ").split() for line in text.splitlines()]
    return [[float(word) for word in line] for line in lines if line]
