from dataclasses import replace

import cv2
import numpy as np
import pytest

from builders import make_face, make_mesh
from tddfa import Camera
from tddfa.face_crops.aligned import align_face, alignment, template_points
from tddfa.face_crops.frontal import frontal_view, frontalise
from tddfa.landmarks68 import PARTS
from tddfa.surface.texture import FILLED, MIRRORED, SEEN
from tddfa.synthetic import Head, State, backdrop, render

# Light that is the same on every surface: a turned head has the colours that it has from the front.
EVEN = {"ambient": 1.0, "directional": 0.0, "specular": 0.0}
SMILING = {"mouthSmile": 0.6, "jawOpen": 0.15}


@pytest.fixture(scope="module")
def heads(aligner, astronaut):
    return {
        "photo": Head.from_photo(astronaut, aligner),
        "procedural": Head.procedural(aligner.face_model, seed=1),
    }


@pytest.fixture(scope="module")
def wall():
    return backdrop((360, 400), seed=3)


def face_and_mesh(truth, model):
    """The face that an aligner without errors would return."""
    known = {"shape": truth.shape, "expression": truth.expression}
    face = make_face(model, truth.camera, landmarks=truth.landmarks, box=truth.box, **known)
    return face, make_mesh(model, truth.camera, **known)


def seen(head, wall, light=EVEN, **state):
    """An image of a head, with its ground-truth face and mesh."""
    at = {"size": 170, "x": 200, "y": 170, "expression": SMILING, **state}
    image, (truth,) = render(wall.shape[:2], [(head, State(**at))], wall, light=light)
    image.setflags(write=False)
    return image, *face_and_mesh(truth, head.model)


def within(face, size):
    """The pixels of the face's crop between its landmarks, without the inside of the mouth.

    From each side, another part of the teeth is seen.
    """
    matrix = alignment(face, size)
    points = (face.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    face_mask, mouth = np.zeros((2, size, size), np.uint8)
    for mask, inside in ((face_mask, points), (mouth, points[PARTS["inner_lips"]])):
        cv2.fillConvexPoly(mask, cv2.convexHull(inside).astype(np.int32), 1)
    return (cv2.erode(face_mask, np.ones((5, 5))) > 0) & (cv2.dilate(mouth, np.ones((3, 3))) == 0)


def likeness(crop, expected, mask):
    """PSNR, dB."""
    difference = crop[mask].astype(float) - expected[mask]
    return 10 * np.log10(255**2 / max(np.square(difference).mean(), 1e-3))


# The photo's head has freckles, hair and folds that are another on each side of her face; the other one's sides are
# nearly the same, so that mirroring one is right.
@pytest.mark.parametrize(
    ("yaw", "pitch", "roll", "photo", "procedural"),
    [
        (0, 0, 0, 40, 43),
        (0, 0, 180, 38, 41),
        (15, 0, 0, 28, 41),
        (30, 0, 0, 24, 35),
        (-30, 0, 0, 24, 35),
        (-40, -10, -45, 21.5, 32),
        (30, 10, 120, 27, 36),
        (60, 0, 0, 19, 29),
        (-75, 0, 20, 17, 25),
        (0, 25, 0, 29, 38),
        (0, -25, 0, 25, 34),
    ],
)
def test_a_turned_head_is_rendered_from_the_front(heads, wall, yaw, pitch, roll, photo, procedural):
    for name, least in (("photo", photo), ("procedural", procedural)):
        image, ahead, _ = seen(heads[name], wall)
        expected, mask = align_face(image, ahead), within(ahead, 112)
        image, face, mesh = seen(heads[name], wall, yaw=yaw, pitch=pitch, roll=roll)
        frontal = frontalise(image, face, mesh)
        assert frontal.shape == (112, 112, 3)
        assert frontal.dtype == np.uint8
        assert likeness(frontal, expected, mask) > least, name
        if yaw or pitch:
            assert likeness(frontal, expected, mask) > likeness(align_face(image, face), expected, mask) + 6, name


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(35, 0, 0), (-45, 5, 15), (10, 25, -20)])
def test_the_result_is_frontal(aligner, heads, wall, yaw, pitch, roll):
    """Measured by the aligner, including its own errors, in ordinary light."""
    image, *_ = seen(heads["photo"], wall, light={}, yaw=yaw, pitch=pitch, roll=roll)
    face = max(aligner(image), key=lambda face: face.score)
    assert np.abs(np.array(face.camera.euler_degrees()) - (yaw, pitch, roll)).max() < 15
    crop = frontalise(image, face, aligner.decoder.mesh(face), size=224)
    again = aligner(cv2.copyMakeBorder(crop, *[80] * 4, cv2.BORDER_REPLICATE), boxes=[[110, 110, 274, 304]])[0]
    assert np.abs(again.camera.euler_degrees()).max() < 8
    shifted = replace(again, landmarks=again.landmarks - np.array([80, 80, 0], dtype=np.float32))
    off = alignment(shifted, 224) - np.eye(2, 3)
    assert np.abs(off[:, :2]).max() < 0.12
    middle = template_points(shifted, 224).mean(axis=0)
    assert np.linalg.norm(off[:, :2] @ middle + off[:, 2]) < 8


@pytest.mark.parametrize("size", [32, 100, 112, 224, 300])
def test_sizes(aligner, astronaut, size):
    face = aligner(astronaut)[0]
    crop = frontalise(astronaut, face, aligner.decoder.mesh(face), size=size)
    assert crop.shape == (size, size, 3)
    expected = cv2.resize(frontalise(astronaut, face, aligner.decoder.mesh(face), size=112), (size, size))
    assert np.abs(crop.astype(int) - expected).mean() < 12


def test_a_frontal_face_keeps_teeth_hair_and_background(aligner, astronaut):
    face = aligner(astronaut)[0]
    crop, expected = (
        frontalise(astronaut, face, aligner.decoder.mesh(face), size=224),
        align_face(astronaut, face, size=224),
    )
    smooth = [cv2.blur(image, (9, 9)).astype(float) for image in (crop, expected)]
    # her pitch and roll are 8 and 3 degrees: things move a little
    assert np.abs(smooth[0] - smooth[1]).mean() < 10
    mouth = slice(175, 190), slice(95, 130)
    assert abs(crop[mouth].mean() - expected[mouth].mean()) < 20
    assert crop[mouth].mean() > 110  # teeth, not the inside of a mesh
    for corner in ((slice(0, 30), slice(0, 30)), (slice(0, 30), slice(-30, None))):
        assert np.abs(crop[corner].mean(axis=(0, 1)) - expected[corner].mean(axis=(0, 1))).max() < 40


def test_the_expression_stays(aligner, heads, wall):
    def opening(**expression):
        image, face, mesh = seen(heads["procedural"], wall, yaw=30, expression=expression)
        crop = cv2.copyMakeBorder(frontalise(image, face, mesh, size=224), *[80] * 4, cv2.BORDER_REPLICATE)
        predicted = aligner(crop, boxes=[[110, 110, 274, 304]])[0]
        return float(np.linalg.norm(predicted.landmarks[62] - predicted.landmarks[66]))

    assert opening(jawOpen=0.6) > opening() + 12


def test_light_from_one_side_leaves_no_seam(heads, wall):
    """Mirrored parts take on the light of the side they are mirrored to."""
    light = {"ambient": 0.35, "directional": 0.75, "specular": 0.0, "light_direction": (1.0, -0.2, 0.6)}
    head = heads["procedural"]
    image, face, mesh = seen(head, wall, light=light, yaw=24)
    ahead = seen(head, wall)[1]
    crop = cv2.GaussianBlur(frontalise(image, face, mesh).mean(axis=2), (0, 0), 2)
    steps = np.abs(np.diff(crop, axis=1))[within(ahead, 112)[:, 1:]]
    direct = cv2.GaussianBlur(align_face(*seen(head, wall, light=light)[:2]).mean(axis=2), (0, 0), 2)
    expected = np.abs(np.diff(direct, axis=1))[within(ahead, 112)[:, 1:]]
    assert np.percentile(steps, 99.5) < 1.5 * np.percentile(expected, 99.5)


@pytest.mark.parametrize(("yaw", "roll"), [(50, 0), (-50, 0), (50, 90), (-50, 180)])
def test_the_half_that_is_turned_away_is_a_mirror_image(heads, yaw, roll):
    """In the face and around it: both sides show the half near the camera, neither shows what is behind the face."""
    green = np.full((360, 400, 3), (0, 255, 0), dtype=np.uint8)
    # here, roll rotates the image, not the head about its direction of view
    spin = cv2.getRotationMatrix2D((199.5, 179.5), -roll, 1)
    image, face, mesh = seen(heads["photo"], green, yaw=yaw, y=179.5, x=199.5, size=120)
    linear = np.eye(3, dtype=np.float32)
    linear[:2, :2] = spin[:, :2]
    shift = np.array([*spin[:, 2], 0], dtype=np.float32)
    turned = cv2.warpAffine(image, spin, (400, 360), borderMode=cv2.BORDER_REPLICATE)
    camera = Camera(linear @ face.camera.matrix + np.column_stack([np.zeros((3, 3)), shift]))
    face = replace(face, landmarks=face.landmarks @ linear.T + shift, camera=camera)
    crop = frontalise(turned, face, replace(mesh, vertices=mesh.vertices @ linear.T + shift)).astype(float)
    assert np.abs(crop - crop[:, ::-1])[40:].mean() < 12
    assert (crop[40:] @ (-0.5, 1, -0.5) > 60).mean() < 0.01


@pytest.mark.parametrize("yaw", [30, 45, -60])
def test_a_pose_error_of_a_few_degrees_shows_little_background(heads, yaw):
    green = np.full((360, 400, 3), (0, 255, 0), dtype=np.uint8)
    head = heads["photo"]
    image, face, mesh = seen(head, green, yaw=yaw)
    _, off, wrong = seen(head, green, yaw=yaw - 4 * np.sign(yaw))
    # where the nose is, it is right, as an aligner would have it
    shift = face.landmarks[30] - off.landmarks[30]
    wrong, off = replace(wrong, vertices=wrong.vertices + shift), replace(off, landmarks=off.landmarks + shift)
    mask = within(seen(head, green)[1], 112)
    leaked = [(frontalise(image, *pair)[mask] @ (-0.5, 1, -0.5) > 30).mean() for pair in ((face, mesh), (off, wrong))]
    assert leaked[0] < 0.002
    assert leaked[1] < 0.02


def test_a_turned_face_at_the_border_is_filled_from_its_visible_part(heads, wall):
    image, face, mesh = seen(heads["procedural"], wall, yaw=28)
    expected, mask = frontalise(image, face, mesh), within(seen(heads["procedural"], wall)[1], 112)
    eye = round(float(face.landmarks[45, 0]))
    crop = frontalise(np.ascontiguousarray(image[:, : eye - 4]), face, mesh)
    assert crop[mask].max(axis=-1).min() > 5
    assert likeness(crop, expected, mask) > 22


@pytest.mark.parametrize("side", ["left", "right"])
def test_half_a_face_is_mirrored(heads, wall, side):
    image, face, mesh = seen(heads["procedural"], wall)
    expected, mask = frontalise(image, face, mesh), within(face, 112)
    nose = round(float(face.landmarks[30, 0]))
    cut = image.copy()
    cut[:, slice(nose + 8, None) if side == "right" else slice(0, nose - 8)] = 0
    if side == "right":
        half = np.ascontiguousarray(cut[:, : nose + 8])
    else:  # everything moves to the left with the edge of the image
        shift = np.array([nose - 8, 0, 0], dtype=np.float32)
        half = np.ascontiguousarray(cut[:, nose - 8 :])
        face = replace(face, landmarks=face.landmarks - shift)
        mesh = replace(mesh, vertices=mesh.vertices - shift)
    crop = frontalise(half, face, mesh)
    assert likeness(crop, expected, mask) > 22
    assert crop[mask].max(axis=-1).min() > 5  # nothing on the face is left black


def test_a_large_photo_gives_the_result_of_a_small_one(aligner, astronaut):
    """Fine details do not alias."""
    face = aligner(astronaut)[0]
    mesh = aligner.decoder.mesh(face)
    grain = np.tile(np.array([[0, 40], [40, 0]], dtype=np.uint8), (4 * 256, 4 * 256))
    large = np.clip(cv2.resize(astronaut, None, fx=4, fy=4), 20, 235) - np.uint8(20) + grain[..., None]

    def enlarged(points):
        return points * 4 + np.array([1.5, 1.5, 0], dtype=np.float32)  # a pixel's edge stays an edge

    matrix = face.camera.matrix * 4
    face_4 = replace(face, landmarks=enlarged(face.landmarks), camera=Camera(matrix))
    crop = frontalise(large, face_4, replace(mesh, vertices=enlarged(mesh.vertices)))
    assert np.abs(crop.astype(int) - frontalise(astronaut, face, mesh)).mean() < 3


def test_a_face_outside_of_the_image_is_black(heads, wall):
    image, face, mesh = seen(heads["procedural"], wall)
    for shift in ((3000, 0, 0), (0, -3000, 0)):
        away = replace(mesh, vertices=mesh.vertices + np.array(shift, dtype=np.float32))
        assert not frontalise(image, replace(face, landmarks=face.landmarks + np.float32(shift)), away).any()


def test_profiles_and_faces_from_behind(heads, wall):
    """The result is a poor image, but an image."""
    for yaw in (90, -100, 180):
        assert frontalise(*seen(heads["photo"], wall, yaw=yaw)).std() > 10


@pytest.mark.parametrize("yaw", [20, -30, 40])
def test_no_arc_where_the_face_ends(aligner, heads, wall, yaw):
    """Light from one side, and a forehead that continues beyond the mesh: there is no line along its rim."""
    light = {"ambient": 0.35, "directional": 0.75, "specular": 0.0, "light_direction": (1.0, -0.2, 0.6)}
    image, face, mesh = seen(heads["procedural"], wall, light=light, yaw=yaw)
    mesh = replace(mesh, opacity=aligner.decoder.mesh(face).opacity)
    grey = frontalise(image, face, mesh, size=224).mean(axis=2)
    # the forehead, between its ends
    edges = np.abs(np.diff(cv2.GaussianBlur(grey, (0, 0), 1.5), axis=0))[6:60, 60:165]
    assert np.percentile(edges, 99.5) < 5.5  # 6.4 to 7.5 with a hard edge between the face and its surroundings


@pytest.mark.parametrize("pitch", [15, 25])
def test_no_broken_line_along_the_jaw(aligner, heads, pitch):
    """A mesh that is 2 % too large, of a head tilted back before a bright wall: its outline is seen at a low angle."""
    image, face, mesh = seen(heads["procedural"], np.full((360, 400, 3), 235, np.uint8), light={}, pitch=pitch)
    middle = mesh.vertices.mean(axis=0) * np.float32([1, 1, 0])
    vertices = (mesh.vertices - middle) * np.float32(1.02) + middle
    mesh = replace(mesh, vertices=vertices, opacity=aligner.decoder.mesh(face).opacity)
    crop = frontalise(image, face, mesh, size=256)
    specks = np.abs(crop.astype(int) - cv2.medianBlur(crop, 5)).max(axis=-1) > 40
    assert specks[128:].sum() < 48  # 61 and 68 with a hard edge between jaw and neck


@pytest.mark.parametrize("yaw", [0, 30, 60])
def test_the_mask_tells_the_source_of_each_pixel(heads, wall, yaw):
    image, face, mesh = seen(heads["procedural"], wall, yaw=yaw)
    view = frontal_view(image, face, mesh, size=160)
    np.testing.assert_array_equal(view.image, frontalise(image, face, mesh, size=160))
    assert view.mask.shape == (160, 160)
    assert set(np.unique(view.mask)) <= {0, FILLED, MIRRORED, SEEN}
    low, high = {0: (0, 0.05), 30: (0.05, 0.4), 60: (0.4, 0.65)}[yaw]
    assert low <= view.mirrored <= high
    half = view.mask[60:150, 90:125]  # yaw > 0 turns to the right of the image: that side is hidden
    assert ((half == SEEN).mean() > 0.9) == (yaw == 0)
    assert ((half == MIRRORED).mean() > 0.9) == (yaw == 60)
    assert (view.mask[60:150, 40:75] == SEEN).mean() > 0.95


def test_a_face_at_the_border_has_no_black_pixel(aligner, heads, wall):
    image, face, mesh = seen(heads["photo"], wall, yaw=20)
    model = aligner.face_model
    mesh = replace(mesh, opacity=aligner.decoder.mesh(face).opacity, uv=model.uv)
    low, high = mesh.vertices[:, :2].min(axis=0), mesh.vertices[:, :2].max(axis=0)
    mask = within(seen(heads["photo"], wall)[1], 112)
    for cut in np.linspace(low[0] + 0.15 * (high[0] - low[0]), high[0] - 0.3 * (high[0] - low[0]), 4):
        bright = np.maximum(image[:, : int(cut)], 40)
        view = frontal_view(np.ascontiguousarray(bright), face, mesh)
        assert view.image[mask].max(axis=-1).min() > 15, cut


class TestBadArguments:
    def test_size(self, aligner, astronaut):
        face = aligner(astronaut)[0]
        with pytest.raises(ValueError, match="size: expected a whole number from 32 to 1024"):
            frontalise(astronaut, face, aligner.decoder.mesh(face), size=16)

    def test_image(self, aligner, astronaut):
        face = aligner(astronaut)[0]
        with pytest.raises(TypeError, match="image: expected"):
            frontalise(astronaut / 255, face, aligner.decoder.mesh(face))

    @pytest.mark.parametrize(
        ("change", "words"), [({"uv": None}, "no uv"), ({"triangles": np.zeros((0, 3), int)}, "no triangles")]
    )
    def test_mesh(self, aligner, astronaut, change, words):
        face = aligner(astronaut)[0]
        with pytest.raises(ValueError, match=f"mesh: expected one with triangles and uv, got {words}"):
            frontalise(astronaut, face, replace(aligner.decoder.mesh(face), **change))

    def test_a_mesh_of_nothing_but_the_inside_of_the_mouth(self, aligner, astronaut):
        face = aligner(astronaut)[0]
        mesh = aligner.decoder.mesh(face)
        with pytest.raises(ValueError, match="mesh: expected one with triangles outside of the mouth"):
            frontalise(astronaut, face, replace(mesh, shade=np.zeros(len(mesh.vertices), np.float32)))

    def test_points(self, aligner, astronaut):
        face = aligner(astronaut)[0]
        with pytest.raises(ValueError, match="face: expected eyes, nose and mouth in order"):
            frontalise(astronaut, replace(face, landmarks=np.full((68, 3), 9.0)), aligner.decoder.mesh(face))
