"""Search for the face of a scan: images from many directions are aligned like photos, and lifted back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tddfa.aligner import Aligner
from tddfa.scan.head import mean_surface
from tddfa.scan.mesh import Scan
from tddfa.scan.similarity import Similarity, robust_similarity
from tddfa.scan.views import View, drawable, simplified, view

Floats = NDArray[np.float64]

# Side of an image, px, and cells of the grid in which a large mesh is simplified to draw it.
_SIZE, _CELLS, _LARGE = 320, 200, 60_000
# A face with the first score ends the search; with the second, after the first 14 directions.
_SURE, _LIKELY = 0.9, 0.5
# Number of faces that are rendered again, from the front and closer; how often; height of their landmarks then, px.
_CANDIDATES, _CLOSER, _HEIGHT = 3, 2, 150.0
# Distance at which a landmark that was lifted back counts little, mm.
_TOLERANCE = 14.0
# Mending of images, px: holes up to this size are filled, from surroundings of these standard deviations, and grain
# is smoothed by this one; least cover of the surroundings.
_HOLE, _FILL, _GRAIN, _ENOUGH = 45, (3.0, 6.0, 12.0), 0.8, 0.05
# Points of the mean face that are compared with the surface; how near that has to be, mm, and the least cosine between
# the normals.
_SURFACE_POINTS, _NEAR, _ALIKE = 400, 9.0, 0.6
# Cosine of the largest angle between the given and the found direction of up.
_UPRIGHT = 0.5


@dataclass(frozen=True, eq=False)
class Pose:
    """A face that was found.

    Attributes
    ----------
    similarity : Similarity
        Frame of the head, mm, to the scan.
    score : float
        0..1: the probability that the image of the face was aligned right, times the agreement of its landmarks, and
        of the surface, with the mean face.
    """

    similarity: Similarity
    score: float


def _rotation(forward: Floats, up: Floats) -> Floats:
    """Scan to view frame, for the viewer in a direction."""
    z = forward / np.linalg.norm(forward)
    x = np.cross(up, z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def _usual(up: Floats | None) -> Iterator[Floats]:
    """Views from the directions in which files usually have the front of a face."""
    x, y, z = np.eye(3)
    for forward, upwards in ((z, y), (-y, z), (x, z), (y, z), (x, y), (-x, y), (-z, y), (-x, z), (z, -y), (z, x)):
        if up is None or upwards @ up > _UPRIGHT:
            yield _rotation(forward, upwards)


def _all(up: Floats | None, *, between: bool = False) -> Iterator[Floats]:
    """Views from 14 directions, or from the 12 between them; the aligner rotates the image itself if up is unknown."""
    grid = np.array([(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)], dtype=np.float64)
    for forward in grid[np.isin(np.abs(grid).sum(axis=1), (2,) if between else (1, 3))]:
        if up is not None:
            across = forward - up * (forward @ up)
            if np.linalg.norm(across) > 0.2:
                yield _rotation(across, up)
            continue
        yield _rotation(forward, np.eye(3)[np.argmin(np.abs(forward))])


def find_pose(
    scan: Scan, aligner: Aligner, mean: Floats, *, up: Floats | None = None, rng: np.random.Generator | None = None
) -> list[Pose]:
    """Find the faces of a scan, the best first.

    Parameters
    ----------
    scan : Scan
    aligner : Aligner
        For photos.
    mean : ndarray (68, 3)
        Mean landmarks, mm (`tddfa.scan.head.mean_landmarks`).
    up : ndarray (3,), optional
        Direction of up in the scan, where it is known.
    rng : numpy.random.Generator, optional

    Returns
    -------
    list of Pose
        Empty if no image shows a face.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    mesh = drawable(scan)
    if len(mesh.triangles) > _LARGE:
        mesh = simplified(mesh, _CELLS)
    if not len(mesh.triangles):
        return []
    up = None if up is None else up / np.linalg.norm(up)
    low, high = np.percentile(mesh.vertices, (0.5, 99.5), axis=0)
    centre = (low + high) / 2
    reach = float(np.percentile(np.linalg.norm(mesh.vertices - centre, axis=1), 99.5))
    scale = 0.47 * _SIZE / max(reach, 1e-12)

    search = _Search(mesh, aligner, mean, rng, up)
    found: list[Pose] = []
    for rotations, enough in ((_usual(up), _SURE), (_all(up), _LIKELY), (_all(up, between=True), _SURE)):
        for rotation in rotations:
            pose = search.pose_in(view(mesh, rotation, centre, scale, _SIZE))
            if pose is not None:
                found.append(pose)
            if pose is not None and pose.score > _SURE:
                break
        if any(pose.score > enough for pose in found):
            break
    found.sort(key=lambda pose: -pose.score)
    closer = [search.closer(pose) for pose in found[:_CANDIDATES]]
    if not closer:
        return []
    best = max(closer, key=lambda pose: pose.score)
    # from where one face is seen from the front, others may be seen too
    return _apart([*closer, *search.poses_in(view(mesh, best.similarity.rotation.T, centre, scale, _SIZE))])


class _Search:
    """Poses of faces in images of a mesh."""

    def __init__(self, mesh: Scan, aligner: Aligner, mean: Floats, rng: np.random.Generator, up: Floats | None) -> None:
        self.mesh, self.aligner, self.mean, self.rng, self.up = mesh, aligner, mean, rng, up
        self.points, self.normals = mean_surface(aligner.decoder.face_model, _SURFACE_POINTS)
        self.tree = cKDTree(mesh.vertices)

    def closer(self, pose: Pose) -> Pose:
        """Render a face again, from the front and closer, and align it."""
        for _ in range(_CLOSER):
            similarity = pose.similarity
            scale = _HEIGHT / (float(np.ptp(self.mean[:, 1])) * similarity.scale)
            middle = similarity(np.zeros((1, 3)))[0]
            again = self.pose_in(view(self.mesh, similarity.rotation.T, middle, scale, _SIZE))
            if again is None or again.score < pose.score - 0.1:
                break
            pose = again
        return pose

    def pose_in(self, seen: View) -> Pose | None:
        """The pose of the best face in a view."""
        return max(self.poses_in(seen), key=lambda pose: pose.score, default=None)

    def poses_in(self, seen: View) -> list[Pose]:
        """The poses of the faces in a view."""
        poses = []
        for face in self.aligner(_mended(seen)):
            points, there = seen.lifted(face.landmarks[:, :2].astype(np.float64))
            # where the face turns away, the surface behind a landmark may be something else
            if np.count_nonzero(there) < 20:
                continue
            similarity, agreement = robust_similarity(self.mean, points, there.astype(np.float64), _TOLERANCE, self.rng)
            # the aligner finds faces at any roll
            if self.up is not None and similarity.rotation[:, 1] @ self.up < _UPRIGHT:
                continue
            score = face.score * float(agreement[there].mean()) ** 0.5 * self._surface_agreement(similarity)
            poses.append(Pose(similarity, float(score)))
        return poses

    def _surface_agreement(self, similarity: Similarity) -> float:
        """How much of the mean face has a surface of the same direction near to it: 0..1, 1 from two thirds on."""
        away, at = self.tree.query(similarity(self.points), distance_upper_bound=_NEAR * similarity.scale)
        near = np.isfinite(away)
        along = np.einsum(
            "ni,ni->n", self.mesh.normals[at[near]].astype(np.float64), self.normals[near] @ similarity.rotation.T
        )
        # normals of some scans point inwards
        alike = max(np.count_nonzero(along > _ALIKE), np.count_nonzero(along < -_ALIKE))
        return min(1.0, 1.5 * alike / len(self.points))


def _mended(seen: View) -> NDArray[np.uint8]:
    """Fill the holes of a view and smooth its noise, because networks for photos have seen neither."""
    image, mask = seen.image.astype(np.float32), seen.raster.mask.view(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_HOLE, _HOLE))
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel) > 0
    for sigma in _FILL:
        cover = mask.astype(np.float32)
        around = cv2.GaussianBlur(image * cover[..., None], (0, 0), sigma)
        weight = cv2.GaussianBlur(cover, (0, 0), sigma)
        new = closed & (mask == 0) & (weight > _ENOUGH)
        image[new] = around[new] / weight[new, None]
        mask = mask | new.view(np.uint8)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), _GRAIN).round().clip(0, 255), dtype=np.uint8)


def _apart(poses: list[Pose]) -> list[Pose]:
    """Leave out poses of a face that has a better pose."""
    kept: list[Pose] = []
    for pose in sorted(poses, key=lambda pose: -pose.score):
        middle = pose.similarity(np.zeros((1, 3)))[0]
        if all(
            np.linalg.norm(middle - other.similarity(np.zeros((1, 3)))[0]) > 60 * other.similarity.scale
            for other in kept
        ):
            kept.append(pose)
    return kept
