import subprocess

import numpy as np
import pytest

from tddfa import FaceModel
from tddfa.modelling.draft import Draft


@pytest.fixture(scope="session")
def second(root):
    """The shipped face model, as the arrays of its file."""
    return Draft.load(root / "configs/open_face.npz")


@pytest.fixture(scope="session")
def first_path(root, tmp_path_factory):
    """File of the first edition, from the history of the repository."""
    command = ["git", "-C", str(root), "show", "88fa32a:configs/open_face.npz"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        pytest.skip("git is missing: the first edition is in the history")
    if done.returncode:
        pytest.skip("commit 88fa32a is missing: the first edition is in the history")
    path = tmp_path_factory.mktemp("first") / "open_face.npz"
    path.write_bytes(done.stdout)
    return path


@pytest.fixture(scope="session")
def first(first_path):
    return Draft.load(first_path)


@pytest.fixture(scope="session")
def first_model(first_path):
    return FaceModel.load(first_path)


@pytest.fixture(scope="session")
def random_faces(second):
    """Vertices, yaw and pitch of faces: up to 5 expressions, shapes within 2 sigma, yaw within 60, pitch 30 degrees."""

    def faces(count, seed=0):
        rng = np.random.default_rng(seed)
        shape_basis, expression_basis = (
            basis.astype(np.float32).reshape(len(basis), -1) for basis in (second.shape_basis, second.expression_basis)
        )
        for _ in range(count):
            shape = np.clip(rng.normal(size=len(shape_basis)), -2, 2).astype(np.float32)
            expression = np.zeros(len(expression_basis), dtype=np.float32)
            active = rng.choice(len(expression), rng.integers(0, 6), replace=False)
            expression[active] = rng.uniform(0, 1, len(active))
            offset = (shape @ shape_basis + expression @ expression_basis).reshape(second.mean.shape)
            yield (second.mean + offset).astype(np.float32), rng.uniform(-60, 60), rng.uniform(-30, 30)

    return faces
