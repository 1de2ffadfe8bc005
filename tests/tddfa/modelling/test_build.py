"""The shipped face model is what the script makes of the first edition."""

from tddfa.modelling.build import build, write


def test_the_script_makes_the_shipped_file_to_the_bit(first, root, tmp_path):
    made = write(build(first), tmp_path / "open_face.npz")
    assert made.read_bytes() == (root / "configs/open_face.npz").read_bytes()


def test_the_file_is_small(root):
    assert (root / "configs/open_face.npz").stat().st_size < 7e6
