import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from builders_gltf import accessor, problems, rotation_of

from tddfa.avatar import Performer, open_take
from tddfa.export.gltf import Gltf
from tddfa.geometry.rotation import rotation_from_euler
from tddfa.model.arkit import ARKIT_NAMES
from tddfa.video import Frame

BLACK = np.zeros((400, 400, 3), np.uint8)


@pytest.fixture
def record(decoder, tmp_path):
    """Writes the faces of frames, [(time, faces)], and reads the file."""

    def write(frames, image=BLACK, **options):
        path = tmp_path / "take.glb"
        with open_take(path, Performer(decoder, options.get("neutral", "none"))) as take:
            for index, (time, faces) in enumerate(frames):
                take.add(Frame(image, index, time), faces)
        assert [file.name for file in tmp_path.iterdir()] == ["take.glb"]
        return path, Gltf.decode(path.read_bytes())

    return write


def channels(gltf, node):
    """Path -> times, values and interpolation of the channels of a node."""
    (animation,) = gltf.tree["animations"]
    found = {}
    for channel in animation["channels"]:
        if channel["target"]["node"] == node:
            sampler = animation["samplers"][channel["sampler"]]
            times = accessor(gltf, sampler["input"])[:, 0]
            found[channel["target"]["path"]] = times, accessor(gltf, sampler["output"]), sampler["interpolation"]
    return found


def test_keyframes_are_what_the_face_did_at_the_times_of_the_frames(record, face_with):
    times = [0.0, 0.04, 0.1, 0.13]
    jaws, yaws = [0.0, 0.3, 0.8, 0.1], [0, 20, -30, 10]
    faces = [face_with(jawOpen=jaw, angles=(yaw, 5, 10)) for jaw, yaw in zip(jaws, yaws, strict=True)]
    path, gltf = record([(time, [face]) for time, face in zip(times, faces, strict=True)])
    (node,) = gltf.tree["nodes"]
    tracks = channels(gltf, 0)
    for keys, _, _ in (tracks["rotation"], tracks["translation"], tracks["weights"]):
        np.testing.assert_allclose(keys, times, atol=1e-6)
    weights = tracks["weights"][1].reshape(4, 52)
    np.testing.assert_allclose(weights[:, ARKIT_NAMES.index("jawOpen")], jaws, atol=1e-6)
    assert not np.delete(weights, ARKIT_NAMES.index("jawOpen"), axis=1).any()
    for quaternion, yaw in zip(tracks["rotation"][1], yaws, strict=True):
        np.testing.assert_allclose(rotation_of(quaternion), rotation_from_euler(yaw, 5, 10), atol=1e-5)
    # as large as at 0.8 m before a lens of 800 px; the face is nearer than the centre of the head
    np.testing.assert_allclose(tracks["translation"][1][:, :2], 0, atol=0.001)
    np.testing.assert_allclose(tracks["translation"][1][:, 2], -0.8 - 0.08, atol=0.02)
    assert tracks["scale"] == (pytest.approx([0.0]), pytest.approx(np.ones((1, 3))), "STEP")
    assert "rotation" in node
    assert problems(path) == [[]]


def test_a_track_that_starts_late_or_ends_has_scale_0_there(record, face_with):
    frames = [
        (
            index / 10,
            [face_with(track) for track, there in ((0, index < 4), (3, 2 <= index < 5 or index >= 7)) if there],
        )
        for index in range(9)
    ]
    path, gltf = record(frames)
    assert [node["name"] for node in gltf.tree["nodes"]] == ["face_1", "face_2"]
    for node, expected in ((0, {0.0: 1, 0.4: 0}), (1, {0.0: 0, 0.2: 1, 0.5: 0, 0.7: 1})):
        times, sizes, interpolation = channels(gltf, node)["scale"]
        assert interpolation == "STEP"
        assert dict(zip(times.round(6).tolist(), sizes[:, 0].tolist(), strict=True)) == expected
    np.testing.assert_allclose(channels(gltf, 1)["weights"][0], [0.2, 0.3, 0.4, 0.7, 0.8], atol=1e-6)
    # the shapes of the face model are in the file once
    first, second = (mesh["primitives"][0]["targets"] for mesh in gltf.tree["meshes"])
    assert first == second
    assert problems(path) == [[]]


def test_times_that_do_not_ascend(record, face_with):
    frames = [(0.0, [face_with(0)]), (0.0, []), (0.04, [face_with(0), face_with(1)]), (0.02, [face_with(1)])]
    path, gltf = record(frames)
    for node in (0, 1):
        times, sizes, _ = channels(gltf, node)["scale"]
        assert (np.diff(times) > 0).all()
        assert len(sizes) == len(times)
    assert problems(path) == [[]]


def test_quaternions_stay_in_one_hemisphere(record, face_with):
    angles = [0, 60, 120, 175, -170, -120]
    _, gltf = record([(index / 10, [face_with(angles=(0, 0, angle))]) for index, angle in enumerate(angles)])
    quaternions = channels(gltf, 0)["rotation"][1]
    assert ((quaternions[1:] * quaternions[:-1]).sum(axis=1) > 0).all()


def test_the_texture_is_of_the_most_frontal_sharp_frame_with_open_eyes(decoder, tmp_path, face_with):
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[::4] = stripes[1::4] = 255
    path = tmp_path / "take.glb"
    frames = [
        (stripes * np.uint8([1, 0, 0]), face_with(angles=(40, 0, 0))),  # turned
        (np.full_like(stripes, (0, 128, 0)), face_with()),  # blurred
        (stripes * np.uint8([0, 0, 1]), face_with()),
        (stripes * np.uint8([1, 1, 0]), face_with(eyeBlinkLeft=0.9, eyeBlinkRight=0.9)),
    ]
    with open_take(path, Performer(decoder, "none")) as take:
        for index, (image, face) in enumerate(frames):
            take.add(Frame(image, index, index / 10), [face])
    gltf = Gltf.decode(path.read_bytes())
    view = gltf.tree["bufferViews"][gltf.tree["images"][0]["bufferView"]]
    data = np.frombuffer(gltf.blob, np.uint8)[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    texture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    blue, green, red = texture.reshape(-1, 3).mean(axis=0)
    assert red > 40 > 5 > max(blue, green)


def test_the_mesh_has_the_mean_shape_of_the_track(decoder, record, face_with):
    face = face_with(jawOpen=0.5)
    shapes = [np.full(40, value, np.float32) for value in (0.0, 1.0, 0.5)]
    faces = [replace(face, params=replace(face.params, shape=shape)) for shape in shapes]
    _, gltf = record([(index / 10, [face]) for index, face in enumerate(faces)])
    stored = accessor(gltf, gltf.tree["meshes"][0]["primitives"][0]["attributes"]["POSITION"])
    expected = decoder.face_model.vertices(np.full(40, 0.5, np.float32), np.zeros(55, np.float32)) / 100
    np.testing.assert_allclose(stored, expected, atol=1e-6)


def test_a_video_without_a_face_gives_no_file(decoder, tmp_path):
    (tmp_path / "take.glb").write_text("of an earlier run")
    with open_take(tmp_path / "take.glb", Performer(decoder)) as take:
        take.add(Frame(BLACK, 0, 0.0), [])
    assert take.faces == 0
    assert [path.name for path in tmp_path.iterdir()] == ["take.glb"]
    assert (tmp_path / "take.glb").read_text() == "of an earlier run"


def test_frames_are_not_kept(decoder, tmp_path, face_with):
    face = face_with()
    with open_take(tmp_path / "take.glb", Performer(decoder, "none")) as take:
        take.add(Frame(np.zeros((400, 400, 3), np.uint8), 0, 0.0), [face])
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for index in range(1, 201):
            take.add(Frame(np.zeros((400, 400, 3), np.uint8), index, index / 30), [face])
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    # 200 frames of 480 kB; keyframes are 250 bytes
    assert grown < 400 * 200


def test_another_ending(decoder, tmp_path):
    with pytest.raises(ValueError, match=r"x.csv: expected a name that ends in .glb, .livelink.csv"):
        open_take(tmp_path / "x.csv", Performer(decoder))
