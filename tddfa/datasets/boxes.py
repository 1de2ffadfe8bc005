"""Files of face boxes: lines beside the picture, PASCAL VOC's XML, WIDER FACE's list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.image_io import SUFFIXES
from tddfa.datasets.files import photo_beside, read_text

# WIDER FACE's list of the training set has 13 MB.
_MAX_LIST_BYTES = 1 << 26
_MAX_BOXES = 1 << 16
_WIDER_COLUMNS = 10
_WIDER_INVALID = 7
_WIDER_LIST = "wider_face_split/wider_face_val_bbx_gt.txt"
_WIDER_IMAGES = "WIDER_val/images"
_VOC_FOLDERS = (("JPEGImages", "Annotations"), ("images", "annotations"))


@dataclass(frozen=True, eq=False)
class Boxes:
    """The faces of a picture.

    Attributes
    ----------
    path : Path
        The picture.
    xyxy : ndarray (n, 4) float64
        x1, y1, x2, y2, px.
    ignored : ndarray (n,) bool
        Faces that need not be found.
    """

    path: Path
    xyxy: NDArray[np.float64]
    ignored: NDArray[np.bool_]


def _boxes(path: Path, rows: ArrayLike, ignored: list[bool] | None = None) -> Boxes:
    xyxy = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return Boxes(path, xyxy, np.array(ignored or [False] * len(xyxy), dtype=np.bool_))


def beside(folder: Path) -> list[Boxes]:
    """Pictures of a folder with a ``.txt`` of lines ``x1 y1 x2 y2`` or a VOC ``.xml`` of the same name; by name.

    Raises
    ------
    ValueError
        If such a file holds something else; the message names file and line.
    """
    if not folder.is_dir():
        return []
    found = []
    for label in sorted(folder.iterdir()):
        if label.suffix.lower() in (".txt", ".xml") and (picture := photo_beside(label)) is not None:
            found.append(
                _boxes(picture, read_lines(label)) if label.suffix.lower() == ".txt" else read_voc(label, picture)
            )
    return found


def read_lines(label: Path) -> NDArray[np.float64]:
    """Read boxes (n, 4) from lines ``x1 y1 x2 y2``, px. Empty lines, and further words of a line, are ignored.

    Raises
    ------
    ValueError
        If a line is not a box; the message names file and line.

    Examples
    --------
    >>> path = tmp / "faces.txt"
    >>> _ = path.write_text("10 20 50 80 0.98")
    >>> read_lines(path)
    array([[10., 20., 50., 80.]])
    """
    rows: list[list[float]] = []
    for number, line in enumerate(read_text(label).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            row = [float(word) for word in words[:4]]
        except ValueError:
            row = []
        if len(row) != 4 or not np.isfinite(row).all():
            raise ValueError(f"{label}, line {number}: expected 'x1 y1 x2 y2' in px, got {line[:80]!r}")
        rows.append(row)
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def voc(data: Path) -> list[Boxes]:
    """PASCAL VOC's layout: ``Annotations/*.xml`` and ``JPEGImages``, in a folder ``voc`` or in the data folder itself.

    Raises
    ------
    ValueError
        If an annotation is none.
    """
    for root in (data / "voc", data):
        for pictures, labels in _VOC_FOLDERS:
            found = []
            for label in sorted((root / labels).glob("*.xml")):
                names = (root / pictures / f"{label.stem}{suffix}" for suffix in SUFFIXES)
                picture = next((path for path in names if path.is_file()), None)
                if picture is not None:
                    found.append(read_voc(label, picture))
            if found:
                return found
    return []


def read_voc(label: Path, picture: Path) -> Boxes:
    """Read PASCAL VOC's XML: every object is taken for a face; a ``difficult`` one is ignored.

    Raises
    ------
    ValueError
        If the file is no such XML. A document type is refused: with it come entities, which may stand for gigabytes.
    """
    data = read_text(label)
    try:
        _refuse_document_types(data)
        root = ElementTree.fromstring(data)
        rows, ignored = [], []
        for number, item in enumerate(root.iter("object")):
            if number >= _MAX_BOXES:
                raise ValueError(f"expected at most {_MAX_BOXES} objects")
            texts = [item.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
            row = [float(text) for text in texts if text is not None]
            if len(row) != 4 or not np.isfinite(row).all():
                raise ValueError(f"object {number + 1}: expected a bndbox of xmin, ymin, xmax, ymax, got {texts}")
            rows.append(row)
            ignored.append((item.findtext("difficult") or "0").strip() == "1")
    except (ValueError, ElementTree.ParseError, expat.ExpatError) as error:
        raise ValueError(f"{label}: not an annotation of PASCAL VOC: {error}") from error
    return _boxes(picture, rows, ignored)


def _refuse_document_types(data: str) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("a document type, or entities, are not read")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.Parse(data, True)


def wider(data: Path) -> list[Boxes]:
    """WIDER FACE's validation set as it is published, in a folder ``wider`` or in the data folder; invalid: ignored.

    Raises
    ------
    ValueError
        If its list is none; the message names the line.
    """
    for root in (data / "wider", data / "WIDER", data):
        label, pictures = root / _WIDER_LIST, root / _WIDER_IMAGES
        if label.is_file() and pictures.is_dir():
            return [found for found in read_wider(label, pictures) if found.path.is_file()]
    return []


def read_wider(label: Path, pictures: Path) -> Iterator[Boxes]:
    """Boxes of WIDER FACE's own list `label`; its names are of files under `pictures`, which may be missing."""
    size = label.stat().st_size
    if size > _MAX_LIST_BYTES:
        raise ValueError(f"{label}: expected at most {_MAX_LIST_BYTES >> 20} MiB, got {size >> 20}")
    lines = label.read_text(encoding="utf-8", errors="replace").splitlines()
    at = 0
    while at < len(lines):
        name = lines[at].strip()
        at += 1
        if not name:
            continue
        if ".." in Path(name).parts or Path(name).is_absolute() or Path(name).suffix.lower() not in SUFFIXES:
            raise ValueError(f"{label}, line {at}: expected the name of a picture, got {name[:80]!r}")
        count = _count(label, lines, at)
        at += 1
        # a picture without faces has a line of zeros all the same
        rows = [_wider_row(label, lines, at + k) for k in range(max(count, 1))] if count or _zeros(lines, at) else []
        at += len(rows)
        kept = [row for row in rows if row[2] > 0 and row[3] > 0]
        xyxy = [[row[0], row[1], row[0] + row[2], row[1] + row[3]] for row in kept]
        yield _boxes(pictures / name, xyxy, [row[_WIDER_INVALID] != 0 for row in kept])


def _zeros(lines: list[str], at: int) -> bool:
    return at < len(lines) and lines[at].split() == ["0"] * _WIDER_COLUMNS


def _count(label: Path, lines: list[str], at: int) -> int:
    text = lines[at].strip() if at < len(lines) else ""
    if not text.isascii() or not text.isdigit() or int(text) > _MAX_BOXES:
        raise ValueError(f"{label}, line {at + 1}: expected the number of faces, got {text[:80]!r}")
    return int(text)


def _wider_row(label: Path, lines: list[str], at: int) -> list[float]:
    words = lines[at].split() if at < len(lines) else []
    try:
        row = [float(word) for word in words]
    except ValueError:
        row = []
    if len(row) != _WIDER_COLUMNS or not np.isfinite(row).all():
        raise ValueError(
            f"{label}, line {at + 1}: expected {_WIDER_COLUMNS} numbers, x y width height and six flags, "
            f"got {' '.join(words)[:80]!r}"
        )
    return row
