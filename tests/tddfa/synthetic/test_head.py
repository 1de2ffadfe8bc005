import numpy as np
import pytest

from Sim3DR import rasterize
from tddfa.surface.texture import FILLED, texel_positions, unwrap
from tddfa.synthetic.head import mended

SIZE = 256


@pytest.fixture(scope="module")
def eyeballs(aligner):
    model = aligner.face_model
    flat = np.column_stack([texel_positions(model.uv, SIZE), np.zeros(len(model.uv), np.float32)])
    inside = np.isin(model.part[model.triangles], (1, 2)).all(axis=1)
    return rasterize(flat, model.triangles[inside], (0, 0, SIZE, SIZE)).mask


def test_a_mended_texture_keeps_the_eyes_as_they_are_painted(aligner, astronaut, eyeballs):
    """Irises were lost under white where lids hide them."""
    (face,) = aligner(astronaut)
    texture = unwrap(astronaut, aligner.decoder.mesh(face), size=SIZE)
    assert (texture.mask[eyeballs] == FILLED).sum() > 50
    image = mended(texture, aligner.face_model)
    np.testing.assert_array_equal(image[eyeballs], texture.image[eyeballs])
    # what the photo does not show of the skin is completed
    assert (image[~eyeballs] != texture.image[~eyeballs]).any()
