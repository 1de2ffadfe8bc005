import numpy as np

from tddfa.train.synthesis.expressions import any_expression


def test_expressions_are_as_people_have_them(face_model):
    names = face_model.expression_names
    drawn = np.array([any_expression(names, np.random.default_rng(seed)) for seed in range(400)])
    assert drawn.min() >= 0 and drawn.max() <= 1

    def of(name):
        return drawn[:, names.index(name)]

    left, right = of("eyeBlinkLeft") > 0.75, of("eyeBlinkRight") > 0.75
    assert 0.05 < (left & right).mean() < 0.25
    assert 0.01 < (left ^ right).mean() < 0.12
    smiles = of("mouthSmileLeft") > 0.3
    assert 0.2 < smiles.mean() < 0.6
    assert np.abs(of("mouthSmileLeft") - of("mouthSmileRight"))[smiles].mean() < 0.12
    # both eyes look the same way
    assert np.corrcoef(of("eyeLookInLeft"), of("eyeLookOutRight"))[0, 1] > 0.9
    assert (drawn > 0.15).sum(axis=1).mean() < 12


def test_half_of_the_mouths_are_closed(face_model):
    names = face_model.expression_names
    average = np.zeros(face_model.shape_count, np.float32)
    faces = np.stack(
        [face_model.landmarks(average, any_expression(names, np.random.default_rng(seed))) for seed in range(400)]
    )
    eyes = np.linalg.norm(faces[:, 45] - faces[:, 36], axis=1)
    gap = (faces[:, 62, 1] - faces[:, 66, 1]) / eyes
    assert 0.4 < (gap < 0.025).mean() < 0.6
    # lips touch, and do not pass through each other
    assert (np.abs(gap) < 0.012).mean() > 0.2 and gap.min() > -0.05
    assert 0.05 < (gap > 0.2).mean() < 0.2


def test_models_with_other_expressions():
    assert any_expression(("jawOpen", "unknown"), np.random.default_rng(3)).shape == (2,)
