"""A run over several photos: a bar on a terminal, and a line at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tddfa._shared.terminal.progress import progress
from tddfa.cli._common import FAILED, NO_FACE, Steps, print_line
from tddfa.cli._paths import Inputs, Photo, Skipped

_MAX_NAMES = 5


def do_photos(
    images: Sequence[Photo], inputs: Inputs, steps: Steps, do: Callable[[Photo], int], *, unit: str = "photo"
) -> int:
    """Do each photo as a step. Of several, or of a folder, print how many were done, failed and skipped.

    Parameters
    ----------
    images : sequence of Photo
    inputs : Inputs
        Where they come from.
    steps : Steps
        Each photo becomes one; `do` may add its own.
    do : callable
        Does a photo, and returns how many faces it has.
    unit : str
        What a photo is called.

    Returns
    -------
    int
        The exit status.
    """
    faces = failed = 0
    begin = time.perf_counter()
    for photo in progress(images, unit=unit) if len(images) > 1 else images:
        before = steps.failures
        with steps.step(photo.name):
            faces += do(photo)
        failed += steps.failures > before
    if len(images) > 1 or inputs.skipped:
        print_line(summary(len(images), failed, inputs.skipped, time.perf_counter() - begin, unit))
    if steps.failures or not inputs.complete:
        return FAILED
    return 0 if faces else NO_FACE


def summary(count: int, failed: int, skipped: Sequence[Skipped], seconds: float, unit: str = "photo") -> str:
    """One line: how many photos were done and failed, what was skipped and why, and how fast the others were done.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tddfa.cli._paths import Skipped
    >>> from tddfa.cli._summary import summary
    >>> summary(200, 40, [Skipped(Path("in/notes.txt"), "not an image"), Skipped(Path("in/old"), "folder")], 12.5)
    '160 of 200 done, 40 failed, 2 skipped: notes.txt (not an image), old (folder); 12.5 s, 13 photos/s'
    """
    parts = [f"{count - failed} of {count} done"]
    if failed:
        parts.append(f"{failed} failed")
    if skipped:
        reasons: dict[str, list[str]] = {}
        for path, reason in skipped:
            reasons.setdefault(reason, []).append(path.name)
        listed = [f"{_some(names)} ({reason})" for reason, names in reasons.items()]
        parts.append(f"{len(skipped)} skipped: {', '.join(listed)}")
    rate = (count - failed) / max(seconds, 1e-9)
    digits = 0 if rate >= 10 else 1 if rate >= 1 or not rate else 3
    speed = f"{seconds:.1f} s, {rate:.{digits}f} {unit}s/s"
    return " ".join(f"{', '.join(parts)}; {speed}".split())  # a name may hold a line break


def _some(names: Sequence[str]) -> str:
    if len(names) <= _MAX_NAMES + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_MAX_NAMES])} and {len(names) - _MAX_NAMES} more"
