"""JVCR's own lists of photos with landmarks in 3D, of 300W-LP and AFLW2000-3D, to labelled crops.

A list is a JSON array of objects: ``img_paths`` (path from the folder of the photos), ``landmarks`` (68 rows x, y, z in
px, larger z away from the viewer) and ``isValidation``. ``objpos`` and ``scale_provided``, JVCR's centre and scale of
the crop, are not needed: the crop rule places the crops.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tddfa._shared.arrays import checked
from tddfa._shared.errors import FormatError
from tddfa._shared.image_io import read
from tddfa._shared.reading.regular import read_text
from tddfa._shared.reading.text import parse_json
from tddfa.landmarks68 import COUNT
from tddfa.train.data.samples import Sample, crop_face

_MAX_BYTES = 1 << 30  # of a list, which may have 100,000 photos


def listed_samples(path: str | os.PathLike[str], photos: str | os.PathLike[str], source: str) -> Iterator[Sample]:
    """Crops of the faces of a list, with landmarks and depth; the list's own are marked for validation.

    Parameters
    ----------
    path : path
        The list, ``.json``.
    photos : path
        Folder that its paths start from.
    source : str
        Name of the photos in the labels.

    Raises
    ------
    FileNotFoundError
        If the list or a photo is missing.
    FormatError
        If the list has other content; the message names the entry and the key.
    """
    for number, entry in enumerate(_entries(Path(path))):
        where = f"{path}: entry {number}"
        name, points = entry.get("img_paths"), entry.get("landmarks")
        if not isinstance(name, str) or not name:
            raise FormatError(f"{where}: img_paths: expected the path of a photo, got {name!r}")
        try:
            landmarks = checked("landmarks", np.array(points, dtype=np.float64), (COUNT, 3), np.float64)
        except (TypeError, ValueError) as error:
            raise FormatError(f"{where}: landmarks: expected {COUNT} rows of three numbers: {error}") from error
        if not np.ptp(landmarks[:, :2], axis=0).max() > 0:
            raise FormatError(f"{where}: landmarks: expected points apart from each other, got one point")
        photo = Path(photos) / name
        if not photo.is_file():
            raise FileNotFoundError(f"{photo}: no such photo; {where} lists it")
        crop, matrix = crop_face(read(photo), landmarks)
        placed = landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        depth = -matrix[0, 0] * (landmarks[:, 2] - landmarks[:, 2].mean())
        yield Sample(
            crop,
            source,
            landmarks=placed.astype(np.float32),
            validation=entry.get("isValidation") in (True, 1),
            depth=depth.astype(np.float32),
        )


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries = parse_json(read_text(path, _MAX_BYTES))
    except FormatError as error:
        raise FormatError(f"{path}: expected a JSON list that can be read: {error}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FormatError(f"{path}: expected a list of objects, got {type(entries).__name__}")
    return entries
