import sys
import textwrap

import numpy as np
import pytest

from tddfa.bench.face_landmarker import FaceLandmarker, landmarks_68
from tddfa.bench.peer import PeerError

# Its faces are made of the image: a dark one shows none, else there are two; the second is twice as large.
MEDIAPIPE = """
    from types import SimpleNamespace as Space
    __version__ = '0.10.21'
    class Image:
        @staticmethod
        def create_from_file(path):
            import cv2
            pixels = cv2.imread(path)
            return Space(width=pixels.shape[1], height=pixels.shape[0], level=int(pixels[0, 0, 0]))
    class Landmarker:
        @staticmethod
        def create_from_options(options):
            assert options['base_options'] == 'MODEL' and options['output_face_blendshapes']
            return Landmarker()
        def detect(self, image):
            if image.level == 9:
                raise RuntimeError('cannot\\nsee')
            faces = [] if image.level == 0 else [
                [Space(x=size * k / 477, y=size * k / 477, z=0.1) for k in range(478)] for size in (0.4, 0.8)
            ]
            shapes = [[Space(category_name='eyeBlinkLeft', score=score)] for score in (0.25, 0.75)]
            return Space(face_landmarks=faces, face_blendshapes=shapes[:len(faces)])
    vision = Space(FaceLandmarkerOptions=lambda **options: options, FaceLandmarker=Landmarker)
    def base(model_asset_path):
        assert model_asset_path.endswith('model.task')
        return 'MODEL'
    tasks = Space(vision=vision, BaseOptions=base)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the interpreter is a shell script")


@pytest.fixture
def python(tmp_path):
    """An interpreter that imports a nearly empty mediapipe."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/mediapipe.py").write_text(textwrap.dedent(MEDIAPIPE))
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/packages exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_the_largest_face_in_px(python, tmp_path):
    with FaceLandmarker(python, tmp_path / "model.task") as landmarker:
        assert landmarker.version == "0.10.21"
        face = landmarker(np.full((50, 100, 3), 200, np.uint8))
        assert face.blendshapes == {"eyeBlinkLeft": 0.75}
        assert face.points[0].tolist() == pytest.approx([-0.5, -0.5, -10])
        assert face.points[-1].tolist() == pytest.approx([79.5, 39.5, -10])
        assert landmarker(np.zeros((50, 100, 3), np.uint8)) is None
        with pytest.raises(PeerError, match="RuntimeError: cannot see"):
            landmarker(np.full((50, 100, 3), 9, np.uint8))
        assert landmarker(np.full((50, 100, 3), 200, np.uint8)) is not None


def test_an_interpreter_without_mediapipe(tmp_path):
    with pytest.raises(PeerError, match="No module named 'mediapipe'"):
        FaceLandmarker(sys.executable, tmp_path / "model.task")
    with pytest.raises(PeerError, match="cannot be run"):
        FaceLandmarker(str(tmp_path / "none"), tmp_path / "model.task")


def test_68_of_478_points():
    points = np.random.default_rng(0).normal(size=(478, 3))
    landmarks = landmarks_68(points)
    assert landmarks.shape == (68, 3)
    assert landmarks[8] == pytest.approx(points[152]) and landmarks[45] == pytest.approx(points[263])
    assert landmarks[27] == pytest.approx((points[168] + points[6]) / 2)
