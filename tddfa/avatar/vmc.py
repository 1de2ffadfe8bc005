"""The VMC protocol: blendshapes and head pose of a face, sent over OSC to programs that move avatars.

Specification: https://protocol.vmc.info/english
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.packages import needs
from tddfa.avatar.performance import Performance
from tddfa.geometry.rotation import quaternion_from_rotation

PORT = 39539
"""The port on which programs that show an avatar listen."""

Naming = Literal["arkit", "vrm"]

NAMINGS: tuple[Naming, ...] = ("arkit", "vrm")

Message = tuple[str, list[Any]]

# x right, y up, z forwards, as the avatar sees it: the mirror image of the view, whose x is the subject's left
_VIEW_TO_UNITY = np.array([-1.0, 1.0, 1.0])


def unity_pose(
    rotation: NDArray[np.float64], displacement: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position (3,) and unit quaternion (4,) x, y, z, w in Unity's left-handed frame: x right, y up, z forwards.

    Parameters
    ----------
    rotation : ndarray (3, 3)
        Of the head, model to view.
    displacement : ndarray (3,)
        In the view's frame, m.

    Examples
    --------
    >>> from tddfa.avatar.vmc import unity_pose
    >>> from tddfa.geometry.rotation import rotation_from_euler
    >>> position, quaternion = unity_pose(rotation_from_euler(90, 0, 0), np.array([0.1, 0.2, 0.3]))
    >>> position.tolist(), (quaternion.round(3) + 0.0).tolist()  # to the left, which is about -y
    ([-0.1, 0.2, 0.3], [0.0, -0.707, 0.0, 0.707])
    """
    w, x, y, z = quaternion_from_rotation(rotation)
    return _VIEW_TO_UNITY * displacement, np.array([x, -y, -z, w])


def vrm_weights(weights: dict[str, float]) -> dict[str, float]:
    """The five vowels and both blinks of VRM from Apple's blendshapes.

    ======= ==============================================================
    A       the jaw is open, the lips are not round
    I       the lips are wide, the jaw is not open
    U       the lips are round and closed (mouthPucker)
    E       the lips are wide or smile, the jaw is open
    O       the lips are round and open (mouthFunnel)
    Blink_L the left eye is closed
    Blink_R the right eye is closed
    ======= ==============================================================

    Examples
    --------
    >>> from tddfa.avatar.vmc import vrm_weights
    >>> weights = dict.fromkeys(aligner.decoder.face_model.arkit_names, 0.0)
    >>> vrm_weights({**weights, "jawOpen": 0.5, "eyeBlinkLeft": 1.0})["A"]
    0.5
    """

    def both(name: str) -> float:
        return (weights[f"{name}Left"] + weights[f"{name}Right"]) / 2

    jaw, pucker, funnel = weights["jawOpen"], weights["mouthPucker"], weights["mouthFunnel"]
    wide = both("mouthStretch")
    bright = max(wide, both("mouthSmile"))
    return {
        "A": jaw * (1 - max(pucker, funnel, bright)),
        "I": wide * (1 - jaw),
        "U": pucker * (1 - funnel),
        "E": bright * jaw,
        "O": funnel,
        "Blink_L": weights["eyeBlinkLeft"],
        "Blink_R": weights["eyeBlinkRight"],
    }


def messages(
    performance: Performance | None,
    names: Sequence[str],
    seconds: float,
    *,
    naming: Naming = "arkit",
    origin: NDArray[np.float64] | None = None,
) -> list[Message]:
    """The messages of one frame, as addresses with arguments.

    Parameters
    ----------
    performance : Performance or None
        What the face does. None: there is no face; then only the time is sent, and the avatar stays as it was.
    names : sequence of str
        Apple's names, in the order of the weights.
    seconds : float
        Time since the beginning.
    naming : {"arkit", "vrm"}
        Apple's 52 blendshapes ("Perfect Sync"), or the vowels and blinks of VRM.
    origin : ndarray (3,), optional
        Where the head is at rest, in the frame of the performance, m. The bone's position is relative to it.
    """
    sent: list[Message] = [("/VMC/Ext/OK", [1]), ("/VMC/Ext/T", [float(seconds)])]
    if performance is None:
        return sent
    displacement = performance.position - (performance.position if origin is None else origin)
    position, quaternion = unity_pose(performance.rotation, displacement)
    sent.append(("/VMC/Ext/Bone/Pos", ["Head", *position.tolist(), *quaternion.tolist()]))
    weights = dict(zip(names, performance.weights.tolist(), strict=True))
    if naming == "vrm":
        weights = vrm_weights(weights)
    sent += [("/VMC/Ext/Blend/Val", [name, weight]) for name, weight in weights.items()]
    sent.append(("/VMC/Ext/Blend/Apply", []))
    return sent


class VmcSender:
    """Sends one face of each frame, all its values in one OSC bundle: one packet. A context manager.

    The format has one avatar. It follows the track with the lowest id in the first frame with a face. If this track is
    missing in a frame with other faces, it changes to the track with the lowest id in that frame. The head's position
    is relative to the first position of its track.

    Parameters
    ----------
    host : str
        Name or address of the machine that listens.
    port : int
        Its port.
    names : sequence of str
        Apple's names, in the order of the weights (`Performer.names`).
    naming : {"arkit", "vrm"}
        Names that are sent; see `messages`.
    paced : bool
        Wait until the time of each frame, for a file that is read faster than it plays.

    Raises
    ------
    ImportError
        If python-osc is not installed.
    OSError
        If the host is not known.
    ValueError
        If `naming` is something else.
    """

    def __init__(
        self, host: str, port: int, names: Sequence[str], *, naming: Naming = "arkit", paced: bool = False
    ) -> None:
        if naming not in NAMINGS:
            raise ValueError(f"naming: expected one of {', '.join(NAMINGS)}, got {naming!r}")
        try:
            from pythonosc.udp_client import UDPClient
        except ImportError as error:
            raise ImportError(needs("the VMC protocol", "python-osc")) from error
        try:
            self._client: Any = UDPClient(host, port)
        except OSError as error:
            raise OSError(error.errno, f"host: cannot be reached ({error.strerror})", f"{host}:{port}") from error
        self.target = f"{host}:{port}"
        self.frames = 0
        self._names, self._naming, self._paced = tuple(names), naming, paced
        self._track: int | None = None
        self._origin: NDArray[np.float64] | None = None
        self._start: float | None = None
        self._first = 0.0

    def send(self, performances: Sequence[Performance], seconds: float) -> None:
        """Send a frame.

        Parameters
        ----------
        performances : sequence of Performance
            Of all faces of the frame.
        seconds : float
            Time of the frame.
        """
        if self._start is None:
            self._start, self._first = time.perf_counter(), seconds
        ahead = self._start + (seconds - self._first) - time.perf_counter()
        if self._paced and ahead > 0:
            time.sleep(ahead)
        chosen = self._chosen(performances)
        sent = messages(chosen, self._names, seconds - self._first, naming=self._naming, origin=self._origin)
        self._client.send(_bundle(sent))
        self.frames += 1

    def _chosen(self, performances: Sequence[Performance]) -> Performance | None:
        if not performances:
            return None
        by_track = {performance.track_id: performance for performance in performances}
        if self._origin is None or self._track not in by_track:
            self._track = min(by_track, key=lambda track: -1 if track is None else track)
            self._origin = by_track[self._track].position
        return by_track[self._track]

    def close(self) -> None:
        """Close the socket."""
        self._client._sock.close()

    def __enter__(self) -> VmcSender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _bundle(sent: Sequence[Message]) -> Any:
    from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
    from pythonosc.osc_message_builder import OscMessageBuilder

    bundle: Any = OscBundleBuilder(IMMEDIATELY)
    for address, arguments in sent:
        message: Any = OscMessageBuilder(address)
        for argument in arguments:
            message.add_arg(argument, {str: "s", int: "i", float: "f"}[type(argument)])
        bundle.add_content(message.build())
    return bundle.build()
