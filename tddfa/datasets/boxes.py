"""Images with boxes of all their faces: lines of text, the XML of PASCAL VOC, the list of WIDER FACE."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.errors import FormatError, reason
from tddfa._shared.image_io import SUFFIXES
from tddfa._shared.reading.regular import read_regular
from tddfa.datasets.files import image_beside, read_text

# WIDER FACE's list of the training set has 13 MB.
_MAX_LIST_BYTES = 1 << 26
_MAX_BOXES = 1 << 16
_WIDER_COLUMNS = 10
_WIDER_INVALID = 7
_WIDER_LIST = "wider_face_split/wider_face_val_bbx_gt.txt"
_WIDER_IMAGES = "WIDER_val/images"
_VOC_FOLDERS = (("JPEGImages", "Annotations"), ("images", "annotations"))


@dataclass(frozen=True, eq=False)
class BoxedImage:
    """An image and the boxes of its faces.

    Attributes
    ----------
    path : Path
        The image.
    xyxy : ndarray (n, 4) float64
        x1, y1, x2, y2, px.
    ignored : ndarray (n,) bool
        Faces that a detector may find or miss: difficult or invalid ones.
    """

    path: Path
    xyxy: NDArray[np.float64]
    ignored: NDArray[np.bool_]


def _labelled(path: Path, rows: ArrayLike, ignored: list[bool] | None = None) -> BoxedImage:
    xyxy = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return BoxedImage(path, xyxy, np.array(ignored or [False] * len(xyxy), dtype=np.bool_))


def load_folder(folder: Path) -> list[BoxedImage]:
    """Load the images of a folder that have a ``.txt`` of lines ``x1 y1 x2 y2``, or a VOC ``.xml``, of the same name.

    Returns
    -------
    list of BoxedImage
        Sorted by name; empty if there is no such folder.

    Raises
    ------
    ValueError
        If such a file is damaged; the message names file and line.

    Examples
    --------
    >>> (tmp / "a.jpg").touch()
    >>> _ = (tmp / "a.txt").write_text("10 20 50 80")
    >>> load_folder(tmp)[0].xyxy
    array([[10., 20., 50., 80.]])
    """
    if not folder.is_dir():
        return []
    loaded = []
    for label in sorted(folder.iterdir()):
        if label.suffix.lower() in (".txt", ".xml") and (image := image_beside(label)) is not None:
            lines = label.suffix.lower() == ".txt"
            loaded.append(_labelled(image, read_lines(label)) if lines else read_voc(label, image))
    return loaded


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
        if not _is_box(row):
            expected = "'x1 y1 x2 y2' in px, x2 over x1 and y2 over y1"
            raise ValueError(f"{label}, line {number}: expected {expected}, got {line[:80]!r}")
        rows.append(row)
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _is_box(numbers: Sequence[float]) -> bool:
    """Whether these are the corners x1, y1, x2, y2 of a box with an area."""
    if len(numbers) != 4 or not np.isfinite(numbers).all():
        return False
    x1, y1, x2, y2 = numbers
    return x2 > x1 and y2 > y1


def load_voc(data: Path) -> list[BoxedImage]:
    """Load a data set in the layout of PASCAL VOC, from the folder ``voc`` in `data`, or from `data` itself.

    Parameters
    ----------
    data : path
        ``Annotations/*.xml`` and ``JPEGImages/*.jpg``, or ``annotations`` and ``images``.

    Returns
    -------
    list of BoxedImage
        Sorted by name; empty if there is no such data set.

    Raises
    ------
    ValueError
        If an annotation is damaged; the message names it.
    """
    for root in (data / "voc", data):
        for images, labels in _VOC_FOLDERS:
            loaded = []
            for label in sorted((root / labels).glob("*.xml")):
                image = image_beside(root / images / label.name)
                if image is not None:
                    loaded.append(read_voc(label, image))
            if loaded:
                return loaded
    return []


def read_voc(label: Path, image: Path) -> BoxedImage:
    """Read an annotation of PASCAL VOC. Every object is taken as a face; ``difficult`` ones are ignored.

    Parameters
    ----------
    label : path
        The ``.xml`` file.
    image : path
        Its image, which is not opened.

    Raises
    ------
    ValueError
        If the file is damaged, or has a document type: entities may expand to gigabytes.
    """
    data = read_text(label)
    try:
        _refuse_document_types(data)
        root = ElementTree.fromstring(data)
        rows, ignored = [], []
        for number, item in enumerate(root.iter("object")):
            if number >= _MAX_BOXES:
                raise ValueError(f"expected at most {_MAX_BOXES} objects, got more")
            texts = [item.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
            row = [float(text) for text in texts if text is not None]
            unused = (item.findtext("difficult") or "0").strip() == "1"
            if not _is_box(row) and not (unused and len(row) == 4 and np.isfinite(row).all()):
                expected = "a bndbox with xmin < xmax and ymin < ymax"
                raise ValueError(f"object {number + 1}: expected {expected}, got {reprlib.repr(texts)}")
            rows.append(row)
            ignored.append(unused)
    except (ValueError, ElementTree.ParseError, expat.ExpatError) as error:
        raise ValueError(f"{label}: not an annotation of PASCAL VOC: {reason(error)}") from error
    return _labelled(image, rows, ignored)


def _refuse_document_types(data: str) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("expected no document type and no entities")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.Parse(data, True)


def load_wider(data: Path) -> list[BoxedImage]:
    """Load the validation set of WIDER FACE in its published layout, from ``wider`` in `data`, or from `data` itself.

    Faces that it marks as invalid are ignored.

    Returns
    -------
    list of BoxedImage
        In the order of its list; empty if there is no such data set.

    Raises
    ------
    ValueError
        If the list is damaged; the message names the line.
    """
    for root in (data / "wider", data / "WIDER", data):
        label, images = root / _WIDER_LIST, root / _WIDER_IMAGES
        if label.is_file() and images.is_dir():
            return [labelled for labelled in read_wider(label, images) if labelled.path.is_file()]
    return []


def read_wider(label: Path, images: Path) -> Iterator[BoxedImage]:
    """Read a list of WIDER FACE.

    Parameters
    ----------
    label : path
        The list, such as ``wider_face_val_bbx_gt.txt``.
    images : path
        The folder of its images, which may be missing.

    Raises
    ------
    ValueError
        If the list is damaged; the message names the line.
    """
    try:
        lines = read_regular(label, _MAX_LIST_BYTES).decode("utf-8", "replace").splitlines()
    except FormatError as error:
        raise ValueError(f"{label}: {error}") from error
    at = 0
    while at < len(lines):
        name = lines[at].strip()
        at += 1
        if not name:
            continue
        if ".." in Path(name).parts or Path(name).is_absolute() or Path(name).suffix.lower() not in SUFFIXES:
            raise ValueError(f"{label}, line {at}: expected the name of an image, got {name[:80]!r}")
        count = _count(label, lines, at)
        at += 1
        # an image without faces still has one line, of zeros
        rows = [_wider_row(label, lines, at + k) for k in range(max(count, 1))] if count or _zeros(lines, at) else []
        at += len(rows)
        kept = [row for row in rows if row[2] > 0 and row[3] > 0]
        xyxy = [[row[0], row[1], row[0] + row[2], row[1] + row[3]] for row in kept]
        yield _labelled(images / name, xyxy, [row[_WIDER_INVALID] != 0 for row in kept])


def _zeros(lines: list[str], at: int) -> bool:
    return at < len(lines) and lines[at].split() == ["0"] * _WIDER_COLUMNS


def _count(label: Path, lines: list[str], at: int) -> int:
    text = lines[at].strip() if at < len(lines) else ""
    # Python converts no number of thousands of digits
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > _MAX_BOXES:
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
