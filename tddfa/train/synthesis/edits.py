"""Expression edits: a photo's face with another expression, rendered with its own texture where it moved.

Photos show few closed eyes, winks, wide open mouths and raised brows; these edits add them. Pose and shape stay. What a
photo does not show is painted: folded lids are filled in with the skin around them, and a line of lashes; the inside of
a closed mouth is dark, with teeth.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa.geometry.camera import Camera
from tddfa.landmarks68 import INNER_LIP_PAIRS, PARTS
from tddfa.model.face_model import FaceModel
from tddfa.synthetic.paint import painted_mouth
from tddfa.train.data.crops import Crops
from tddfa.train.data.samples import Sample
from tddfa.train.data.sources import usable_rows
from tddfa.train.synthesis.profiling import follow
from tddfa.train.synthesis.rerender import Drawing, Pixels, moved_colors, surface_of

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Vertices that move less than the first, px of the crop, keep the photo; those that move more than the second are
# drawn.
_STAYS, _MOVES = 0.12, 0.5
# If the outline moves more than this, px, its surroundings are warped along.
_OUTLINE_MOVES = 0.8
# Inner lips farther apart than this, px, show the inside of the mouth.
_OPEN_MOUTH = 3.5
# A point of an upper lid moves by some fraction of the farthest point's path. From the first fraction on it may be
# folded while the eye is open, from the second on it is.
_LID = (0.2, 0.45)
# Skin is filled in if a blink's weight grows by more than the first; lids nearer than the second, in eye widths, meet
# at the lashes.
_CLOSES, _SHUT = 0.15, 0.2
_MAX_YAW, _MAX_PITCH, _MAX_ROLL = 55.0, 35.0, 45.0


def edit(
    crop: Image,
    camera: Floats,
    shape: Floats,
    before: Floats,
    after: Floats,
    model: FaceModel,
    rng: np.random.Generator,
) -> Image:
    """Give the face of a crop another expression.

    Parameters
    ----------
    crop : ndarray (size, size, 3) uint8
        BGR.
    camera : ndarray (3, 4)
        Face model to px of the crop.
    shape : ndarray (s,)
        Shape coefficients.
    before, after : ndarray (e,)
        Expression weights of the crop, and of the result.
    model : FaceModel
        With `uv`.
    rng : numpy.random.Generator
        Source of the random numbers for painting.
    """
    surface = surface_of(model)
    old, new = (surface.mesh(camera, model.vertices(shape, expression)).vertices for expression in (before, after))
    points = [Camera(camera).project(model.landmarks(shape, expression))[:, :2] for expression in (before, after)]
    pixels = Pixels(surface, new, len(crop))
    color = moved_colors(crop, old, pixels)
    gap = np.linalg.norm(
        np.subtract(*(points[0][list(side)] for side in zip(*INNER_LIP_PAIRS, strict=True))), axis=1
    ).max()
    if gap < _OPEN_MOUTH and pixels.in_mouth.any():
        color = _with_mouth(color, pixels, crop, points[0], rng)
    drawing = pixels.drawing(color)
    for side, name in ((PARTS["left_eye"], "eyeBlinkLeft"), (PARTS["right_eye"], "eyeBlinkRight")):
        closes = float(after[model.expression_names.index(name)] - before[model.expression_names.index(name)])
        if closes > _CLOSES:
            lid = _lid(model, name)
            visible_lid = pixels.blend_reduced(lid)
            drawing = _with_lid(drawing, crop, points[0][side], points[1][side], visible_lid, rng)
    moved = np.linalg.norm((new - old)[:, :2], axis=1)
    # a percentile, because one vertex is not an outline
    if np.percentile(moved[surface.fade < 0.9], 98) > _OUTLINE_MOVES:
        return drawing.over(follow(crop, old, new, 0.0))
    alpha = np.clip((moved - _STAYS) / (_MOVES - _STAYS), 0, 1)
    shown = pixels.blend_reduced(alpha)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    return drawing.over(crop, cv2.GaussianBlur(cv2.dilate(shown, kernel), (0, 0), 1.5))


def edited_samples(crops: Crops, count: int, seed: int, model: FaceModel) -> Iterator[Sample]:
    """Change expressions at random: one or more of eyes, brows, jaw and mouth.

    Parameters
    ----------
    crops : Crops
        With known parameters; those for validation are not used.
    count : int
        Number of samples.
    seed : int
        The same seed gives the same samples.
    model : FaceModel
        With ARKit's expression names, as the open face model.
    """
    labels = crops.labels
    rows = usable_rows(crops, model, (_MAX_YAW, _MAX_PITCH, _MAX_ROLL), seed)
    for i, row in zip(range(count), rows, strict=False):
        rng = np.random.default_rng((seed, 0, i))
        before = labels.expression[row]
        after = another_expression(before, model.expression_names, rng)
        crop = edit(crops.image(row), labels.camera[row], labels.shape[row], before, after, model, rng)
        yield Sample(crop, f"edited-{labels.source[row]}", labels.camera[row], labels.shape[row], after)


def another_expression(before: Floats, names: tuple[str, ...], rng: np.random.Generator) -> Floats:
    """Change one or more parts of an expression (e,) at random; the weights of the result are in 0..1."""
    after = dict(zip(names, before.clip(0, 1).tolist(), strict=True))
    parts = ("eyes", "brows", "jaw", "mouth")
    chosen = rng.random(4) < (0.6, 0.4, 0.4, 0.4)
    chosen[rng.integers(4)] = True
    for part, change in zip(parts, chosen, strict=True):
        if change:
            after.update({name: weight for name, weight in CHANGES[part](rng).items() if name in after})
    return np.array([after[name] for name in names], dtype=np.float32)


def both_sides(name: str, weight: float, rng: np.random.Generator) -> dict[str, float]:
    """Nearly the same weight on both sides."""
    left, right = np.clip(weight + rng.normal(0, 0.05, 2), 0, 1)
    return {f"{name}Left": left, f"{name}Right": right}


def _eyes(rng: np.random.Generator) -> dict[str, float]:
    kind = rng.choice(("closed", "wink", "narrow", "wide", "look"), p=(0.5, 0.2, 0.12, 0.1, 0.08))
    out: dict[str, float] = {}
    if kind in ("closed", "wink"):
        sides = ("Left", "Right") if kind == "closed" else (("Left", "Right")[int(rng.integers(2))],)
        squint = float(rng.choice([0, rng.uniform(0, 1)]))
        for side in sides:
            out |= {f"eyeBlink{side}": 1.0, f"eyeWide{side}": 0.0, f"eyeSquint{side}": squint}
            out[f"cheekSquint{side}"] = squint * float(rng.uniform(0, 0.6))
            out[f"eyeLookDown{side}"] = float(rng.uniform(0, 0.6))
            out[f"eyeLookUp{side}"] = 0.0
    elif kind == "narrow":
        out |= both_sides("eyeBlink", rng.uniform(0.3, 0.8), rng) | both_sides("eyeWide", 0, rng)
    elif kind == "wide":
        out |= both_sides("eyeWide", rng.uniform(0.4, 1), rng) | {"eyeBlinkLeft": 0.0, "eyeBlinkRight": 0.0}
    else:
        aside, up = float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-0.7, 0.7))
        out |= {"eyeLookInLeft": max(aside, 0.0), "eyeLookOutLeft": max(-aside, 0.0)}
        out |= {"eyeLookOutRight": max(aside, 0.0), "eyeLookInRight": max(-aside, 0.0)}
        for end in ("Left", "Right"):
            out |= {f"eyeLookUp{end}": max(up, 0.0), f"eyeLookDown{end}": max(-up, 0.0)}
    return out


def _brows(rng: np.random.Generator) -> dict[str, float]:
    if rng.random() < 0.6:
        raised = both_sides("browInnerUp", rng.uniform(0.3, 1), rng) | both_sides(
            "browOuterUp", rng.uniform(0.3, 1), rng
        )
        if rng.random() < 0.2:  # one brow alone
            end = ("Left", "Right")[int(rng.integers(2))]
            raised |= {f"browInnerUp{end}": 0.0, f"browOuterUp{end}": 0.0}
        return raised | {"browDownLeft": 0.0, "browDownRight": 0.0}
    lowered = both_sides("browDown", rng.uniform(0.3, 1), rng) | both_sides("browInnerUp", 0, rng)
    return (
        lowered | both_sides("browOuterUp", 0, rng) | both_sides("noseSneer", rng.choice([0, rng.uniform(0, 0.8)]), rng)
    )


def _jaw(rng: np.random.Generator) -> dict[str, float]:
    out = {"jawOpen": float(rng.uniform(0.12, 0.95)), "mouthClose": 0.0}
    out |= both_sides("mouthPress", 0, rng) | {"mouthRollLower": 0.0, "mouthRollUpper": 0.0}
    if rng.random() < 0.3:
        out["mouthFunnel"] = float(rng.uniform(0, 0.7))
    if rng.random() < 0.3:
        out |= both_sides("mouthLowerDown", rng.uniform(0, 0.8), rng) | both_sides(
            "mouthUpperUp", rng.uniform(0, 0.8), rng
        )
    side = rng.normal(0, 0.2)
    return out | {"jawLeft": float(np.clip(side, 0, 0.6)), "jawRight": float(np.clip(-side, 0, 0.6))}


def _mouth(rng: np.random.Generator) -> dict[str, float]:
    kind = rng.choice(
        ("smile", "frown", "pucker", "press", "aside", "roll", "puff"), p=(0.3, 0.15, 0.15, 0.1, 0.1, 0.1, 0.1)
    )
    smile = both_sides("mouthSmile", 0.0, rng)
    if kind == "smile":
        weight = rng.uniform(0.3, 1)
        return (
            both_sides("mouthSmile", weight, rng)
            | both_sides("cheekSquint", weight * rng.uniform(0, 0.7), rng)
            | both_sides("mouthFrown", 0, rng)
        )
    if kind == "frown":
        return (
            smile | both_sides("mouthFrown", rng.uniform(0.3, 1), rng) | {"mouthShrugLower": float(rng.uniform(0, 0.6))}
        )
    if kind == "pucker":
        return smile | {"mouthPucker": float(rng.uniform(0.3, 1)), "mouthFunnel": float(rng.uniform(0, 0.5))}
    if kind == "press":
        return both_sides("mouthPress", rng.uniform(0.3, 1), rng) | both_sides("mouthDimple", rng.uniform(0, 0.7), rng)
    if kind == "aside":
        side = rng.uniform(-0.9, 0.9)
        return {"mouthLeft": float(max(side, 0)), "mouthRight": float(max(-side, 0))}
    if kind == "roll":
        return {"mouthRollLower": float(rng.uniform(0, 1)), "mouthRollUpper": float(rng.uniform(0, 1)), "jawOpen": 0.0}
    return both_sides("cheekPuff", rng.uniform(0.4, 1), rng) | {"jawOpen": 0.0}


CHANGES = {"eyes": _eyes, "brows": _brows, "jaw": _jaw, "mouth": _mouth}
"""Changes by part of the face: functions of a random generator that draw weights by name."""


@lru_cache(maxsize=8)
def _lid(model: FaceModel, name: str) -> Floats:
    """Whether each vertex of the surface belongs to an upper lid that is folded while the eye is open, (n,) in 0..1."""
    moves = model.basis[model.shape_count + model.expression_names.index(name)]
    travel = np.linalg.norm(moves, axis=1) * (model.part == 0)
    first, last = _LID
    folded = np.zeros(len(model.mean), dtype=np.float32)
    folded[: len(travel)] = np.clip((travel / travel.max() - first) / (last - first), 0, 1)
    return folded


def _with_lid(
    drawing: Drawing, crop: Image, before: Floats, after: Floats, lid: Floats, rng: np.random.Generator
) -> Drawing:
    """Cover a closing eye with the skin around it, and draw the lashes where the lids meet.

    `before` and `after` are the eye's six landmarks in px, `lid` (size, size) is the visibility of its upper lid, 0..1.
    """
    width = max(float(np.linalg.norm(before[3] - before[0])), 2.0)
    opening = np.zeros(crop.shape[:2], dtype=np.uint8)
    cv2.fillConvexPoly(opening, cv2.convexHull(np.rint(before).astype(np.int32)), 255)
    # lashes and the shadow of the fold are just around the opening
    reach = 2 * max(round(0.1 * width), 1) + 1
    opening = cv2.dilate(opening, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    low = np.clip(np.minimum(before.min(axis=0), after.min(axis=0)) - 0.9 * width, 0, len(crop) - 1).astype(int)
    high = np.clip(np.maximum(before.max(axis=0), after.max(axis=0)) + 0.9 * width + 1, 1, len(crop)).astype(int)
    part = slice(low[1], high[1]), slice(low[0], high[0])
    around = crop[part].astype(np.float32)
    bright = around.max(axis=2)
    known = (opening[part] == 0) * (0.03 + (bright > 0.75 * np.median(bright))).astype(np.float32)
    blurred = cv2.GaussianBlur(np.dstack([around * known[..., None], known]), (0, 0), 0.25 * width)
    skin = blurred[..., :3] / np.maximum(blurred[..., 3:], 1e-4)
    skin *= np.float32(rng.uniform(0.92, 1.06))
    skin += cv2.GaussianBlur(rng.normal(0, 4.0, skin.shape[:2]).astype(np.float32), (0, 0), 0.7)[..., None]
    cover = cv2.GaussianBlur(lid, (0, 0), 0.6)[part][..., None]
    color = drawing.color.copy()
    mixed = color[part] * (1 - cover) + skin * cover

    gap = np.linalg.norm(after[[1, 2]] - after[[5, 4]], axis=1).max()
    if gap < _SHUT * width:
        middle = (after[[1, 2]] + after[[5, 4]]) / 2
        # the lower lid hardly moves: the lashes end there
        middle += rng.uniform(0.2, 0.8) * (after[[5, 4]] - middle)
        line = np.stack([after[0], middle[0], middle[1], after[3]])
        at = np.linspace(0, 3, 16)
        curve = np.column_stack([np.interp(at, np.arange(4), line[:, axis]) for axis in (0, 1)]) - low
        lashes = np.zeros(mixed.shape[:2], dtype=np.uint8)
        thickness = 1 if width < 18 or rng.random() < 0.5 else 2
        cv2.polylines(lashes, [np.rint(curve * 16).astype(np.int32)], False, 255, thickness, cv2.LINE_AA, 4)
        dark = cv2.GaussianBlur(lashes.astype(np.float32) / 255, (0, 0), rng.uniform(0.4, 0.8))
        mixed *= 1 - np.clip(dark * rng.uniform(0.5, 1.2), 0, 0.85)[..., None]
    color[part] = np.clip(mixed, 0, 255).astype(np.uint8)
    return Drawing(color, drawing.cover)


def _with_mouth(color: Image, pixels: Pixels, crop: Image, landmarks: Floats, rng: np.random.Generator) -> Image:
    """Paint the inside of a mouth that is closed in the photo."""
    at = np.rint(np.clip(landmarks[[2, 14, 31, 35, 30, 33, 48, 54]], 0, len(crop) - 1)).astype(np.intp)
    skin = np.median(crop[at[:, 1], at[:, 0]], axis=0)
    paint = painted_mouth(float(skin.max()), rng, grey=float(np.ptp(skin)) < 8)
    left, low, right, high = pixels.surface.mouth
    height, width = paint.shape[:2]
    uv = pixels.surface.model.uv
    assert uv is not None
    on_map = pixels.blend(uv)
    columns = (on_map[..., 0] - np.float32(left)) * np.float32((width - 1) / (right - left))
    rows = (np.float32(high) - on_map[..., 1]) * np.float32((height - 1) / (high - low))
    painted = cv2.remap(paint, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.where(pixels.in_mouth[..., None], painted, color))
