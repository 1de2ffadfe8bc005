import numpy as np
import pytest

from tddfa.evaluate.benchmarks import scans
from tddfa.evaluate.result import DataMissing, Setup
from tddfa.landmarks68 import PARTS
from tddfa.scan.decoding import GAMMA, SIGMA, decode, hottest, refine


def gaussian(points, landmarks, sigma=SIGMA):
    squared = ((points[:, None] - landmarks) ** 2).sum(axis=-1)
    return np.exp(-squared / (2 * sigma**2))


@pytest.fixture
def cloud(rng):
    """6,000 points of a curved surface of the size of a normalised face, and 68 landmarks on it."""

    def on_sheet(count):
        x, y = rng.uniform(-0.9, 0.9, (2, count))
        return np.column_stack([x, y, 0.3 * np.cos(2 * x) * np.cos(1.5 * y)])

    return on_sheet(6000), on_sheet(68)


def test_decoders_by_hand():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [4, 0, 0], [5, 0, 0], [6, 0, 0], [100, 0, 0]])
    heat = np.array([[0.1], [0.2], [0.9], [0.3], [0.2], [0.1], [0.2], [0.0]])
    actual = decode(points, heat)
    assert actual["gd"].tolist() == [[2, 0, 0]]
    assert actual["tkd"].tolist() == [[3, 0, 0]]  # all but the last, which is cold
    weighted = (0.1 * 0 + 0.2 * 1 + 0.9 * 2 + 0.3 * 3 + 0.2 * 4 + 0.1 * 5 + 0.2 * 6) / 2.0
    assert np.allclose(actual["pd"], [[weighted, 0, 0]])


def test_hottest_equals_sorting(rng):
    heat = rng.random((200, 5))
    assert np.array_equal(hottest(heat, 7), np.argsort(-heat, axis=0, kind="stable")[:7])
    equal = np.zeros((20, 2))
    assert np.array_equal(np.sort(hottest(equal, 7), axis=0), hottest(equal, 7))
    assert hottest(heat[:3], 7).shape == (3, 5)
    with pytest.raises(ValueError, match="at least one point"):
        hottest(np.zeros((0, 68)))


def test_without_heat_all_points_have_equal_weights():
    actual = decode(np.array([[0.0, 0, 0], [2, 0, 0]]), np.array([[0.0, -1.0], [0.0, -1.0]]))
    assert actual["pd"].tolist() == [[1, 0, 0], [1, 0, 0]]


def test_the_weighted_mean_is_best_for_exact_heat(cloud):
    points, landmarks = cloud
    actual = decode(points, gaussian(points, landmarks))
    errors = {name: np.linalg.norm(p - landmarks, axis=1).mean() for name, p in actual.items()}
    assert errors["pd"] <= errors["tkd"] < 0.02
    assert errors["gd"] < 0.02


def test_refinement_returns_the_vertex_of_the_heat(cloud, rng):
    points, landmarks = cloud
    mesh = np.concatenate([landmarks, points + rng.normal(0, 0.004, points.shape)])
    order = rng.permutation(len(mesh))
    refined = refine(mesh[order], points, gaussian(points, landmarks))
    assert np.allclose(refined, landmarks)


def test_refinement_equals_its_definition(cloud, rng):
    points, landmarks = cloud
    heat = gaussian(points, landmarks) + rng.normal(0, 0.02, (len(points), 68))
    mesh = points[rng.permutation(len(points))[:1500]] + rng.normal(0, 0.01, (1500, 3))
    refined = refine(mesh, points, heat)
    middle = decode(points, heat)["pd"]
    for landmark in range(0, 68, 9):
        top = np.argsort(-heat[:, landmark])[:7]
        reach = GAMMA * max(np.linalg.norm(points[k] - middle[landmark]) for k in top)
        best, least = None, np.inf
        for vertex in mesh:
            if np.linalg.norm(vertex - middle[landmark]) <= reach:
                misfit = sum((gaussian(points[[k]], vertex[None])[0, 0] - heat[k, landmark]) ** 2 for k in top)
                best, least = (vertex, misfit) if misfit < least else (best, least)
        assert np.array_equal(refined[landmark], best)


def test_refinement_falls_back_to_the_nearest_vertex():
    points = np.array([[0.0, 0, 0]])
    assert refine([[5.0, 0, 0], [9.0, 0, 0]], points, np.ones((1, 1))).tolist() == [[5, 0, 0]]
    with pytest.raises(ValueError, match="vertices"):
        refine(np.zeros((0, 3)), points, np.ones((1, 1)))


@pytest.fixture
def stored(tmp_path, cloud):
    """Writes a scan with 100 mm per normalised unit, 40 mm off to the side; the ground truth is 68 of its vertices."""
    points, landmarks = cloud
    scale, centre = 0.01, np.array([40.0, 0, -5])
    vertices = np.concatenate([points[:500], landmarks]) / scale + centre
    arrays = {"vertices": vertices, "landmarks": vertices[500:], "scale": scale, "centre": centre, "points": points}

    def write(name="a", **changes):
        folder = tmp_path / "scans"
        folder.mkdir(exist_ok=True)
        kept = {key: value for key, value in {**arrays, **changes}.items() if value is not None}
        np.savez(folder / f"{name}.npz", **kept)
        return Setup(tmp_path, None)

    return write


def test_a_known_error(stored, cloud):
    vertices = np.load(stored().data / "scans/a.npz")["vertices"]
    off = np.zeros((68, 3))
    off[:, 0] = 3
    off[PARTS["left_eye"], 1] = 4  # 5 mm there
    stored("a", predicted=vertices[500:] + off)
    result = scans.evaluate(stored("b", predicted=vertices[500:] - off, landmarks=np.arange(500, 568)))
    assert result.value("given.mean.left_eye") == pytest.approx(5)
    assert result.value("given.mean.jaw") == pytest.approx(3)
    assert result.value("given.std.jaw") == pytest.approx(0, abs=1e-9)
    errors = np.array([5] * 6 + [3] * 62)
    assert result.value("given.mean") == pytest.approx(errors.mean())
    assert result.value("given.std") == pytest.approx(errors.std())
    assert [item["given"] for item in result.items] == pytest.approx([errors.mean()] * 2)
    assert not any(figure.name.startswith("pd") for figure in result.figures)
    assert "another program" in result.notes[0]


def test_heat_is_decoded_to_mm(stored, cloud):
    points, landmarks = cloud
    result = scans.evaluate(stored(heat=gaussian(points, landmarks)))
    assert result.value("refined.mean") == pytest.approx(0, abs=1e-9)  # the ground truth is vertices
    assert 0 < result.value("pd.mean") <= result.value("tkd.mean") < 2
    assert 0 < result.value("gd.mean") < 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "expected an array predicted or heat, got neither"),
        ({"vertices": None}, "expected an array vertices, got "),
        ({"landmarks": None}, "expected an array landmarks, got "),
        ({"landmarks": np.full(68, 10_000)}, r"indices 0\.\.567"),
        ({"landmarks": np.zeros((5, 3))}, "landmarks"),
        ({"predicted": np.zeros((67, 3))}, "predicted"),
        ({"predicted": np.full((68, 3), np.nan)}, "finite"),
        ({"heat": np.zeros((3, 68))}, "heat"),
        ({"heat": np.zeros((6000, 68)), "scale": None}, "expected an array scale beside heat"),
        ({"heat": np.zeros((6000, 68)), "scale": 0.0}, "scale"),
        ({"predicted": np.array(["x"])}, "predicted"),
    ],
)
def test_damaged_scans_are_named(stored, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        scans.evaluate(stored(**changes))
    assert "a.npz" in str(caught.value)


def test_a_damaged_file_is_named(stored):
    setup = stored()
    (setup.data / "scans/a.npz").write_bytes(b"PK no zip")
    with pytest.raises(ValueError, match=r"a\.npz: not arrays"):
        scans.evaluate(setup)


def test_no_scans(tmp_path):
    (tmp_path / "scans").mkdir()
    with pytest.raises(DataMissing, match="vertices, landmarks and a prediction"):
        scans.evaluate(Setup(tmp_path, None))
