import pytest

from tddfa.bench import material


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    return material.make(tmp_path_factory.mktemp("material"))


@pytest.fixture
def rendered_once(pictures, monkeypatch):
    """Runs take these pictures, and render none of their own."""
    monkeypatch.setattr("tddfa.bench.run.material.make", lambda folder: pictures)
