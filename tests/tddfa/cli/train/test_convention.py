from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tddfa import Aligner
from tddfa._shared.npz import add_arrays, read_npz
from tddfa.cli.train.convention import aligned_by_both, found_by_both, landmark_offsets, main
from tddfa.geometry.camera import Camera
from tddfa.landmarks68 import MIRRORED
from tddfa.model.face_model import OFFSET_PREFIX, FaceModel
from tddfa.train.data.crops import Crops


@pytest.fixture
def offsets(rng):
    """Known ones, the same on both sides."""
    one = rng.normal(0, 0.4, (68, 3))
    one[17:, 2] -= np.median(one[17:, 2])
    return (one + one[MIRRORED] * (-1, 1, 1)) / 2


@pytest.fixture
def pairs(aligner, astronaut, offsets, rng):
    """A face at many poses, and another model's landmarks of it: depth from elsewhere, and noise."""
    (face,) = aligner(astronaut)
    solid = aligner.face_model.landmarks(face.params.shape, face.params.expression)

    def pair():
        camera = Camera.from_pose(*rng.uniform(-40, 40, 3), rng.uniform(5, 50), rng.normal(0, 100, 3))
        theirs = camera.project((solid + offsets + rng.normal(0, 0.02, (68, 3))).astype(np.float32))
        theirs[:, 2] += rng.normal(0, 1000)
        return replace(face, camera=camera, landmarks=camera.project(solid)), replace(face, landmarks=theirs)

    return [pair() for _ in range(60)]


def test_known_offsets_come_back(pairs, offsets):
    found = landmark_offsets(pairs)
    assert found.dtype == np.float32
    # depth is counted from the median of the inner landmarks, which noise moves a little
    np.testing.assert_allclose(found, offsets, atol=0.06)
    np.testing.assert_allclose(found[MIRRORED] * (-1, 1, 1), found, atol=1e-6)


def test_a_lost_face_does_not_count(pairs):
    own, theirs = pairs[0]
    lost = own, replace(theirs, landmarks=theirs.landmarks + np.float32(1e4))
    assert found_by_both([*pairs, lost]) == pairs
    np.testing.assert_array_equal(landmark_offsets(found_by_both([lost, *pairs])), landmark_offsets(pairs))
    for none in ([], [lost]):
        with pytest.raises(ValueError, match="pairs: expected faces"):
            landmark_offsets(found_by_both(none))


def test_labels_are_of_one_of_the_models(aligner, made_crops):
    crops = Crops.open([made_crops])
    crops = crops.take(crops.labels.has_params)
    bare = replace(aligner.face_model, basis=aligner.face_model.basis[:41], expression_names=("jawOpen",))
    other = Aligner(aligner.regressor, bare, aligner.crop)
    with pytest.raises(ValueError, match="got 40 shapes and 55 expressions"):
        aligned_by_both(crops, other, other)


def test_the_command_end_to_end(root, tmp_path, made_crops, face_model, capfd):
    """The other model is ours with its chin where the lower lip is."""
    arrays = read_npz(root / "configs/open_face.npz", 1 << 30)
    moved = {name: arrays[name].copy() for name in ("landmark_triangles", "landmark_weights")}
    for array in moved.values():
        array[8] = array[57]
    add_arrays(root / "configs/open_face.npz", tmp_path / "theirs.npz", moved, 1 << 30)
    text = (root / "configs/open_mb05.yml").read_text(encoding="utf-8")
    text = text.replace("../", f"{root.as_posix()}/").replace("open_face.npz", f"{tmp_path.as_posix()}/theirs.npz", 1)
    (tmp_path / "theirs.yml").write_text(text, encoding="utf-8")
    assert Aligner.load(tmp_path / "theirs.yml", device="cpu").face_model.landmark_triangles[8].tolist() == (
        moved["landmark_triangles"][8].tolist()
    )

    out = tmp_path / "out.npz"
    arguments = [str(out), str(made_crops), "--like", str(tmp_path / "theirs.yml")]
    assert main([*arguments, "--name", "300w"]) == 1
    assert "--name: expected another" in capfd.readouterr().err
    assert not out.exists()
    assert main([*arguments, "--name", "lip"]) == 0
    model = FaceModel.load(out)
    mean = face_model.landmarks(np.zeros(40, np.float32), np.zeros(55, np.float32))
    found = model.landmark_offsets["lip"]
    np.testing.assert_allclose(np.delete(found, 8, axis=0), 0, atol=0.02)
    np.testing.assert_allclose(found[8], mean[57] - mean[8], atol=1.2)  # jaws are open, faces long and short
    assert found[8, 1] > 1.5
    assert set(read_npz(out, 1 << 30)) == {*arrays, f"{OFFSET_PREFIX}lip"}
    assert "lip, from 6 of 6 faces" in capfd.readouterr().out


def test_mistakes_are_told_in_a_line(tmp_path, made_crops, capfd):
    for like, crops in (("nothing", made_crops), ("open_mb05", tmp_path / "none")):
        assert main([str(tmp_path / "out.npz"), str(crops), "--like", like, "--name", "x"]) == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("tddfa: error: ")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "out.npz"), str(made_crops), "--like", "open_mb05", "--name", "x", "--count", "0"])
    assert not (tmp_path / "out.npz").exists()
