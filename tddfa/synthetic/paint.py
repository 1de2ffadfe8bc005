"""Procedural faces on the UV map: skin with its colours and marks, brows, lips, beards, eyes and hairlines.

Everything is drawn from formulas and a random generator; no photo is used.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa.landmarks68 import PARTS
from tddfa.model.face_model import FaceModel
from tddfa.synthetic.chart import NOISE_SIDE, Chart, chart_of, noise_fields, smoothstep, streaks
from tddfa.synthetic.head import Head, pyramid

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Color = NDArray[np.float32]

# BGR of skin from pale to dark
_SKIN = np.array([(166, 180, 212), (140, 160, 200), (106, 136, 182), (72, 100, 148), (44, 60, 98), (28, 38, 60)])
# BGR of hair: black, dark brown, brown, red, blond, grey, white
_HAIR = np.array(
    [(24, 24, 28), (30, 38, 52), (42, 62, 92), (40, 74, 138), (104, 156, 196), (118, 120, 124), (196, 200, 204)]
)
_HAIR_ODDS = np.array([0.3, 0.22, 0.16, 0.06, 0.12, 0.09, 0.05])
# BGR of irises: dark brown, brown, hazel, green, blue, grey
_IRIS = np.array([(22, 34, 54), (36, 62, 100), (60, 100, 122), (88, 112, 96), (150, 124, 88), (132, 128, 118)])
_IRIS_ODDS = np.array([0.36, 0.24, 0.1, 0.08, 0.14, 0.08])
_PUPIL = np.array([14.0, 12, 12])
# `Head.jaw_lift`, from slightly soft to sharp jaws. Without it, the lowest point that one sees is up to 1.5 cm below
# the landmark of the chin.
_JAW_LIFT = 0.85, 1.3
# Radii of iris and pupil, cm in the frame of the open face model.
_IRIS_RADIUS, _PUPIL_RADIUS = 0.62, 0.25


_EVERYTHING = slice(None), slice(None)


def painted_head(model: FaceModel, seed: int, *, size: int = 384, spread: float = 1.0, mean: ArrayLike = 0.0) -> Head:
    """Make a procedural head whose face is painted in detail.

    Parameters
    ----------
    model : FaceModel
        As the open face model: with `uv` and eyeballs.
    seed : int
        Seed of the identity; the same seed gives the same head.
    size : int
        Side of the texture, px.
    spread : float
        Standard deviation of the shape coefficients.
    mean : float or array-like (s,), optional
        Mean of the shape coefficients.

    Examples
    --------
    >>> painted_head(aligner.face_model, seed=3, size=128).texture.shape
    (128, 128, 3)
    """
    rng = np.random.default_rng(seed)
    shape = (rng.normal(0, spread, model.shape_count).clip(-3, 3) + np.asarray(mean)).astype(np.float32)
    skin = _between(_SKIN, rng.beta(1.1, 1.5)) * np.exp(rng.normal(0, 0.025, 3))
    hair = _HAIR[rng.choice(len(_HAIR), p=_HAIR_ODDS)] * np.exp(rng.normal(0, 0.2) + rng.normal(0, 0.05, 3))
    if skin.mean() < 120 and rng.random() < 0.8:
        hair = _HAIR[0] * rng.uniform(0.6, 1.3)
    texture = paint(model, size, skin, hair, rng)
    bald = rng.random() < 0.06
    top = skin if bald else hair
    clothes = rng.uniform(10, 245) + rng.normal(0, 35, 3)
    colors = [tuple(np.clip(color, 0, 255).tolist()) for color in (top, skin, clothes)]
    return Head(model, shape, texture, colors[0], colors[1], colors[2], rng.uniform(*_JAW_LIFT))


def paint(
    model: FaceModel, size: int, skin: NDArray[np.floating], hair: NDArray[np.floating], rng: np.random.Generator
) -> Image:
    """Paint a face (size, size, 3) of these colours, BGR."""
    chart = chart_of(model, size)
    canvas = _Canvas(chart, np.asarray(skin, np.float32), np.asarray(hair, np.float32), rng)
    canvas.skin_tone()
    canvas.creases()
    canvas.marks()
    canvas.lips()
    canvas.around_eyes()
    canvas.beard()
    canvas.brows()
    canvas.hairline()
    canvas.hollows()
    canvas.nostrils()
    canvas.corners()
    canvas.eyeballs()
    canvas.inner_mouth()
    return pyramid(np.clip(canvas.color, 0, 255), chart.surface)[0]


class _Canvas:
    """A face while it is painted."""

    def __init__(self, chart: Chart, skin: Color, hair: Color, rng: np.random.Generator) -> None:
        self.chart, self.skin, self.hair, self.rng = chart, skin, hair, rng
        self.size = len(chart.surface)
        self.color = np.empty((self.size, self.size, 3), dtype=np.float32)
        self.x, self.y, self.z = cv2.split(chart.position)
        self.age = float(rng.beta(1.3, 1.7))
        # how far the line where lips meet is above the landmarks of the inner lips, texels
        self.parting = float(rng.normal(1.5, 0.4)) * self.size / 512
        self.female = bool(rng.random() < 0.5)

    def mix(
        self, weight: NDArray[np.floating], color: NDArray[np.floating], part: tuple[slice, slice] = _EVERYTHING
    ) -> None:
        """Blend in a colour (3,), or one per texel, everywhere or in a part of the map."""
        w = np.clip(weight, 0, 1).astype(np.float32)[..., None]
        below = self.color[part]
        below += w * (np.asarray(color, np.float32) - below)

    def scale(self, weight: NDArray[np.floating], factor: ArrayLike) -> None:
        """Multiply by a factor where the weight is 1, by 1 where it is 0."""
        drop = np.broadcast_to(np.asarray(factor, np.float32), 3) - np.float32(1)
        self.color *= 1 + np.asarray(weight, np.float32)[..., None] * drop

    def noise(self, level: int) -> Floats:
        """Noise of standard deviation 1; higher levels are coarser."""
        field = noise_fields(self.size)[level]
        top, left = self.rng.integers(0, NOISE_SIDE - self.size, 2)
        return field[top : top + self.size, left : left + self.size]

    def spot(self, x: float, y: float, width: float, height: float) -> Floats:
        """A soft spot at a place of the face, on both sides, cm."""
        return np.exp(-(((np.abs(self.x) - x) / width) ** 2) - ((self.y - y) / height) ** 2)

    def soft_lines(
        self, lines: Iterable[NDArray[np.floating]], thickness: int, blur: float, *, closed: bool = False
    ) -> Floats:
        """Weights of lines through points of the map; the blur is in texels of a map of 512 x 512."""
        drawn = np.zeros((self.size, self.size), dtype=np.uint8)
        for line in lines:
            cv2.polylines(drawn, [np.rint(line * 16).astype(np.int32)], closed, 255, thickness, cv2.LINE_AA, 4)
        return np.asarray(cv2.GaussianBlur(drawn.astype(np.float32) / 255, (0, 0), blur * self.size / 512), np.float32)

    def skin_tone(self) -> None:
        """Paint skin: its colour, blotches, pores, redder and darker parts."""
        rng = self.rng
        self.color[:] = self.skin
        rough = rng.uniform(0.2, 1.3)
        tone = rough * (0.016 * self.noise(0) + 0.01 * self.noise(1) + 0.012 * self.noise(2)) + 0.02 * self.noise(3)
        self.color *= (1 + tone)[..., None]
        red = np.array([0.88, 0.88, 1.01])
        for x, y, w, h in ((3.9, 0.0, 1.9, 1.6), (0.0, 0.4, 1.3, 1.3), (0.0, -6.5, 1.6, 1.2), (7.2, 2, 1.5, 2.5)):
            self.scale(self.spot(x, y, w, h) * rng.uniform(0, 1.1), red)
        self.scale(np.clip(self.noise(2) * rng.uniform(0, 0.25), 0, 1), red)
        # yellower and lighter forehead, darker sides
        self.scale(self.spot(0, 7.5, 4, 2.2) * rng.uniform(0, 1), [0.97, 1.03, 1.03])
        self.scale(smoothstep((np.abs(self.x) - 5) / 3) * rng.uniform(0, 1), [0.9, 0.9, 0.92])
        self.color *= (np.maximum(self.chart.shade, 0.05) ** np.float32(rng.uniform(0.7, 1.8)))[..., None]

    def corners(self) -> None:
        """Paint the line between the lips from where they part in the mesh to beyond the corners of the mouth."""
        corners = self.chart.landmarks[[[48, 60], [54, 64]]] - (0, self.parting)
        lines = [np.stack([outer + along * (inner - outer) for along in (-0.4, 1.0, 2.2)]) for outer, inner in corners]
        self.scale(self.soft_lines(lines, 2, 0.9) * self.rng.uniform(0.6, 1), [0.3, 0.28, 0.36])

    def creases(self) -> None:
        """Paint the folds from nose to mouth, lines of the forehead and bags under the eyes."""
        rng, points, size = self.rng, self.chart.landmarks, self.size
        lines = np.zeros((size, size), dtype=np.uint8)

        def line(corners: NDArray[np.floating], strength: float, thickness: int = 1) -> None:
            drawn = np.zeros_like(lines)
            cv2.polylines(
                drawn, [np.rint(_smooth(corners) * 16).astype(np.int32)], False, 255, thickness, cv2.LINE_AA, 4
            )
            np.maximum(lines, (drawn * min(strength, 1.0)).astype(np.uint8), out=lines)

        unit = size / 512
        deep = self.age * rng.uniform(0.3, 1)
        for wing, corner, side in ((31, 48, -1), (35, 54, 1)):
            start = points[wing] + unit * np.array([8 * side, -4])
            end = points[corner] + unit * np.array([rng.uniform(10, 18) * side, rng.uniform(0, 14)])
            middle = (start + end) / 2 + unit * np.array([rng.uniform(2, 7) * side, -3])
            line(np.stack([start, middle, end]), 0.15 + 0.7 * deep, 2)
        for eye, side in ((36, -1), (45, 1)):
            inner = points[39 if side < 0 else 42] + unit * np.array([0, 9])
            outer = points[eye] + unit * np.array([0, 9])
            line(np.stack([inner, (inner + outer) / 2 + unit * np.array([0, 9]), outer]), 0.1 + 0.5 * deep)
            for k in range(3):
                end = points[eye] + unit * np.array([rng.uniform(14, 22) * side, 10 * (k - 1)])
                line(np.stack([points[eye] + unit * np.array([8 * side, 3 * (k - 1)]), end]), 0.6 * deep - 0.1)
        for k in range(int(rng.integers(0, 4))):
            y = points[19, 1] - unit * (14 + 11 * k)
            x = np.linspace(points[18, 0], points[25, 0], 5)
            line(np.column_stack([x, y + unit * rng.normal(0, 2, 5)]), 0.55 * deep - 0.05)
        soft = cv2.GaussianBlur(lines.astype(np.float32) / 255, (0, 0), 1.1 * unit)
        self.scale(soft, [0.55, 0.55, 0.62])
        self.color *= 1 + 0.12 * (cv2.GaussianBlur(soft, (0, 0), 3 * unit) * smoothstep((self.y + 9) / 1))[..., None]

    def marks(self) -> None:
        """Paint freckles, moles and spots."""
        rng, size = self.rng, self.size
        if rng.random() < 0.3:
            freckles = smoothstep((self.noise(1) - rng.uniform(1.0, 2.0)) / 0.6)
            self.scale(freckles * (self.spot(3.2, 1.0, 3.5, 2.5) + 0.2) * rng.uniform(0.2, 0.8), [0.6, 0.68, 0.8])
        dots = np.zeros((size, size), dtype=np.uint8)
        for _ in range(int(rng.poisson(3))):
            place = rng.uniform((0.1, 0.05), (0.9, 0.55)) * size
            cv2.circle(
                dots,
                np.rint(16 * place).astype(int).tolist(),
                int(rng.uniform(8, 40) * size / 512),
                255,
                -1,
                cv2.LINE_AA,
                4,
            )
        self.scale(dots / np.float32(255), rng.choice([0.45, 0.7]) * np.array([0.9, 0.9, 1.15]))

    def lips(self) -> None:
        """Paint the lips, with lipstick for some."""
        rng = self.rng
        color = self.skin * rng.uniform((0.62, 0.55, 0.8), (0.9, 0.82, 1.0))
        weight = rng.uniform(0.45, 0.95)
        if self.female and rng.random() < 0.5:
            color = np.array([rng.uniform(30, 130), rng.uniform(20, 90), rng.uniform(110, 215)])
            color *= np.clip(self.skin.max() / 190, 0.5, 1.1)
            weight = rng.uniform(0.5, 1)
        streaks = 1 + 0.06 * self.noise(0) + 0.05 * self.noise(1)
        # the upper lip faces down, and is darker
        inner, unit = self.chart.landmarks[60:65], self.size / 512
        upper = smoothstep((inner[2, 1] - np.arange(self.size)) / (8 * unit) + 0.5)[:, None]
        shaded = 1 + rng.uniform(0, 0.12) - rng.uniform(0.0, 0.22) * upper
        self.mix(self.chart.lips * weight, color * (streaks * shaded)[..., None])
        # the shade where the lips meet, which one sees as a dark line on a closed mouth
        line = _smooth(inner - np.array([0, self.parting]), 16)
        shade = self.soft_lines([line], max(round(rng.uniform(1, 3.5) * unit), 1), 1.1)
        self.scale(shade * rng.uniform(0.5, 1), [0.3, 0.26, 0.36])

    def around_eyes(self) -> None:
        """Paint the shade around the eyes, make-up, and the lashes along the rims of the lids."""
        rng, chart, unit = self.rng, self.chart, self.size / 512
        hollow = np.zeros_like(self.x)
        for iris in chart.irises:
            away = np.sqrt(((self.x - iris[0]) * 0.75) ** 2 + ((self.y - iris[1]) * 1.15) ** 2)
            # deeper above the eye, where light from above does not reach
            over = 0.25 + 0.75 * smoothstep((self.y - iris[1] + 0.4) / 0.8)
            hollow += smoothstep((1.9 - away) / 1.0) * over * (self.z > 5)
        self.scale(hollow * rng.uniform(0, 1), [0.68, 0.66, 0.72])
        bags = sum(np.exp(-(((self.x - i[0]) / 1.3) ** 2) - ((self.y - i[1] + 1.35) / 0.6) ** 2) for i in chart.irises)
        self.scale(np.asarray(bags, np.float32) * rng.uniform(0, 0.6), [0.86, 0.78, 0.8])
        lids = sum(np.exp(-(((self.x - i[0]) / 1.5) ** 2) - ((self.y - i[1] - 1.0) / 0.6) ** 2) for i in chart.irises)
        if self.female and rng.random() < 0.4:
            shadow = rng.uniform(20, 170, 3) * np.clip(self.skin.max() / 200, 0.5, 1)
            self.mix(np.asarray(lids, np.float32) * rng.uniform(0.2, 0.8), shadow)
        ball = chart.eyes.astype(np.uint8)
        thick = rng.uniform(2.0, 5.0) if not self.female else rng.uniform(2.8, 6.5)
        distance = cv2.distanceTransform(1 - ball, cv2.DIST_L2, 5) / np.float32(unit)
        above = self.y > np.where(self.x < 0, chart.irises[0, 1], chart.irises[-1, 1]) - 0.1
        reach = np.where(above, thick, 0.35 * thick).astype(np.float32)
        near = self.z > 4
        lashes = np.clip((reach - distance) / 1.2 + 0.3 * self.noise(0), 0, 1) * near * (distance < 2 * reach)
        dark = 0.25 * self.hair + 0.08 * self.skin
        self.mix(lashes * np.where(above, rng.uniform(0.65, 1.0), rng.uniform(0.1, 0.5)), dark)
        # lashes beyond the outer corners
        near_end, end = rng.uniform((3, 7), (6, 12))
        tails = [
            chart.landmarks[eye] + unit * np.array([(0, -2.5), (side * near_end, -1.5), (side * end, 1)])
            for eye, side in ((36, -1), (45, 1))
        ]
        self.mix(self.soft_lines(tails, max(round(rng.uniform(1.5, 4) * unit), 1), 1.0) * rng.uniform(0.4, 1), dark)
        # the moist rim of the lower lid
        self.mix((distance < 1.2) * ~above * near * np.float32(rng.uniform(0, 0.6)), self.skin * (0.8, 0.78, 1.0))
        # the fold of the upper lid
        fold = np.exp(-(((distance - rng.uniform(5, 12)) / 1.6) ** 2)) * above * near
        self.scale(fold.astype(np.float32) * rng.uniform(0, 0.8), [0.6, 0.6, 0.66])

    def beard(self) -> None:
        """Paint stubble, moustache or beard on some faces, shaven skin on others."""
        rng = self.rng
        if self.female:
            return
        x, y = np.abs(self.x), self.y
        line = np.interp(x, [0, 2.2, 4.5, 6.0, 7.2], [-4.4, -3.9, rng.uniform(-3.5, -1.6), rng.uniform(-2, 0.5), 3.5])
        cheeks = smoothstep((line - y + 0.4 * self.noise(1)) / 1.0)
        moustache = smoothstep((3.1 - x) / 0.8) * smoothstep((-1.35 - y) / 0.5) * smoothstep((y + 4.4) / 0.4)
        chin = smoothstep((rng.uniform(1.8, 3.4) - x) / 0.8) * smoothstep((-4.0 - y) / 0.7)
        kind = rng.choice(4, p=(0.64, 0.11, 0.1, 0.15))
        weight = (np.maximum(cheeks, moustache), moustache, np.maximum(chin, moustache), np.maximum(cheeks, moustache))[
            kind
        ]
        weight = weight * (1 - np.clip(2 * self.chart.lips, 0, 1)) * (self.z > -1)
        if kind == 0:  # shaven, or stubble
            dots = np.clip(0.5 + 0.5 * self.noise(0), 0, 1.5)
            self.mix(weight * dots * rng.uniform(0, 0.5) * rng.uniform(0, 1), 0.5 * self.hair + 0.25 * self.skin)
        else:
            dense = np.clip(rng.uniform(0.3, 1.0) + 0.16 * self.noise(0) + 0.05 * self.noise(1), 0, 0.95)
            self.mix(weight * dense, self._strands(0.9 * self.hair))

    def brows(self) -> None:
        """Draw the hairs of the brows along their landmarks."""
        rng, unit = self.rng, self.size / 512
        hairs = np.zeros((self.size, self.size), dtype=np.uint8)
        base = np.zeros_like(hairs)
        height = rng.uniform(7, 17) * unit * (0.75 if self.female else 1.0)
        taper, rise = rng.uniform(0.2, 0.7), rng.uniform(0.1, 0.5)
        count = int(rng.uniform(40, 130))
        shift = rng.normal(0, 1.2) * unit
        for part, side in (("right_brow", -1), ("left_brow", 1)):
            line = self.chart.landmarks[PARTS[part]].astype(np.float64)
            line = line[::-1] if side < 0 else line  # from the nose outwards
            line = _smooth(line, 24)
            along = np.linspace(0, 1, len(line))
            # landmarks are in the middle of the inner end, then on the upper edge
            line[:, 1] += height * np.interp(along, [0, 0.25, 1], [0.15, 0.38, 0.5]) + shift
            half = 0.5 * height * np.interp(along, [0, 0.12, 0.5, 1], [0.75, 1, 0.9, taper])
            outline = np.concatenate(
                [line - np.column_stack([0 * half, half]), (line + np.column_stack([0 * half, half]))[::-1]]
            )
            cv2.fillPoly(base, [np.rint(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
            t = rng.uniform(0, 1, count)
            across = rng.uniform(-1, 1, count)
            root = np.column_stack([np.interp(t, along, line[:, k]) for k in (0, 1)])
            root[:, 1] += across * np.interp(t, along, half)
            jaw_lift = np.column_stack(
                [np.full(count, 1.0 * side), -np.interp(t, [0, 1], [1.6 + rise, -0.4]) + 0.6 * (across < 0)]
            )
            jaw_lift /= np.linalg.norm(jaw_lift, axis=1, keepdims=True)
            tip = root + jaw_lift * height * rng.uniform(0.35, 0.9, (count, 1))
            for first, last in zip(
                np.rint(16 * root).astype(int).tolist(), np.rint(16 * tip).astype(int).tolist(), strict=True
            ):
                cv2.line(hairs, first, last, 255, 1, cv2.LINE_AA, 4)
        soft = cv2.GaussianBlur(base, (0, 0), 1.8 * unit) / np.float32(255)
        strength = rng.uniform(0.55, 1.0)
        color = np.minimum(self.hair * rng.uniform(0.6, 1.1), 0.7 * self.skin)
        self.mix(soft * rng.uniform(0.3, 0.9) * strength, color)
        self.mix(hairs / np.float32(255) * strength * rng.uniform(0.6, 1.0), 0.85 * color)

    def hairline(self) -> None:
        """Paint hair on the upper forehead and the temples, down to the brows for some."""
        rng = self.rng
        x = self.x
        high = rng.choice([rng.uniform(8.2, 11), rng.uniform(6.3, 8.2), rng.uniform(4.6, 6.5)], p=(0.6, 0.25, 0.15))
        slope, parting = rng.normal(0, 0.12), rng.normal(0, 2.5)
        line = high + slope * x - rng.uniform(0.0, 0.05) * (x - parting) ** 2
        sides = (
            rng.uniform(4.0, 9.0) - rng.uniform(0.5, 3) * np.maximum(np.abs(x) - rng.uniform(5.3, 6.6), 0) ** 1.5 * 2
        )
        line = np.minimum(line, np.where(np.abs(x) > 5, np.maximum(sides, rng.uniform(-3, 3)), 99))
        ragged = streaks(self.size)
        left = int(rng.integers(0, ragged.shape[1] - self.size))
        fringe = rng.choice([rng.uniform(0.05, 0.35), rng.uniform(0.3, 1.0)], p=(0.75, 0.25))
        weight = smoothstep((self.y - line + fringe * ragged[:, left : left + self.size]) / rng.uniform(0.5, 2.0) + 0.5)
        weight *= (self.z > -3) & ~self.chart.eyes & ~self.chart.mouth & (np.abs(x) < 7.35)
        # the shadow of the hair
        self.scale(cv2.GaussianBlur(weight, (0, 0), self.size / 90) * rng.uniform(0, 0.7), [0.7, 0.7, 0.76])
        self.mix(weight, self._strands(self.hair))

    def _strands(self, color: Color) -> Floats:
        ragged = streaks(self.size)
        left = int(self.rng.integers(0, ragged.shape[1] - self.size))
        gloss = 1 + self.rng.uniform(0.1, 0.3) * ragged[:, left : left + self.size] + 0.1 * self.noise(0)
        return np.asarray(color * gloss[..., None], np.float32)

    def hollows(self) -> None:
        """Darken nostrils and folds."""
        self.scale(self.chart.hidden * (1 - 0.6 * self.chart.lips) * self.rng.uniform(0.6, 1), [0.3, 0.28, 0.36])

    def nostrils(self) -> None:
        """Paint the nostrils as they appear from the front: above the landmarks below the nose.

        The nostrils of the mesh open downwards, and are visible only on faces that look up.
        """
        rng, chart = self.rng, self.chart
        columns, rows = np.rint(chart.landmarks[[31, 32]]).astype(int).T
        base = chart.position[rows, columns].mean(axis=0)
        x = np.abs(self.x) - abs(base[0]) - rng.uniform(-0.2, 0.0)
        y = self.y - base[1] - rng.uniform(0.14, 0.32) + rng.uniform(0.1, 0.45) * x
        away = np.hypot(x / rng.uniform(0.28, 0.45), y / rng.uniform(0.12, 0.24))
        self.scale(smoothstep((1.4 - away) / 0.8) * (self.z > base[2] - 1) * rng.uniform(0.4, 1), [0.3, 0.28, 0.36])

    def eyeballs(self) -> None:
        """Paint sclera, iris, pupil and a highlight."""
        rng, chart = self.rng, self.chart
        white = np.minimum(np.array([205.0, 212, 218]) * rng.uniform(0.55, 1.02), self.skin.max() + 25)
        iris = _IRIS[rng.choice(len(_IRIS), p=_IRIS_ODDS)] * np.exp(rng.normal(0, 0.2) + rng.normal(0, 0.08, 3))
        if self.skin.mean() < 120:
            iris = _IRIS[0] * rng.uniform(0.6, 1.3)
        pupil = _PUPIL_RADIUS * rng.uniform(0.75, 1.5)
        spark = rng.uniform(-0.3, 0.3), rng.uniform(0.05, 0.35)
        # shade of the outer half, and of both ends; how far the iris is above the middle, and the rim of the lower lid
        outer, inner = rng.uniform(0.1, 0.45), rng.uniform(0.1, 0.25)
        raised, rim = rng.normal(0.04, 0.04), rng.uniform(0.0, 0.12)
        for centre in chart.irises:
            own = chart.eyes & (np.sign(self.x) == np.sign(centre[0]))
            part = slice(*_span(own, 1)), slice(*_span(own, 0))
            own = own[part]
            dx, dy = self.x[part] - centre[0], self.y[part] - centre[1]
            off = np.hypot(dx, dy - raised)
            angle = np.arctan2(dy - raised, dx)
            shade = outer * smoothstep((np.sign(centre[0]) * dx - 0.3) / 0.8)
            shade += inner * smoothstep((np.abs(dx) - 0.7) / 0.8)
            self.mix(own * np.float32(1), white * (1 - shade)[..., None] * (1, 1, 1.02), part)
            fibres = 1 + 0.18 * np.sin(23 * angle + 5 * off) + 0.2 * smoothstep((off - 0.3) / 0.3) * np.sin(11 * angle)
            ring = 1 - 0.55 * smoothstep((off - 0.5) / 0.12)
            self.mix(own * smoothstep((_IRIS_RADIUS - off) / 0.1), iris * (fibres * ring)[..., None], part)
            self.mix(own * smoothstep((pupil - off) / 0.06), _PUPIL, part)
            if rng.random() < 0.85:
                light = smoothstep((0.16 - np.hypot(dx - spark[0], dy - raised - spark[1])) / 0.08)
                self.mix(own * light * rng.uniform(0.5, 1), np.array([235.0, 238, 240]), part)
            lid = own * smoothstep((dy + 0.05) / 0.5) * rng.uniform(0.4, 1)
            self.mix(lid, 0.45 * self.color[part], part)
            # the rim of the lower lid, which is in front of the eyeball
            self.mix(own * smoothstep((rim - 0.36 - dy) / 0.08), self.skin * (0.86, 0.84, 0.95), part)

    def inner_mouth(self) -> None:
        """Paint the inside of the mouth: dark, with teeth and a tongue."""
        rng, mouth = self.rng, self.chart.mouth
        if not mouth.any():
            return
        rows, columns = np.flatnonzero(mouth.any(axis=1)), np.flatnonzero(mouth.any(axis=0))
        top, left = rows[0], columns[0]
        height, width = rows[-1] + 1 - top, columns[-1] + 1 - left
        light = 0.5 * float(self.skin.max()) + rng.uniform(70, 130)
        paint = painted_mouth(light, rng, gap=(-0.1, 0.5))
        inside = cv2.resize(paint, (int(width), int(height)), interpolation=cv2.INTER_LINEAR)
        part = np.zeros_like(self.color)
        part[top : top + height, left : left + width] = inside
        self.mix(mouth * np.float32(1), part)


def painted_mouth(
    light: float, rng: np.random.Generator, *, grey: bool = False, gap: tuple[float, float] = (0.2, 0.76)
) -> Image:
    """Paint the inside of a mouth at its place on the UV map (36, 77, 3): dark, with teeth and a tongue.

    Parameters
    ----------
    light : float
        Brightness of white teeth, 0..255.
    rng : numpy.random.Generator
        Source of the random numbers.
    grey : bool
        Without colours.
    gap : tuple of float
        Least and greatest distance of the upper teeth from the middle, as a fraction of the way to the lips.
    """
    height, width = 36, 77
    y, x = np.mgrid[0:height, 0:width] / np.array([height - 1, width - 1]).reshape(2, 1, 1)

    def tinted(level: float, tint: tuple[float, float, float]) -> NDArray[np.float64]:
        return light * level * (np.ones(3) if grey else np.array(tint))

    canvas = np.tile(tinted(rng.uniform(0.1, 0.3), (0.65, 0.6, 1.0)), (height, width, 1))

    def add(mask: NDArray[np.bool_], layer: NDArray[np.float64]) -> None:
        alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.2)[..., None]
        canvas[:] = canvas * (1 - alpha) + layer * alpha

    if rng.random() < 0.6:
        tongue = ((x - 0.5) / 0.3) ** 2 + ((y - 0.95) / rng.uniform(0.25, 0.5)) ** 2 < 1
        add(tongue, tinted(rng.uniform(0.35, 0.6), (0.7, 0.68, 1.0)))
    between = 1 - 0.12 * (np.abs(np.sin(12 * np.pi * (x - 0.5))) < 0.15)[..., None]
    teeth = tinted(rng.uniform(0.7, 1.0), (0.86, 0.95, 1.0)) * between
    arch = 0.5 * np.sqrt(np.clip(1 - ((x - 0.5) / 0.5) ** 2, 0, 1))
    if rng.random() < 0.75:
        add((y < 0.5 - arch * rng.uniform(*gap)) & (np.abs(x - 0.5) < 0.4), teeth)
    if rng.random() < 0.35:
        add((y > 0.5 + arch * rng.uniform(0.5, 0.84)) & (np.abs(x - 0.5) < 0.36), 0.9 * teeth)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _between(colors: NDArray[np.floating], t: float) -> NDArray[np.float64]:
    at = t * (len(colors) - 1)
    low = min(int(at), len(colors) - 2)
    return np.asarray(colors[low] * (1 - (at - low)) + colors[low + 1] * (at - low), dtype=np.float64)


def _smooth(corners: NDArray[np.floating], count: int = 12) -> NDArray[np.float64]:
    """A curve (count, 2) through some corners."""
    t, at = np.arange(len(corners)), np.linspace(0, len(corners) - 1, count)
    order = min(len(corners) - 1, 3)
    return np.column_stack([np.polyval(np.polyfit(t, corners[:, k], order), at) for k in (0, 1)])


def _span(mask: NDArray[np.bool_], axis: int) -> tuple[int, int]:
    """First row or column of a mask with a True, and the one after the last."""
    at = np.flatnonzero(mask.any(axis=axis))
    return int(at[0]), int(at[-1]) + 1
