"""The type of content of an answer."""

import pytest

pytest.importorskip("fastapi")  # as all of the service

from tddfa.serve.media import GLB, JPEG, JSON, NPZ, PNG, best_type


@pytest.mark.parametrize(
    ("accept", "offered", "expected"),
    [
        (None, (JPEG, PNG), JPEG),
        ("", (JPEG, PNG), JPEG),
        ("*/*", (JPEG, PNG), JPEG),
        ("image/png", (JPEG, PNG), PNG),
        ("IMAGE/PNG", (JPEG, PNG), PNG),
        ("image/png;q=0.2, image/jpeg;q=0.1", (JPEG, PNG), PNG),
        ("image/jpeg;q=0, */*;q=0.1", (JPEG, PNG), PNG),  # the specific range counts
        ("image/*;q=0.3, */*;q=0.9", (JSON, PNG), JSON),
        ("text/html, application/xhtml+xml", (JSON, NPZ, GLB), None),
        ("model/gltf-binary;version=2", (JSON, NPZ, GLB), GLB),
        ("nonsense", (JSON, NPZ), None),
        ("nonsense, application/x-npz", (JSON, NPZ), NPZ),
        ("*/json", (JSON,), None),
        ("application/json;q=2", (JSON,), JSON),
        ("application/json;q=0", (JSON,), None),
    ],
)
def test_the_best_type(accept, offered, expected):
    assert best_type(accept, offered) == expected
