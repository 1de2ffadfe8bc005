"""`Outputs`: the faces of one image, drawn and saved as any kind of `KINDS`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.files import write_atomic
from tddfa.outputs.prepared import Image, Prepared
from tddfa.outputs.table import KINDS, image_kinds
from tddfa.types import SCHEMA


@dataclass(frozen=True, eq=False)
class Outputs(Prepared):
    """The faces of one image, ready to be drawn and saved; its fields are those of `Prepared`.

    Examples
    --------
    >>> from tddfa.outputs import Options, Outputs
    >>> outputs = Outputs(image, [face], aligner, Options(suffix=".png"))
    >>> outputs.draw("3d").shape == image.shape
    True
    >>> [path.name for path in outputs.save("2d_sparse", tmp / "me")]
    ['me_2d_sparse.png']
    """

    def draw(self, kind: str) -> Image:
        """Draw a kind of `image_kinds`.

        Returns
        -------
        ndarray (h, w, 3) uint8
            BGR. It has the size of the image, except for ``uv_tex``. With `Options.transparent`, kinds
            with a background are BGRA, (h, w, 4).

        Raises
        ------
        ValueError
            If the kind is unknown or not drawn.
        """
        drawn = image_kinds()
        if kind not in drawn:
            raise ValueError(f"kind: expected one of {', '.join(drawn)}, got {kind!r}")
        return drawn[kind].draw(self)

    def save(self, kind: str, stem: Path) -> list[Path]:
        """Write a kind of `KINDS`: an image to ``<stem>_<kind>`` and its suffix, a mesh to ``<stem>.<kind>``.

        Returns
        -------
        list of Path
            The files, the main one first.

        Raises
        ------
        ValueError
            If the kind is unknown.
        """
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
        return KINDS[kind].save(self, stem)

    def save_json(self, stem: Path, name: str, *, source: Path | None = None, page: int | None = None) -> Path:
        """Write the numbers of all faces to ``<stem>.json``.

        Parameters
        ----------
        stem : Path
            The file without its suffix.
        name : str
            Name of the image file.
        source : Path, optional
            The image file as it was given: several folders may have files of this name.
        page : int, optional
            Page of the file, from 1.
        """
        height, width = self.image.shape[:2]
        given = {"source": None if source is None else str(source), "page": page}
        content = {
            "schema": SCHEMA,
            "image": name,
            **{key: value for key, value in given.items() if value is not None},
            "width": width,
            "height": height,
            "precision": self.aligner.precision,
            "faces": [
                face.to_dict(self.aligner.decoder, self.options.intrinsics, pose=pose)
                for face, pose in zip(self.faces_with_visibility, self.poses, strict=True)
            ],
        }
        text = json.dumps(content, indent=1, allow_nan=False)
        return write_atomic(stem.with_name(f"{stem.name}.json"), text.encode())

    def save_landmarks(self, stem: Path) -> list[Path]:
        """Write 68 lines ``x,y,z`` in px for each face, to ``<stem>_landmarks_<face>.csv``; faces count from 0."""
        return [
            write_atomic(stem.with_name(f"{stem.name}_landmarks_{index}.csv"), _csv_lines(face.landmarks).encode())
            for index, face in enumerate(self.faces)
        ]


def _csv_lines(points: NDArray[np.float32]) -> str:
    return "".join(f"{x:.3f},{y:.3f},{z:.3f}\n" for x, y, z in points.tolist())
