import socket
import time

import numpy as np
import pytest

from tddfa.avatar import Performer
from tddfa.avatar.vmc import PORT, VmcSender, messages, unity_pose, vrm_weights
from tddfa.geometry.rotation import rotation_from_euler
from tddfa.model.arkit import ARKIT_NAMES

pytest.importorskip("pythonosc")


@pytest.fixture
def listener():
    """A socket that listens on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(2)
        yield listening


def received(listener, count):
    """The messages of each of `count` packets."""
    from pythonosc.osc_packet import OscPacket

    packets = [listener.recv(65536) for _ in range(count)]
    listener.settimeout(0.05)
    with pytest.raises(TimeoutError):
        listener.recv(65536)
    return [[(m.message.address, m.message.params) for m in OscPacket(packet).messages] for packet in packets]


HALF = np.sin(np.radians(15)), np.cos(np.radians(15))


@pytest.mark.parametrize(
    ("angles", "quaternion"),
    [
        # an avatar that looks along z turns to its left about -y, up about -x, and to its left shoulder about z
        ((30, 0, 0), (0, -HALF[0], 0, HALF[1])),
        ((0, 30, 0), (-HALF[0], 0, 0, HALF[1])),
        ((0, 0, 30), (0, 0, HALF[0], HALF[1])),
    ],
)
def test_three_known_poses_in_unitys_frame(angles, quaternion):
    position, turned = unity_pose(rotation_from_euler(*angles), np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(turned, quaternion, atol=1e-9)
    np.testing.assert_allclose(position, [-0.1, 0.2, 0.3])


def test_a_frame_is_one_packet_with_apples_names(listener, decoder, face_with):
    performer = Performer(decoder, "none")
    faces = [face_with(jawOpen=0.5), face_with(jawOpen=0.75, angles=(20, 0, 0), at=(230, 200, 0))]
    with VmcSender(*listener.getsockname(), performer.names) as sender:
        for index, face in enumerate(faces):
            sender.send([performer(face)], index / 30)
    assert sender.frames == 2
    for index, (packet, jaw) in enumerate(zip(received(listener, 2), (0.5, 0.75), strict=True)):
        addresses = [address for address, _ in packet]
        assert addresses[:3] == ["/VMC/Ext/OK", "/VMC/Ext/T", "/VMC/Ext/Bone/Pos"]
        assert addresses[-1] == "/VMC/Ext/Blend/Apply"
        assert packet[0][1] == [1]
        assert packet[1][1] == pytest.approx([index / 30])
        values = dict(arguments for address, arguments in packet if address == "/VMC/Ext/Blend/Val")
        assert tuple(values) == ARKIT_NAMES
        assert {name: value for name, value in values.items() if value} == pytest.approx({"jawOpen": jaw})
        name, x, y, z, *quaternion = packet[2][1]
        assert name == "Head"
        if index:
            # 30 px at 10 px per cm, to the subject's left, which is -x
            np.testing.assert_allclose([x, y, z], [-0.03, 0, 0.004], atol=0.001)
            np.testing.assert_allclose(quaternion, [0, -np.sin(np.radians(10)), 0, np.cos(np.radians(10))], atol=0.02)
        else:
            assert (x, y, z) == (0, 0, 0)


def test_vowels_and_blinks_of_vrm(listener, decoder, face_with):
    performer = Performer(decoder, "none")
    with VmcSender(*listener.getsockname(), performer.names, naming="vrm") as sender:
        sender.send([performer(face_with(jawOpen=0.5, eyeBlinkLeft=0.75))], 0.0)
    (packet,) = received(listener, 1)
    values = dict(arguments for address, arguments in packet if address == "/VMC/Ext/Blend/Val")
    assert values == pytest.approx({"A": 0.5, "I": 0, "U": 0, "E": 0, "O": 0, "Blink_L": 0.75, "Blink_R": 0})


@pytest.mark.parametrize(
    ("vowel", "shapes"),
    [
        ("A", {"jawOpen": 0.8}),
        ("I", {"mouthStretchLeft": 0.8, "mouthStretchRight": 0.8}),
        ("U", {"mouthPucker": 0.8}),
        ("E", {"jawOpen": 0.8, "mouthStretchLeft": 0.9, "mouthStretchRight": 0.9}),
        ("O", {"mouthFunnel": 0.8, "jawOpen": 0.3}),
    ],
)
def test_each_vowel_is_the_strongest_for_its_lips(vowel, shapes):
    weights = vrm_weights(dict.fromkeys(ARKIT_NAMES, 0.0) | shapes)
    assert max(weights, key=weights.get) == vowel
    assert all(0 <= weight <= 1 for weight in weights.values())


def test_one_avatar_follows_one_track(listener, decoder, face_with):
    performer = Performer(decoder, "none")
    with VmcSender(*listener.getsockname(), performer.names) as sender:
        for faces in ([face_with(4, jawOpen=0.25), face_with(1, jawOpen=0.5)], [face_with(4, jawOpen=0.75)], []):
            sender.send([performer(face) for face in faces], 0.0)
    jaws = [dict(a for m, a in packet if m == "/VMC/Ext/Blend/Val").get("jawOpen") for packet in received(listener, 3)]
    assert jaws == [0.5, 0.75, None]


def test_a_file_is_sent_at_the_pace_of_its_frames(listener, decoder):
    with VmcSender(*listener.getsockname(), ARKIT_NAMES, paced=True) as sender:
        begin = time.perf_counter()
        for index in range(4):
            sender.send([], 10 + index / 20)
        assert time.perf_counter() - begin >= 0.15
    assert [packet[1][1][0] for packet in received(listener, 4)] == pytest.approx([0, 0.05, 0.1, 0.15])


def test_the_port_and_bad_arguments():
    assert PORT == 39539
    with pytest.raises(ValueError, match="naming: expected one of arkit, vrm, got 'x'"):
        VmcSender("127.0.0.1", 1, ARKIT_NAMES, naming="x")
    with pytest.raises(OSError, match=r"host: cannot be reached.*'no\.such\.host\.invalid:39539'"):
        VmcSender("no.such.host.invalid", PORT, ARKIT_NAMES)
    assert [address for address, _ in messages(None, ARKIT_NAMES, 1.0)] == ["/VMC/Ext/OK", "/VMC/Ext/T"]
