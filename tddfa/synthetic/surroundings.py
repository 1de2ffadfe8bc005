"""Procedural backgrounds and objects of many kinds, none of them a face."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa.synthetic.scenes import backdrop

Image = NDArray[np.uint8]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def any_wall(side: int, rng: np.random.Generator) -> Image:
    """Draw a square background: a room, clouds of colour, leaves or stones, patterns, writing; sharp or blurred.

    Parameters
    ----------
    side : int
        px.
    rng : numpy.random.Generator

    Examples
    --------
    >>> any_wall(90, np.random.default_rng(1)).shape
    (90, 90, 3)
    """
    kind = rng.integers(5)
    if kind == 0:
        return backdrop((side, side), int(rng.integers(2**31)))
    image = (_clouds, _pieces, _pattern, _plain)[int(kind) - 1](side, rng)
    if rng.random() < 0.25:
        _write(image, rng)
    if rng.random() < 0.5:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, side / 30))))
    return image


def _color(rng: np.random.Generator) -> NDArray[np.float64]:
    """A colour, mostly dull."""
    return np.clip(rng.uniform(0, 255) + rng.normal(0, rng.choice([12, 50]), 3), 0, 255)


def _plain(side: int, rng: np.random.Generator) -> Image:
    """A wall with a gradient."""
    corners = _color(rng) + rng.normal(0, 25, (2, 2, 1)) + rng.normal(0, 6, (2, 2, 3))
    wall = cv2.resize(corners, (side, side), interpolation=cv2.INTER_LINEAR)
    return np.clip(wall + rng.normal(0, rng.uniform(0, 5), (side, side, 1)), 0, 255).astype(np.uint8)


def _clouds(side: int, rng: np.random.Generator) -> Image:
    """Noise of all scales between colours: foliage, stone, cloth, sky."""
    fall = rng.uniform(0.35, 0.85)
    field = np.zeros((side, side))
    for octave in range(1, 7):
        count = min(2 ** (octave + 1), side)
        field += fall**octave * cv2.resize(
            rng.normal(0, 1, (count, count)), (side, side), interpolation=cv2.INTER_CUBIC
        )
    order = field.argsort(axis=None).argsort() / field.size
    stops = np.sort(rng.uniform(0, 1, 4))
    colors = np.array([_color(rng) for _ in stops])
    out = np.stack([np.interp(order, stops, colors[:, k]) for k in range(3)], axis=-1)
    return out.reshape(side, side, 3).astype(np.uint8)


def _pieces(side: int, rng: np.random.Generator) -> Image:
    """Overlapping shapes: furniture, crowds, shelves."""
    image = _plain(side, rng)
    colors = [_color(rng) for _ in range(int(rng.integers(2, 7)))]
    size = rng.uniform(0.05, 0.35) * side
    for _ in range(int(rng.integers(8, 70))):
        color = np.clip(colors[int(rng.integers(len(colors)))] + rng.normal(0, 15), 0, 255).tolist()
        centre, extent = rng.uniform(0, side, 2), size * np.exp(rng.normal(0, 0.6, 2))
        angle = float(rng.choice([0, 90, rng.uniform(0, 180)]))
        if rng.random() < 0.3:
            cv2.ellipse(image, (centre.tolist(), extent.tolist(), angle), color, -1, cv2.LINE_AA)
        else:
            corners = cv2.boxPoints((centre.tolist(), extent.tolist(), angle))
            cv2.fillConvexPoly(image, np.rint(corners).astype(np.int32), color, cv2.LINE_AA)
    return image


def _pattern(side: int, rng: np.random.Generator) -> Image:
    """Stripes, bricks, tiles or dots, tilted."""
    angle = rng.uniform(0, np.pi) if rng.random() < 0.5 else 0.0
    y, x = np.mgrid[0:side, 0:side].astype(np.float64)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    period = rng.uniform(0.03, 0.3, 2) * side
    kind = rng.integers(4)
    if kind == 0:
        on = np.sin(2 * np.pi * u / period[0]) > rng.uniform(-0.8, 0.8)
    elif kind == 1:
        row = np.floor(v / period[1])
        on = ((u / period[0] + 0.5 * row) % 1 < 0.08) | (v / period[1] % 1 < 0.12)
    elif kind == 2:
        on = (np.floor(u / period[0]) + np.floor(v / period[1])) % 2 > 0
    else:
        on = np.hypot(u / period[0] % 1 - 0.5, v / period[0] % 1 - 0.5) < rng.uniform(0.15, 0.45)
    out = np.where(on[..., None], _color(rng), _color(rng)) * (1 + rng.normal(0, 0.05, (side, side, 1)))
    light = cv2.resize(np.exp(rng.normal(0, 0.25, (2, 2))), (side, side), interpolation=cv2.INTER_LINEAR)
    return np.clip(out * light[..., None], 0, 255).astype(np.uint8)


def _write(image: Image, rng: np.random.Generator) -> None:
    """Write a few words."""
    side = len(image)
    for _ in range(int(rng.integers(1, 4))):
        text = "".join(rng.choice(list(_LETTERS), int(rng.integers(2, 9))))
        at = rng.uniform((-0.2, 0.1), (0.8, 1.0)) * side
        size, thick = float(rng.uniform(0.3, 2.5) * side / 160), int(rng.integers(1, 4))
        cv2.putText(
            image,
            text,
            at.astype(int).tolist(),
            int(rng.integers(0, 8)),
            size,
            _color(rng).tolist(),
            thick,
            cv2.LINE_AA,
        )


def hold(image: Image, skin: tuple[float, float, float], rng: np.random.Generator) -> None:
    """Draw a hand in front of the image, or something that it holds: a microphone, a cup, a telephone."""
    side = len(image)
    at = np.clip(rng.normal((0.5, 0.72), (0.17, 0.15)), 0.05, 0.98) * side
    kind = rng.integers(3)
    if kind:
        color = _color(rng)
        extent = side * rng.uniform((0.06, 0.1), (0.16, 0.35))
        angle = float(rng.normal(0, 25))
        if kind == 1:
            corners = np.rint(cv2.boxPoints((at.tolist(), extent.tolist(), angle))).astype(np.int32)
            cv2.fillConvexPoly(image, corners, color.tolist(), cv2.LINE_AA)
        else:
            cv2.ellipse(image, (at.tolist(), extent.tolist(), angle), color.tolist(), -1, cv2.LINE_AA)
        at = at + np.array([0, 0.6 * extent[1]])
        if rng.random() < 0.4:
            return
    tone = np.array(skin) * rng.uniform(0.7, 1.15)
    toward = np.radians(rng.normal(-90, 50))
    width = side * rng.uniform(0.03, 0.055)
    ahead, aside = np.array([np.cos(toward), np.sin(toward)]), np.array([-np.sin(toward), np.cos(toward)])
    palm = at - ahead * side * 0.12
    canvas = image.copy()
    cv2.line(
        canvas,
        (at - ahead * side).astype(int).tolist(),
        palm.astype(int).tolist(),
        tone.tolist(),
        int(4 * width),
        cv2.LINE_AA,
    )
    count = int(rng.integers(2, 5))
    for k in range(count):
        root = palm + aside * width * 1.15 * (k - (count - 1) / 2)
        bend = root + ahead * side * rng.uniform(0.08, 0.16) + aside * rng.normal(0, 0.015) * side
        tip = bend + (ahead + aside * rng.normal(0, 0.35)) * side * rng.uniform(0.04, 0.12)
        for gain, thick, shift in ((0.62, 1.15, 0.0), (1.0, 0.95, 0.0), (1.08, 0.4, -0.25)):
            corners = np.stack([root, bend, tip]) + aside * width * shift
            color = np.clip(tone * gain, 0, 255).tolist()
            cv2.polylines(
                canvas, [np.rint(corners).astype(np.int32)], False, color, max(int(thick * width), 1), cv2.LINE_AA
            )
    image[:] = cv2.GaussianBlur(canvas, (0, 0), 0.7)
