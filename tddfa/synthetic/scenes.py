"""Scripts of moving heads, and the frames they give.

A scene's states are a pure function of the time and the picture's size, so that any frame can be asked for by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked_image
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config
from tddfa.model.face_model import FaceModel
from tddfa.synthetic.head import Head
from tddfa.synthetic.render import State, Truth, checked_size, render

Image = NDArray[np.uint8]
Size = tuple[int, int]
"""Height and width of the picture, px."""

# The background is drawn this share of the height larger on each side, so that a camera can shake.
_MARGIN = 0.08
# Fields of noise are made once, this much larger than the picture, and laid over each frame at another place.
_GRAIN_SLACK = 61


@dataclass(frozen=True)
class Scene:
    """A script.

    Attributes
    ----------
    people : int
        How many take part over all of it.
    states : callable
        Seconds and the picture's size to the state of each, in the order of their identity.
    shot : callable
        Seconds to the number of the shot: after a cut, the background is another.
    camera : callable
        Seconds to how far the camera is off, to the right and down, in heights of the picture.
    """

    people: int
    states: Callable[[float, Size], list[State]]
    shot: Callable[[float], int] = lambda _: 0
    camera: Callable[[float], tuple[float, float]] = lambda _: (0.0, 0.0)


def turn(t: float, size: Size) -> list[State]:
    """One looks to both sides, up to 60 degrees, in 6 s."""
    return [_still(size, yaw=60 * _wave(t, 6), pitch=4 * _wave(t, 4.1))]


def nod(t: float, size: Size) -> list[State]:
    """One nods, up to 22 degrees, in 3 s."""
    return [_still(size, pitch=22 * _wave(t, 3), yaw=5 * _wave(t, 7))]


def tilt(t: float, size: Size) -> list[State]:
    """One tilts the head to both shoulders, up to 30 degrees, in 5 s."""
    return [_still(size, roll=30 * _wave(t, 5))]


def approaching(t: float, size: Size) -> list[State]:
    """One comes nearer, from 60 to 400 px at 720 lines, and goes back, in 10 s."""
    height = size[0]
    share = 0.5 - 0.5 * np.cos(2 * np.pi * t / 10)
    return [_still(size, size_px=height / 720 * 60 * (400 / 60) ** share, yaw=10 * _wave(t, 5))]


def crossing(t: float, size: Size) -> list[State]:
    """Two pass each other in 10 s, the first in front of the second, and go back in the next 10 s."""
    height, width = size
    reach = min(0.32 * width, 0.6 * height)
    way = -np.cos(np.pi * t / 10)
    heading = 25 * np.sin(np.pi * t / 10)
    first = _still(size, x=width / 2 + reach * way, size_px=0.28 * height, yaw=heading, y=0.42 * height)
    second = _still(size, x=width / 2 - reach * way, size_px=0.22 * height, yaw=-heading, y=0.36 * height)
    return [first, second]


def leaving(t: float, size: Size) -> list[State]:
    """One leaves over the right border, stays away for 2 s, and comes back; again every 10 s. Another one stays."""
    height, width = size
    share = float(np.interp(t % 10, [0, 2, 4.5, 6.5, 9, 10], [0, 0, 1, 1, 0, 0]))
    away = share * share * (3 - 2 * share)
    x = 0.68 * width + away * (0.32 * width + 0.35 * height)
    leaver = _still(size, x=x, size_px=0.26 * height, yaw=35 * np.sin(np.pi * share) - 5 * away)
    return [leaver, _still(size, x=0.28 * width, size_px=0.24 * height, yaw=12 * _wave(t, 7))]


def cut(t: float, size: Size) -> list[State]:
    """One is seen for 4 s; then, at once, two others elsewhere for 4 s; and so on."""
    height, width = size
    second = cut_shot(t) % 2 == 1
    return [
        replace(_still(size, x=0.62 * width, yaw=15 * _wave(t, 5)), visible=not second),
        replace(_still(size, x=0.27 * width, size_px=0.3 * height, yaw=20 + 8 * _wave(t, 4)), visible=second),
        replace(_still(size, x=0.75 * width, size_px=0.2 * height, yaw=-15, pitch=6 * _wave(t, 3)), visible=second),
    ]


def cut_shot(t: float) -> int:
    """Number of the shot of `cut`."""
    return int(np.floor(t / 4))


def blinking(t: float, size: Size) -> list[State]:
    """One blinks every 2 s for 0.3 s; every fourth time it is a wink of the left eye, then one of the right."""
    count, phase = divmod(t, 2.0)
    closed = float(np.interp(phase, [1.0, 1.1, 1.2, 1.3], [0, 1, 1, 0]))
    left, right = {3: (1.0, 0.0), 7: (0.0, 1.0)}.get(int(count) % 8, (1.0, 1.0))
    eyes = {"eyeBlinkLeft": closed * left, "eyeBlinkRight": closed * right}
    return [replace(_still(size, yaw=6 * _wave(t, 9)), expression=eyes)]


def talking(t: float, size: Size) -> list[State]:
    """One talks, smiles now and then, raises the brows, and moves as talkers do."""
    voice = max(0.0, 0.6 * _wave(t, 0.37) + 0.4 * _wave(t, 0.23) + 0.5 * _wave(t, 2.9))
    smile = max(0.0, _wave(t, 6.1)) ** 2
    expression = {
        "jawOpen": 0.4 * min(voice, 1.0),
        "mouthFunnel": 0.4 * max(0.0, _wave(t, 0.83)) * (1 - smile),
        "mouthSmile": 0.7 * smile,
        "browInnerUp": 0.5 * max(0.0, _wave(t, 3.7)),
        "eyeBlink": float(np.interp(t % 3.1, [2.0, 2.08, 2.16, 2.26], [0, 1, 1, 0])),
    }
    pose = _still(size, yaw=9 * _wave(t, 3.3), pitch=4 * _wave(t, 1.7), roll=4 * _wave(t, 4.7))
    return [replace(pose, expression=expression)]


def standing(t: float, size: Size) -> list[State]:
    """Two stand and look about."""
    height, width = size
    return [
        _still(size, x=0.34 * width, size_px=0.27 * height, yaw=14 * _wave(t, 4.3), pitch=3 * _wave(t, 2.7)),
        _still(size, x=0.68 * width, size_px=0.24 * height, yaw=-14 * _wave(t, 5.1), roll=5 * _wave(t, 3.9)),
    ]


def shake(t: float) -> tuple[float, float]:
    """How far a hand-held camera is off, to the right and down, in heights of the picture."""
    right = 0.018 * _wave(t, 2.3) + 0.008 * _wave(t + 0.3, 0.71) + 0.003 * _wave(t, 0.19)
    down = 0.014 * _wave(t + 0.8, 1.9) + 0.008 * _wave(t, 0.53) + 0.003 * _wave(t + 0.1, 0.17)
    return right, down


def nobody(_t: float, _size: Size) -> list[State]:
    """An empty room."""
    return []


SCENES: dict[str, Scene] = {
    "turn": Scene(1, turn),
    "nod": Scene(1, nod),
    "tilt": Scene(1, tilt),
    "approaching": Scene(1, approaching),
    "crossing": Scene(2, crossing),
    "leaving": Scene(2, leaving),
    "cut": Scene(3, cut, shot=cut_shot),
    "blinking": Scene(1, blinking),
    "talking": Scene(1, talking),
    "handheld": Scene(2, standing, camera=shake),
    "nobody": Scene(0, nobody),
}
"""Scenes by name."""


def frames(
    scene: Scene | str,
    count: int,
    size: Size = (720, 1280),
    fps: float = 30.0,
    seed: int = 0,
    *,
    heads: Sequence[Head] | None = None,
    background: Image | None = None,
    noise: float = 1.5,
) -> Iterator[tuple[Image, list[Truth | None]]]:
    """Play a scene.

    Parameters
    ----------
    scene : Scene or str
        A script, or the name of one of `SCENES`.
    count : int
        How many frames.
    size : (int, int)
        Height and width, px.
    fps : float
        Frames a second.
    seed : int
        Of heads, backgrounds and noise; the same seed gives the same frames.
    heads : sequence of Head, optional
        Who plays, in the order of identity, and one for each at least; made up by `seed` if there are none.
    background : ndarray (h, w, 3) uint8, optional
        A picture to fill the background, in all shots; made up by `seed` if there is none.
    noise : float
        Standard deviation of the sensor's noise, grey levels.

    Yields
    ------
    image : ndarray (h, w, 3) uint8
        BGR.
    truths : list of Truth or None
        One for each person, always in the same order; None while that one is not there. Somebody who is there, but out
        of the picture or behind another, has a `Truth` with few or none of the face visible.

    Raises
    ------
    TypeError, ValueError
        If an argument is something else, at the call; the message names it.
    """
    if isinstance(scene, str):
        if scene not in SCENES:
            raise ValueError(f"scene: expected one of {', '.join(SCENES)}, got {scene!r}")
        scene = SCENES[scene]
    if not isinstance(scene, Scene):
        raise TypeError(f"scene: expected a Scene or the name of one, got {type(scene).__name__}")
    if count < 0:
        raise ValueError(f"count: expected 0 or more, got {count}")
    size = checked_size("size", size)
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps: expected more than 0, got {fps}")
    if not (np.isfinite(noise) and noise >= 0):
        raise ValueError(f"noise: expected 0 or more, got {noise}")
    if heads is not None and len(heads) < scene.people:
        raise ValueError(f"heads: expected {scene.people} or more, got {len(heads)}")
    if background is not None:
        checked_image("background", background)
    return _frames(scene, count, size, fps, seed, heads, background, noise)


def _frames(
    scene: Scene,
    count: int,
    size: Size,
    fps: float,
    seed: int,
    heads: Sequence[Head] | None,
    background: Image | None,
    noise: float,
) -> Iterator[tuple[Image, list[Truth | None]]]:
    height, width = size
    rng = np.random.default_rng(seed)
    who = rng.integers(2**31, size=scene.people).tolist()
    if heads is None:
        heads = [Head.procedural(_default_model(), person) for person in who]
    margin = round(_MARGIN * height)
    large = (height + 2 * margin, width + 2 * margin)
    walls: dict[int, Image] = {}
    grain = rng.standard_normal((height + _GRAIN_SLACK, width + _GRAIN_SLACK, 3), dtype=np.float32)
    levels = np.rint(noise * grain).astype(np.int16)
    for index in range(count):
        t = index / fps
        shot = scene.shot(t)
        if shot not in walls:
            walls.clear()  # the last shot is over
            walls[shot] = backdrop(large, seed * 1000003 + shot) if background is None else _filling(background, large)
        right, down = (offset * height for offset in scene.camera(t))
        states = [replace(state, x=state.x - right, y=state.y - down) for state in scene.states(t, size)]
        wall = _cut_out(walls[shot], (margin + right, margin + down), size)
        image, truths = render(size, list(zip(heads, states, strict=False)), wall)
        if noise > 0:
            y, x = rng.integers(_GRAIN_SLACK, size=2).tolist()
            image = cv2.add(image, levels[y : y + height, x : x + width], dtype=cv2.CV_8U)
        yield image, truths


def backdrop(size: Size, seed: int = 0) -> Image:
    """Make up a background: a wall in soft light, with blurred things before it, none of which is a face.

    Parameters
    ----------
    size : (int, int)
        Height and width, px.
    seed : int
        Which one.

    Returns
    -------
    ndarray (h, w, 3) uint8
    """
    height, width = checked_size("size", size)
    rng = np.random.default_rng(seed)
    base = rng.uniform(70, 200) + rng.normal(0, 22, 3)
    light = rng.normal(0, 22, (3, 5, 1)) + rng.normal(0, 6, (3, 5, 3))
    wall = base + cv2.resize(light, (width, height), interpolation=cv2.INTER_CUBIC)
    things = np.clip(wall, 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(5, 10))):
        color = (rng.uniform(30, 220) + rng.normal(0, 18, 3)).tolist()
        x, y = rng.uniform(0, width), rng.uniform(0.2, 1) * height
        w, h = rng.uniform(0.04, 0.22) * height, rng.uniform(0.15, 0.6) * height
        corners = cv2.boxPoints(((x, y), (w, h), float(rng.choice([0, 0, 90, rng.uniform(-20, 20)]))))
        cv2.fillConvexPoly(things, np.rint(corners).astype(np.int32), color, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(things, (0, 0), max(height / 90, 0.5)))


def _still(
    size: Size,
    *,
    x: float | None = None,
    y: float | None = None,
    size_px: float | None = None,
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
) -> State:
    """Somebody in the middle of the picture, the face a good quarter of its height."""
    height, width = size
    return State(
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        size=0.28 * height if size_px is None else size_px,
        x=width / 2 if x is None else x,
        y=0.42 * height if y is None else y,
    )


def _wave(t: float, period: float) -> float:
    return float(np.sin(2 * np.pi * t / period))


def _filling(image: Image, size: Size) -> Image:
    """A picture scaled to cover a size, its middle cut out."""
    height, width = size
    scale = max(height / image.shape[0], width / image.shape[1])
    sides = (max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale)))
    resized = cv2.resize(image, sides, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (resized.shape[0] - height) // 2, (resized.shape[1] - width) // 2
    return np.ascontiguousarray(resized[top : top + height, left : left + width])


def _cut_out(wall: Image, corner: tuple[float, float], size: Size) -> Image:
    """The part of a wall that the camera sees."""
    height, width = size
    left, top = corner
    if left == int(left) and top == int(top):
        return wall[int(top) : int(top) + height, int(left) : int(left) + width]
    matrix = np.array([[1, 0, left], [0, 1, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(wall, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _default_model() -> FaceModel:
    return FaceModel.load(verified(Config.load(config_path("open_mb05")).face_model))
