from dataclasses import replace

import cv2
import numpy as np
import pytest

from builders import make_face
from Sim3DR import rasterize, shade, vertex_normals
from tddfa import Camera, Mesh, draw
from tddfa.geometry.rotation import rotation_from_euler
from tddfa.surface.texture import Texture
from tddfa.surface.visibility import visibility

SIZE = 480


@pytest.fixture(scope="module")
def model(aligner):
    return aligner.face_model


def mesh_of(model, yaw=0.0, pitch=0.0, roll=0.0, scale=14.0, at=(240.0, 240.0, 0.0), **options):
    return Mesh(Camera.from_pose(yaw, pitch, roll, scale, at).project(model.mean), model.triangles, **options)


def face_of(model, yaw=0.0, pitch=0.0, roll=0.0, scale=14.0, at=(240.0, 240.0, 0.0)):
    return make_face(model, Camera.from_pose(yaw, pitch, roll, scale, at))


@pytest.fixture(scope="module")
def image():
    """Noise, so that any written pixel is noticed; read-only, so that drawing on it fails."""
    noise = np.random.default_rng(3).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    noise.setflags(write=False)
    return noise


# how to draw each kind on an image, for given heads: the kinds that take Face and those that take Mesh
ON_FACES = {
    "landmarks": draw.landmarks,
    "box": lambda image, faces: draw.pose(image, faces),
    "axes": lambda image, faces: draw.pose(image, faces, style="axes"),
}
ON_MESHES = {
    "points": lambda image, meshes, model: draw.points(image, meshes),
    "mesh": lambda image, meshes, model: draw.mesh(image, meshes),
    "depth": lambda image, meshes, model: draw.depth(image, meshes),
    "pncc": lambda image, meshes, model: draw.pncc(image, meshes, model.normalized_coordinates),
}


def drawn(kind, image, model, heads):
    """Draw a kind for heads given by the arguments of `face_of`."""
    if kind in ON_FACES:
        return ON_FACES[kind](image, [face_of(model, **head) for head in heads])
    return ON_MESHES[kind](image, [mesh_of(model, **head) for head in heads], model)


KINDS = [*ON_FACES, *ON_MESHES]
SURFACES = ["mesh", "depth", "pncc"]


def silhouette(mesh, size=SIZE):
    return rasterize(mesh.vertices, mesh.triangles, (0, 0, size, size), cull="back").mask


def inner(mesh, px=3, size=SIZE):
    """Pixels covered by the mesh, without its outline, the opening of the mouth and the gaps at the eyes."""
    return cv2.erode(silhouette(mesh, size).view(np.uint8), np.ones((2 * px + 1, 2 * px + 1))) > 0


def changed(before, after):
    return (before != after).any(axis=-1)


class TestEveryKind:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_new_image_that_differs_only_near_the_face(self, image, model, kind):
        result = drawn(kind, image, model, [{"yaw": 20, "at": (150.0, 160.0, 0.0), "scale": 8.0}])
        assert result.shape == image.shape
        assert result.dtype == np.uint8
        assert not np.shares_memory(result, image)
        result[0, 0] = 0  # it is writeable
        there = changed(image, result)[1:, 1:]
        assert there[40:280, 40:300].sum() > 500
        there[:300, :320] = False
        assert not there.any()

    @pytest.mark.parametrize("kind", KINDS)
    def test_no_faces(self, image, model, kind):
        result = drawn(kind, image, model, [])
        np.testing.assert_array_equal(result, image)
        assert not np.shares_memory(result, image)

    @pytest.mark.parametrize("kind", KINDS)
    def test_strided_images(self, image, model, kind):
        heads = [{"yaw": 20, "at": (120.0, 200.0, 0.0), "scale": 8.0}]
        for view in (image[:, ::2], image[::-1], image[..., ::-1], np.asfortranarray(image)):
            expected = drawn(kind, np.ascontiguousarray(view), model, heads)
            np.testing.assert_array_equal(drawn(kind, view, model, heads), expected)

    @pytest.mark.parametrize("kind", ["landmarks", *ON_MESHES])
    @pytest.mark.parametrize("scale", [8.0, 14.0])
    def test_a_face_at_the_border_is_the_part_of_it_that_is_inside(self, image, model, kind, scale):
        whole = drawn(kind, image, model, [{"yaw": 20, "scale": scale}])
        for rows, columns in (
            (slice(230, 480), slice(0, 480)),
            (slice(0, 260), slice(220, 300)),
            (slice(64, 200), slice(0, 240)),
        ):
            at = (240.0 - columns.start, 240.0 - rows.start, 0.0)
            part = drawn(kind, image[rows, columns], model, [{"yaw": 20, "scale": scale, "at": at}])
            difference = np.abs(part.astype(int) - whole[rows, columns]).max(axis=-1)
            # the dot of a cell of 2.5 px may be another one of the cell
            allowed = 0.15 if kind == "points" else 0.01
            assert (difference[4:-4, 4:-4] > 3).mean() < allowed
            assert changed(part, image[rows, columns]).mean() > 0.001

    @pytest.mark.parametrize("kind", ["landmarks", *ON_MESHES])
    @pytest.mark.parametrize("at", [(-900.0, 240.0, 0.0), (240.0, 5000.0, 0.0), (1e6, 1e6, 0.0), (-1e8, 50.0, 0.0)])
    def test_a_face_outside(self, image, model, kind, at):
        np.testing.assert_array_equal(drawn(kind, image, model, [{"at": at}]), image)

    @pytest.mark.parametrize("kind", ["box", "axes"])
    @pytest.mark.parametrize("at", [(-900.0, 240.0, 0.0), (240.0, 5000.0, 0.0), (1e6, 1e6, 0.0), (-1e8, 50.0, 0.0)])
    def test_the_pose_of_a_face_outside(self, image, model, kind, at):
        there = changed(drawn(kind, image, model, [{"at": at}]), image)  # nothing, or the label
        assert not there.any() or np.ptp(np.nonzero(there)[0]) < 60

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("scale", [1e5, 1e8, 1e30])
    def test_a_face_that_is_larger_than_any_image(self, model, kind, scale):
        grey = np.full((60, 80, 3), 77, np.uint8)
        assert drawn(kind, grey, model, [{"yaw": 20, "scale": scale}]).shape == grey.shape

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (300, 1, 3), (7, 5, 3)])
    def test_small_images(self, model, kind, shape):
        grey = np.full(shape, 77, np.uint8)
        assert drawn(kind, grey, model, [{"at": (2.0, 2.0, 0.0)}]).shape == shape
        assert (grey == 77).all()

    @pytest.mark.parametrize("kind", KINDS)
    def test_slivers_of_a_face(self, model, kind):
        # so little of the face is inside that the images are arrays of a few numbers
        for height in range(1, 6):
            for width in range(1, 6):
                grey = np.full((40, 60, 3), 77, np.uint8)
                head = mesh_of(model, scale=8)
                high = head.vertices[:, :2].max(axis=0)
                at = (240.0 + width - 1.2 - high[0], 240.0 + height - 1.2 - high[1], 0.0)
                there = changed(drawn(kind, grey, model, [{"scale": 8, "at": at}]), grey)
                if kind in ON_MESHES:
                    assert not there[height:].any()
                    assert not there[:, width:].any()

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("scale", [0.02, 0.3])
    def test_tiny_faces_change_little(self, image, model, kind, scale):
        there = changed(drawn(kind, image, model, [{"scale": scale}]), image)
        assert there[200:280, 100:380].sum() == there.sum()
        if kind not in ON_FACES:
            assert there.sum() < (25 * scale + 4) ** 2

    @pytest.mark.parametrize("kind", SURFACES)
    def test_a_black_background(self, image, model, kind):
        def paint(heads):
            meshes = [mesh_of(model, **head) for head in heads]
            if kind == "pncc":
                return draw.pncc(image, meshes, model.normalized_coordinates, background="black")
            return {"mesh": draw.mesh, "depth": draw.depth}[kind](image, meshes, background="black")

        assert not paint([]).any()
        black, over = paint([{"yaw": 20}]), drawn(kind, image, model, [{"yaw": 20}])
        head = mesh_of(model, yaw=20)
        outside = cv2.dilate(silhouette(head).view(np.uint8), np.ones((5, 5))) == 0
        # pinholes at the eyes are closed, so pixels inside the outline are not checked
        flooded = cv2.floodFill(np.pad(1 - outside.view(np.uint8), 1), None, (0, 0), 2)[1][1:-1, 1:-1] == 2
        assert not black[flooded].any()
        np.testing.assert_array_equal(over[flooded], image[flooded])
        if kind != "mesh":  # translucent
            np.testing.assert_array_equal(black[inner(head)], over[inner(head)])

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            (None, TypeError),
            (np.zeros((4, 4, 3)), TypeError),
            (np.zeros((4, 4), np.uint8), ValueError),
            (np.zeros((4, 4, 4), np.uint8), ValueError),
            (np.zeros((0, 4, 3), np.uint8), ValueError),
        ],
    )
    def test_bad_images_are_named(self, model, kind, wrong, error):
        with pytest.raises(error, match="image: expected"):
            drawn(kind, wrong, model, [{}])

    @pytest.mark.parametrize("kind", SURFACES)
    def test_bad_backgrounds_are_named(self, image, model, kind):
        function = getattr(draw, kind)
        arguments = (model.normalized_coordinates,) if kind == "pncc" else ()
        with pytest.raises(ValueError, match="background: expected image, black or white, got 'red'"):
            function(image, [], *arguments, background="red")

    @pytest.mark.parametrize("kind", SURFACES)
    def test_a_white_background(self, image, model, kind):
        arguments = (model.normalized_coordinates,) if kind == "pncc" else ()
        mesh = mesh_of(model)
        black, white = (
            getattr(draw, kind)(image, [mesh], *arguments, background=color) for color in ("black", "white")
        )
        where = inner(mesh, 1)
        np.testing.assert_array_equal(black[where], white[where])
        assert (white[:20] == 255).all()
        assert (black[:20] == 0).all()

    @pytest.mark.parametrize("function", [draw.mesh, draw.depth, draw.depth_px, draw.points])
    def test_what_is_no_sequence_of_meshes_is_named(self, image, model, function):
        mesh, face = mesh_of(model), face_of(model)
        for wrong, words in (
            (mesh, "meshes: expected a sequence of Mesh, got one Mesh; put it into a list"),
            ([mesh, face], "meshes[1]: expected a Mesh, got Face"),
        ):
            with pytest.raises(TypeError) as caught:
                function(image, wrong)
            assert str(caught.value) == words

    @pytest.mark.parametrize("function", [draw.landmarks, draw.pose])
    def test_what_is_no_sequence_of_faces_is_named(self, image, model, function):
        face = face_of(model)
        for wrong, words in (
            (face, "faces: expected a sequence of Face, got one Face; put it into a list"),
            (face.landmarks, "faces[0]: expected a Face, got ndarray"),
            (None, "faces: expected a sequence of Face, got NoneType"),
        ):
            with pytest.raises(TypeError) as caught:
                function(image, wrong)
            assert str(caught.value) == words

    def test_other_arguments_of_a_wrong_type_are_named(self, image, model):
        mesh, face = mesh_of(model), face_of(model)
        with pytest.raises(TypeError, match="faces: expected a sequence of Face, got one Face"):
            draw.six_dof(image, face, [mesh], [None])
        with pytest.raises(TypeError, match="meshes: expected a sequence of Mesh, got one Mesh"):
            draw.six_dof(image, [face], mesh, [None])
        with pytest.raises(TypeError, match="found: expected Detections, got list"):
            draw.boxes(image, [face])

    @pytest.mark.parametrize("kind", ON_MESHES)
    def test_a_mesh_of_nothing(self, image, model, kind):
        empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
        np.testing.assert_array_equal(ON_MESHES[kind](image, [empty], model), image)


class TestThreads:
    def test_the_result_does_not_depend_on_them(self, model):
        mesh = mesh_of(model, yaw=20, scale=30, at=(480.0, 480.0, 0.0))
        photo = np.random.default_rng(1).integers(0, 256, (960, 960, 3), dtype=np.uint8)
        for function, *rest in (
            (draw.mesh,),
            (draw.depth,),
            (draw.depth_px,),
            (draw.pncc, model.normalized_coordinates),
        ):
            one, three = (function(photo, [mesh], *rest, threads=threads) for threads in (1, 3))
            np.testing.assert_array_equal(one, three)

    def test_bad_numbers_are_named(self, image, model):
        with pytest.raises(ValueError, match="threads: expected a whole number"):
            draw.mesh(image, [mesh_of(model)], threads=0)


class TestMesh:
    def test_a_nearer_face_hides_a_farther_one(self, image, model):
        near, far = mesh_of(model, scale=16), mesh_of(model, yaw=30, scale=9, at=(300.0, 260.0, 500.0))
        for alpha in (0.5, 0.85, 1.0):
            one, other = (draw.mesh(image, meshes, alpha=alpha) for meshes in ([near, far], [far, near]))
            np.testing.assert_array_equal(one, other)
            alone = draw.mesh(image, [near], alpha=alpha)
            np.testing.assert_array_equal(one[inner(near)], alone[inner(near)])
            beside = silhouette(far) & (cv2.dilate(silhouette(near).view(np.uint8), np.ones((5, 5))) == 0)
            assert beside.sum() > 300
            np.testing.assert_array_equal(one[beside], draw.mesh(image, [far], alpha=alpha)[beside])

    @pytest.mark.parametrize("scale", [8.0, 16.0])
    def test_opaque(self, image, model, scale):
        # the background of an opaque surface does not matter, except at its outline
        mesh = mesh_of(model, yaw=20, scale=scale)
        over, on_black = draw.mesh(image, [mesh], alpha=1), draw.mesh(image, [mesh], alpha=1, background="black")
        differs = changed(over, on_black)[inner(mesh)]
        assert differs.mean() < 0.001  # a hole smaller than a pixel, beside an eyeball
        assert np.ptp(on_black[inner(mesh)]) > 100  # it is lit

    @pytest.mark.parametrize("scale", [8.0, 16.0])
    def test_invisible(self, image, model, scale):
        mesh = mesh_of(model, yaw=20, scale=scale)
        np.testing.assert_array_equal(draw.mesh(image, [mesh], alpha=0), image)
        assert not draw.mesh(image, [mesh], alpha=0, background="black").any()

    @pytest.mark.parametrize("scale", [8.0, 16.0])
    def test_translucent(self, image, model, scale):
        mesh = mesh_of(model, yaw=20, scale=scale)
        opaque = draw.mesh(image, [mesh], alpha=1)
        where = inner(mesh)
        expected = 0.4 * opaque[where].astype(float) + 0.6 * image[where]
        np.testing.assert_allclose(draw.mesh(image, [mesh], alpha=0.4)[where], expected, atol=1.01)

    @pytest.mark.parametrize("style", ["paper", "classic"])
    def test_the_photo_stays_recognisable_and_black_does_not_dim(self, image, model, style):
        mesh = mesh_of(model, yaw=20)
        where = inner(mesh)
        dark, bright = (np.full_like(image, grey) for grey in (50, 200))
        drawn = [draw.mesh(photo, [mesh], style=style)[where].astype(float) for photo in (dark, bright)]
        assert np.percentile(drawn[1] - drawn[0], 1) > 0.38 * 150
        over_black, opaque = (
            draw.mesh(image, [mesh], style=style, background="black", **k) for k in ({}, {"alpha": 1})
        )
        np.testing.assert_array_equal(over_black, opaque)

    @pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
    def test_bad_opacity_is_named(self, image, model, alpha):
        with pytest.raises(ValueError, match="alpha: expected"):
            draw.mesh(image, [mesh_of(model)], alpha=alpha)

    @pytest.mark.parametrize("scale", [8.0, 16.0])
    def test_colors_are_rgb(self, image, model, scale):
        for channel in range(3):
            colors = np.zeros((len(model.mean), 3), np.float32)
            colors[:, channel] = 0.8
            mesh = mesh_of(model, scale=scale, colors=colors)
            result = draw.mesh(image, [mesh], alpha=1)[inner(mesh)]
            others = [2 - c for c in range(3) if c != channel]
            assert result[:, others].max() == 0
            assert np.median(result[:, 2 - channel]) > 120

    def test_light_comes_from_above_and_from_the_left(self, image):
        def brightness(x, y):
            """Brightness of a plate that faces up, down, left or right."""
            corners = np.array([[100, 100], [100, 400], [400, 100], [400, 400]], np.float32)
            z = corners @ np.float32([x, y]) * 0.7
            plate = Mesh(np.column_stack([corners, z]), np.array([[0, 1, 2], [2, 1, 3]]))
            return draw.mesh(image, [plate], alpha=1)[250, 250].mean()

        up, down, left, right = brightness(0, 1), brightness(0, -1), brightness(1, 0), brightness(-1, 0)
        assert up > left > right > down
        assert up - down > 50

    def test_the_mouth_stays_open_and_pinholes_are_closed(self, image, model):
        # a plate with a hole of 3 x 3 px and one of 60 x 60 px
        y, x = np.mgrid[:101, :101]
        vertices = np.stack([x * 3 + 90, y * 3 + 90, 0 * x], axis=-1).reshape(-1, 3).astype(np.float32)
        at = np.arange(101 * 101).reshape(101, 101)
        kept = np.ones((100, 100), bool)
        kept[20, 20] = False
        kept[50:70, 50:70] = False
        a, b, c, d = (v[kept] for v in (at[:-1, :-1], at[:-1, 1:], at[1:, :-1], at[1:, 1:]))
        plate = Mesh(vertices, np.concatenate([np.column_stack([a, c, b]), np.column_stack([b, c, d])]))
        depth = draw.depth_px(image, [plate])
        assert np.isfinite(depth[148:156, 148:156]).all()
        assert np.isnan(depth[244:296, 244:296]).all()
        assert np.isfinite(depth[92:388, 92:388]).mean() == pytest.approx(1 - 60 * 60 / 296**2, abs=0.003)


class TestStyles:
    @pytest.fixture
    def head(self, aligner):
        """A head at the middle of the image, with the appearance of the face model."""

        def make(yaw=0.0, scale=18.0):
            return aligner.decoder.mesh(face_of(aligner.face_model, yaw=yaw, scale=scale))

        return make

    @pytest.mark.parametrize("scale", [9.0, 18.0])
    def test_the_rim_fades_out_and_the_face_does_not(self, image, head, scale):
        mesh = head(scale=scale)
        opaque, fading = (draw.mesh(image, [m], alpha=1) for m in (replace(mesh, opacity=None), mesh))
        x, y = np.rint(mesh.vertices[:, :2]).astype(int).T
        facing = vertex_normals(mesh.vertices, mesh.triangles)[:, 2] > 0.5
        rim, face = facing & (mesh.opacity < 0.1), facing & (mesh.opacity == 1)
        inside = inner(mesh, 6)[y, x]
        assert np.abs(fading[y, x][face & inside].astype(int) - opaque[y, x][face & inside]).max() <= 4
        off = np.abs(fading[y, x][rim].astype(int) - image[y, x][rim]).mean()
        assert off < 0.25 * np.abs(opaque[y, x][rim].astype(int) - image[y, x][rim]).mean()

    def test_the_rim_fades_out_over_a_farther_face(self, head):
        grey = np.full((SIZE, SIZE, 3), 90, np.uint8)
        far = head(scale=12)
        near = replace(far, vertices=far.vertices * np.float32(1.5) + np.float32([-200, -20, 900]))
        both, alone = draw.mesh(grey, [near, far]), draw.mesh(grey, [far])
        x, y = np.rint(near.vertices[near.opacity < 0.03, :2]).astype(int).T
        x, y = (v[(x > 2) & (x < SIZE - 2) & (y > 2) & (y < SIZE - 2)] for v in (x, y))
        behind = inner(far, 3)[y, x]
        assert behind.sum() > 20
        assert np.abs(both[y, x][behind].astype(int) - alone[y, x][behind]).mean() < 12

    def test_irises_can_be_seen(self, image, head, model):
        mesh = head(scale=25)
        drawn = draw.mesh(image, [mesh], alpha=1).mean(axis=-1)

        def brightness(region):
            x, y = mesh.vertices[model.regions[region], :2].mean(axis=0)
            return drawn[round(y), round(x)]

        for side in ("left", "right"):
            pupil = brightness(f"{side}_pupil")
            corner = mesh.vertices[model.regions[f"{side}_iris"], :2]
            x, y = np.rint([corner[:, 0].max() + 4, corner[:, 1].mean()]).astype(int)
            assert pupil < 90 < 140 < drawn[y, x]

    def test_classic_is_the_look_of_3ddfa_v2(self, image, head):
        mesh = head(yaw=20)
        result = draw.mesh(image, [mesh], style="classic", alpha=1)
        light = shade(vertex_normals(mesh.vertices, mesh.triangles))
        x, y = np.rint(mesh.vertices[:, :2]).astype(int).T
        clear = (visibility(mesh, (SIZE, SIZE)) == 1) & inner(mesh, 3)[y, x] & (mesh.shade == 1)
        expected = np.minimum(255 * (light.diffuse + light.specular), 255)[clear]
        assert np.percentile(np.abs(result[y, x][clear] - expected[:, None]), 95) < 8
        translucent = draw.mesh(image, [mesh], style="classic")
        where = inner(mesh)
        mixed = 0.6 * result[where].astype(float) + 0.4 * image[where]
        np.testing.assert_allclose(translucent[where], mixed, atol=1.01)

    @pytest.mark.parametrize("style", ["paper", "classic"])
    def test_without_ears(self, aligner, head, style):
        grey = np.full((SIZE, SIZE, 3), 90, np.uint8)
        mesh = head()
        earless = draw.mesh(grey, [aligner.decoder.without_ears(mesh)], style=style)
        full = draw.mesh(grey, [mesh], style=style)
        tips = [mesh.vertices[:, 0].argmin(), mesh.vertices[:, 0].argmax()]
        for tip, inwards in zip(tips, (6, -6), strict=True):
            x, y = np.rint(mesh.vertices[tip, :2] + np.float32([inwards, 0])).astype(int)
            assert (full[y, x] != 90).any()
            assert (earless[y, x] == 90).all()
        nose = slice(220, 260), slice(220, 260)
        np.testing.assert_array_equal(full[nose], earless[nose])

    def test_most_greys_of_depth_are_those_of_the_face(self, image, head):
        mesh = head(yaw=35)
        result = draw.depth(image, [mesh])
        facing = vertex_normals(mesh.vertices, mesh.triangles)[:, 2] > 0.2
        low = mesh.vertices[facing & (mesh.opacity == 1), 2].min()
        assert low > mesh.vertices[facing, 2].min() + 5
        numbers = draw.depth_px(image, [mesh])
        where = inner(mesh, 1)
        assert 0 < result[where & (numbers < low - 1)].max() <= 40
        assert result[where & (numbers > low + 1)].min() >= 39
        grey = result[where][np.argsort(numbers[where]), 0].astype(int)
        assert (np.diff(grey) >= 0).all()
        assert grey[-1] >= 253

    def test_bad_styles_are_named(self, image):
        with pytest.raises(ValueError, match="style: expected one of paper, classic, got 'clay'"):
            draw.mesh(image, [], style="clay")


class TestDepth:
    def test_numbers_against_numpy(self, image, model):
        mesh = mesh_of(model, yaw=25, pitch=-10, at=(240.0, 240.0, 37.0))
        result = draw.depth_px(image, [mesh])
        assert result.dtype == np.float32
        a, b, c = mesh.vertices[model.triangles].astype(np.float64).transpose(1, 0, 2)
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        front = area < -1e-9  # y is down
        a, b, c, area = a[front], b[front], c[front], area[front]
        rows, columns = np.nonzero(inner(mesh))
        for i in np.random.default_rng(0).choice(len(rows), 150, replace=False):
            x, y = columns[i], rows[i]
            wb = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])) / area
            wc = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])) / area
            hit = (wb >= -1e-9) & (wc >= -1e-9) & (wb + wc <= 1 + 1e-9)
            z = ((1 - wb - wc) * a[:, 2] + wb * b[:, 2] + wc * c[:, 2])[hit]
            assert result[y, x] == pytest.approx(z.max(), abs=0.02)

    def test_numbers_are_nan_elsewhere(self, image, model):
        mesh = mesh_of(model, yaw=25)
        covered, result = silhouette(mesh), draw.depth_px(image, [mesh])
        assert np.isfinite(result[covered]).all()
        assert (np.isfinite(result) & ~covered).sum() < 0.002 * covered.sum()  # closed pinholes
        assert np.isnan(draw.depth_px(image, [])).all()
        assert np.isnan(draw.depth_px(image, [mesh_of(model, at=(-900.0, 0.0, 0.0))])).all()

    def test_grey_is_proportional_to_the_depth_of_the_face(self, image, model):
        mesh = mesh_of(model, yaw=25)
        numbers, result = draw.depth_px(image, [mesh]), draw.depth(image, [mesh])
        where = inner(mesh, 1)
        facing = vertex_normals(mesh.vertices, mesh.triangles)[:, 2] > 0.2
        low, high = mesh.vertices[facing, 2].min(), mesh.vertices[facing, 2].max()
        expected = np.clip((numbers[where] - low) / (high - low) * 255, 0, 255)
        np.testing.assert_allclose(result[where][:, 0], expected, atol=1)
        assert (np.ptp(result[where], axis=-1) == 0).all()
        order = np.argsort(numbers[where])
        grey = result[where][order, 0].astype(int)
        assert (np.diff(grey) >= 0).all()
        assert grey[-1] >= 253
        assert grey[0] < 120

    def test_classic_scales_the_depths_of_all_vertices(self, image, model):
        mesh = mesh_of(model, yaw=25)
        numbers, result = draw.depth_px(image, [mesh]), draw.depth(image, [mesh], style="classic")
        low, high = mesh.vertices[:, 2].min(), mesh.vertices[:, 2].max()
        where = inner(mesh, 1)
        expected = (numbers[where] - low) / (high - low) * 255
        np.testing.assert_allclose(result[where][:, 0], expected, atol=1)

    def test_unknown_style(self, image, model):
        with pytest.raises(ValueError, match="style: expected one of face, classic, got 'paper'"):
            draw.depth(image, [mesh_of(model)], style="paper")

    def test_each_face_has_its_own_range(self, image, model):
        left = mesh_of(model, scale=8, at=(120.0, 240.0, -1000.0))
        right = mesh_of(model, scale=8, at=(360.0, 240.0, 1000.0))
        result = draw.depth(image, [left, right])
        for mesh in (left, right):
            grey = result[inner(mesh, 1)]
            assert grey.max() >= 253
            assert grey.min() < 90
        numbers = draw.depth_px(image, [left, right])
        assert np.nanmax(numbers[:, :240]) < 0 < np.nanmin(numbers[:, 240:])

    def test_a_nearer_face_hides_a_farther_one(self, image, model):
        near, far = mesh_of(model, scale=16), mesh_of(model, yaw=30, scale=9, at=(300.0, 260.0, 500.0))
        for function in (draw.depth, draw.depth_px):
            one, other, alone = (function(image, meshes) for meshes in ([near, far], [far, near], [near]))
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(one[inner(near)], alone[inner(near)])
            assert not np.array_equal(one, alone)

    def test_a_flat_mesh(self, image):
        plate = Mesh([[100, 100, 5], [100, 300, 5], [300, 100, 5]], np.array([[0, 1, 2]]))
        assert (draw.depth_px(image, [plate])[120:150, 120:150] == 5).all()
        result = draw.depth(image, [plate])[120:150, 120:150]
        assert np.ptp(result) == 0


class TestPncc:
    def test_colours_are_the_mean_faces_coordinates(self, model):
        mesh = mesh_of(model, yaw=20, pitch=10, scale=40, at=(480.0, 480.0, 0.0))
        canvas = np.zeros((960, 960, 3), np.uint8)
        result = draw.pncc(canvas, [mesh], model.normalized_coordinates)
        low, high = model.mean.min(axis=0), model.mean.max(axis=0)
        expected = (model.mean - low) / (high - low) * 255
        x, y = np.rint(mesh.vertices[:, :2]).astype(int).T
        seen = (visibility(mesh, (960, 960)) == 1) & inner(mesh, 2, 960)[y, x]
        assert seen.sum() > 2000
        difference = np.abs(result[y[seen], x[seen]] - expected[seen])
        assert np.percentile(difference, 99.5) < 2

    def test_the_colour_stays_with_the_face_when_it_turns(self, model):
        canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
        tip = model.landmark_triangles[30, 0]
        for yaw, roll in ((0, 0), (40, 0), (-20, 50)):
            mesh = mesh_of(model, yaw=yaw, roll=roll)
            x, y = np.rint(mesh.vertices[tip, :2]).astype(int)
            color = draw.pncc(canvas, [mesh], model.normalized_coordinates)[y, x]
            np.testing.assert_allclose(color, model.normalized_coordinates[tip] * 255, atol=6)

    def test_a_nearer_face_hides_a_farther_one(self, image, model):
        near, far = mesh_of(model, scale=16), mesh_of(model, yaw=30, scale=9, at=(300.0, 260.0, 500.0))
        one, other = (draw.pncc(image, m, model.normalized_coordinates) for m in ([near, far], [far, near]))
        np.testing.assert_array_equal(one, other)

    def test_coordinates_of_another_model(self, image, model):
        with pytest.raises(ValueError, match="coordinates: expected one row for each of"):
            draw.pncc(image, [mesh_of(model)], model.normalized_coordinates[:100])
        with pytest.raises(ValueError, match=r"coordinates: expected shape \(n, 3\), got"):
            draw.pncc(image, [mesh_of(model)], model.normalized_coordinates[:, :2])


class TestPose:
    def test_the_label_fits_a_narrow_image(self, model, monkeypatch):
        written = []
        put = cv2.putText

        def note(out, text, *arguments, **options):
            written.append(text)
            return put(out, text, *arguments, **options)

        monkeypatch.setattr(cv2, "putText", note)
        for width, expected in ((600, "yaw +10.0  pitch +5.0  roll -3.0"), (90, "+10 +5 -3")):
            draw.pose(np.zeros((400, width, 3), np.uint8), [face_of(model, 10, 5, -3, at=(width / 2, 200, 0))])
            assert written.pop() == expected

    POSES = ((0, 0, 0), (35, 20, 0), (-35, 20, 0), (10, -25, 20), (-50, 15, -30))

    @staticmethod
    def near(result, point, color, reach=2):
        x, y = np.rint(point).astype(int)
        patch = result[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1].astype(int)
        return np.abs(patch - color).max(axis=-1).min() < 40

    @pytest.mark.parametrize("angles", POSES)
    def test_box(self, model, angles):
        face = face_of(model, *angles, scale=12, at=(400.0, 400.0, 0.0))
        result = draw.pose(np.zeros((800, 800, 3), np.uint8), [face])
        rotation = rotation_from_euler(*angles)
        size = np.ptp(face.landmarks[:, :2], axis=0).max()
        d = np.sqrt(2) * size / 3
        origin = face.landmarks[:27].mean(axis=0)

        def project(square, depth):
            corners = np.array([[x * square, y * square, depth] for x, y in ((-1, -1), (-1, 1), (1, 1), (1, -1))])
            return origin[:2] + (corners @ rotation.T)[:, :2] * (1, -1)

        rear, front = project(d, 0), project(d * 4 / 3, d * 4 / 3)
        seen = 0
        for i in range(4):
            for start, end, colors in (
                (front[i], front[(i + 1) % 4], [(110, 230, 80)]),
                (rear[i], front[i], [(110, 230, 80)]),
                (rear[i], rear[(i + 1) % 4], [(70, 150, 50), (110, 230, 80)]),
            ):
                for share in (0.0, 0.3, 0.5, 0.8):
                    point = start + share * (end - start)
                    if point[1] < face.landmarks[:, 1].max():  # the label is below
                        assert any(self.near(result, point, color) for color in colors)
                        seen += 1
        assert seen > 20
        # the box widens in the direction of view
        looks = (front.mean(axis=0) - rear.mean(axis=0)) / (d * 4 / 3)
        np.testing.assert_allclose(looks, rotation[:2, 2] * (1, -1), atol=1e-9)
        assert (looks[0] > 0.1) == (angles[0] > 5)  # yaw > 0 is to the right of the image

    @pytest.mark.parametrize("angles", POSES)
    def test_axes(self, model, angles):
        face = face_of(model, *angles, scale=16, at=(400.0, 400.0, 0.0))
        result = draw.pose(np.zeros((800, 800, 3), np.uint8), [face], style="axes")
        length = 0.6 * np.ptp(face.landmarks[:, :2], axis=0).max()
        rotation = rotation_from_euler(*angles)
        for axis, color in enumerate(((80, 80, 240), (90, 210, 90), (245, 150, 60))):
            along = rotation[:2, axis] * (1, -1) * length
            if np.hypot(*along) > 20:
                for share in (0.6, 0.8):
                    assert self.near(result, face.landmarks[30, :2] + share * along, color)

    def test_the_angles_are_written_under_the_face(self, model):
        canvas = np.full((800, 800, 3), 200, np.uint8)
        face = face_of(model, 20, scale=12, at=(400.0, 300.0, 0.0))
        there = changed(draw.pose(canvas, [face], style="axes"), canvas)
        bottom = int(face.landmarks[:, 1].max())
        rows, columns = np.nonzero(there[bottom:])
        assert np.ptp(columns) > 100
        assert abs(columns.mean() - face.landmarks[:, 0].mean()) < 20
        assert rows.max() < 80
        other = draw.pose(canvas, [face_of(model, 30, scale=12, at=(400.0, 300.0, 0.0))], style="axes")
        assert (other[bottom:] != draw.pose(canvas, [face], style="axes")[bottom:]).any()

    def test_the_label_of_a_face_at_the_bottom_moves_into_the_image(self, image, model):
        face = face_of(model, scale=12, at=(240.0, 420.0, 0.0))
        assert face.landmarks[:, 1].max() > SIZE
        white = np.full_like(image, 255)
        result = draw.pose(white, [face], style="axes")
        assert (result[-25:] == 85).all(axis=-1).sum() > 1200  # the plate: a third of white

    @pytest.mark.parametrize("style", ["cube", "", None, "Box"])
    def test_bad_styles_are_named(self, image, style):
        with pytest.raises(ValueError, match="style: expected box or axes, got"):
            draw.pose(image, [], style=style)

    def test_order_does_not_matter_where_faces_are_apart(self, image, model):
        faces = [
            face_of(model, 20, scale=6, at=(120.0, 200.0, 0.0)),
            face_of(model, -20, scale=7, at=(360.0, 200.0, 0.0)),
        ]
        np.testing.assert_array_equal(draw.pose(image, faces), draw.pose(image, faces[::-1]))


class TestTextures:
    def test_side_by_side(self, rng):
        images = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
        given = [Texture(image, np.zeros((16, 16), np.uint8)) for image in images]
        np.testing.assert_array_equal(draw.textures(given), np.concatenate(list(images), axis=1))
        alone = draw.textures(given[:1])
        np.testing.assert_array_equal(alone, images[0])
        assert not np.shares_memory(alone, images)

    def test_none(self):
        with pytest.raises(ValueError, match="textures: expected at least one"):
            draw.textures([])
