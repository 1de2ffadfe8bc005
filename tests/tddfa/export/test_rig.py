"""Faces that can be posed, in GLB files."""

from dataclasses import replace

import numpy as np
import pytest
from builders_gltf import accessor, posed, problems, rotation_of

from builders import make_face
from tddfa import Camera, export
from tddfa.export.gltf import Gltf
from tddfa.export.rig import MorphTargets, morph_targets
from tddfa.model.arkit import ARKIT_NAMES
from tddfa.surface.texture import unwrap


@pytest.fixture(scope="module")
def decoder(aligner):
    return aligner.decoder


@pytest.fixture(scope="module")
def people(aligner, two_people):
    return aligner(two_people)


@pytest.fixture(scope="module")
def texture():
    return np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)


def encoded(rigs, **options):
    return Gltf.decode(export.encode("x.glb", rigs, **options)["x.glb"])


@pytest.fixture(scope="module")
def head(decoder):
    """Makes a head in a known pose with known expression weights."""

    def make(angles=(0, 0, 0), scale=12.0, at=(200, 180, 0), **weights):
        model = decoder.face_model
        expression = np.zeros(model.expression_count, np.float32)
        for name, weight in weights.items():
            expression[model.expression_names.index(name)] = weight
        camera = Camera.from_pose(*angles, scale, at)
        shape = np.random.default_rng(3).normal(0, 0.5, model.shape_count).astype(np.float32)
        return make_face(model, camera, shape=shape, expression=expression)

    return make


class TestShapes:
    def test_names_weights_and_displacements(self, decoder, head):
        face = head(jawOpen=0.5, eyeBlinkLeft=0.25, browInnerUpLeft=0.3, browInnerUpRight=0.3)
        gltf = encoded(export.rigs([face], decoder))
        (mesh,) = gltf.tree["meshes"]
        assert tuple(mesh["extras"]["targetNames"]) == ARKIT_NAMES
        shown = {name: w for name, w in zip(ARKIT_NAMES, mesh["weights"], strict=True) if w}
        assert shown == pytest.approx({"jawOpen": 0.5, "eyeBlinkLeft": 0.25, "browInnerUp": 0.3})
        model = decoder.face_model
        targets = mesh["primitives"][0]["targets"]
        for name, sources in {"jawOpen": ["jawOpen"], "browInnerUp": ["browInnerUpLeft", "browInnerUpRight"]}.items():
            rows = [model.basis[model.shape_count + model.expression_names.index(source)] for source in sources]
            stored = accessor(gltf, targets[ARKIT_NAMES.index(name)]["POSITION"])
            # cm to m; steps of 1/32767 m, and nothing under 0.1 mm
            np.testing.assert_allclose(stored, np.sum(rows, axis=0) / 100, atol=1.01e-4)

    def test_the_surface_at_rest_is_upright_in_metres(self, decoder, head):
        face = head(angles=(25, -10, 15), jawOpen=0.5)
        gltf = encoded(export.rigs([face], decoder))
        (node,) = gltf.tree["nodes"]
        vertices = accessor(gltf, gltf.tree["meshes"][0]["primitives"][0]["attributes"]["POSITION"])
        neutral = decoder.face_model.vertices(face.params.shape, np.zeros(55, np.float32)) / 100
        np.testing.assert_allclose(vertices, neutral, atol=1e-4)
        np.testing.assert_allclose(rotation_of(node["rotation"]), face.camera.rotation, atol=1e-6)
        assert (node["translation"], node["scale"]) == ([0, 0, 0], [1, 1, 1])

    def test_normals_point_outwards_and_are_of_unit_length(self, decoder, head):
        gltf = encoded(export.rigs([head()], decoder))
        normals = accessor(gltf, gltf.tree["meshes"][0]["primitives"][0]["attributes"]["NORMAL"])
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=0.01)
        tip = decoder.face_model.landmark_triangles[30, 0]
        assert normals[tip, 2] > 0.7

    def test_texture_coordinates_are_floats_that_count_v_from_the_top(self, decoder, head):
        """Readers such as trimesh take normalised integers as they are."""
        gltf = encoded(export.rigs([head()], decoder))
        index = gltf.tree["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"]
        assert gltf.tree["accessors"][index]["componentType"] == 5126
        np.testing.assert_allclose(accessor(gltf, index), [0, 1] + decoder.face_model.uv * [1, -1], atol=1e-6)

    def test_displacements_of_less_than_a_tenth_of_a_millimetre_are_left_out(self):
        offsets = np.zeros((2, 4, 3))
        offsets[0, 1], offsets[0, 2] = (0.01, 0, 0), (9e-5, 0, 0)
        targets = MorphTargets(["a", "still"], offsets)
        assert [index.tolist() for index in targets.indices] == [[1], []]
        np.testing.assert_allclose(targets.displacement(np.float32([0.5, 1]))[1], [0.005, 0, 0], atol=2e-5)

    def test_a_face_model_without_apples_shapes(self, decoder, head):
        model = replace(decoder.face_model, arkit_table=None, arkit_names=())
        gltf = encoded(export.rigs([head(jawOpen=0.5)], type(decoder)(model, decoder.crop_rule)))
        assert "targets" not in gltf.tree["meshes"][0]["primitives"][0]
        assert "weights" not in gltf.tree["meshes"][0]


class TestPlace:
    def test_posed_as_in_the_image(self, decoder, people, two_people):
        height = two_people.shape[0]
        gltf = encoded(export.rigs(people, decoder, space="image", image_height=height))
        assert [node["name"] for node in gltf.tree["nodes"]] == ["face_1", "face_2"]
        assert gltf.tree["scenes"][0]["nodes"] == [0, 1]
        for node, face in zip(gltf.tree["nodes"], people, strict=True):
            expected = decoder.mesh(face).vertices * [1, -1, 1] + [0, height, 0]
            np.testing.assert_allclose(posed(gltf, node) * 1000, expected, atol=0.01)

    def test_several_heads_are_beside_each_other_in_metres(self, decoder, head):
        faces = [head(at=(200, 180, 0)), head(at=(560, 60, 0), angles=(0, 0, 20))]
        first, second = encoded(export.rigs(faces, decoder)).tree["nodes"]
        # 360 px at 12 px per cm; y up
        np.testing.assert_allclose(np.subtract(second["translation"], first["translation"]), [0.3, 0.1, 0], atol=1e-6)
        np.testing.assert_allclose(np.add(second["translation"], first["translation"]), 0, atol=1e-6)

    def test_another_word(self, decoder, people):
        with pytest.raises(ValueError, match="space: expected one of image, head, got 'world'"):
            export.rigs(people, decoder, space="world")

    def test_only_a_glb_takes_rigs(self, decoder, people):
        with pytest.raises(TypeError, match=r"meshes\[0\]: expected a Mesh, got Rig"):
            export.encode("x.ply", export.rigs(people, decoder))

    def test_upright_meshes_are_in_cm(self, decoder, head, tmp_path):
        face = head(angles=(40, 10, 20), jawOpen=0.3)
        (mesh,) = export.upright([decoder.mesh(face)], [face], decoder)
        expected = decoder.face_model.vertices(face.params.shape, face.params.expression)
        np.testing.assert_allclose(mesh.vertices * [1, -1, 1], expected, atol=1e-5)

    def test_upright_meshes_of_several_faces_are_where_the_heads_of_a_glb_are(self, decoder, people):
        meshes = export.upright([decoder.mesh(face) for face in people], people, decoder)
        assert export.upright([], [], decoder) == []
        for mesh, face, rig in zip(meshes, people, export.rigs(people, decoder), strict=True):
            alone = decoder.face_model.vertices(face.params.shape, face.params.expression)
            np.testing.assert_allclose(mesh.vertices * [1, -1, 1], alone + 100 * rig.translation, atol=1e-4)
        assert abs(meshes[0].vertices[:, 0].mean() - meshes[1].vertices[:, 0].mean()) > 40  # cm


class TestFile:
    def test_khronos_validator_has_no_complaint(self, decoder, people, texture, tmp_path):
        files = [tmp_path / f"{name}.glb" for name in ("textured", "colored", "plain", "mesh", "wrong")]
        export.save(files[0], export.rigs(people, decoder), textures=[texture, texture])
        random = np.random.default_rng(1).random(decoder.face_model.mean.shape, np.float32)
        placed = export.rigs(people, decoder, space="image", image_height=100)
        export.save(files[1], [replace(rig, colors=random) for rig in placed])
        model = replace(decoder.face_model, arkit_table=None, arkit_names=())
        export.save(files[2], export.rigs(people, type(decoder)(model, decoder.crop_rule)))
        export.save(files[3], decoder.mesh(people[0]), textures=texture)
        # the validator does look
        gltf = encoded(export.rigs(people, decoder))
        gltf.tree["nodes"][0]["rotation"] = [1, 1, 0, 0]
        files[4].write_bytes(gltf.encode())
        assert problems(*files) == [[], [], [], [], ["ROTATION_NON_UNIT /nodes/0/rotation"]]

    def test_size(self, decoder, people, two_people):
        for side in (512, 1024):
            texture = unwrap(two_people, decoder.mesh(people[0]), size=side).image
            data = export.encode("x.glb", export.rigs(people[:1], decoder), textures=texture)["x.glb"]
            assert len(data) < 3_000_000
            assert Gltf.decode(data).tree["images"][0]["mimeType"] == ("image/png" if side == 512 else "image/jpeg")

    def test_the_shapes_of_a_model_are_prepared_once(self, decoder):
        assert morph_targets(decoder.face_model) is morph_targets(decoder.face_model)

    @pytest.mark.parametrize(
        "data", [b"", b"glTF", b"glTF" + bytes(40), b'{"asset": {"version": "2.0"}}'], ids=["0", "1", "2", "3"]
    )
    def test_what_is_no_glb(self, data):
        with pytest.raises(ValueError, match="not a complete binary glTF file"):
            Gltf.decode(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": float("nan")}, "Rig.scale: expected a number over 0"),
        ({"scale": 0.0}, "Rig.scale: expected a number over 0"),
        ({"rotation": np.zeros((3, 3))}, "Rig.rotation: expected a rotation"),
        ({"rotation": np.diag([1.0, 1, -1])}, "Rig.rotation: expected a rotation"),
    ],
)
def test_a_scale_or_rotation_that_is_none(head, decoder, change, message):
    (rig,) = export.rigs([head()], decoder)
    with pytest.raises(ValueError, match=message):
        replace(rig, **change)


def test_displacements_that_do_not_fit_are_refused():
    assert MorphTargets(["a"], np.full((1, 3, 3), 0.99)).displacement(np.ones(1, np.float32)).max() > 0.98
    with pytest.raises(ValueError, match=r"expected displacements of at most 1 m, got 1\.5"):
        MorphTargets(["a"], np.full((1, 3, 3), 1.5))
