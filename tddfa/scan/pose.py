"""Where the face of a scan is: pictures from many directions, aligned by the regressor of photos, and lifted back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tddfa.aligner import Aligner
from tddfa.scan.mesh import Scan
from tddfa.scan.similarity import Similarity, robust_similarity
from tddfa.scan.views import View, drawable, simplified, view

Floats = NDArray[np.float64]

# Side of a picture, px, and cells of the grid in which a large mesh is simplified to draw it.
_SIZE, _CELLS, _LARGE = 320, 200, 60_000
# A face with this score ends the search among the usual directions.
_SURE = 0.9
# Faces looked at again, from the front and closer; how often; and height of the face's landmarks then, px.
_CANDIDATES, _CLOSER, _HEIGHT = 3, 2, 150.0
# Distance at which a landmark that was lifted back counts little, mm.
_TOLERANCE = 14.0
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
        0..1: the probability that the picture of the face was aligned right, times the agreement of its landmarks with
        the mean face.
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
    """Views from where files usually have the front of a face."""
    x, y, z = np.eye(3)
    for forward, upwards in ((z, y), (-y, z), (x, z), (y, z), (x, y), (-x, y), (-z, y), (-x, z), (z, -y), (z, x)):
        if up is None or upwards @ up > _UPRIGHT:
            yield _rotation(forward, upwards)


def _all(up: Floats | None) -> Iterator[Floats]:
    """Views from 14 directions, in any of four rolls each if up is unknown: the aligner turns the picture itself."""
    grid = np.array([(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)], dtype=np.float64)
    for forward in grid[np.isin(np.abs(grid).sum(axis=1), (1, 3))]:
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
        Empty if no picture shows a face.
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

    found: list[Pose] = []
    for rotations in (_usual(up), _all(up)):
        for rotation in rotations:
            pose = _pose_in(view(mesh, rotation, centre, scale, _SIZE), aligner, mean, rng)
            if pose is not None:
                found.append(pose)
            if pose is not None and pose.score > _SURE:
                break
        if any(pose.score > _SURE for pose in found):
            break
    found.sort(key=lambda pose: -pose.score)
    return _apart([_closer(pose, mesh, aligner, mean, rng) for pose in found[:_CANDIDATES]])


def _closer(pose: Pose, mesh: Scan, aligner: Aligner, mean: Floats, rng: np.random.Generator) -> Pose:
    """Look at a face again, from the front and closer."""
    for _ in range(_CLOSER):
        similarity = pose.similarity
        scale = _HEIGHT / (float(np.ptp(mean[:, 1])) * similarity.scale)
        again = _pose_in(
            view(mesh, similarity.rotation.T, similarity(np.zeros((1, 3)))[0], scale, _SIZE), aligner, mean, rng
        )
        if again is None or again.score < pose.score - 0.1:
            break
        pose = again
    return pose


def _pose_in(picture: View, aligner: Aligner, mean: Floats, rng: np.random.Generator) -> Pose | None:
    """The pose of the best face in a picture."""
    best: Pose | None = None
    for face in aligner(picture.image):
        points, there = picture.lifted(face.landmarks[:, :2].astype(np.float64))
        # where the face turns away, the surface behind a landmark may be something else
        if np.count_nonzero(there) < 20:
            continue
        similarity, agreement = robust_similarity(mean, points, there.astype(np.float64), _TOLERANCE, rng)
        score = face.score * float(agreement[there].mean()) ** 0.5
        if best is None or score > best.score:
            best = Pose(similarity, score)
    return best


def _apart(poses: list[Pose]) -> list[Pose]:
    """Leave out a pose whose face is that of a better one."""
    kept: list[Pose] = []
    for pose in sorted(poses, key=lambda pose: -pose.score):
        middle = pose.similarity(np.zeros((1, 3)))[0]
        if all(
            np.linalg.norm(middle - other.similarity(np.zeros((1, 3)))[0]) > 60 * other.similarity.scale
            for other in kept
        ):
            kept.append(pose)
    return kept
