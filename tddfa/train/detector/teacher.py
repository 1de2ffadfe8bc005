"""A trained detector whose predictions for prior boxes another detector learns (distillation)."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from FaceBoxes.anchors import priors
from tddfa.model.runtime import Model


class Teacher:
    """ONNX detector with the prior boxes of `FaceBoxes.anchors`: (1, h, w, 3) uint8 to scores and offsets.

    It is loaded at the first call, so that each process that makes batches has its own.

    Parameters
    ----------
    source : path or bytes
        The file, or its content.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes) -> None:
        if isinstance(source, bytes):
            # `Model` reads files; this one is deleted together with the teacher
            folder = tempfile.mkdtemp()
            weakref.finalize(self, shutil.rmtree, folder, True)
            self.name, path = "the detector", Path(folder) / "detector.onnx"
            path.write_bytes(source)
        else:
            self.name, path = os.fspath(source), Path(source)
            if not path.is_file():
                raise FileNotFoundError(f"{self.name}: no such file; expected a detector (.onnx)")
        self._model = Model(path, "cpu", threads=1)

    def __call__(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict scores (n,) and offsets (n, 4) for an image (h, w, 3), BGR.

        Raises
        ------
        ValueError
            If the file holds a different network.
        """
        count = len(priors(*image.shape[:2]))
        try:
            outputs = self._model(image[None])
            scores, offsets = outputs["scores"], outputs["offsets"]
        except (KeyError, ValueError) as error:
            raise ValueError(f"{self.name}: not a detector: {' '.join(str(error).split())}") from error
        if scores.shape != (1, count) or offsets.shape != (1, count, 4):
            raise ValueError(
                f"{self.name}: expected scores (1, {count}) and offsets (1, {count}, 4) for an image of "
                f"{image.shape[1]} x {image.shape[0]} px, got {scores.shape} and {offsets.shape}"
            )
        return scores[0], offsets[0]
