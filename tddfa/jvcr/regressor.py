"""JVCR's network as a regressor of `tddfa.Aligner`: crops to cameras and coefficients, by its 68 points in 3D."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tddfa.fitting.landmarks import Prior, fit
from tddfa.jvcr.grid import POINT_COUNT
from tddfa.jvcr.landmark_model import cameras_of
from tddfa.landmarks68 import COUNT
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

# The points are predicted, each with its own error, so a single point is trusted less than an annotated landmark of a
# photo.
_PRIOR = Prior(noise=0.02)


class JvcrRegressor:
    """A network that predicts points, behind the interface of `tddfa.passes.Regressor`.

    Parameters
    ----------
    network : callable
        Crops (n, size, size, 3) uint8 to ``points`` (n, 71, 3) and ``volume_1``, ``volume_2``, …: a
        `tddfa.model.runtime.Model`, or any function in a test.
    face_model : FaceModel
        `tddfa.jvcr.landmark_model.landmark_model`, whose coefficients are the points; or one with a surface, which is
        fitted to the points.

    Examples
    --------
    >>> import numpy as np
    >>> from tddfa.jvcr.grid import with_centres
    >>> from tddfa.jvcr.landmark_model import landmark_model
    >>> from tddfa.jvcr.regressor import JvcrRegressor
    >>> points = with_centres(face.landmarks - face.landmarks.min(axis=0))[None]
    >>> regressor = JvcrRegressor(lambda crops: {"points": points}, landmark_model(aligner.face_model))
    >>> {name: values.shape for name, values in regressor(np.zeros((1, 128, 128, 3), np.uint8)).items()}
    {'camera': (1, 3, 4), 'shape': (1, 0), 'expression': (1, 204)}
    """

    def __init__(self, network: Model, face_model: FaceModel) -> None:
        self.network, self.face_model = network, face_model

    @property
    def device(self) -> str:
        """Device that the network really uses."""
        return str(getattr(self.network, "device", "cpu"))

    @property
    def max_batch(self) -> int:
        """Largest recommended batch of crops for one call."""
        return int(getattr(self.network, "max_batch", 16))

    def __call__(self, crops: Image) -> Mapping[str, Floats]:
        """Predict ``camera`` (n, 3, 4), ``shape`` (n, s) and ``expression`` (n, e)."""
        points = self.points(crops)
        model = self.face_model
        if model.has_surface:
            fitted = fit(points, model, prior=_PRIOR)
            return {"camera": fitted.camera, "shape": fitted.shape, "expression": fitted.expression}
        cameras = cameras_of(points, model.mean)
        inverse = np.linalg.inv(cameras[:, :, :3])
        own = (points - cameras[:, None, :, 3]) @ inverse.transpose(0, 2, 1) - model.mean
        return {
            "camera": cameras.astype(np.float32),
            "shape": np.zeros((len(points), 0), dtype=np.float32),
            "expression": own.reshape(len(points), -1).astype(np.float32),
        }

    def points(self, crops: Image) -> Floats:
        """Predict the 68 landmarks (n, 68, 3), px of the crop.

        Raises
        ------
        ValueError
            If the network has no such output.
        """
        return self._output(self.network(crops), len(crops))

    def volumes(self, crops: Image) -> tuple[list[Floats], Floats]:
        """Predict the volumes (n, depth, side, side), one per stack, and the 68 landmarks (n, 68, 3), px of the crop.

        Raises
        ------
        ValueError
            If the network has no such outputs.
        """
        outputs = self.network(crops)
        numbers = {name: name.removeprefix("volume_") for name in outputs if name.startswith("volume_")}
        names = sorted(numbers, key=lambda name: (len(numbers[name]), numbers[name]))  # 10 comes after 9
        if not names:
            raise ValueError(f"network: expected outputs volume_1, …, got {', '.join(outputs)}")
        return [np.asarray(outputs[name]) for name in names], self._output(outputs, len(crops))

    def _output(self, outputs: Mapping[str, Floats], count: int) -> Floats:
        if "points" not in outputs:
            raise ValueError(f"network: expected an output 'points', got {', '.join(outputs)}")
        points = np.asarray(outputs["points"])
        if points.shape != (count, POINT_COUNT, 3):
            raise ValueError(f"network: points: expected shape {(count, POINT_COUNT, 3)}, got {points.shape}")
        if not np.isfinite(points).all():
            raise ValueError("network: points: expected finite numbers, got NaN or infinity")
        return points[:, :COUNT]
