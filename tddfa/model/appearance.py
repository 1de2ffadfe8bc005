"""How a face model is drawn without the colours of a photo: a rim and ears that fade out, dark irises and lips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tddfa.model.face_model import FaceModel

Floats = NDArray[np.float32]

_EARS = ("left_ear", "right_ear")
# Opacity of the ears, which are often under hair. They begin to fade in front of their region, at the first fraction of
# its depth, and have faded behind the second.
_EAR_OPACITY = 0.4
_EAR_FRONT, _EAR_BACK = 0.15, -0.25
# Brightness of the parts, relative to that of skin.
_LIP, _IRIS, _PUPIL, _SCLERA = 0.8, 0.42, 0.16, 1.06
# Breadth of the edges of iris and pupil, degrees of the eyeball: less would be finer than its triangles.
_IRIS_EDGE, _PUPIL_EDGE = 6.0, 5.0


def opacity(model: FaceModel, *, ears: bool = True) -> Floats | None:
    """Opacity of each vertex in a drawing: 0 on the rim, 1 from a short way inwards on, less on the ears.

    Parameters
    ----------
    model : FaceModel
        With `feather`; the regions ``left_ear`` and ``right_ear`` are used where it has them.
    ears : bool
        Draw the ears faintly, not at all otherwise.

    Returns
    -------
    ndarray (n,) float32 or None
        None if the model has neither a feather nor, without `ears`, ears.

    Examples
    --------
    >>> from tddfa.model.appearance import opacity
    >>> faint = opacity(aligner.face_model)
    >>> float(faint.min()), float(faint.max())
    (0.0, 1.0)
    """
    has_ears = all(len(model.regions.get(name, ())) for name in _EARS)
    if model.feather is None and (ears or not has_ears):
        return None
    out = np.ones(len(model.mean), dtype=np.float32) if model.feather is None else model.feather
    if not has_ears:
        return out
    z = model.mean[:, 2]
    region = z[np.concatenate([model.regions[name] for name in _EARS])]
    back, front = float(region.min()), float(region.max())
    depth = front - back
    behind = 1 - _step(z, front + _EAR_BACK * depth, front + _EAR_FRONT * depth)
    return np.asarray(out * (1 - (1 - (_EAR_OPACITY if ears else 0)) * behind), dtype=np.float32)


def tone(model: FaceModel) -> Floats | None:
    """Brightness of each vertex, relative to skin: darker lips, irises and pupils, and `FaceModel.shade`.

    Parameters
    ----------
    model : FaceModel
        With `material`, `eye_centres` and `gaze_axes`.

    Returns
    -------
    ndarray (n,) float32 or None
        None if the model does not have them.

    Examples
    --------
    >>> from tddfa.model.appearance import tone
    >>> model = aligner.face_model
    >>> pupil = tone(model)[model.regions["left_pupil"]]
    >>> bool(pupil.max() < 0.3)
    True
    """
    names = model.material_names
    if model.material is None or model.eye_centres is None or model.gaze_axes is None:
        return None
    if not {"lip", "sclera", "iris", "pupil"} <= set(names):
        return None
    of_lips = _averaged((model.material == names.index("lip")).astype(np.float64), model.triangles)
    out = 1 - (1 - _LIP) * of_lips
    eyeball = np.isin(model.material, [names.index(name) for name in ("sclera", "iris", "pupil")])
    angle = _from_gaze(model)
    pupil, iris = (float(angle[model.material == names.index(name)].max(initial=0)) for name in ("pupil", "iris"))
    inner = _PUPIL + (_IRIS - _PUPIL) * _step(angle, pupil, pupil + _PUPIL_EDGE)
    ball = inner + (_SCLERA - inner) * _step(angle, iris - _IRIS_EDGE / 2, iris + _IRIS_EDGE / 2)
    out[eyeball] = ball[eyeball]
    if model.shade is not None:
        out *= model.shade
    return np.asarray(out, dtype=np.float32)


def _from_gaze(model: FaceModel) -> Floats:
    """Angle (n,) between each vertex and the gaze axis of the nearer eye, as seen from its centre, degrees."""
    assert model.eye_centres is not None
    assert model.gaze_axes is not None
    directions = model.mean[:, None] - model.eye_centres  # (n, 2, 3)
    lengths = np.linalg.norm(directions, axis=2)
    eye = lengths.argmin(axis=1)
    each = np.arange(len(eye))
    along = np.einsum("ij,ij->i", directions[each, eye], model.gaze_axes[eye])
    cosine = along / np.maximum(lengths[each, eye], 1e-9)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))), dtype=np.float32)


def _averaged(values: NDArray[np.float64], triangles: NDArray[np.int32]) -> NDArray[np.float64]:
    """Mean of the values around each vertex, which rounds the jagged edge of a region."""
    ends = triangles[:, [0, 1, 2]], triangles[:, [1, 2, 0]]
    sums, counts = np.zeros(len(values)), np.zeros(len(values))
    for here, there in (ends, ends[::-1]):
        sums += np.bincount(here.ravel(), values[there.ravel()], len(values))
        counts += np.bincount(here.ravel(), minlength=len(values))
    return sums / np.maximum(counts, 1)


def _step(values: Floats, low: float, high: float) -> Floats:
    ramp = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), dtype=np.float32)
