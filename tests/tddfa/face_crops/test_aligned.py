from dataclasses import replace

import cv2
import numpy as np
import pytest

from builders import make_face
from tddfa import Camera
from tddfa.face_crops.aligned import (
    MAX_CROP_SIZE,
    MIN_CROP_SIZE,
    ORDERS,
    align_face,
    alignment,
    cropped_part,
    five_points,
    ordered,
    similarity,
    template_points,
    warp,
)
from tddfa.synthetic import Head, State, render

# Deng et al., CVPR 2019, as InsightFace publishes it
ARCFACE = [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]


def svd_similarity(source, target):
    """Umeyama 1991, equations 39 to 43, literally."""
    middle, goal = source.mean(axis=0), target.mean(axis=0)
    covariance = (target - goal).T @ (source - middle) / len(source)
    u, d, vt = np.linalg.svd(covariance)
    sign = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(d) @ sign) / ((source - middle) ** 2).sum(axis=1).mean()
    return np.column_stack([scale * rotation, goal - scale * rotation @ middle])


def moved(points, matrix):
    return points @ matrix[:, :2].T + matrix[:, 2]


def turned(angle, scale, shift):
    c, s = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def made(landmarks, score=1.0, scale=1.0):
    """A face with these landmarks, and nothing else."""
    points = np.zeros((68, 3))
    points[:, : np.shape(landmarks)[1]] = landmarks
    camera = Camera(np.diag([scale, -scale, scale, 1])[:3])
    return make_face(camera=camera, landmarks=points, score=score)


def with_points(five, **options):
    """A face with these five points."""
    landmarks = np.zeros((68, 2))
    landmarks[[36, 39]], landmarks[[42, 45]], landmarks[30], landmarks[48], landmarks[54] = five
    return made(landmarks, **options)


def of_truth(truth):
    return make_face(camera=truth.camera, landmarks=truth.landmarks, box=truth.box)


@pytest.fixture(scope="module")
def head(aligner):
    return Head.procedural(aligner.face_model, seed=1)


class TestSimilarity:
    @pytest.mark.parametrize("angle", [0, 20, 90, 180, -135])
    @pytest.mark.parametrize("scale", [0.01, 1, 30])
    def test_the_transform_that_moved_the_points_is_recovered(self, rng, angle, scale):
        points, matrix = rng.normal(0, 40, (5, 2)), turned(angle, scale, (300, -20))
        np.testing.assert_allclose(similarity(points, moved(points, matrix)), matrix, rtol=1e-9, atol=1e-9 * scale)

    def test_it_equals_umeyamas_solution(self, rng):
        for _ in range(50):
            source, target = rng.normal(0, 10, (2, int(rng.integers(2, 9)), 2)) + rng.normal(0, 100, (2, 1, 2))
            np.testing.assert_allclose(similarity(source, target), svd_similarity(source, target), atol=1e-8)

    def test_it_never_reflects(self, rng):
        for _ in range(50):
            source, target = rng.normal(0, 10, (2, 5, 2))
            assert np.linalg.det(similarity(source, target)[:, :2]) > 0
            mirrored = similarity(source, source * (-1, 1))
            assert np.linalg.det(mirrored[:, :2]) > 0

    def test_the_inverse_is_fitted_by_swapped_points(self, rng):
        source = rng.normal(0, 10, (5, 2))
        target = moved(source, turned(33, 2.5, (7, 8)))
        there, back = similarity(source, target), similarity(target, source)
        np.testing.assert_allclose(moved(moved(source, there), back), source, atol=1e-9)

    @pytest.mark.parametrize(
        ("source", "target", "words"),
        [
            (np.full((5, 2), 7.0), ARCFACE, "source: expected points that lie apart"),
            (np.full((5, 2), 1e7), ARCFACE, "source: expected points that lie apart"),
            (np.zeros((0, 2)), np.zeros((0, 2)), "source: expected at least two points"),
            (ARCFACE, ARCFACE[:4], r"target: expected shape \(5, 2\)"),
            (np.zeros((5, 3)), ARCFACE, "source: expected shape"),
            (np.full((5, 2), np.nan), ARCFACE, "source: expected finite"),
        ],
    )
    def test_bad_points(self, source, target, words):
        with pytest.raises(ValueError, match=words):
            similarity(source, target)


class TestFivePoints:
    def test_their_order(self, aligner, astronaut):
        face = aligner(astronaut)[0]
        right, left, nose, right_mouth, left_mouth = five_points(face)
        np.testing.assert_allclose(right, (face.landmarks[36, :2] + face.landmarks[39, :2]) / 2, atol=1e-4)
        np.testing.assert_allclose(left, (face.landmarks[42, :2] + face.landmarks[45, :2]) / 2, atol=1e-4)
        assert right[0] < nose[0] < left[0]  # the subject's right is the left of the image
        assert max(right[1], left[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
        # the pupils of this photo, read off by eye
        np.testing.assert_allclose([right, left], [(202.9, 100.4), (246.4, 102.7)], atol=3)

    def test_a_closed_eye_does_not_move(self, head):
        def seen(**expression):
            _, (truth,) = render((300, 300), [(head, State(size=200, x=150, y=150, expression=expression))])
            return of_truth(truth)

        shut, open_ = seen(eyeBlink=1.0), seen()
        moved_by = np.linalg.norm(five_points(shut)[:2] - five_points(open_)[:2], axis=1)
        lids = (shut.landmarks - open_.landmarks)[36:42, :2]
        assert moved_by.max() < 1  # of 200 px
        assert moved_by[0] < 0.5 * np.linalg.norm(lids.mean(axis=0))  # the middle of the lids goes down with them

    def test_the_five_points_are_on_the_template(self, head):
        """At any roll, size and position."""
        for roll, size, x, y in [(0, 200, 200, 200), (25, 90, 300, 80), (180, 150, 250, 200), (-90, 300, 100, 300)]:
            _, (truth,) = render((400, 400), [(head, State(5, -5, roll, size, x, y))])
            face = of_truth(truth)
            for crop in (112, 224, 100):
                off = moved(five_points(face), alignment(face, crop)) - np.array(ARCFACE) * crop / 112
                assert np.linalg.norm(off, axis=1).max() < 4.5 * crop / 112
                assert np.linalg.norm(off.mean(axis=0)) < 1e-6


class TestTemplate:
    @pytest.mark.parametrize("size", [32, 112, 150, 224, 1024])
    def test_arcface(self, size):
        points = template_points(with_points(np.random.default_rng(0).normal(0, 9, (5, 2))), size)
        np.testing.assert_allclose(points, np.array(ARCFACE) * size / 112, rtol=1e-12)

    def test_auto_goes_from_profile_to_profile(self, head):
        views = []
        for yaw in (-85, -45, 0, 45, 85):
            _, (truth,) = render((300, 300), [(head, State(yaw, 0, 15, 150, 150, 150))])
            views.append(template_points(of_truth(truth), 112, "auto"))
        nose = [view[2, 0] for view in views]
        assert np.all(np.diff(nose) > 1)  # to the left of the image for yaw < 0
        apart = [view[1, 0] - view[0, 0] for view in views]
        assert apart[0] < apart[1] < apart[2] > apart[3] > apart[4]
        for left, right in ((0, 4), (1, 3)):
            mirrored = views[left][[1, 0, 2, 4, 3]] * (-1, 1) + (112.413, 0)
            np.testing.assert_allclose(mirrored, views[right], atol=1e-9)
        # a nose and a mouth of InsightFace's list, right half and right profile
        np.testing.assert_allclose(views[3][2], (72.737, 68.111), atol=1.1e-3)
        np.testing.assert_allclose(views[4][3], (55.388, 89.702), atol=1.1e-3)

    def test_auto_takes_the_best_template(self, head):
        """Points that are a template up to a similarity get that template."""
        for yaw in (-85, -45, 0, 45, 85):
            _, (truth,) = render((300, 300), [(head, State(yaw, 0, 0, 150, 150, 150))])
            view = template_points(of_truth(truth), 112, "auto")
            lying = with_points(moved(view, turned(70, 3, (40, 50))))
            np.testing.assert_allclose(template_points(lying, 224, "auto"), 2 * view, atol=1e-9)

    @pytest.mark.parametrize("size", [MIN_CROP_SIZE - 1, MAX_CROP_SIZE + 1, 0, -112, 112.0, "112", None])
    def test_sizes(self, astronaut, size):
        face = with_points(ARCFACE)
        for call in (lambda: template_points(face, size), lambda: align_face(astronaut, face, size=size)):
            with pytest.raises(ValueError, match="size: expected a whole number from 32 to 1024"):
                call()

    def test_unknown(self):
        with pytest.raises(ValueError, match="template: expected arcface or auto, got 'ffhq'"):
            template_points(with_points(ARCFACE), 112, "ffhq")


def slope(height, width):
    """An image whose grey is linear in x and y, and that function of points; it is nowhere black."""
    scale = 200 / (height + width)
    y, x = np.mgrid[:height, :width]
    image = np.rint(30 + scale * (x + y)).astype(np.uint8)
    return np.repeat(image[..., None], 3, axis=2), lambda points: 30 + scale * points.sum(axis=-1)


def pixels(size):
    y, x = np.mgrid[:size, :size]
    return np.stack([x, y], axis=-1).astype(np.float64)


def inverse(matrix):
    return np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]


class TestWarp:
    @pytest.mark.parametrize("angle", [0, 30, 180, -100])
    @pytest.mark.parametrize("scale", [0.05, 0.11, 0.3, 0.45, 0.6, 0.9, 1, 1.7, 6])
    def test_geometry(self, angle, scale):
        """To a fraction of a pixel at every scale: bilinear, cubic and mean filters all keep a slope."""
        image, grey = slope(900, 1100)
        size = 64
        matrix = turned(angle, scale, (0, 0))
        matrix[:, 2] = (size / 2, size / 2) - matrix[:, :2] @ (540, 450)
        points = moved(pixels(size).reshape(-1, 2), inverse(matrix)).reshape(size, size, 2)
        margin = 1 + 1.5 / scale
        inside = ((points > margin) & (points < np.array([1100, 900]) - 1 - margin)).all(axis=-1)
        outside = ((points < -margin) | (points > np.array([1100, 900]) + margin)).any(axis=-1)
        crop = warp(image, matrix, size)
        assert crop.shape == (size, size, 3)
        assert inside.sum() > 200
        assert np.abs(crop[inside] - grey(points[inside])[:, None]).max() < 1.6
        assert (crop[outside] == 0).all()

    @pytest.mark.parametrize("factor", [2, 3, 4, 8, 16])
    def test_shrinking_averages(self, rng, factor):
        image = rng.integers(0, 256, (48 * factor, 48 * factor, 3), dtype=np.uint8)
        matrix = np.array([[1 / factor, 0, (1 - factor) / (2 * factor)], [0, 1 / factor, (1 - factor) / (2 * factor)]])
        means = image.reshape(48, factor, 48, factor, 3).mean(axis=(1, 3))
        assert np.abs(warp(image, matrix, 48) - means).max() < 2

    @pytest.mark.parametrize("scale", [0.44, 0.37, 0.21, 0.13, 0.04])
    @pytest.mark.parametrize("angle", [0, 27])
    def test_nothing_aliases(self, scale, angle):
        """Stripes finer than the pixels of the crop become grey, not broad stripes."""
        image = np.zeros((1600, 1600, 3), np.uint8)
        image[:, ::2] = 255
        matrix = turned(angle, scale, (0, 0))
        matrix[:, 2] = (20, 20) - matrix[:, :2] @ (800, 800)
        crop = warp(image, matrix, 40).astype(float)
        plain = cv2.warpAffine(image, matrix, (40, 40)).astype(float)
        # a mean over 2.3 and 2.7 stripes lets a sixth of their contrast through
        assert crop.std() < 25
        assert crop.std() < 0.3 * plain.std()
        np.testing.assert_allclose(crop.mean(), 127.5, atol=2)

    def test_shifts_are_exact(self, rng):
        image = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
        crop = warp(image, [[1, 0, 10], [0, 1, -20]], 40)
        np.testing.assert_array_equal(crop[:30, 10:], image[20:, :30])
        assert not crop[:, :10].any()
        assert not crop[30:].any()

    def test_an_image_wider_than_opencv_maps(self):
        image, grey = slope(60, 40_000)
        matrix = np.array([[0.5, 0, -0.5 * 39_900], [0, 0.5, 20.0]])
        points = moved(pixels(40).reshape(-1, 2), inverse(matrix)).reshape(40, 40, 2)
        inside = ((points > 3) & (points < np.array([40_000, 60]) - 4)).all(axis=-1)
        assert inside.sum() > 500
        assert np.abs(warp(image, matrix, 40)[inside] - grey(points[inside])[:, None]).max() < 1.6

    def test_outside_of_the_image(self, astronaut):
        assert not warp(astronaut, [[1, 0, 5000], [0, 1, 0]], 64).any()
        assert not warp(astronaut, [[1, 0, 0], [0, 1, -1e12]], 64).any()

    @pytest.mark.parametrize("scale", [1e-5, 1e5])
    def test_absurd_scales(self, astronaut, scale):
        assert warp(astronaut, [[scale, 0, 16], [0, scale, 16]], 32).shape == (32, 32, 3)

    @pytest.mark.parametrize(
        ("matrix", "words"),
        [
            ([[0, 0, 5], [0, 0, 5]], "matrix: expected a similarity"),
            ([[1, 0, 0], [0, -1, 0]], "matrix: expected a similarity"),
            ([[1, 0], [0, 1]], "matrix: expected shape"),
            ([[np.inf, 0, 0], [0, 1, 0]], "matrix: expected finite"),
        ],
    )
    def test_bad_matrices(self, astronaut, matrix, words):
        with pytest.raises(ValueError, match=words):
            warp(astronaut, matrix, 64)

    @pytest.mark.parametrize("factor", [1, 2, 7, 64])
    def test_the_corner_of_a_part(self, factor):
        image, grey = slope(300, 400)
        part, corner = cropped_part(image, (101.3, 77), (250, 222.2), factor)
        y, x = np.mgrid[: part.shape[0] - 1, : part.shape[1] - 1]  # the last ones may be partly black
        expected = grey(np.stack([x, y], axis=-1) * factor + corner)
        assert np.abs(part[:-1, :-1] - expected[..., None]).max() < 1.1


class TestAlignFace:
    def test_the_astronaut(self, aligner, astronaut):
        crop = align_face(astronaut, aligner(astronaut)[0])
        assert crop.shape == (112, 112, 3)
        assert crop.dtype == np.uint8
        # the face is detected again in the crop, at the position of the template
        face = aligner(astronaut)[0]
        big = cv2.copyMakeBorder(align_face(astronaut, face, size=224), *[60] * 4, cv2.BORDER_REPLICATE)
        again = aligner(big, boxes=[[90, 90, 254, 284]])[0]
        off = five_points(again) - 60 - moved(five_points(face), alignment(face, 224))
        assert np.linalg.norm(off, axis=1).mean() < 4

    @pytest.mark.parametrize("turn", [cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_90_COUNTERCLOCKWISE])
    @pytest.mark.parametrize("size", [48, 112, 224])
    def test_a_rotated_image_gives_the_same_crop(self, aligner, astronaut, turn, size):
        face = aligner(astronaut)[0]
        last = astronaut.shape[0] - 1  # a square image
        x, y, z = face.landmarks.T
        to = {
            cv2.ROTATE_180: (last - x, last - y),
            cv2.ROTATE_90_CLOCKWISE: (last - y, x),
            cv2.ROTATE_90_COUNTERCLOCKWISE: (y, last - x),
        }[turn]
        other = replace(face, landmarks=np.column_stack([*to, z]))
        crop, expected = (
            align_face(cv2.rotate(astronaut, turn), other, size=size),
            align_face(astronaut, face, size=size),
        )
        assert np.abs(crop.astype(int) - expected).mean() < 0.5
        assert np.abs(crop.astype(int) - expected).max() < 12

    def test_a_large_photo_gives_the_crop_of_a_small_one(self, aligner, astronaut):
        face = aligner(astronaut)[0]
        large = cv2.resize(astronaut, None, fx=6, fy=6, interpolation=cv2.INTER_LINEAR)
        landmarks = face.landmarks * 6
        landmarks[:, :2] += 2.5  # half a pixel's edge stays an edge
        crop, expected = (
            align_face(large, replace(face, landmarks=landmarks), size=64),
            align_face(astronaut, face, size=64),
        )
        assert np.abs(crop.astype(int) - expected).mean() < 2.5

    @pytest.mark.parametrize("yaw", [-90, -60, 60, 90])
    @pytest.mark.parametrize("template", ["arcface", "auto"])
    def test_profiles_keep_their_roll_and_size(self, head, yaw, template):
        _, (truth,) = render((400, 400), [(head, State(yaw, 0, 0, 150, 200, 200))])
        _, (ahead,) = render((400, 400), [(head, State(0, 0, 0, 150, 200, 200))])
        matrix = alignment(of_truth(truth), 112, template)
        tilt = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
        assert abs(tilt) < 12
        ratio = np.linalg.norm(matrix[:, 0]) / np.linalg.norm(alignment(of_truth(ahead), 112, template)[:, 0])
        assert 0.8 < ratio < 1.25
        points = moved(five_points(of_truth(truth)), matrix)
        assert ((points > 5) & (points < 107)).all()

    def test_auto_centres_a_profile(self, head):
        _, (truth,) = render((400, 400), [(head, State(75, 0, 0, 150, 200, 200))])
        face = of_truth(truth)
        nose = {t: moved(five_points(face), alignment(face, 112, t))[2, 0] for t in ("arcface", "auto")}
        assert nose["auto"] > nose["arcface"] + 4  # more of the cheek that is seen, less of what lies before the face

    def test_at_the_border(self, aligner, astronaut):
        face = aligner(astronaut)[0]
        x = round(float(face.landmarks[30, 0]))
        half = np.ascontiguousarray(astronaut[:, :x])
        crop, whole = align_face(half, face), align_face(astronaut, face)
        np.testing.assert_array_equal(crop[:, :45], whole[:, :45])
        assert not crop[:, 70:].any()

    def test_coinciding_points(self, astronaut):
        with pytest.raises(ValueError, match="expected points that lie apart"):
            align_face(astronaut, made(np.full((68, 2), 40.0)))

    def test_other_types_than_images(self, aligner, astronaut):
        face = aligner(astronaut)[0]
        with pytest.raises(TypeError, match="image"):
            align_face(astronaut.astype(float), face)
        with pytest.raises(ValueError, match="image"):
            align_face(astronaut[..., 0], face)


class TestOrder:
    # centre, score, px per model unit; the image is 201 x 101 px
    FACES = (((20, 50), 0.7, 1.0), ((110, 50), 0.8, 1.0), ((130, 50), 0.9, 4.0), ((190, 50), 0.9, 8.0))

    @pytest.fixture
    def faces(self):
        shape = np.array(ARCFACE) - np.mean(ARCFACE, axis=0)
        return [with_points(shape / 10 + middle, score=score, scale=scale) for middle, score, scale in self.FACES]

    @pytest.mark.parametrize(
        ("order", "expected"),
        [("position", [2, 1, 3, 0]), ("confidence", [2, 3, 1, 0]), ("size", [3, 2, 0, 1])],
    )
    def test_orders(self, faces, order, expected):
        assert order in ORDERS
        result = ordered(faces, order, (101, 201))
        assert [next(i for i, face in enumerate(faces) if face is one) for one in result] == expected

    def test_no_faces(self):
        assert ordered([], "position", (10, 10)) == []

    def test_unknown(self, faces):
        with pytest.raises(ValueError, match="order: expected one of position, confidence, size, got 'age'"):
            ordered(faces, "age", (101, 201))

    def test_the_middle_person_of_a_photo(self, aligner, two_people):
        faces = aligner(two_people)
        sizes = [face.camera.scale for face in ordered(faces, "size", two_people.shape[:2])]
        assert sizes == sorted(sizes, reverse=True)
        left = min(faces, key=lambda face: face.box[0])
        shifted = np.ascontiguousarray(two_people[:, : int(2 * left.landmarks[30, 0])])
        assert ordered(faces, "position", shifted.shape[:2])[0] is left
