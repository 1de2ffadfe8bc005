import subprocess
import sys

import cv2
import numpy as np
import pytest

from tddfa.evaluate.report import plots
from tddfa.evaluate.result import Curve


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture
def curves(rng):
    yaw = rng.uniform(-90, 90, 200)
    errors = 3 + (np.abs(yaw) / 45) ** 2
    return [
        Curve("one", tuple(errors), "%", tuple(yaw)),
        Curve("two", tuple(errors + 1), "%", tuple(yaw), missed=50),
        Curve("three", (1.0, 2.0), "deg"),
    ]


def test_missed_faces_lower_the_curve():
    errors, share = plots.cumulative_fraction((3.0, 1.0), missed=2)
    assert errors.tolist() == [1, 3]
    assert share.tolist() == [0.25, 0.5]
    assert plots.cumulative_fraction((), missed=2)[0].size == 0


def test_running_median():
    yaw = np.repeat(np.arange(-60.0, 61.0), 3)
    errors = 2 * yaw
    errors[::40] = 1e6  # a few large errors have little influence
    angles, means = plots.running_median(yaw, errors)
    inside = np.abs(angles) <= 50
    np.testing.assert_allclose(means[inside], 2 * angles[inside], atol=2)
    assert np.isnan(means[np.abs(angles) > 70]).all()
    # too few images
    assert np.isnan(plots.running_median([0.0, 1.0, 2.0, 3.0], [1.0] * 4)[1]).all()


def test_labels_and_ends_of_axes(curves, monkeypatch):
    pytest.importorskip("matplotlib")
    figures = []
    monkeypatch.setattr(plots, "_png", lambda figure: figures.append(figure) or b"")
    plots.cumulative("a", curves, {"%": ("NME by the box", 10)})
    plots.over_yaw("a", [Curve("one", (*curves[0].errors, 500.0), "%", (*curves[0].yaw, 0.0))], {"%": ("NME", 10)})
    panel, other = figures[0].axes
    assert (panel.get_xlim(), panel.get_xlabel()) == ((0, 10), "NME by the box, %")
    assert panel.get_xticks()[-1] == 10
    assert other.get_xlabel() == "error, deg"
    (yaw,) = figures[1].axes
    assert yaw.get_ylabel() == "NME, %"
    assert "running median, 10 degrees" in yaw.get_legend().get_title().get_text()
    assert [text.get_text() for text in yaw.texts] == ["1 of 201 dots above"]
    assert yaw.get_ylim()[1] > np.nanmax(yaw.lines[0].get_ydata())


def test_plots(curves):
    pytest.importorskip("matplotlib")
    cumulative, yaw = decoded(plots.cumulative("a title", curves)), decoded(plots.over_yaw("a title", curves))
    assert cumulative.shape[1] == 2 * yaw.shape[1]  # a panel a unit; one unit has no yaw
    for image in (cumulative, yaw):
        blue = (np.abs(image.astype(int) - [168, 95, 31]) < 12).all(axis=2)  # the first curve's color
        assert blue.sum() > 200


def test_equal_curves_make_equal_files(curves):
    pytest.importorskip("matplotlib")
    assert plots.cumulative("a", curves) == plots.cumulative("a", curves)


def test_curves_without_errors_are_refused():
    with pytest.raises(ValueError, match="a: expected a curve"):
        plots.cumulative("a", [Curve("one", (), "%", missed=3)])


def test_the_error_without_matplotlib_names_it(curves, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(ImportError, match=r"^a plot needs matplotlib: pip install matplotlib$"):
        plots.cumulative("a", curves)


def test_pyplot_is_not_used(curves):
    pytest.importorskip("matplotlib")
    code = (
        "import sys; from tddfa.evaluate.report import plots; from tddfa.evaluate.result import Curve\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plots.cumulative('a', [Curve('one', (1.0, 2.0), '%')])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
