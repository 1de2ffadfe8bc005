import numpy as np
import pytest

from tddfa.scan.face import ScanFace
from tddfa.scan.fitting import fit_face
from tddfa.scan.head import MM
from tddfa.scan.mesh import Scan
from tddfa.scan.similarity import Similarity


def surface_of(model, expression):
    """The front of the face model with an expression, mm, without eyes and inside of the mouth; and its landmarks."""
    weights = np.zeros(model.expression_count, np.float32)
    for name, weight in expression.items():
        weights[model.expression_names.index(name)] = weight
    vertices = model.vertices(np.zeros(model.shape_count, np.float32), weights).astype(np.float64) * MM[model.unit]
    marks = np.einsum("lki,lk->li", vertices[model.landmark_triangles], model.landmark_weights)
    shown = (model.front & (model.part == 0))[model.triangles].all(axis=1)
    return Scan(vertices, model.triangles[shown]), marks


def face_at(marks):
    middle = marks.mean(axis=0)
    known = np.full(68, 0.6), np.ones(68, bool)
    return ScanFace(marks, *known, 0.7, Similarity(np.eye(3), 1.0, middle), {}, "mm")


def test_a_mouth_that_is_wide_open_is_registered_from_landmarks_of_a_closed_one(aligner):
    model = aligner.face_model
    scan, truth = surface_of(model, {"jawOpen": 0.9})
    fitted = fit_face(scan, face_at(surface_of(model, {})[1]), model)
    assert fitted.expression[model.expression_names.index("jawOpen")] > 0.6
    assert np.linalg.norm(fitted.landmarks - truth, axis=1).mean() < 1
    assert fitted.fits


@pytest.mark.slow
def test_waves_do_not_fit(aligner):
    model = aligner.face_model
    _, marks = surface_of(model, {})
    x, y = np.meshgrid(np.linspace(-150, 150, 80), np.linspace(-150, 150, 80))
    waves = np.column_stack([x.ravel(), y.ravel(), 25 * np.sin(x / 9).ravel()]) + marks.mean(axis=0)
    at = np.arange(79 * 80).reshape(79, 80)[:, :-1].ravel()
    triangles = np.concatenate([np.column_stack([at, at + 1, at + 80]), np.column_stack([at + 1, at + 81, at + 80])])
    assert not fit_face(Scan(waves, triangles), face_at(marks), model).fits
