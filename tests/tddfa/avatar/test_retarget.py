import json
import struct

import numpy as np
import pytest
from builders_gltf import accessor, problems, rotation_of

from tddfa.avatar.retarget import Avatar, shape_of_key
from tddfa.export.gltf import VERTICES, Gltf
from tddfa.export.rig import Motion
from tddfa.geometry.rotation import quaternion_from_rotation, rotation_from_euler
from tddfa.model.arkit import ARKIT_NAMES

NAMES = [
    "EyeBlinkLeft",
    "mouth_smile_right",
    "Face.jawOpen",
    "browInnerUp_L",
    "browInnerUp_R",
    "eyeBlink_R",
    "hairLong",
]


def made(names=NAMES, extras="mesh", nodes=None, **tree) -> bytes:
    """An avatar of one triangle with a morph target for each name."""
    gltf = Gltf({"asset": {"version": "2.0", "generator": "another program"}})
    triangle = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    position = gltf.accessor(triangle, target=VERTICES, bounds=True)
    targets = [{"POSITION": gltf.accessor(triangle * (k + 1), target=VERTICES, bounds=True)} for k in range(len(names))]
    primitive = {"attributes": {"POSITION": position}, "targets": targets}
    mesh = {"primitives": [primitive], "weights": [0.0] * (len(names) - 1) + [0.5]}
    (mesh if extras == "mesh" else primitive)["extras"] = {"targetNames": list(names)}
    gltf.add("meshes", mesh)
    for node in nodes or [{"name": "avatar", "mesh": 0}]:
        gltf.add("nodes", node)
    gltf.tree.update({"scene": 0, "scenes": [{"nodes": [0]}], **tree})
    return gltf.encode()


@pytest.fixture
def motion():
    weights = np.zeros((3, 52), np.float32)
    for name, values in {
        "eyeBlinkLeft": (0, 1, 0), "eyeBlinkRight": (0, 0.5, 0), "mouthSmileRight": (0.2, 0.3, 0.4),
        "jawOpen": (0.1, 0.6, 0.9), "browInnerUp": (0.7, 0, 0),
    }.items():  # fmt: skip
        weights[:, ARKIT_NAMES.index(name)] = values
    rotations = [np.roll(quaternion_from_rotation(rotation_from_euler(yaw, 0, 10)), -1) for yaw in (0, 20, 40)]
    return Motion(
        np.float32([2.0, 2.1, 2.3]), np.float32(rotations), np.zeros((3, 3), np.float32), weights, [(2.0, True)]
    )


def played(data):
    gltf = Gltf.decode(data)
    animation = gltf.tree["animations"][-1]
    return {
        (channel["target"]["node"], channel["target"]["path"]): tuple(
            accessor(gltf, animation["samplers"][channel["sampler"]][end]) for end in ("input", "output")
        )
        for channel in animation["channels"]
    }


@pytest.mark.parametrize("extras", ["mesh", "primitive"])
def test_weights_go_to_the_targets_of_their_names(motion, extras, tmp_path):
    avatar = Avatar(made(extras=extras), ARKIT_NAMES)
    assert avatar.driven == {"eyeBlinkLeft", "eyeBlinkRight", "mouthSmileRight", "jawOpen", "browInnerUp"}
    data = avatar.animated(motion)
    times, values = played(data)[0, "weights"]
    np.testing.assert_allclose(times[:, 0], [0, 0.1, 0.3], atol=1e-6)
    expected = [
        (0, 1, 0), (0.2, 0.3, 0.4), (0.1, 0.6, 0.9), (0.7, 0, 0), (0.7, 0, 0), (0, 0.5, 0),
        (0.5, 0.5, 0.5),  # none of Apple's: as it was
    ]  # fmt: skip
    np.testing.assert_allclose(values.reshape(3, 7), np.transpose(expected), atol=1e-6)
    (tmp_path / "x.glb").write_bytes(data)
    assert problems(tmp_path / "x.glb") == [[]]


def test_all_that_was_in_the_file_stays(motion):
    before = Gltf.decode(made(materials=[{"name": "skin"}], animations=[]))
    after = Gltf.decode(Avatar(before.encode(), ARKIT_NAMES).animated(motion))
    assert after.blob.startswith(before.blob)
    for key, value in before.tree.items():
        if key not in ("accessors", "bufferViews", "animations", "buffers"):
            assert after.tree[key] == value
    assert after.tree["accessors"][: len(before.tree["accessors"])] == before.tree["accessors"]


class TestHead:
    TURN = [0, np.sin(np.pi / 8), 0, np.cos(np.pi / 8)]

    def test_the_head_bone_turns_in_the_world(self, motion):
        nodes = [
            {"name": "body", "rotation": self.TURN, "children": [1]},
            {"name": "mixamorig:Neck", "rotation": [np.sin(0.2), 0, 0, np.cos(0.2)], "children": [2]},
            {"name": "mixamorig:Head", "rotation": [0, 0, np.sin(0.3), np.cos(0.3)], "children": [3, 4]},
            {"name": "HeadTop_End"},
            {"name": "face", "mesh": 0},
        ]
        avatar = Avatar(made(nodes=nodes), ARKIT_NAMES)
        assert avatar.head == "mixamorig:Head"
        channels = played(avatar.animated(motion))
        assert set(channels) == {(4, "weights"), (2, "rotation")}
        above = rotation_of(nodes[0]["rotation"]) @ rotation_of(nodes[1]["rotation"])
        rest = above @ rotation_of(nodes[2]["rotation"])
        for local, turned in zip(channels[2, "rotation"][1], motion.rotations, strict=True):
            np.testing.assert_allclose(above @ rotation_of(local), rotation_of(turned) @ rest, atol=1e-6)

    def test_a_single_face_turns_as_a_whole(self, motion):
        channels = played(Avatar(made(), ARKIT_NAMES).animated(motion))
        np.testing.assert_allclose(channels[0, "rotation"][1], motion.rotations, atol=1e-6)

    @pytest.mark.parametrize(
        "mirror",
        [{"scale": [-1, 1, 1]}, {"matrix": np.diag([-1.0, 1, 1, 1]).ravel().tolist()}],
        ids=["scale", "matrix"],
    )
    def test_below_a_node_that_mirrors_it_turns_to_the_same_side(self, motion, mirror):
        nodes = [{"name": "root", "children": [1], **mirror}, {"name": "face", "mesh": 0}]
        quaternions = played(Avatar(made(nodes=nodes), ARKIT_NAMES).animated(motion))[1, "rotation"][1]
        flip = np.diag([-1, 1, 1])
        for local, turned in zip(quaternions, motion.rotations, strict=True):
            np.testing.assert_allclose(flip @ rotation_of(local) @ flip, rotation_of(turned), atol=1e-6)

    def test_without_a_head_bone_a_skinned_face_does_not_turn(self, motion):
        nodes = [{"name": "face", "mesh": 0, "skin": 0}]
        avatar = Avatar(made(nodes=nodes), ARKIT_NAMES)
        assert avatar.head is None
        assert set(played(avatar.animated(motion))) == {(0, "weights")}

    def test_an_avatar_of_vrm_0_looks_the_other_way(self, motion):
        data = made(extensions={"VRM": {}}, extensionsUsed=["VRM"])
        quaternions = played(Avatar(data, ARKIT_NAMES).animated(motion))[0, "rotation"][1]
        turned = np.diag([-1, 1, -1]) @ rotation_of(motion.rotations[2]) @ np.diag([-1, 1, -1])
        np.testing.assert_allclose(rotation_of(quaternions[2]), turned, atol=1e-6)


@pytest.mark.parametrize(
    ("spelling", "shape"),
    [
        ("eyeBlinkLeft", "eyeBlinkLeft"), ("EYEBLINKLEFT", "eyeBlinkLeft"), ("eye_blink_left", "eyeBlinkLeft"),
        ("eyeBlink_L", "eyeBlinkLeft"), ("eyeBlinkL", "eyeBlinkLeft"), ("blendShape1.eyeBlink_R", "eyeBlinkRight"),
        ("jawLeft", "jawLeft"), ("Jaw_R", "jawRight"), ("mouthLeft", "mouthLeft"), ("cheekPuff_L", "cheekPuff"),
        ("tongueOut", "tongueOut"), ("eyeBlink", None), ("smile", None),
    ],
)  # fmt: skip
def test_spellings(spelling, shape):
    from tddfa.avatar.retarget import _key

    index = shape_of_key(ARKIT_NAMES).get(_key(spelling))
    assert (None if index is None else ARKIT_NAMES[index]) == shape


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no glb", "not a complete binary glTF file"),
        (made(["smile", "fat"]), "expected morph targets with ARKit's names .*, got fat, smile"),
        (made(["a", "b"], extras="nowhere", nodes=[{"name": "x"}]), "got a, b"),
    ],
)
def test_files_that_are_no_avatars(data, message):
    with pytest.raises(ValueError, match=message):
        Avatar(data, ARKIT_NAMES)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"nodes": [{"mesh": 5}]}, "its nodes or meshes are not valid"),
        ({"nodes": [{"mesh": "a"}]}, "its nodes or meshes are not valid"),
        ({"meshes": [None]}, "its nodes or meshes are not valid"),
        ({"nodes": [{"name": 7, "mesh": 0}]}, "its nodes or meshes are not valid"),
        ({"nodes": [{"name": "head", "rotation": [0, 0, 0, 1e300]}, {"mesh": 0}]}, "expected unit quaternions"),
        ({"nodes": [{"name": "head"}, {"mesh": 0, "weights": ["a"]}]}, "weights: expected numbers"),
        ({"nodes": [{"name": "head"}, {"mesh": 0, "weights": [0] * 60}]}, "weights: expected shape"),
        ({"nodes": [{"name": "head"}, {"mesh": 0, "weights": [1e39] * 7}]}, "weights: expected finite values"),
        ({"nodes": [{"mesh": 0, "children": [[0]]}]}, "its nodes or meshes are not valid"),
    ],
)
def test_a_damaged_tree_is_an_error_of_the_file(motion, tree, message):
    with pytest.raises(ValueError, match=message):
        Avatar(made(**tree), ARKIT_NAMES).animated(motion)


@pytest.mark.parametrize(
    ("buffers", "message"),
    [
        (5, "its buffers are damaged"),
        ([5], "its buffers are damaged"),
        ([{"byteLength": 5}], "it claims a buffer of 5 bytes, and has 4"),
        ([{"byteLength": None}], "it claims a buffer of None bytes"),
        ([{}], "it claims a buffer of None bytes"),
        ([{"uri": "x.bin"}], "got several buffers or other files"),
    ],
)
def test_damaged_buffers(buffers, message):
    text = json.dumps({"buffers": buffers}).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", 4, b"BIN\0") + bytes(4)
    with pytest.raises(ValueError, match=message):
        Gltf.decode(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def test_json_that_is_nested_deeply():
    text = b"[" * 200_000
    with pytest.raises(ValueError, match="not a complete binary glTF file"):
        Gltf.decode(struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text)


def test_a_mesh_that_many_nodes_share_takes_no_memory_for_each(motion):
    many = [{"mesh": 0} for _ in range(2000)]
    with pytest.raises(ValueError, match="expected at most 8192 morph targets of all faces, got 14000"):
        Avatar(made(nodes=many), ARKIT_NAMES)
    few = Avatar(made(nodes=many[:20]), ARKIT_NAMES)
    assert len(Gltf.decode(few.animated(motion)).tree["animations"][0]["channels"]) == 20


def test_much_json_is_refused_before_it_is_read():
    text = b'{"a":[' + b"[]," * (6 << 20) + b"[]]}"
    data = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text
    with pytest.raises(ValueError, match="expected at most 16 MiB of JSON, got 18 MiB"):
        Gltf.decode(data)


@pytest.mark.parametrize(
    "node", [{"name": "Head", "rotation": []}, {"name": "avatar", "mesh": 0, "weights": [0.0, 1.0]}]
)
def test_what_is_damaged_is_told_before_the_video(node):
    nodes = [{"name": "avatar", "mesh": 0}, node] if "mesh" not in node else [node]
    with pytest.raises(ValueError, match=r"a damaged \.glb: its nodes or meshes are not valid"):
        Avatar(made(nodes=nodes), ARKIT_NAMES)
