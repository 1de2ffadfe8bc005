"""Select the detections that are faces, by their detection score and the score of the regressor.

``docs/thresholds.md`` describes them for users.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tddfa.passes import Predictions, Rows, Targets, joined, rows

# Detection scores: beside a detection with the second one or more, one with less than the first is dropped. Of the
# boxes of 239 crowds and 141 portraits (detect and LFPW, first 70 % by name) that are dropped so, 2 of 947 under 0.35
# are faces, and 5 of 288 from 0.35 to 0.4; 733 faces of the crowds are reported.
_WEAK_BOX, _STRONG_BOX = 0.4, 0.75
# Times the score that a face needs in the end: with a lower score after the first pass, a detection beside a sure face
# is dropped. Of the detections of 68 crowds (detect, 60 to 70 % by name) that are dropped in the end, about 85 % have
# less, and of 205 faces one has.
_UNLIKELY = 0.3
# A face whose detection has at most the first score must be sure; from the second on it needs the minimum score alone.
# With 0.25 and 0.4, the 68 crowds would keep 218 faces in place of 208, and 124 photos without a face (negatives, first
# half, at up to three sizes) 3 false ones in place of 1: two passes on each detection, without other tries.
_DOUBTFUL_BOX, _SURE_BOX = 0.3, 0.6


class Aligned(NamedTuple):
    """Faces: what was detected of them, and how they were aligned."""

    targets: Targets
    predicted: Predictions

    def rows(self, which: Rows) -> Aligned:
        """Some of the faces, by their indices or by a mask."""
        return Aligned(rows(self.targets, which), rows(self.predicted, which))


def together(parts: Sequence[Aligned]) -> Aligned:
    """The faces of several tables in one; at least one table."""
    return Aligned(joined([part.targets for part in parts]), joined([part.predicted for part in parts]))


def beside_any(image: NDArray[np.intp], which: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which rows (n,) are in an image, given by its number, that has one of the rows in `which`."""
    has = np.zeros(image.max(initial=-1) + 1, dtype=np.bool_)
    has[image[which]] = True
    return has[image]


def promising(targets: Targets) -> Targets:
    """Drop weak detections in images that have a strong one: most are patterns, and each takes a pass."""
    image, score = targets.image, targets.score
    kept = (score >= _WEAK_BOX) | ~beside_any(image, score >= _STRONG_BOX)
    return rows(targets, kept)


def likely(first: Aligned, sure_score: float, min_score: float) -> Aligned:
    """Drop detections that the first pass shows to be no faces, in images that have a sure face: a crowd has many.

    Parameters
    ----------
    first : Aligned
        All detections, after the first pass.
    sure_score : float
        Score from which a face is sure.
    min_score : float
        Least score of a face in the end.
    """
    image, score = first.targets.image, first.predicted.score
    least = _UNLIKELY * needed_scores(first.targets.score, min_score, sure_score)
    kept = (score >= least) | ~beside_any(image, score >= sure_score)
    return first.rows(kept)


def needed_scores(detected: NDArray[np.float64], min_score: float, sure_score: float | None) -> NDArray[np.float64]:
    """Return the face scores (n,) that detections with these scores need: the more, the less sure the detector is.

    Parameters
    ----------
    detected : ndarray (n,)
        Scores of the detector.
    min_score : float
        Least score of a face. With 0, every detection is one.
    sure_score : float or None
        Score from which a face is sure. None asks all for `min_score`.
    """
    if sure_score is None or not min_score:
        return np.full(len(detected), min_score)
    doubt = (_SURE_BOX - detected) / (_SURE_BOX - _DOUBTFUL_BOX)
    needed: NDArray[np.float64] = min_score + max(sure_score - min_score, 0.0) * doubt.clip(0, 1)
    return needed
