import numpy as np
import pytest
from scipy.spatial import cKDTree

from tddfa._shared.errors import ConfigError
from tddfa.scan.head import mean_landmarks
from tddfa.scan.mesh import Scan
from tddfa.scan.similarity import fit_similarity
from tddfa.synthetic.scans import ScanSettings, synthetic_scan
from tddfa.synthetic.scans.anatomy import split_long_edges
from tddfa.synthetic.scans.defects import glasses, holes, noisy, remeshed, without

CLEAN = ScanSettings(holes=(0, 0), noise=(0, 0), covered=0, cameras=0, busts=0, remeshed=0, rotated=False)


@pytest.fixture(scope="module")
def model(aligner):
    return aligner.face_model


@pytest.fixture(scope="module")
def clean(model):
    return synthetic_scan(model, 5, CLEAN)


def sheet(count=40):
    """A square of 100 mm with equal triangles."""
    x, y = (grid.reshape(-1) for grid in np.meshgrid(*[np.linspace(0, 100, count)] * 2))
    i = np.arange(count * count).reshape(count, count)
    a, b, c, d = i[:-1, :-1].ravel(), i[:-1, 1:].ravel(), i[1:, :-1].ravel(), i[1:, 1:].ravel()
    triangles = np.concatenate([np.column_stack([a, b, c]), np.column_stack([b, d, c])])
    return Scan(np.column_stack([x, y, 0 * x]), triangles)


def test_the_same_seed_gives_the_same_scan(model):
    first, again, other = (synthetic_scan(model, seed).landmarks for seed in (3, 3, 4))
    assert (first == again).all()
    assert abs(first - other).max() > 1


def test_landmarks_lie_on_an_undamaged_scan(clean):
    away = cKDTree(clean.scan.vertices).query(clean.landmarks)[0]
    assert away.max() < 3
    # and are those of a face: the chin below the nose, the nose in front of the ears' side of the jaw
    assert clean.landmarks[8, 1] < clean.landmarks[30, 1] - 30
    assert clean.landmarks[30, 2] > clean.landmarks[0, 2] + 60


def test_the_rotation_is_that_of_the_scan(model, aligner):
    made = synthetic_scan(model, 6)
    found = fit_similarity(mean_landmarks(aligner.face_model), made.landmarks)
    angle = np.degrees(np.arccos((np.trace(found.rotation.T @ made.rotation) - 1) / 2))
    assert angle < 12
    assert abs(found.scale - 1) < 0.25


def test_faces_and_busts_differ_in_size(model):
    face = synthetic_scan(model, 1, ScanSettings(faces=1, busts=0, rotated=False))
    bust = synthetic_scan(model, 1, ScanSettings(faces=0, busts=1, rotated=False))
    assert np.ptp(face.scan.vertices[:, 0]) < 270 < np.ptp(bust.scan.vertices[:, 0])


def test_cameras_see_no_back_of_the_head(model):
    closed = synthetic_scan(model, 2, ScanSettings(faces=0, busts=0, cameras=0, rotated=False))
    shadowed = synthetic_scan(model, 2, ScanSettings(faces=0, busts=0, cameras=1, rotated=False))
    back = [made.scan.normals[:, 2].min() for made in (closed, shadowed)]
    far = [(made.scan.vertices[:, 2] < made.landmarks[:, 2].mean() - 120).mean() for made in (closed, shadowed)]
    assert back[0] < -0.9
    assert far[0] > 0.1 > 0.03 > far[1]


def test_holes_cover_the_fraction(rng):
    scan = sheet()
    removed = holes(scan, 0.2, rng)
    assert 0.2 <= scan.areas[removed].sum() / 1e4 < 0.33
    assert len(without(scan, removed).triangles) == (~removed).sum()


def test_noise_has_its_standard_deviation(rng):
    moved = noisy(sheet(60), 0.4, rng).vertices[:, 2]
    assert 0.36 < moved.std() < 0.5


def test_remeshing_makes_edges_of_the_length_and_keeps_the_surface(rng):
    scan = remeshed(sheet(100), 4.0, rng)
    corners = scan.vertices[scan.triangles]
    lengths = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    assert 2 < np.median(lengths) < 6
    assert len(scan.vertices) < 2000
    assert abs(scan.areas.sum() / 1e4 - 1) < 0.1


def test_split_edges_stay_joined():
    table, triangles = split_long_edges(
        np.array([[0.0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]]), np.array([[0, 1, 2], [0, 2, 3]]), 3.0
    )
    scan = Scan(table, triangles)
    corners = scan.vertices[triangles]
    assert np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max() <= 3
    assert abs(scan.areas.sum() - 100) < 1e-9
    edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    count = np.unique(edges, axis=0, return_counts=True)[1]
    # an edge inside the square has two triangles, one on its rim has one
    rim = sum(np.isclose(table[:, k], value).sum() for k in (0, 1) for value in (0, 10))
    assert (count == 1).sum() == rim - 4
    assert count.max() == 2


def test_glasses_are_in_front_of_the_eyes(clean, rng):
    bars = glasses(clean.landmarks, rng).vertices
    eyes = clean.landmarks[36:48]
    near = bars[np.abs(bars[:, 0]) < np.abs(eyes[:, 0]).max()]
    assert near[:, 2].mean() > eyes[:, 2].mean()
    assert bars[:, 1].min() < eyes[:, 1].min()
    assert bars[:, 1].max() > eyes[:, 1].max()


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match=r"faces \+ busts: expected 1 or less, got 1.2"):
        ScanSettings(faces=0.6, busts=0.6)
    with pytest.raises(ConfigError, match=r"holes: expected low, high of 0..0.9, got 0.5, 0.2"):
        ScanSettings(holes=(0.5, 0.2))
