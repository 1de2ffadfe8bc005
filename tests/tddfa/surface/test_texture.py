from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from builders import make_face
from Sim3DR import interpolate, rasterize, vertex_normals
from tddfa import Camera, FaceModel, Mesh
from tddfa.model.assets import config_path
from tddfa.surface.sampling import sample
from tddfa.surface.texture import FILLED, MIRRORED, SEEN, _uv_map, texel_positions, unwrap, vertex_colors
from tddfa.surface.visibility import visibility

# the eyeballs are below it on the UV map of the open face model


@pytest.fixture(scope="module")
def model(aligner):
    return aligner.face_model


def head(model, yaw=0.0, pitch=0.0, roll=0.0, scale=14.0, at=(200.0, 200.0, 0.0)):
    camera = Camera.from_pose(yaw, pitch, roll, scale, at)
    return Mesh(camera.project(model.mean), model.triangles, None, model.uv)


def lopsided(uv):
    """A colour for each point of the UV map, different on its two sides."""
    u, v = uv[..., 0], uv[..., 1]
    return np.stack([40 + 170 * u, 60 + 150 * v, 130 + 60 * np.sin(6 * u) * np.cos(5 * v)], axis=-1)


def symmetric(uv):
    return lopsided(np.stack([np.abs(uv[..., 0] - 0.5), uv[..., 1]], axis=-1))


def gentle(uv):
    """Symmetric, and so smooth that filled holes have the right colour too."""
    return np.stack([110 + 20 * uv[..., 1], 130 + 15 * np.abs(uv[..., 0] - 0.5), 90 - 15 * uv[..., 1]], axis=-1)


def photo(mesh, color, size=400):
    """An image of the mesh, coloured by a function on its UV map."""
    raster = rasterize(mesh.vertices, mesh.triangles, (0, 0, size, size), cull="back")
    uv = interpolate(raster, mesh.triangles, mesh.uv)
    image = np.where(raster.mask[..., None], np.rint(color(uv)), 0).astype(np.uint8)
    image.setflags(write=False)
    return image


def texels(size):
    """u and v of each texel's centre; v is up."""
    y, x = np.mgrid[:size, :size]
    return np.stack([(x + 0.5) / size, 1 - (y + 0.5) / size], axis=-1)


def errors(texture, color):
    expected = color(texels(len(texture.mask)))
    return np.abs(texture.image - expected).max(axis=-1)


def covered_by(size, chosen):
    """Texels that some triangles of the default model's UV map cover."""
    model = FaceModel.load(config_path("open_mb05").with_name("open_face.npz"))
    flat = np.column_stack([texel_positions(model.uv, size), np.zeros(len(model.uv), np.float32)])
    return rasterize(flat, model.triangles[chosen(model)], (0, 0, size, size)).mask


@cache
def skin(size):
    """Texels of the face, without eyeballs, sockets, and the inside of mouth and ears."""
    return covered_by(
        size,
        lambda model: (
            (model.part[model.triangles[:, 0]] == 0)
            & ~np.isin(model.triangles, [*model.regions["socket"], *model.regions["ear_plugs"]]).any(axis=1)
        ),
    )


@cache
def eyeballs(size):
    return covered_by(size, lambda model: np.isin(model.part[model.triangles[:, 0]], (1, 2)))


def covered(model, size):
    """Texels that the triangles of the UV map cover, by the rasteriser."""
    flat = np.column_stack([model.uv[:, 0] * size - 0.5, (1 - model.uv[:, 1]) * size - 0.5, np.zeros(len(model.uv))])
    return rasterize(flat, model.triangles, (0, 0, size, size)).mask


def test_a_nearer_face_is_not_sampled(model):
    far, near = head(model), head(model, scale=20.0, at=(390.0, 230.0, 0.0))
    image = photo(far, symmetric).copy()
    raster = rasterize(near.vertices, near.triangles, (0, 0, 400, 400), cull="back")
    image[raster.mask] = (255, 0, 0)

    def blue(colors):
        return ((colors[..., 0] > 200) & (colors[..., 1] < 40)).mean()

    alone, texture = unwrap(image, far, size=256), unwrap(image, far, size=256, others=[near, far])
    assert blue(alone.image[skin(256)]) > 0.05
    assert blue(texture.image[skin(256)]) < 0.001
    # what it hides is mirrored, and what it does not hide is still sampled
    assert (texture.mask == SEEN).sum() > 0.4 * (alone.mask == SEEN).sum()
    assert np.median(errors(texture, symmetric)[texture.mask == MIRRORED]) < 5
    rgb = vertex_colors(image, far, others=[near, far])
    assert blue(255 * rgb[:, ::-1]) < 0.001 < 0.05 < blue(255 * vertex_colors(image, far)[:, ::-1])
    # the nearer face is hidden by none
    np.testing.assert_array_equal(unwrap(image, near, others=[far]).image, unwrap(image, near).image)


@pytest.mark.parametrize("size", [256, 512, 1024])
@pytest.mark.parametrize("yaw", [50, -50])
def test_a_turned_head_gives_the_visible_side_and_mirrors_it(model, size, yaw):
    mesh = head(model, yaw)
    texture = unwrap(photo(mesh, lopsided), mesh, size=size)
    assert texture.image.shape == (size, size, 3)
    assert texture.mask.shape == (size, size)
    assert texture.image.dtype == texture.mask.dtype == np.uint8

    seen, mirrored = ((texture.mask == value) & skin(size) for value in (SEEN, MIRRORED))
    off = errors(texture, lopsided)
    assert np.percentile(off[seen], 95) < 2
    assert np.percentile(off[seen], 99) < 15
    off = errors(texture, lambda uv: lopsided(np.stack([1 - uv[..., 0], uv[..., 1]], axis=-1)))
    # with the light of their own side, near the part that is visible on both
    assert np.median(off[mirrored]) < 2
    assert np.percentile(off[mirrored], 95) < 5
    assert np.percentile(off[mirrored], 99) < 25
    # the other side's own colours are far from those
    assert np.median(errors(texture, lopsided)[mirrored]) > 50

    # a head turned to its left (yaw > 0) shows its right side, which is the left half of the UV map
    shown, hidden = (slice(None), slice(size // 2)), (slice(None), slice(size // 2, None))
    if yaw < 0:
        shown, hidden = hidden, shown
    half = (covered(model, size) & skin(size))[shown].sum()
    assert seen[shown].sum() > 0.8 * half
    assert mirrored[hidden].sum() > 0.75 * half
    assert mirrored[shown].sum() < 0.02 * half
    assert seen[hidden].sum() < 0.05 * half


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (25, 0, 0), (-35, 10, 20), (0, -20, 90), (10, 5, 180)])
def test_a_symmetric_head_gives_its_whole_texture(model, yaw, pitch, roll):
    mesh = head(model, yaw, pitch, roll)
    texture = unwrap(photo(mesh, symmetric), mesh)
    known = (texture.mask >= MIRRORED) & skin(512)
    assert np.percentile(errors(texture, symmetric)[known], 95) < 2
    assert np.percentile(errors(texture, symmetric)[known], 99) < 12
    texture = unwrap(photo(mesh, gentle), mesh)
    everywhere = (texture.mask > 0) & skin(512)
    assert np.percentile(errors(texture, gentle)[everywhere], 99) < 12


@pytest.mark.parametrize("color", [lopsided, symmetric])
def test_both_sides_of_a_frontal_face_keep_their_colours(model, color):
    mesh = head(model)
    texture = unwrap(photo(mesh, color), mesh)
    weight = interpolate(
        rasterize(
            np.column_stack([model.uv[:, 0] * 512 - 0.5, (1 - model.uv[:, 1]) * 512 - 0.5, np.zeros(len(model.uv))]),
            model.triangles,
            (0, 0, 512, 512),
        ),
        model.triangles,
        visibility(mesh, (400, 400))[:, None],
    )[..., 0]
    wholly = (weight > 0.999) & (weight[:, ::-1] > 0.999) & skin(512)
    assert wholly[:, :256].sum() > 15000
    assert wholly[:, 256:].sum() > 15000
    assert (texture.mask[wholly] == SEEN).all()
    assert np.percentile(errors(texture, color)[wholly], 99.5) < 2


@pytest.mark.parametrize("size", [256, 512, 1000])
def test_the_mask_covers_the_uv_map(model, size):
    mesh = head(model, 20)
    texture = unwrap(photo(mesh, lopsided), mesh, size=size)
    assert set(np.unique(texture.mask)) == {0, FILLED, MIRRORED, SEEN}
    np.testing.assert_array_equal(texture.mask > 0, covered(model, size))
    assert (texture.image[texture.mask > 0].max(axis=-1) > 0).mean() > 0.999
    # painted a few texels beyond the edge, for filtering; black farther out
    painted = texture.image.any(axis=-1)
    far = cv2.dilate((texture.mask > 0).astype(np.uint8), np.ones((25, 25))) == 0
    assert far.any()
    assert not painted[far].any()
    beside = np.roll(texture.mask > 0, 2, axis=0) & (texture.mask == 0)
    assert painted[beside].mean() > 0.97


def test_eyeballs_behind_lids_are_hidden(model):
    mesh = head(model, scale=28, at=(400, 400, 0))
    raster = rasterize(mesh.vertices, mesh.triangles, (0, 0, 800, 800), cull="back")
    white = np.isin(model.part, (1, 2))[:, None].astype(np.float32).repeat(3, axis=1) * 200
    texture = unwrap(interpolate(raster, mesh.triangles, white).astype(np.uint8), mesh)
    balls = (texture.mask == SEEN) & eyeballs(512)
    assert balls.sum() > 300
    assert (texture.image[balls] > 150).all(axis=-1).mean() > 0.75


def test_strided_images_and_unchanged_arguments(model):
    mesh = head(model, 30)
    image = photo(mesh, lopsided)
    wide = np.repeat(image, 2, axis=1)
    kept = wide.copy(), mesh.vertices.copy(), mesh.uv.copy()
    mesh.vertices.setflags(write=False)  # the others are those of a loaded model, which are read-only
    assert not mesh.triangles.flags.writeable and not mesh.uv.flags.writeable
    strided, plain = unwrap(wide[:, ::2], mesh), unwrap(image, mesh)
    visibility(mesh, image.shape[:2])
    np.testing.assert_array_equal(strided.image, plain.image)
    np.testing.assert_array_equal(strided.mask, plain.mask)
    for before, after in zip(kept, (wide, mesh.vertices, mesh.uv), strict=True):
        np.testing.assert_array_equal(before, after)


def test_alternating_faces_do_not_share_cached_results(model):
    left, right = head(model, 40), head(model, -40)
    expected = unwrap(photo(right, lopsided), right, size=256)
    first = unwrap(photo(left, lopsided), left, size=256)
    kept = first.image.copy()
    again = unwrap(photo(right, lopsided), right, size=256)
    np.testing.assert_array_equal(again.image, expected.image)
    np.testing.assert_array_equal(first.image, kept)
    assert not np.array_equal(first.mask, again.mask)
    # an equal model, and another one of as many vertices
    copied = Mesh(right.vertices, right.triangles.copy(), None, right.uv.copy())
    np.testing.assert_array_equal(unwrap(photo(right, lopsided), copied, size=256).image, expected.image)
    turned = Mesh(right.vertices, right.triangles, None, np.column_stack([right.uv[:, 0], 1 - right.uv[:, 1]]))
    np.testing.assert_array_equal(unwrap(photo(right, lopsided), turned, size=256).mask, expected.mask[::-1])


def test_equal_arrays_share_a_uv_map(model):
    mesh = head(model)
    image = photo(mesh, gentle)
    _uv_map.cache_clear()
    first = unwrap(image, mesh, size=64)
    copied = replace(mesh, uv=mesh.uv.copy(), triangles=mesh.triangles.copy())
    np.testing.assert_array_equal(unwrap(image, copied, size=64).image, first.image)
    assert _uv_map.cache_info().misses == 1
    moved = mesh.uv.copy()
    moved[1] += 0.01  # not one of the values that are hashed
    unwrap(image, replace(mesh, uv=moved), size=64)
    assert _uv_map.cache_info().misses == 2


def test_large_uv_maps_are_not_kept(model):
    mesh = head(model)
    image = photo(mesh, gentle)
    _uv_map.cache_clear()
    unwrap(image, mesh, size=1040)
    assert _uv_map.cache_info().currsize == 0


def test_a_uv_map_that_was_changed_in_place(model):
    mesh = replace(head(model), uv=model.uv.copy())
    image = photo(mesh, gentle)
    unwrap(image, mesh, size=64)
    mesh.uv[1 :: len(mesh.uv) // 7] *= 0.9  # few of all values, and none of those that are hashed
    expected = unwrap(image, replace(mesh, uv=mesh.uv.copy()), size=64)
    _uv_map.cache_clear()
    np.testing.assert_array_equal(expected.image, unwrap(image, mesh, size=64).image)


def test_a_large_image_is_averaged_not_subsampled(model):
    mesh = head(model, scale=60, at=(800, 800, 0))
    image = photo(mesh, lambda uv: np.full((*uv.shape[:-1], 3), 128.0), 1600)
    stripes = image.copy()
    stripes[::2] = np.clip(stripes[::2].astype(int) * 2, 0, 254)  # 254 and 128 alternate: 191 on average
    texture = unwrap(stripes, mesh, size=128)
    inner = (texture.mask == SEEN) & skin(128)
    assert inner.sum() > 2000
    assert abs(np.median(texture.image[inner]) - 191) < 3
    assert texture.image[inner].std() < 20


class TestRealism:
    """What makes a texture look like a face, on heads with the parts of the face model."""

    @pytest.fixture
    def whole(self, aligner):
        """A head with its parts, before a background of one colour, and the image of it."""

        def make(color, yaw=0.0, background=(30, 235, 30), scale=18.0, expression=None):
            weights = np.zeros(aligner.face_model.expression_count, np.float32)
            for name, weight in (expression or {}).items():
                weights[aligner.face_model.expression_names.index(name)] = weight
            camera = Camera.from_pose(yaw, 0, 0, scale, (240.0, 240.0, 0.0))
            face = make_face(aligner.face_model, camera, expression=weights)
            mesh = aligner.decoder.mesh(face)
            raster = rasterize(mesh.vertices, mesh.triangles, (0, 0, 480, 480), cull="back")
            colors = interpolate(raster, mesh.triangles, np.float32(color(mesh)))
            return np.where(raster.mask[..., None], colors, np.float32(background)).astype(np.uint8), mesh

        return make

    @staticmethod
    def skin(mesh):
        u, v = mesh.uv.T
        return np.column_stack([110 + 40 * u, 95 + 25 * np.sin(9 * v), 160 + 40 * v])

    @pytest.mark.parametrize("yaw", [0, 30, -60])
    @pytest.mark.parametrize("background", [(30, 235, 30), (245, 245, 245), (120, 40, 20)])
    def test_an_error_of_the_alignment_lets_no_background_in(self, whole, yaw, background):
        image, mesh = whole(self.skin, yaw, background)
        clean = unwrap(image, mesh, size=256)
        reach = 0.01 * float(np.ptp(mesh.vertices[:, :2], axis=0).max())
        for angle in np.arange(4) * np.pi / 2 + 0.3:
            moved = mesh.vertices + np.float32([np.cos(angle) * reach, np.sin(angle) * reach, 0])
            texture = unwrap(image, mesh.with_vertices(moved), size=256)
            inside = texture.mask > 0
            nearer = np.linalg.norm(texture.image[inside].astype(float) - background, axis=1)
            skin = np.linalg.norm(texture.image[inside].astype(float) - clean.image[inside], axis=1)
            assert (nearer < skin).mean() < 0.001

    def test_another_chroma_on_the_ears_is_not_skin(self, whole):
        def with_hair(mesh):
            colors = self.skin(mesh)
            colors[mesh.opacity < 0.7] = (200, 90, 60)
            return colors

        image, mesh = whole(with_hair, 40)
        texture = unwrap(image, mesh)
        blue, _, red = np.moveaxis(texture.image[texture.mask > 0].astype(int), -1, 0)
        assert (blue > red).mean() < 0.01
        # without parts, nothing is known about it
        plain = unwrap(image, replace(mesh, opacity=None))
        blue, _, red = np.moveaxis(plain.image[plain.mask > 0].astype(int), -1, 0)
        assert (blue > red).mean() > 0.02

    def test_closed_eyes_get_whites_and_irises(self, whole, model):
        image, mesh = whole(self.skin, expression={"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0})
        texture = unwrap(image, mesh)
        x, y = np.rint(texel_positions(mesh.uv, 512)).astype(int).T

        def color(region):
            return np.median(texture.image[y[model.regions[region]], x[model.regions[region]]].astype(int), axis=0)

        for side in ("left", "right"):
            white = np.flatnonzero((model.part == (1 if side == "left" else 2)) & (mesh.tone > 1))
            whites = np.median(texture.image[y[white], x[white]].astype(int), axis=0)
            assert np.ptp(whites) < 25
            assert whites.min() > 130
            assert color(f"{side}_iris").max() < 110
            assert color(f"{side}_pupil").max() < 60

    def test_an_eye_that_is_seen_keeps_its_own_colours(self, whole, model):
        def green_irises(mesh):
            colors = self.skin(mesh)
            colors[model.part > 0] = (240, 240, 240)
            colors[model.regions["left_iris"]] = (60, 160, 60)
            colors[model.regions["right_iris"]] = (160, 60, 60)
            return colors

        image, mesh = whole(green_irises, scale=24, expression={"eyeWideLeft": 1.0, "eyeWideRight": 1.0})
        texture = unwrap(image, mesh)
        x, y = np.rint(texel_positions(mesh.uv, 512)).astype(int).T
        for side, channel in (("left", 1), ("right", 0)):
            iris = texture.image[y[model.regions[f"{side}_iris"]], x[model.regions[f"{side}_iris"]]].astype(int)
            assert (iris.argmax(axis=1) == channel).mean() > 0.8

    def test_an_eye_that_is_seen_much_worse_than_the_other_is_mirrored(self, whole, model):
        def lashes_over_the_left_eye(mesh):
            colors = self.skin(mesh)
            colors[model.part == 1] = (25, 25, 25)
            colors[model.part == 2] = (240, 240, 240)
            return colors

        wide = {"eyeWideLeft": 1.0, "eyeWideRight": 1.0}
        x, y = np.rint(texel_positions(model.uv, 512)).astype(int).T
        bright = {}
        for yaw in (0, 30):
            image, mesh = whole(lashes_over_the_left_eye, yaw=yaw, scale=24, expression=wide)
            left = (model.part == 1) & (mesh.tone > 1)
            bright[yaw] = np.median(unwrap(image, mesh).image[y[left], x[left]])
        assert bright[0] < 60
        assert bright[30] > 150

    def test_light_from_one_side_leaves_no_seam(self, whole):
        def lit(mesh):
            return np.float32([100, 120, 170]) * (0.5 + mesh.uv[:, :1])

        image, mesh = whole(lit, 35)
        image = np.where((image == (30, 235, 30)).all(axis=-1, keepdims=True), np.uint8(90), image)
        texture = unwrap(image, mesh)
        known = cv2.erode((texture.mask >= MIRRORED).astype(np.uint8), np.ones((9, 9))) > 0
        known[:, :24] = known[:, -24:] = False
        steps = np.abs(np.diff(cv2.blur(texture.image, (5, 5)).astype(int), axis=1)).max(axis=-1)
        seam = known[:, 1:] & (texture.mask[:, 1:] != texture.mask[:, :-1]) & (texture.mask[:, 1:] >= MIRRORED)
        assert seam[40:250].sum() > 50
        assert np.percentile(steps[40:250][seam[40:250]], 90) <= 4

    def test_an_open_mouth_shows_its_inside(self, whole, model):
        def teeth(mesh):
            colors = self.skin(mesh)
            colors[model.part == 3] = (225, 235, 240)
            return colors

        image, mesh = whole(teeth, expression={"jawOpen": 0.7})
        texture = unwrap(image, mesh)
        seen = (texture.mask == SEEN) & covered_by(512, lambda model: (model.part[model.triangles] == 3).all(axis=1))
        assert seen.sum() > 500
        assert np.median(texture.image[seen]) > 200
        closed, mesh = whole(teeth)
        inside = covered_by(512, lambda model: (model.part[model.triangles] == 3).all(axis=1))
        blue, _, red = np.median(unwrap(closed, mesh).image[inside].astype(int), axis=0)
        assert 10 < red < 110
        assert red > 1.3 * blue

    @pytest.mark.parametrize(("yaw", "jaw"), [(0, 0.25), (0, 0.6), (25, 0.4)])
    def test_teeth_are_whole_between_the_lips(self, whole, model, yaw, jaw):
        def teeth(mesh):
            colors = self.skin(mesh)
            colors[model.part == 3] = (225, 235, 240)
            return colors

        image, mesh = whole(teeth, yaw, expression={"jawOpen": jaw, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.6})
        texture = unwrap(image, mesh)
        raster = rasterize(mesh.vertices, mesh.triangles, (0, 0, 480, 480), cull="back")
        lining = (model.part[mesh.triangles] == 3).all(axis=1)
        between = cv2.erode((raster.mask & lining[raster.triangle_id]).view(np.uint8), np.ones((3, 3))) > 0
        assert between.sum() > 100
        again = sample(texture.image, interpolate(raster, mesh.triangles, texel_positions(mesh.uv, 512)))
        assert (np.abs(again.astype(int) - image)[between].max(axis=-1) < 40).mean() > 0.97


class TestVertexColors:
    """RGB in 0..1, where a texture is BGR."""

    @pytest.mark.parametrize("given", [False, True])
    def test_visible_ones_come_from_the_image_and_hidden_ones_from_the_other_side(self, model, given):
        mesh = head(model, 50)
        image = photo(mesh, lopsided)
        colors = vertex_colors(image, mesh, unwrap(image, mesh) if given else None)
        assert colors.dtype == np.float32
        assert colors.flags.c_contiguous
        assert colors.min() >= 0
        assert colors.max() <= 1
        weight = visibility(mesh, image.shape[:2])
        seen = weight == 1
        assert seen.sum() > 2000
        off = np.abs(colors * 255 - lopsided(mesh.uv)[:, ::-1]).max(axis=1)
        assert np.percentile(off[seen], 98) < 3
        far = (model.mean[:, 0] > 4) & (model.mean[:, 1] > -4) & (model.part == 0)
        far[[*model.regions["left_ear"], *model.regions["socket"], *model.regions["ear_plugs"]]] = False
        far &= np.isin(np.arange(len(far)), model.triangles)
        mirrored = lopsided(np.column_stack([1 - mesh.uv[:, 0], mesh.uv[:, 1]]))[:, ::-1]
        far &= weight == 0
        assert far.sum() > 1500
        assert np.percentile(np.abs(colors * 255 - mirrored).max(axis=1)[far], 90) < 4

    def test_without_uv_all_come_from_the_image(self, model):
        mesh = head(model, 50)
        image = photo(mesh, lopsided)
        colors = vertex_colors(image, Mesh(mesh.vertices, mesh.triangles))
        np.testing.assert_allclose(colors * 255, sample(image, mesh.vertices)[:, ::-1], atol=1e-3)

    def test_no_vertices(self):
        empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32), None, np.zeros((0, 2)))
        assert vertex_colors(np.zeros((4, 4, 3), np.uint8), empty).shape == (0, 3)


class TestImageBorders:
    def test_a_side_outside_of_the_image_is_mirrored(self, model):
        mesh = head(model, at=(200, 200, 0))
        image = photo(mesh, symmetric)[:, :200]  # half of it: the right side of the face, the left half of the UV map
        texture = unwrap(image, mesh)
        assert ((texture.mask == SEEN) & skin(512))[:, 262:].sum() == 0
        assert ((texture.mask == MIRRORED) & skin(512))[:, 262:].sum() > 20000
        known = (texture.mask >= MIRRORED) & skin(512)
        assert np.percentile(errors(texture, symmetric)[known], 95) < 3

    def test_a_face_outside_of_the_image(self, model):
        mesh = head(model, at=(5000, 200, 0))
        texture = unwrap(np.full((50, 50, 3), 90, np.uint8), mesh, size=64)
        assert set(np.unique(texture.mask)) == {0, FILLED}

    def test_the_right_end_of_a_very_wide_image(self, model):
        near, far = head(model, 20), head(model, 20, at=(39800.0, 200.0, 0.0))
        image = photo(near, lopsided)
        wide = np.zeros((400, 40000, 3), np.uint8)
        wide[:, 39600:] = image
        expected, texture = unwrap(image, near, size=128), unwrap(wide, far, size=128)
        both = (expected.mask == SEEN) & (texture.mask == SEEN) & skin(128)
        assert both.sum() > 0.9 * (expected.mask == SEEN).sum() - 500
        assert np.abs(texture.image[both].astype(int) - expected.image[both]).mean() < 2

    def test_one_pixel(self, model):
        texture = unwrap(np.full((1, 1, 3), 90, np.uint8), head(model), size=64)
        assert set(np.unique(texture.mask)) <= {0, FILLED, MIRRORED, SEEN}
        assert texture.image[texture.mask >= MIRRORED].size == 0 or (texture.image[texture.mask >= MIRRORED] > 80).all()


class TestVisibility:
    def test_a_plane(self):
        y, x = np.mgrid[:21, :21]
        vertices = np.stack([x * 10, y * 10, 0 * x], axis=-1).reshape(-1, 3).astype(np.float32)
        at = np.arange(441).reshape(21, 21)
        a, b, c, d = (v.ravel() for v in (at[:-1, :-1], at[:-1, 1:], at[1:, :-1], at[1:, 1:]))
        triangles = np.concatenate([np.column_stack([a, c, b]), np.column_stack([b, c, d])]).astype(np.int32)
        weight = visibility(Mesh(vertices, triangles), (300, 300)).reshape(21, 21)
        assert (weight[2:-2, 2:-2] == 1).all()
        assert (weight >= 0).all()
        assert (weight <= 1).all()
        np.testing.assert_array_equal(visibility(Mesh(vertices, triangles[:, ::-1]), (300, 300)), 0)
        # a grazing angle counts for less, down to nothing
        by_angle = []
        for degrees in (0, 45, 60, 70, 78):
            z = vertices[:, 0] * np.tan(np.radians(degrees))
            tilted = visibility(Mesh(np.column_stack([vertices[:, :2], z]), triangles), (300, 300))
            by_angle.append(tilted.reshape(21, 21)[10, 10])
        np.testing.assert_allclose(by_angle, [1, 1, 1, (0.342 - 0.12) / 0.26, (0.208 - 0.12) / 0.26], atol=0.01)

    def test_a_wall_in_front(self, model):
        mesh = head(model)
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        middle, front = (low[0] + high[0]) / 2, high[2] + 40
        wall = np.array(
            [[middle, low[1], front], [high[0], low[1], front], [middle, high[1], front], [high[0], high[1], front]]
        )
        n = len(mesh.vertices)
        triangles = np.concatenate([mesh.triangles, [[n, n + 2, n + 1], [n + 1, n + 2, n + 3]]]).astype(np.int32)
        hidden = visibility(Mesh(np.concatenate([mesh.vertices, wall]), triangles), (400, 400))[:n]
        free = visibility(mesh, (400, 400))
        right, left = mesh.vertices[:, 0] > middle + 8, mesh.vertices[:, 0] < middle - 8
        assert (free[right] == 1).sum() > 1000
        assert (hidden[right] == 0).all()
        assert ((hidden > 0.5) == (free > 0.5))[left].mean() > 0.98

    @pytest.mark.parametrize("yaw", [-60, -25, 0, 40, 75])
    def test_against_an_exact_depth_test(self, model, yaw):
        mesh = head(model, yaw, pitch=5)
        weight = visibility(mesh, (400, 400))
        large = Mesh(mesh.vertices * 4, mesh.triangles)
        depth = rasterize(large.vertices, large.triangles, (0, 0, 1600, 1600), cull="back").depth
        x, y = np.rint(large.vertices[:, :2]).astype(int).T
        behind = (depth[y, x] - large.vertices[:, 2]) / np.ptp(large.vertices[:, 2])
        facing = vertex_normals(mesh.vertices, mesh.triangles)[:, 2]
        assert weight.dtype == np.float32
        assert (weight[facing <= 0.12] == 0).all()
        assert (weight[behind > 0.1] == 0).all()
        assert (behind > 0.1).sum() > 100
        free = (facing > 0.7) & (np.abs(behind) < 0.005) & (model.part == 0)
        assert free.sum() > 2000
        assert (weight[free] > 0).mean() > 0.88
        assert np.median(weight[free]) == 1

    def test_the_far_side_of_a_turned_head(self, model):
        for yaw, far, near in ((50, "left_ear", "right_ear"), (-50, "right_ear", "left_ear")):
            weight = visibility(head(model, yaw), (400, 400))
            assert (weight[model.regions[far]] == 0).all()
            assert (weight[model.regions[near]] == 1).mean() > 0.12
            side = 1 if far == "left_ear" else -1
            skin_far = (model.mean[:, 0] * side > 5) & (model.part == 0)
            assert (weight[skin_far] > 0).mean() < 0.01

    def test_outside_of_the_image(self, model):
        mesh = head(model)
        weight = visibility(mesh, (400, 400))
        cropped = visibility(mesh, (190, 210))
        x, y = mesh.vertices[:, 0], mesh.vertices[:, 1]
        inside = (x > -0.5) & (y > -0.5) & (x < 209.5) & (y < 189.5)
        assert 1000 < inside.sum() < len(inside) - 1000
        np.testing.assert_array_equal(cropped, np.where(inside, weight, 0))
        moved = Mesh(mesh.vertices - np.float32([1000, 0, 0]), mesh.triangles)
        assert not visibility(moved, (400, 400)).any()

    def test_position_and_depth_do_not_matter(self, model):
        mesh = head(model, 20)
        moved = Mesh(mesh.vertices + np.float32([512, 256, 4096]), mesh.triangles)
        difference = visibility(moved, (2000, 2000)) - visibility(mesh, (2000, 2000))
        assert (np.abs(difference) > 0.05).mean() < 0.005

    def test_no_vertices(self):
        empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32), None, np.zeros((0, 2)))
        assert visibility(empty, (10, 10)).shape == (0,)

    def test_points_without_triangles(self):
        assert not visibility(Mesh(np.zeros((3, 3)), np.zeros((0, 3), np.int32)), (10, 10)).any()


class TestArguments:
    @pytest.mark.parametrize(
        ("image", "error"),
        [
            (None, TypeError),
            (np.zeros((4, 4, 3)), TypeError),
            (np.zeros((4, 4), np.uint8), ValueError),
            (np.zeros((0, 4, 3), np.uint8), ValueError),
        ],
    )
    def test_images(self, model, image, error):
        with pytest.raises(error, match="image: expected"):
            unwrap(image, head(model))

    def test_a_mesh_without_uv(self, model):
        mesh = head(model)
        with pytest.raises(ValueError, match="mesh: expected a mesh with uv"):
            unwrap(np.zeros((4, 4, 3), np.uint8), Mesh(mesh.vertices, mesh.triangles))

    @pytest.mark.parametrize("size", [0, -5, 15, 8193])
    def test_sizes(self, model, size):
        with pytest.raises(ValueError, match=rf"size: expected 16..8192 px, got {size}"):
            unwrap(np.zeros((4, 4, 3), np.uint8), head(model), size=size)

    @pytest.mark.parametrize("size", [256.5, "512", None])
    def test_sizes_of_another_type(self, model, size):
        with pytest.raises((TypeError, ValueError), match="size: expected"):
            unwrap(np.zeros((4, 4, 3), np.uint8), head(model), size=size)

    def test_an_empty_mesh(self):
        empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32), None, np.zeros((0, 2)))
        texture = unwrap(np.full((9, 9, 3), 50, np.uint8), empty, size=32)
        assert not texture.mask.any()
        assert not texture.image.any()

    def test_a_mesh_without_triangles(self, aligner, model):
        mesh = aligner.decoder.mesh(make_face(model, Camera.from_pose(0, 0, 0, 14.0, (200.0, 200.0, 0.0))))
        points = replace(mesh, triangles=np.zeros((0, 3), np.int32))
        assert not unwrap(np.full((9, 9, 3), 50, np.uint8), points, size=32).mask.any()


@pytest.mark.parametrize(("axis", "value"), [(0, 1e30), (1, -1e38), (2, 1e30)])
def test_a_vertex_very_far_away_is_no_error(model, axis, value):
    """It shrinks the image to a pixel at most."""
    mesh = head(model)
    mesh.vertices[100, axis] = value
    texture = unwrap(photo(head(model), lopsided), mesh, size=64)
    assert texture.image.shape == (64, 64, 3) and (texture.mask > 0).any()
