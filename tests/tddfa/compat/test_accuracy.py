"""AFLW2000-3D with 3DDFA_V2's weights, beside its formula: ``pytest tests/tddfa/compat/test_accuracy.py -s``."""

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from tddfa import Aligner
from tddfa.crop import roi_from_landmarks

pytestmark = [pytest.mark.upstream, pytest.mark.evaluation]


def test_aflw2000_equals_the_reference_formula(evaluation, fetched, reference, bases):
    """Crop and formula are the test's own; the network is ours, which `test_networks` holds to the plain one."""
    ours = Aligner.load("mb05_120x120", device="cpu")
    exact = Aligner.load("mb05_120x120", device="cpu", exact_crop=True)
    yaws, errors = [], []
    for path in sorted((evaluation / "aflw2000").glob("*.jpg"))[::4]:
        labels, image = loadmat(path.with_suffix(".mat")), cv2.imread(str(path))
        truth = labels["pt3d_68"][:2].T.astype(np.float64)
        square = reference.square_of_landmarks(truth)
        outputs = ours.regressor(reference.crop_at(image, square)[None])
        camera = outputs["camera"][0] * [[1], [-1], [1]] + np.array([[0, 0, 0, 1], [0, 0, 0, 120], [0, 0, 0, 1]])
        param = np.concatenate([camera.reshape(-1), outputs["shape"][0], outputs["expression"][0]])
        points = [reference.reconstruct(param, square, bases, bases["keypoints"])]
        points += [a(image, rois=[roi_from_landmarks(truth, a.crop)])[0].landmarks for a in (ours, exact)]
        size = np.sqrt(np.ptp(truth, axis=0).prod())
        errors.append([100 * np.linalg.norm(p[:, :2] - truth, axis=1).mean() / size for p in points])
        yaws.append(abs(np.degrees(labels["Pose_Para"][0, 1])))
        assert np.abs(points[0][:, :2] - points[1][:, :2]).max() < 0.01
    assert len(yaws) >= 100, "AFLW2000-3D is not there"
    yaws, errors = np.array(yaws), np.array(errors)
    bins = np.array(
        [errors[(yaws >= low) & (yaws <= high)].mean(axis=0) for low, high in ((0, 30), (30, 60), (60, 90))]
    )
    print(f"\nAFLW2000-3D, {len(yaws)} photos, mb05, NME by yaw and their mean")
    for name, column in zip(("the formula", "here", "here, --exact-crop"), bins.T, strict=True):
        print(f"  {name:20}", *(f"{e:.3f}" for e in (*column, column.mean())))
    np.testing.assert_allclose(bins[:, 1], bins[:, 0], atol=0.01)
    assert bins[:, 2].mean() < bins[:, 1].mean()
