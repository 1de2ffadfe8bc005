"""Apple's blendshapes of the faces of a video, relative to what each person shows at rest."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tddfa.decoder import Decoder
from tddfa.types import Face

Floats = NDArray[np.float32]
Neutral = Literal["auto", "none"]

NEUTRAL: tuple[Neutral, ...] = ("auto", "none")

# Frames that an estimate of a resting face keeps, of the whole track.
_SAMPLES = 128
# Most faces are nearer to rest than to an expression, and a shape is never less than at rest.
_QUANTILE = 0.25
# A weight that is higher at rest is an expression that the track began with, or an error of the regressor.
_MAX_REST = 0.5
# Least range of a shape that is left above the resting face of a photo.
_MIN_SPAN = 0.05
# Tracks whose resting faces are remembered: more than a detector finds faces in a frame, or each would be forgotten
# before its next frame.
_MAX_TRACKS = 1024


class RestingFace:
    """Running estimate of the weights that a face has at rest: a low quantile over the track so far.

    It keeps a fixed number of frames, spread evenly over the track. When the memory is full, every second frame is
    removed, and from then on frames are added half as often. So a long smile does not become the resting face, and a
    blink or a single wrong frame has no effect.

    Parameters
    ----------
    count : int
        Number of weights.

    Attributes
    ----------
    weights : ndarray (count,) float32
        The weights at rest; 0 before the first frame.

    Examples
    --------
    >>> from tddfa.avatar import RestingFace
    >>> rest = RestingFace(1)
    >>> for weight in (0.2, 0.2, 0.9, 0.2, 0.2):
    ...     rest.add(np.array([weight], np.float32))
    >>> round(float(rest.weights[0]), 3)
    0.2
    """

    def __init__(self, count: int) -> None:
        self.weights: Floats = np.zeros(count, dtype=np.float32)
        self._samples: Floats = np.empty((_SAMPLES, count), dtype=np.float32)
        self._count = self._frames = 0
        self._stride = 1

    def add(self, weights: Floats) -> None:
        """Add the weights (count,) of the next frame."""
        self._frames += 1
        if self._frames % self._stride:
            return
        if self._count == _SAMPLES:
            self._samples[: _SAMPLES // 2] = self._samples[1::2].copy()
            self._count, self._stride = _SAMPLES // 2, 2 * self._stride
            if self._frames % self._stride:
                return
        self._samples[self._count] = weights
        self._count += 1
        at = int(_QUANTILE * (self._count - 1))
        self.weights = np.minimum(np.partition(self._samples[: self._count], at, axis=0)[at], _MAX_REST)


class Blendshapes:
    """Weights of Apple's 52 blendshapes of the faces of a video.

    A person's resting face is not neutral: brows are low, corners of the mouth droop. So the weights of the resting
    face are subtracted, and the difference is scaled so that 1 stays 1: ``clip((weights - rest) / (1 - rest), 0, 1)``.
    The tracker does the smoothing (`tddfa.tracking.smoothing.OneEuro`) and keeps blinks.

    Parameters
    ----------
    decoder : Decoder
        Decoder of the faces.
    neutral : {"auto", "none"} or Face
        ``auto`` estimates the resting face of each track while it runs (`RestingFace`). A `Face`, such as that of a
        photo, is the resting face of all tracks. ``none`` subtracts nothing: the weights are those of `Decoder.arkit`.

    Raises
    ------
    ValueError
        If `neutral` is something else, or if the face model has no table of Apple's blendshapes.

    Examples
    --------
    >>> from tddfa.avatar import Blendshapes
    >>> shapes = Blendshapes(aligner.decoder, neutral=face)
    >>> max(shapes(face).values())
    0.0
    """

    def __init__(self, decoder: Decoder, neutral: Neutral | Face = "auto") -> None:
        self.decoder = decoder
        self.names = decoder.face_model.arkit_names
        # also for "auto": a face model without Apple's blendshapes fails now
        zeros = decoder.arkit_weights(np.zeros(decoder.face_model.expression_count, dtype=np.float32))
        self._fixed: Floats | None = None
        if isinstance(neutral, Face):
            self._fixed = decoder.arkit_weights(neutral.params.expression)
        elif neutral == "none":
            self._fixed = zeros
        elif neutral != "auto":
            raise ValueError(f"neutral: expected one of {', '.join(NEUTRAL)} or a Face, got {neutral!r}")
        self._tracks: OrderedDict[int | None, RestingFace] = OrderedDict()

    def weights(self, face: Face) -> Floats:
        """Weights (52,) of the next frame of a face, 0..1, in Apple's order.

        With ``neutral="auto"``, call it once for each frame of a track; faces without `track_id` are one track.

        Examples
        --------
        >>> from tddfa.avatar import Blendshapes
        >>> Blendshapes(aligner.decoder).weights(face).shape
        (52,)
        """
        weights = self.decoder.arkit_weights(face.params.expression)
        rest = self._fixed if self._fixed is not None else self._rest(face.track_id, weights)
        return np.clip((weights - rest) / np.maximum(1 - rest, _MIN_SPAN), 0, 1, dtype=np.float32)

    def __call__(self, face: Face) -> dict[str, float]:
        """Return the weights of the next frame of a face by name, as `weights` computes them."""
        return dict(zip(self.names, self.weights(face).tolist(), strict=True))

    def _rest(self, track_id: int | None, weights: Floats) -> Floats:
        resting = self._tracks.setdefault(track_id, RestingFace(len(weights)))
        self._tracks.move_to_end(track_id)
        if len(self._tracks) > _MAX_TRACKS:
            self._tracks.popitem(last=False)
        resting.add(weights)
        return resting.weights
