"""The shipped face model is what the script makes of the first edition."""

from dataclasses import replace

import numpy as np
import pytest

from tddfa.modelling.build import build, write


@pytest.mark.slow
def test_the_script_makes_the_shipped_file(first, root, tmp_path):
    """The UV map too: its coordinates are multiples of 2**-18, so within 1e-6 they are equal."""
    made = np.load(write(build(first), tmp_path / "open_face.npz"))
    shipped = np.load(root / "configs/open_face.npz")
    assert made.files == shipped.files
    for name in shipped.files:
        assert made[name].dtype == shipped[name].dtype, name
        if made[name].dtype.kind == "f":
            # linear algebra rounds differently on different processors
            np.testing.assert_allclose(made[name], shipped[name], rtol=0, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(made[name], shipped[name], err_msg=name)


def test_equal_arrays_give_an_equal_file(first, tmp_path):
    small = replace(first, shape_basis=first.shape_basis[:2], expression_basis=first.expression_basis[:2])
    one, other = (write(small, tmp_path / name).read_bytes() for name in ("one.npz", "other.npz"))
    assert one == other


def test_the_file_is_small(root):
    assert (root / "configs/open_face.npz").stat().st_size < 7e6
