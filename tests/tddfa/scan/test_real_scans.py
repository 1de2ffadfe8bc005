"""The released network on real scans, where ../shared/scans is there; its figures are in weights/README.md."""

import numpy as np
import pytest

from tddfa.scan.files.reading import read_scan
from tddfa.scan.landmarker import ScanLandmarker
from tddfa.scan.mesh import Scan


@pytest.fixture(scope="module")
def scans(root):
    folder = root.parent / "shared/scans"
    if not folder.is_dir():
        pytest.skip("../shared/scans is missing: real scans")
    return folder


@pytest.fixture(scope="module")
def released():
    return ScanLandmarker.load(device="cpu")


@pytest.mark.slow
def test_a_raw_scan_of_head_and_shoulders(released, scans):
    pytest.importorskip("trimesh")
    face = released(read_scan(scans / "flame_scan.obj"))
    truth = np.load(scans / "flame_scan_lmks.npy")
    assert face.unit == "m"
    assert 1000 * np.linalg.norm(face.landmarks[17:] - truth, axis=1).mean() < 5


def test_a_face_scan_with_an_untidy_rim(released, scans):
    rdata = pytest.importorskip("rdata")
    content = rdata.read_rda(scans / "humface.rda")
    mesh, truth = content["humface"], np.asarray(content["humface.lm"])
    scan = Scan(np.asarray(mesh["vb"])[:3].T, np.asarray(mesh["it"]).T.astype(int) - 1)
    face = released(scan)
    # eye corners, nose and mouth corners, in an order of its own
    ours = face.landmarks[[36, 39, 42, 45, 30, 48, 54]]
    assert np.linalg.norm(truth[:, None] - ours, axis=2).min(axis=1).mean() < 5
