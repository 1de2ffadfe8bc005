"""A trained detector, whose scores and offsets for every prior box of a picture are what another one learns."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FaceBoxes.anchors import priors


class Teacher:
    """Any detector's ONNX with the prior boxes of `FaceBoxes.anchors`: (1, h, w, 3) uint8 to scores and offsets.

    It is loaded when it is first asked, so that a process that makes batches has one of its own.

    Parameters
    ----------
    source : path or bytes
        The file, or what is in it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes) -> None:
        self._data = source if isinstance(source, bytes) else None
        self.name = "the detector" if isinstance(source, bytes) else os.fspath(source)
        if self._data is None and not Path(self.name).is_file():
            raise FileNotFoundError(f"{self.name}: no such file; expected a detector (.onnx)")

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            data = Path(self.name).read_bytes() if self._data is None else self._data
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's share no class
            raise ValueError(f"{self.name}: not a model that can be loaded: {' '.join(str(error).split())}") from error

    def __call__(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores (n,) and offsets (n, 4) of a picture (h, w, 3), BGR.

        Raises
        ------
        ValueError
            If the file is another network's.
        """
        count = len(priors(*image.shape[:2]))
        try:
            (source,) = self._session.get_inputs()
            scores, offsets = self._session.run(["scores", "offsets"], {source.name: image[None]})
        except Exception as error:
            raise ValueError(f"{self.name}: not a detector: {' '.join(str(error).split())}") from error
        if scores.shape != (1, count) or offsets.shape != (1, count, 4):
            raise ValueError(
                f"{self.name}: expected scores (1, {count}) and offsets (1, {count}, 4) for a picture of "
                f"{image.shape[1]} x {image.shape[0]} px, got {scores.shape} and {offsets.shape}"
            )
        return scores[0], offsets[0]
