"""Scripts of moving heads, and their frames.

The states of a scene are a pure function of time and image size, so that any frame can be computed on its own.
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
from tddfa.synthetic.render import GroundTruth, State, checked_size, render

Image = NDArray[np.uint8]
Size = tuple[int, int]
"""Height and width of the image, px."""

# The background is larger than the image by this fraction of the height on each side, so that a camera can shake.
_MARGIN = 0.08
# Noise is generated once, this many px larger than the image, and added to each frame at another offset.
_GRAIN_SLACK = 61


@dataclass(frozen=True)
class Scene:
    """A script of moving heads.

    Attributes
    ----------
    people : int
        Number of people over the whole scene.
    states : callable
        Function of time (s) and image size that returns the state of each person, always in the same order.
    shot : callable
        Function of time (s) that returns the number of the shot. Each shot has its own background.
    camera : callable
        Function of time (s) that returns the offset of the camera, to the right and down, in heights of the image.

    Examples
    --------
    >>> scene = Scene(1, lambda t, size: [State(yaw=40 * t, size=60, x=size[1] / 2, y=size[0] / 2)])
    >>> [len(targets) for _, targets in frames(scene, 2, (120, 160))]
    [1, 1]
    """

    people: int
    states: Callable[[float, Size], list[State]]
    shot: Callable[[float], int] = lambda _: 0
    camera: Callable[[float], tuple[float, float]] = lambda _: (0.0, 0.0)


def turn(t: float, size: Size) -> list[State]:
    """One person looks to both sides, up to 60 degrees, in 6 s."""
    return [_still(size, yaw=60 * _wave(t, 6), pitch=4 * _wave(t, 4.1))]


def nod(t: float, size: Size) -> list[State]:
    """One person nods, up to 22 degrees, in 3 s."""
    return [_still(size, pitch=22 * _wave(t, 3), yaw=5 * _wave(t, 7))]


def tilt(t: float, size: Size) -> list[State]:
    """One person tilts the head to both shoulders, up to 30 degrees, in 5 s."""
    return [_still(size, roll=30 * _wave(t, 5))]


def approaching(t: float, size: Size) -> list[State]:
    """One person comes nearer, from 60 to 400 px at 720 lines, and goes back, in 10 s."""
    height = size[0]
    position = 0.5 - 0.5 * np.cos(2 * np.pi * t / 10)
    return [_still(size, size_px=height / 720 * 60 * (400 / 60) ** position, yaw=10 * _wave(t, 5))]


def crossing(t: float, size: Size) -> list[State]:
    """Two people pass each other in 10 s, the first in front of the second, and go back in the next 10 s."""
    height, width = size
    reach = min(0.32 * width, 0.6 * height)
    way = -np.cos(np.pi * t / 10)
    heading = 25 * np.sin(np.pi * t / 10)
    first = _still(size, x=width / 2 + reach * way, size_px=0.28 * height, yaw=heading, y=0.42 * height)
    second = _still(size, x=width / 2 - reach * way, size_px=0.22 * height, yaw=-heading, y=0.36 * height)
    return [first, second]


def leaving(t: float, size: Size) -> list[State]:
    """One person leaves over the right border for 2 s and comes back, every 10 s. A second person stays."""
    height, width = size
    position = float(np.interp(t % 10, [0, 2, 4.5, 6.5, 9, 10], [0, 0, 1, 1, 0, 0]))
    away = position * position * (3 - 2 * position)
    x = 0.68 * width + away * (0.32 * width + 0.35 * height)
    leaver = _still(size, x=x, size_px=0.26 * height, yaw=35 * np.sin(np.pi * position) - 5 * away)
    return [leaver, _still(size, x=0.28 * width, size_px=0.24 * height, yaw=12 * _wave(t, 7))]


def cut(t: float, size: Size) -> list[State]:
    """Shots of 4 s that alternate without a transition: one person, then two others elsewhere."""
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
    """One person blinks every 2 s for 0.3 s; every fourth time it is a wink of the left eye, then one of the right."""
    count, phase = divmod(t, 2.0)
    closed = float(np.interp(phase, [1.0, 1.1, 1.2, 1.3], [0, 1, 1, 0]))
    left, right = {3: (1.0, 0.0), 7: (0.0, 1.0)}.get(int(count) % 8, (1.0, 1.0))
    eyes = {"eyeBlinkLeft": closed * left, "eyeBlinkRight": closed * right}
    return [replace(_still(size, yaw=6 * _wave(t, 9)), expression=eyes)]


def talking(t: float, size: Size) -> list[State]:
    """One person talks, smiles now and then, raises the brows, and moves like a speaker."""
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
    """Two people stand and look around."""
    height, width = size
    return [
        _still(size, x=0.34 * width, size_px=0.27 * height, yaw=14 * _wave(t, 4.3), pitch=3 * _wave(t, 2.7)),
        _still(size, x=0.68 * width, size_px=0.24 * height, yaw=-14 * _wave(t, 5.1), roll=5 * _wave(t, 3.9)),
    ]


def shake(t: float) -> tuple[float, float]:
    """Offset of a hand-held camera, to the right and down, in heights of the image."""
    right = 0.018 * _wave(t, 2.3) + 0.008 * _wave(t + 0.3, 0.71) + 0.003 * _wave(t, 0.19)
    down = 0.014 * _wave(t + 0.8, 1.9) + 0.008 * _wave(t, 0.53) + 0.003 * _wave(t + 0.1, 0.17)
    return right, down


def empty(_t: float, _size: Size) -> list[State]:
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
    "empty": Scene(0, empty),
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
) -> Iterator[tuple[Image, list[GroundTruth | None]]]:
    """Render the frames of a scene.

    Parameters
    ----------
    scene : Scene or str
        A scene, or the name of one of `SCENES`.
    count : int
        Number of frames.
    size : (int, int)
        Height and width, px.
    fps : float
        Frames per second.
    seed : int
        Seed of heads, backgrounds and noise; the same seed gives the same frames.
    heads : sequence of Head, optional
        The heads of the people, at least one per person; procedural heads from `seed` by default.
    background : ndarray (h, w, 3) uint8, optional
        Image for the background of all shots; procedural backgrounds from `seed` by default.
    noise : float
        Standard deviation of the sensor noise, grey levels.

    Yields
    ------
    image : ndarray (h, w, 3) uint8
        BGR.
    targets : list of GroundTruth or None
        One per person, always in the same order; None while the person is absent. A person who is present, but outside
        of the image or behind another one, has a `GroundTruth` with a small `visible`, or 0.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype. It is raised by the call, before the first frame.

    Examples
    --------
    >>> for image, targets in frames("turn", 2, (120, 160)):
    ...     print(image.shape, len(targets))
    (120, 160, 3) 1
    (120, 160, 3) 1
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
) -> Iterator[tuple[Image, list[GroundTruth | None]]]:
    height, width = size
    rng = np.random.default_rng(seed)
    seeds = rng.integers(2**31, size=scene.people).tolist()
    if heads is None:
        heads = [Head.procedural(_default_model(), person) for person in seeds]
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
        wall = _visible_part(walls[shot], (margin + right, margin + down), size)
        image, targets = render(size, list(zip(heads, states, strict=False)), wall)
        if noise > 0:
            y, x = rng.integers(_GRAIN_SLACK, size=2).tolist()
            image = cv2.add(image, levels[y : y + height, x : x + width], dtype=cv2.CV_8U)
        yield image, targets


def backdrop(size: Size, seed: int = 0) -> Image:
    """Make a procedural background: a wall in soft light with blurred objects in front of it, none of them a face.

    Parameters
    ----------
    size : (int, int)
        Height and width, px.
    seed : int
        The same seed gives the same background.

    Returns
    -------
    ndarray (h, w, 3) uint8
        BGR.

    Examples
    --------
    >>> backdrop((90, 160), seed=2).shape
    (90, 160, 3)
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
    """A head in the middle of the image; the face is a good quarter of its height."""
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
    """Scale an image to cover a size, and crop its centre."""
    height, width = size
    scale = max(height / image.shape[0], width / image.shape[1])
    sides = (max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale)))
    resized = cv2.resize(image, sides, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (resized.shape[0] - height) // 2, (resized.shape[1] - width) // 2
    return np.ascontiguousarray(resized[top : top + height, left : left + width])


def _visible_part(wall: Image, corner: tuple[float, float], size: Size) -> Image:
    """The part of a background that the camera sees."""
    height, width = size
    left, top = corner
    if left == int(left) and top == int(top):
        return wall[int(top) : int(top) + height, int(left) : int(left) + width]
    matrix = np.array([[1, 0, left], [0, 1, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(wall, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _default_model() -> FaceModel:
    return FaceModel.load(verified(Config.load(config_path("open_mb05")).face_model))
