"""Select the detections that are faces, by their detection score and the score of the regressor.

``docs/thresholds.md`` describes them for users.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tddfa.passes import Predictions, Rows, Targets, joined, rows

# Detection scores: if an image has a detection with the second score or more, its detections under the first score are
# dropped. Of the dropped boxes of 239 crowds and 141 portraits (detect and LFPW, first 70 % by name), 2 of 947 under
# 0.35 are faces, and 5 of 288 from 0.35 to 0.4; 733 faces of the crowds are reported.
_WEAK_BOX, _STRONG_BOX = 0.4, 0.75
# In an image with a sure face, a detection is dropped if its score after the first pass is under this fraction of the
# score that it needs in the end. In 68 crowds (detect, 60 to 70 % by name), this drops about 85 % of the detections
# that would be dropped in the end, and one of 205 faces.
_UNLIKELY = 0.3
# A face with at most the first detection score must be sure. A face with at least the second needs only the minimum
# score. With 0.25 and 0.4, the 68 crowds would keep 218 faces instead of 208, and 124 photos without a face (negatives,
# first half, at up to three sizes) 3 false faces instead of 1; with two passes on each detection and no other tries.
_DOUBTFUL_BOX, _SURE_BOX = 0.3, 0.6


class Aligned(NamedTuple):
    """Faces: their detections and their alignments."""

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
    """Drop detections with a low score after the first pass, in images that have a sure face: a crowd has many.

    Parameters
    ----------
    first : Aligned
        All detections, after the first pass.
    sure_score : float
        Score from which a face is sure.
    min_score : float
        Minimum score of a face after all passes.
    """
    image, score = first.targets.image, first.predicted.score
    least = _UNLIKELY * needed_scores(first.targets.score, min_score, sure_score)
    kept = (score >= least) | ~beside_any(image, score >= sure_score)
    return first.rows(kept)


def needed_scores(detected: NDArray[np.float64], min_score: float, sure_score: float | None) -> NDArray[np.float64]:
    """Return the face scores (n,) that detections need: a lower detection score needs a higher face score.

    Parameters
    ----------
    detected : ndarray (n,)
        Scores of the detector.
    min_score : float
        Minimum score of a face. With 0, every detection is a face.
    sure_score : float or None
        Score from which a face is sure. With None, all detections need `min_score`.
    """
    if sure_score is None or not min_score:
        return np.full(len(detected), min_score)
    doubt = (_SURE_BOX - detected) / (_SURE_BOX - _DOUBTFUL_BOX)
    needed: NDArray[np.float64] = min_score + max(sure_score - min_score, 0.0) * doubt.clip(0, 1)
    return needed
