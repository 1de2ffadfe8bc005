import json
from pathlib import Path

import numpy as np
import pytest

from tddfa.scan.head import mean_landmarks
from tddfa.scan.landmarker import UNIT, ScanLandmarker
from tddfa.synthetic.scans import ScanSettings, synthetic_scan


class MeanNetwork:
    """Stands in for stage 1: the landmarks are where those of the mean face are."""

    path = Path("mean.onnx")

    def __init__(self, mean):
        self.mean = mean / UNIT
        settings = {"points": 500, "sigma": 6.0, "jaw_sigma": 9.0, "radius": 110.0, "inner": 0.65}
        self.metadata = {"scan": json.dumps(settings)}

    def run(self, inputs):
        squared = np.square(inputs["features"][:, None, :3] - self.mean).sum(axis=2)
        return {"heat": np.exp(squared / (-2 * 0.08**2)).astype(np.float32)}


@pytest.fixture(scope="package", autouse=True)
def poses_found_once(remembered_poses):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tddfa.scan.landmarker.find_pose", remembered_poses)
        yield


@pytest.fixture(scope="session")
def landmarker(aligner):
    return ScanLandmarker(MeanNetwork(mean_landmarks(aligner.face_model)), aligner)


@pytest.fixture(scope="session")
def head(aligner):
    """A head of mean proportions without damage, turned."""
    settings = ScanSettings(
        spread=0.3, warp=0.0, neutral=1.0, faces=0, busts=0, cameras=1, holes=(0, 0), noise=(0.1, 0.1), covered=0,
        remeshed=1.0, edge=(3.0, 3.0),
    )  # fmt: skip
    return synthetic_scan(aligner.face_model, 7, settings)


@pytest.fixture(scope="session")
def found(landmarker, head):
    return landmarker(head.scan)
