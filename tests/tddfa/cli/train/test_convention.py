from __future__ import annotations

import numpy as np
import pytest

from tddfa import Aligner
from tddfa._shared.npz import add_arrays, read_npz
from tddfa.cli import main
from tddfa.model.face_model import OFFSET_PREFIX, FaceModel

COMMAND = ("train", "convention")


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
    arguments = [*COMMAND, str(out), str(made_crops), "--like", str(tmp_path / "theirs.yml")]
    assert main([*arguments, "--name", "300w"]) == 1
    assert "name: expected a new name" in capfd.readouterr().err
    assert not out.exists()
    assert main([*arguments, "--name", "lip"]) == 0
    model = FaceModel.load(out)
    mean = face_model.landmarks(np.zeros(40, np.float32), np.zeros(55, np.float32))
    offsets = model.landmark_offsets["lip"]
    # the second pass crops around the landmarks, the moved chin among them
    np.testing.assert_allclose(np.delete(offsets, 8, axis=0), 0, atol=0.03)
    np.testing.assert_allclose(offsets[8], mean[57] - mean[8], atol=1.2)  # jaws are open, faces long and short
    assert offsets[8, 1] > 1.5
    assert set(read_npz(out, 1 << 30)) == {*arrays, f"{OFFSET_PREFIX}lip"}
    assert "lip, from 6 of 6 faces" in capfd.readouterr().out


def test_errors_are_one_line(tmp_path, made_crops, capfd):
    for like, crops in (("nothing", made_crops), ("open_mb05", tmp_path / "none")):
        assert main([*COMMAND, str(tmp_path / "out.npz"), str(crops), "--like", like, "--name", "x"]) == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("tddfa: error: ")
    with pytest.raises(SystemExit):
        main(
            [*COMMAND, str(tmp_path / "out.npz"), str(made_crops), "--like", "open_mb05", "--name", "x", "--count", "0"]
        )
    assert not (tmp_path / "out.npz").exists()
