"""`ScanLandmarker`: 68 landmarks of a scan, in its own unit and frame."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from tddfa._shared.arrays import checked, checked_number
from tddfa._shared.reading.text import parse_json
from tddfa.aligner import Aligner
from tddfa.landmarks68 import JAW
from tddfa.model.assets import data_folder
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.scan.decoding import TOP, decode, hottest
from tddfa.scan.face import UNITS, ScanFace, is_odd, unit_of
from tddfa.scan.fitting import fit_face
from tddfa.scan.graph import make_graph
from tddfa.scan.mesh import Scan
from tddfa.scan.pose import Pose, find_pose
from tddfa.scan.prior import LandmarkPrior
from tddfa.scan.sampling import near_face, random_points
from tddfa.scan.similarity import Similarity, robust_similarity
from tddfa.scan.snapping import SNAPS, Surface, nearest_on_surface

Floats = NDArray[np.float64]

WEIGHTS = "weights/scan.onnx"

UNIT = 100.0
"""mm in a unit of the network."""

# Passes of the network over different points, in each of the rounds; the last round gives the heat.
_ROUNDS = (1, 3)
_CANDIDATES_PER_POINT = 6
# Distance at which a landmark counts little for the pose of the next round, mm.
_TOLERANCE = 8.0
# A landmark with less heat than the first is not on the scan, and is estimated from the others. A landmark with the
# second or more stays where its heat is. Between these limits, its position is interpolated.
_KNOWN, _SURE = 0.15, 0.95
# Least confidence of a landmark that is refined by its heat; others are moved to the nearest vertex.
_REFINED = 0.6
# A landmark this far from any vertex is not on the surface, mm.
_OFF_SURFACE = 4.0
# A result with a lower score is not a face. On 30 synthetic scans whose heads no training has seen, all faces are right
# and have scores of 0.39 or more. On 80 others, the only face with a wrong pose has 0.08.
_LEAST = 0.2
# Least score of a pose that counts as another face.
_OTHER = 0.6
# A scan is moved to the origin if its distance from there is more than half this many times its size.
_FAR = 20.0
# Radius of the part of a scan that is processed, mm.
_REGION = 150.0


# What the metadata of a network must have: points, mm, and a fraction of the points.
_SETTINGS = {
    "points": (100, 1_000_000), "sigma": (0.01, 1000.0), "jaw_sigma": (0.01, 1000.0), "radius": (10.0, 1000.0),
    "inner": (0.0, 1.0),
}  # fmt: skip


class ScanLandmarker:
    """Finds 68 landmarks on scans, by 2S-SGCN.

    Parameters
    ----------
    network : Model
        Stage 1 (`tddfa.train.scan.export`).
    aligner : Aligner
        An aligner for photos. It finds the face in rendered images of the scan. Its face model defines the frame of the
        head.
    snap : {"geodesic", "euclidean", "none"}
        Distances that stage 2, the refinement, uses. ``none`` keeps the landmarks where the heat maps have them.
    points : int, optional
        Points that the network sees at once; by default as many as it was trained with.
    register : bool
        Register the face model to the surface, starting from the network's landmarks, and return the landmarks of the
        registered model. On synthetic scans, they have less than half the error.

    Raises
    ------
    ValueError
        If an argument has a wrong value, or if the network is not for scans.

    Examples
    --------
    >>> from tddfa.scan.landmarker import ScanLandmarker
    >>> from tddfa.synthetic.scans import synthetic_scan
    >>> landmarker = ScanLandmarker.load(device="cpu")
    >>> face = landmarker(synthetic_scan(aligner.face_model, seed=1000004).scan)
    >>> face.landmarks.shape, face.unit
    ((68, 3), 'mm')
    """

    def __init__(
        self,
        network: Model,
        aligner: Aligner,
        *,
        snap: str = "geodesic",
        points: int | None = None,
        register: bool = True,
    ) -> None:
        if snap not in SNAPS:
            raise ValueError(f"snap: expected one of {', '.join(SNAPS)}, got {snap!r}")
        if points is not None and points < 100:
            raise ValueError(f"points: expected 100 or more, got {points}")
        self.network, self.aligner, self.snap, self.register = network, aligner, snap, register
        try:
            content = parse_json(network.metadata["scan"])
            self.settings = {name: float(content[name]) for name in _SETTINGS}
            for name, (low, high) in _SETTINGS.items():
                checked_number(name, self.settings[name], low, high)
            self.points = int(self.settings["points"]) if points is None else points
            self.sigma = np.full(68, self.settings["sigma"])
            self.sigma[JAW] = self.settings["jaw_sigma"]
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            got = f"with wrong metadata: {error}" if isinstance(error, ValueError) else "without its metadata"
            raise ValueError(f"{network.path}: expected a network of tddfa train scan, got one {got}") from error

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        snap: str = "geodesic",
        points: int | None = None,
        register: bool = True,
        device: str = "auto",
        threads: int | None = None,
    ) -> ScanLandmarker:
        """Load the released network, or another file.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If an argument has a wrong value, or if the file is not a network of scans.
        """
        network = Model(data_folder() / WEIGHTS if path is None else path, device="cpu", threads=threads)
        aligner = Aligner.load("open_mb05", device=device, threads=threads)
        return cls(network, aligner, snap=snap, points=points, register=register)

    @cached_property
    def prior(self) -> LandmarkPrior:
        """Prior of the landmarks' positions relative to each other."""
        model: FaceModel = self.aligner.decoder.face_model
        return LandmarkPrior.of(model)

    def __call__(self, scan: Scan, *, unit: str = "auto", up: ArrayLike | None = None) -> ScanFace | None:
        """Find the landmarks of the best face of a scan.

        Parameters
        ----------
        scan : Scan
        unit : {"auto", "mm", "cm", "m", "in"}
            Unit of the scan; ``auto`` estimates it from the size of the face.
        up : array_like (3,), optional
            Direction of up in the scan, where it is known.

        Returns
        -------
        ScanFace or None
            None if no rendered image of the scan shows a likely face.

        Raises
        ------
        ValueError
            If an argument has a wrong value.
        """
        if unit != "auto" and unit not in UNITS:
            raise ValueError(f"unit: expected auto or one of {', '.join(UNITS)}, got {unit!r}")
        direction = None if up is None else checked("up", up, (3,), np.float64)
        if direction is not None and not np.linalg.norm(direction) > 0:
            raise ValueError("up: expected a direction, got zeros")
        low, high = scan.vertices.min(axis=0), scan.vertices.max(axis=0)
        if np.abs(low + high).max() > _FAR * (high - low).max():
            # large numbers, as in geodesy, have too few digits left for a face
            middle = (low + high) / 2
            near = self(Scan(scan.vertices - middle, scan.triangles, scan.colors), unit=unit, up=up)
            return None if near is None else near.moved(middle)
        rng = np.random.default_rng(0)
        poses = find_pose(scan, self.aligner, self.prior.mean, up=direction, rng=rng)
        if not poses:
            return None
        face = self._refined(scan, poses[0], rng)
        if face.score < _LEAST:
            return None
        if self.register:
            face = self._registered(scan, face)
        warnings = list(face.warnings)
        if face.fitted is not None and not face.fitted.fits:
            warnings.append("the face model does not fit the scan; the landmarks are those that the network finds")
        others = sum(pose.score > _OTHER for pose in poses[1:])
        if others:
            warnings.append(f"{others + 1} faces; the landmarks are those of the best")
        found, odd = unit_of(face.similarity.scale)
        if unit == "auto":
            if is_odd(odd):
                warnings.append(
                    f"the unit is uncertain: measured in {found}, this face is {odd:.3g} times the usual size"
                )
        else:
            ratio = face.similarity.scale / UNITS[unit]
            if is_odd(ratio):
                warnings.append(
                    f"measured in {unit}, this face is {ratio:.3g} times the usual size; {found} would fit better"
                )
            found = unit
        return replace(face, unit=found, warnings=tuple(warnings))

    def _refined(self, scan: Scan, pose: Pose, rng: np.random.Generator) -> ScanFace:
        """Landmarks of a face whose pose is roughly known."""
        region = _region(scan, pose.similarity)
        candidates, normals = random_points(region, _CANDIDATES_PER_POINT * self.points, rng)
        # the triangles of some scans are inside out
        if np.median(normals @ pose.similarity.rotation[:, 2]) < 0:
            normals = -normals
        similarity = pose.similarity
        for passes in _ROUNDS:
            points, heat = self._heat(candidates, normals, similarity, passes, rng)
            decoded = decode(points, heat, TOP * passes)
            confidence = np.clip(np.sort(heat, axis=0)[-3 * passes :].mean(axis=0), 0, 1)
            known = (confidence - _KNOWN).clip(0)
            if passes != _ROUNDS[-1] and known.sum() > 4:
                similarity, _ = robust_similarity(self.prior.mean, decoded["pd"], known, _TOLERANCE, rng)
        weights = ((confidence - _KNOWN) / (_SURE - _KNOWN)).clip(0, 1)
        final, fitted = self.prior.completed(decoded["pd"], weights)
        landmarks = fitted + weights[:, None] * (decoded["pd"] - fitted)
        near = cKDTree(region.vertices).query(landmarks)[0] / similarity.scale
        face = ScanFace(
            landmarks,
            confidence,
            (near < _OFF_SURFACE) & (weights > 0),
            pose.score * float(confidence.mean()) ** 0.5,
            final,
            {**decoded, "completed": landmarks},
            unit="",
            points=points,
            heat=heat.astype(np.float32),
        )
        return self.snapped(scan, face, self.snap)

    def _registered(self, scan: Scan, face: ScanFace) -> ScanFace:
        """The face with the landmarks of the registered face model, if it fits."""
        fitted = fit_face(scan, face, self.aligner.decoder.face_model)
        if not fitted.fits:
            return replace(face, fitted=fitted)
        landmarks = fitted.landmarks.copy()
        nearest = nearest_on_surface(_region(scan, face.similarity), landmarks)
        there = np.linalg.norm(nearest - landmarks, axis=1) < _OFF_SURFACE * face.similarity.scale
        if self.snap != "none":
            landmarks[there] = nearest[there]
        return replace(face, landmarks=landmarks, on_surface=there, fitted=fitted)

    def snapped(self, scan: Scan, face: ScanFace, snap: str) -> ScanFace:
        """Refine the landmarks of a face on the scan once more, with other distances.

        Parameters
        ----------
        scan : Scan
        face : ScanFace
            Of this scan and this landmarker.
        snap : {"geodesic", "euclidean", "none"}

        Raises
        ------
        ValueError
            If `snap` is something else.
        """
        landmarks = face.decoded["completed"].copy()
        if snap not in SNAPS:
            raise ValueError(f"snap: expected one of {', '.join(SNAPS)}, got {snap!r}")
        if snap != "none":
            surface = Surface(_region(scan, face.similarity), snap == "geodesic")
            there = face.on_surface
            landmarks[there] = surface.vertices[surface.tree.query(landmarks[there])[1]]
            best = hottest(face.heat, TOP * _ROUNDS[-1])
            for k in np.flatnonzero(there & (face.confidence >= _REFINED)):
                around, warm = face.points[best[:, k]], face.heat[best[:, k], k].astype(np.float64)
                landmarks[k] = surface.refined(
                    face.decoded["completed"][k], around, warm, self.sigma[k] * face.similarity.scale
                )
        return replace(face, landmarks=landmarks, decoded={**face.decoded, "refined": landmarks})

    def _heat(
        self,
        candidates: Floats,
        normals: NDArray[np.float32],
        similarity: Similarity,
        passes: int,
        rng: np.random.Generator,
    ) -> tuple[Floats, NDArray[np.float32]]:
        """Heat (n, 68) at points (n, 3) of the scan, of several passes together."""
        local = similarity.inverse(candidates)
        turned = normals @ similarity.rotation
        seen, heats = [], []
        for _ in range(passes):
            chosen = near_face(
                local, self.prior.mean, self.points, self.settings["radius"], self.settings["inner"], rng
            )
            if len(chosen) < 40:
                return candidates[:40], np.zeros((len(candidates[:40]), 68), np.float32)
            graph = make_graph(local[chosen] / UNIT, turned[chosen], at=self.prior.mean / UNIT)
            heats.append(self.network.run(vars(graph))["heat"])
            seen.append(candidates[chosen])
        return np.concatenate(seen), np.concatenate(heats)


def _region(scan: Scan, similarity: Similarity) -> Scan:
    """The part of a scan around a face."""
    middle = similarity(np.zeros((1, 3)))[0]
    near = np.linalg.norm(scan.vertices - middle, axis=1) < _REGION * similarity.scale
    if not near.any():
        return scan
    number = np.cumsum(near) - 1
    inside = scan.triangles[near[scan.triangles].all(axis=1)]
    if not scan.is_cloud and not len(inside):  # triangles larger than a face
        return scan
    return Scan(scan.vertices[near], number[inside].astype(np.int32))
