"""The steps from the first edition of the open face model to the second, and its file."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from tddfa._shared.files import write_atomic
from tddfa.model.face_model import FaceModel
from tddfa.model.mirror import Mirror
from tddfa.modelling.arkit import with_arkit
from tddfa.modelling.attributes import with_attributes
from tddfa.modelling.closing import trimmed, with_mouth, with_sockets, without_inverted
from tddfa.modelling.draft import Draft
from tddfa.modelling.gaze import with_gaze
from tddfa.modelling.teacher import stored_arrays
from tddfa.modelling.unwrap import unwrapped

# Arrays whose bytes hardly shrink are stored as they are: they are read faster.
_STORED = ("shape_basis",)
_DATE = (2026, 1, 1, 0, 0, 0)


def build(first: Draft) -> Draft:
    """Make the second edition.

    Vertices of the first edition keep their indices, positions and basis rows, but for the eyeballs, which now turn
    with the eyeLook expressions. The landmarks are the same to the bit.
    """
    draft = unwrapped(with_mouth(with_sockets(trimmed(without_inverted(first)))))
    draft = with_arkit(with_attributes(with_gaze(draft), len(first.mean)))
    mirror = Mirror.of(_face_model(first))
    maps = {"mirror_shape": mirror.shape, "mirror_expression": mirror.expression}
    return replace(draft, extra={**draft.extra, **stored_arrays(), **maps})


def _face_model(draft: Draft) -> FaceModel:
    return FaceModel(
        draft.mean,
        np.concatenate([draft.shape_basis, draft.expression_basis]).astype(np.float32),
        len(draft.shape_basis),
        draft.triangles,
        draft.extra["landmark_triangles"],
        draft.extra["landmark_weights"],
        draft.uv,
        draft.part,
        {},
        tuple(draft.extra["expression_names"].tolist()),
        None,
        "cm",
        "",
    )


def write(draft: Draft, path: str | os.PathLike[str]) -> Path:
    """Write a face model; equal arrays give an equal file, to the bit."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in draft.arrays().items():
            entry = zipfile.ZipInfo(f"{name}.npy", _DATE)
            entry.compress_type = zipfile.ZIP_STORED if name in _STORED else zipfile.ZIP_DEFLATED
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array, order="C"), allow_pickle=False)
            archive.writestr(entry, content.getvalue(), compresslevel=9)
    return write_atomic(path, buffer.getvalue())
