from collections.abc import Callable

import numpy as np
import pytest

from builders import make_face
from tddfa import Camera, Decoder
from tddfa.types import Face


@pytest.fixture(scope="session")
def decoder(aligner) -> Decoder:
    return aligner.decoder


@pytest.fixture(scope="session")
def face_with(decoder) -> Callable[..., Face]:
    """Makes a face in a known pose with known expression weights, in an image of 400 by 400 px."""

    def make(track_id: int | None = 0, angles=(0, 0, 0), at=(200, 200, 0), scale=10.0, **weights: float) -> Face:
        model = decoder.face_model
        expression = np.zeros(model.expression_count, np.float32)
        for name, weight in weights.items():
            expression[model.expression_names.index(name)] = weight
        camera = Camera.from_pose(*angles, scale, at)
        shape = np.zeros(model.shape_count, np.float32)
        return make_face(model, camera, shape=shape, expression=expression, track_id=track_id, image_size=(400, 400))

    return make
