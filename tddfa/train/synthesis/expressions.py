"""Random expressions as people have them: mostly symmetric, of few parts at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tddfa.train.synthesis.edits import CHANGES, both_sides

Floats = NDArray[np.float32]

# How often the mouth is at rest, smiles, talks or does something else.
_MOUTHS = {"rest": 0.43, "smile": 0.32, "jaw": 0.1, "mouth": 0.15}
# How often lips at rest, or of a smile without teeth, are closed; the face model's mean leaves a gap between them.
_CLOSED_LIPS = 0.8
# Weights of mouthClose with which the lips of the mean touch.
_TOUCH = (0.025, 0.042)
# How often the eyes are open, look aside, are narrowed or wide, closed, or wink.
_EYES = {"open": 0.5, "aside": 0.18, "narrow": 0.14, "closed": 0.13, "wink": 0.05}


def any_expression(names: tuple[str, ...], rng: np.random.Generator) -> Floats:
    """Draw the weights (e,) of an expression.

    Parameters
    ----------
    names : tuple of str
        Of the face model's expressions; those of ARKit are set, others are 0.
    rng : numpy.random.Generator

    Examples
    --------
    >>> weights = any_expression(("jawOpen", "mouthSmileLeft"), np.random.default_rng(0))
    >>> weights.shape
    (2,)
    """
    weights: dict[str, float] = {}
    mouth = rng.choice(list(_MOUTHS), p=list(_MOUTHS.values()))
    if mouth == "smile":
        weights |= _smile(rng)
    elif mouth != "rest":
        weights |= CHANGES[mouth](rng)
        if rng.random() < 0.3:
            weights |= CHANGES["mouth" if mouth == "jaw" else "jaw"](rng)
    elif rng.random() < 0.2:
        weights["jawOpen"] = float(rng.uniform(0, 0.12))
    if mouth in ("rest", "smile") and "jawOpen" not in weights and rng.random() < _CLOSED_LIPS:
        weights |= _closed_lips(rng)
    weights |= _eyes(rng)
    if rng.random() < 0.4:
        weights |= CHANGES["brows"](rng)
    out = np.array([weights.get(name, 0.0) for name in names], dtype=np.float32)
    out += np.maximum(rng.normal(0, 0.04, len(out)), 0).astype(np.float32) * (rng.random(len(out)) < 0.5)
    if {"mouthClose", "jawOpen"} <= set(names):  # the lips come together where the jaw is open, and do not cross
        close, jaw = names.index("mouthClose"), names.index("jawOpen")
        out[close] = min(out[close], out[jaw] + _TOUCH[1])
    return np.asarray(np.clip(out, 0, 1), np.float32)


def _closed_lips(rng: np.random.Generator) -> dict[str, float]:
    """Lips that touch: pressed, or the lower one raised."""
    if rng.random() < 0.4:
        return both_sides("mouthPress", rng.uniform(0.4, 0.65), rng)
    if rng.random() < 0.5:
        return {"mouthShrugLower": float(rng.uniform(0.12, 0.22))}
    return {"mouthClose": float(rng.uniform(*_TOUCH))}


def _smile(rng: np.random.Generator) -> dict[str, float]:
    """A smile, six of ten times with teeth."""
    weight = float(rng.uniform(0.2, 1))
    out = both_sides("mouthSmile", weight, rng) | both_sides("cheekSquint", weight * rng.uniform(0, 0.7), rng)
    if rng.random() < 0.6:
        out["jawOpen"] = float(rng.choice([rng.uniform(0, 0.12), rng.uniform(0.05, 0.35)]))
        out |= both_sides("mouthUpperUp", rng.uniform(0.15, 0.8), rng)
        out |= both_sides("mouthLowerDown", rng.uniform(0, 0.7), rng)
    if rng.random() < 0.5:
        out |= both_sides("eyeSquint", weight * rng.uniform(0, 0.8), rng)
    if rng.random() < 0.3:
        out |= both_sides("mouthStretch", rng.uniform(0, 0.4), rng) | both_sides(
            "mouthDimple", rng.uniform(0, 0.5), rng
        )
    return out


def _eyes(rng: np.random.Generator) -> dict[str, float]:
    kind = rng.choice(list(_EYES), p=list(_EYES.values()))
    aside, up = rng.normal(0, 0.45 if kind == "aside" else 0.15, 2).clip(-0.9, 0.9).tolist()
    out = {"eyeLookInLeft": max(aside, 0), "eyeLookOutLeft": max(-aside, 0)}
    out |= {"eyeLookOutRight": max(aside, 0), "eyeLookInRight": max(-aside, 0)}
    for end in ("Left", "Right"):
        out |= {f"eyeLookUp{end}": max(up, 0), f"eyeLookDown{end}": max(-up, 0)}
    if kind == "narrow":
        return out | both_sides("eyeBlink", rng.uniform(0.2, 0.8), rng)
    if kind in ("closed", "wink"):
        side = ("Left", "Right")[int(rng.integers(2))]
        ends = ("Left", "Right") if kind == "closed" else (side,)
        closed = float(rng.choice([1.0, rng.uniform(0.8, 1)]))
        return out | {f"eyeBlink{end}": closed for end in ends}
    if rng.random() < 0.15:
        return out | both_sides("eyeWide", rng.uniform(0, 1), rng)
    return out | both_sides("eyeBlink", max(rng.normal(0.05, 0.13), 0), rng)
