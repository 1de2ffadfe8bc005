"""The content type of an answer, chosen by the Accept header of the request."""

from __future__ import annotations

import re
from collections.abc import Sequence

JSON = "application/json"
NPZ = "application/x-npz"
GLB = "model/gltf-binary"
JPEG = "image/jpeg"
PNG = "image/png"

_RANGE = re.compile(r"\s*([\w!#$&^.+-]+|\*)/([\w!#$&^.+-]+|\*)\s*((?:;[^,]*)?)")
_QUALITY = re.compile(r";\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*(?:;|$)", re.IGNORECASE)


def best_type(accept: str | None, offered: Sequence[str]) -> str | None:
    """Choose the content type of an answer (RFC 9110, 12.5.1).

    Parameters
    ----------
    accept : str or None
        The header; without one, everything is accepted.
    offered : sequence of str
        The available types, in order of preference.

    Returns
    -------
    str or None
        The offered type of the highest quality; None if none is accepted.

    Examples
    --------
    >>> from tddfa.serve.media import JPEG, PNG, best_type
    >>> best_type("image/png;q=0.5, image/*", [JPEG, PNG])
    'image/jpeg'
    >>> best_type(None, [JPEG, PNG]), best_type("text/html", [JPEG, PNG])
    ('image/jpeg', None)
    """
    if accept is None or not accept.strip():
        return offered[0]
    ranges = [_parsed(part) for part in accept.split(",")]
    best, highest = None, 0.0
    for name in offered:
        # the most specific range counts
        fitting = [
            found for found in ranges if found is not None and found[0] in (name, f"{name.split('/')[0]}/*", "*/*")
        ]
        quality = max(fitting, key=lambda found: found[0].count("*") * -1)[1] if fitting else 0.0
        if quality > highest:
            best, highest = name, quality
    return best


def _parsed(part: str) -> tuple[str, float] | None:
    """Parse a media range and its quality; None if the range is not valid and thus ignored."""
    found = _RANGE.fullmatch(part)
    if found is None:
        return None
    quality = _QUALITY.search(found[3])
    return f"{found[1]}/{found[2]}".lower(), 1.0 if quality is None else min(float(quality[1]), 1.0)
