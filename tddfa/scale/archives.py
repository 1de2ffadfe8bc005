"""WebDataset tars of the optional outputs: aligned crops and meshes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa import export
from tddfa.decoder import Decoder
from tddfa.face_crops.aligned import align_face
from tddfa.types import Face

_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]


class Archive:
    """A tar file of samples; a context manager. Equal samples give an equal file: there is no date and no owner.

    Parameters
    ----------
    path : path
        A local file.

    Examples
    --------
    >>> from tddfa.scale.archives import Archive
    >>> with Archive(tmp / "crops.tar") as archive:
    ...     archive.add("00000000-00000000-000", {"jpg": b"...", "json": b"{}"})
    """

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed by `__exit__`

    def add(self, key: str, files: Mapping[str, bytes]) -> None:
        """Add the files of a sample, by their endings."""
        for ending, data in files.items():
            member = tarfile.TarInfo(f"{key}.{ending}")
            member.size = len(data)
            self._tar.addfile(member, io.BytesIO(data))
        self._tar.members = []  # type: ignore[attr-defined]  # tarfile would keep them all

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tar.close()


def crop_files(image: NDArray[np.uint8], face: Face, size: int, about: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the aligned crop of a face as ``jpg``, and the description of the face as ``json``.

    Examples
    --------
    >>> from tddfa.scale.archives import crop_files
    >>> list(crop_files(image, face, 112, {"path": "a.jpg"}))
    ['jpg', 'json']
    """
    crop = align_face(image, face, size=size)
    done, data = cv2.imencode(".jpg", crop, _QUALITY)
    if not done:
        raise ValueError("the crop cannot be encoded")
    return {"jpg": data.tobytes(), "json": json.dumps(about).encode()}


def mesh_files(
    image: NDArray[np.uint8], face: Face, decoder: Decoder, kind: str, about: Mapping[str, Any]
) -> dict[str, bytes]:
    """Return the coloured mesh of a face in a format of `tddfa.export`, and the description of the face as ``json``.

    Examples
    --------
    >>> from tddfa.scale.archives import mesh_files
    >>> list(mesh_files(image, face, aligner.decoder, "ply", {"path": "a.jpg"}))
    ['ply', 'json']
    """
    options: dict[str, Any] = {"vertex_colors": True} if kind == "obj" else {}
    files = export.encode(f"mesh.{kind}", decoder.mesh(face, image), image_height=image.shape[0], **options)
    named = {name.partition(".")[2]: data for name, data in files.items()}
    return {**named, "json": json.dumps(about).encode()}
