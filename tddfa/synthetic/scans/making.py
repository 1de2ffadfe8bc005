"""`synthetic_scan`: one scan of a random head, with its landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tddfa.model.face_model import FaceModel
from tddfa.scan.mesh import Scan
from tddfa.synthetic.scans.anatomy import anatomy, split_long_edges
from tddfa.synthetic.scans.defects import bumped, glasses, holes, joined, noisy, remeshed, seen, without
from tddfa.synthetic.scans.settings import ScanSettings

Floats = NDArray[np.float64]

# Radius of a scan that ends around the face, around the middle of its landmarks; height of the cut through the neck,
# and through the trunk. All in mm, the heights relative to that middle.
_FACE_RADII, _NECK_CUTS, _TRUNK_CUTS = (102.0, 130.0), (-130.0, -90.0), (-270.0, -190.0)
# Shift of a turned scan, mm.
_SHIFT = 300.0


@dataclass(frozen=True, eq=False)
class LabelledScan:
    """A scan with known landmarks.

    Attributes
    ----------
    scan : Scan
        mm.
    landmarks : ndarray (68, 3)
        Of the surface without noise, in the frame of the scan.
    rotation : ndarray (3, 3)
        From the frame of the head (x to the subject's left, y up, z out of the face) to that of the scan.
    covered : bool
        Whether there is hair-like or glasses-like clutter.
    """

    scan: Scan
    landmarks: Floats
    rotation: Floats
    covered: bool


def synthetic_scan(model: FaceModel, seed: int, settings: ScanSettings | None = None) -> LabelledScan:
    """Make a scan.

    Parameters
    ----------
    model : FaceModel
        With `uv`.
    seed : int
        The same seed gives the same scan.
    settings : ScanSettings, optional

    Examples
    --------
    >>> from tddfa.synthetic.scans import synthetic_scan
    >>> made = synthetic_scan(aligner.face_model, seed=1)
    >>> made.landmarks.shape, len(made.scan.triangles) > 1000
    ((68, 3), True)
    """
    settings = ScanSettings() if settings is None else settings
    rng = np.random.default_rng([seed, 21])
    kind = rng.random()
    is_face, has_body = kind < settings.faces, kind > 1 - settings.busts
    head = anatomy(model, settings, has_body, rng)
    scan, landmarks = head.scan, head.landmarks
    covered = rng.random() < settings.covered
    if covered:
        what = rng.choice(["hair", "beard", "glasses", "both"])
        if what in ("hair", "both"):
            scan = bumped(scan, head.scalp, rng.uniform(5, 28), rng)
        if what == "beard":
            scan = bumped(scan, head.beard, rng.uniform(1, 5), rng)
        if what in ("glasses", "both"):
            bars = glasses(landmarks, rng)
            scan = joined(scan, Scan(*split_long_edges(bars.vertices, bars.triangles, 3.0)))
    scan = _cut(scan, landmarks, is_face, has_body, rng)
    if rng.random() < settings.cameras:
        visible = seen(scan, rng)
        scan = without(scan, np.asarray(~visible[scan.triangles].all(axis=1), dtype=np.bool_))
    scan = without(scan, holes(scan, rng.uniform(*settings.holes), rng))
    if rng.random() < settings.remeshed:
        edge = rng.uniform(*settings.edge)
        # a grid finer than the triangles would change nothing
        scan = remeshed(Scan(*split_long_edges(scan.vertices, scan.triangles, 1.5 * edge)), edge, rng)
    scan = noisy(scan, rng.uniform(*settings.noise), rng)
    if not settings.rotated:
        return LabelledScan(scan, landmarks, np.eye(3), covered)
    rotation = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    shift = rng.normal(0, _SHIFT, 3)
    return LabelledScan(
        Scan(scan.vertices @ rotation.T + shift, scan.triangles), landmarks @ rotation.T + shift, rotation, covered
    )


def _cut(scan: Scan, landmarks: Floats, is_face: bool, has_body: bool, rng: np.random.Generator) -> Scan:
    """Cut around the face, or through the neck, or through the trunk."""
    middles = scan.vertices[scan.triangles].mean(axis=1) - landmarks.mean(axis=0)
    if is_face:
        # in front of the ears, more or less
        away = np.linalg.norm(middles * (1, 1, 0.8), axis=1)
        removed = (away > rng.uniform(*_FACE_RADII)) | (middles[:, 2] < rng.uniform(-110, -80))
        return without(scan, removed)
    low, high = _TRUNK_CUTS if has_body else _NECK_CUTS
    slope = rng.normal(0, 0.2, 2)
    height = middles[:, 1] - middles[:, [0, 2]] @ slope
    return without(scan, height < rng.uniform(low, high))
