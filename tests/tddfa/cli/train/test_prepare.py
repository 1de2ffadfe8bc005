from __future__ import annotations

import cv2
import numpy as np
import pytest

from tddfa.cli import main
from tddfa.train.data.crops import Crops
from tddfa.train.data.samples import Sample, write_samples
from tddfa.train.labels.agreement import detected, disagreement


def prepare(*arguments):
    return main(["train", "prepare", *(str(argument) for argument in arguments)])


@pytest.mark.parametrize("kind", ["turned", "edited", "synthetic"])
def test_made_of_crops(made_crops, tmp_path, capsys, kind):
    assert prepare(kind, tmp_path / "out", "--crops", made_crops, "--count", "3", "--seed", "1") == 0
    printed = capsys.readouterr()
    assert "3 crops" in printed.out
    assert printed.err == "", "no bar where stderr is no terminal"
    crops = Crops.open([tmp_path / "out"])
    assert len(crops) == 3
    assert crops.labels.has_params.all()
    assert crops.labels.face.all()
    assert crops.image(2).shape == (160, 160, 3)


def test_clean_needs_no_crops(tmp_path, capsys):
    assert prepare("clean", tmp_path / "out", "--count", "2", "--seed", "3") == 0
    assert "2 crops" in capsys.readouterr().out
    assert set(Crops.open([tmp_path / "out"]).labels.source) == {"clean"}


def test_sources_left_out(made_crops, tmp_path, capsys):
    assert prepare("turned", tmp_path / "o", "--crops", made_crops, "--without", "made", "--count", "1") == 1
    assert "expected some for training" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_a_source_that_is_not_there_and_all_that_are(made_crops, tmp_path, capsys):
    sources = [word for source in Crops.open([made_crops]).sources for word in ("--without", source)]
    wrong, every = "--without: expected one of empty, made, ", "--without: expected a source that is kept, got none"
    for without, status, message in ((["--without", "maed"], 2, wrong), (sources, 1, every)):
        assert prepare("inner", tmp_path / "o", "--crops", made_crops, *without) == status
        assert message in capsys.readouterr().err
        assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("command", [["prepare", "clean"], ["fit", "photos"], ["label", "cfp", "data"]])
def test_an_empty_word_is_no_folder(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", *command, ""])
    assert ended.value.code == 2
    assert "expected a folder, got an empty string" in capsys.readouterr().err


def test_made_of_photos(tmp_path, capsys, astronaut):
    cv2.imwrite(str(tmp_path / "a.png"), astronaut)
    (tmp_path / "a.txt").write_text("180 60 280 190\n")
    options = ["--photos", str(tmp_path), "--count", "4"]
    assert prepare("nonfaces", tmp_path / "out", *options) == 0
    crops = Crops.open([tmp_path / "out"])
    assert not crops.labels.face.any()
    assert not crops.labels.has_params.any()
    assert prepare("nonfaces", tmp_path / "out", "--count", "4") == 2
    assert "--photos: expected a folder for nonfaces" in capsys.readouterr().err
    assert prepare("turned", tmp_path / "out") == 2
    assert "--crops: expected a folder for turned" in capsys.readouterr().err
    assert prepare("photos", tmp_path / "out", *options) == 1
    assert "a.pts" in capsys.readouterr().err


def test_wrong_labels_are_left_out(made_samples, tmp_path, capsys, aligner, face_model):
    wrong = made_samples[1]
    camera = wrong.camera.copy()
    camera[:, :3] *= 0.5
    camera[:2, 3] -= 30
    bad = Sample(wrong.crop, "bad", camera, wrong.shape, wrong.expression)
    write_samples(tmp_path / "in", [*made_samples[:3], bad], face_model)
    crops = Crops.open([tmp_path / "in"])
    apart = disagreement(crops, aligner.regressor, face_model)
    assert apart[3] > 2 * apart[:3].max()
    assert detected(crops, np.arange(4), aligner).tolist() == [True, True, True, False]
    max_error = float(apart[:3].max()) + 1
    assert prepare("agreeing", tmp_path / "out", "--crops", tmp_path / "in", "--max-error", max_error) == 0
    assert "3 crops; 1 left out" in capsys.readouterr().out
    kept = Crops.open([tmp_path / "out"])
    assert kept.sources == {"made": 3}
    assert kept.jpeg(1) == crops.jpeg(1)


def test_agreement_does_not_ask_for_landmarks_that_are_not_known(made_samples, tmp_path, aligner, face_model):
    first = made_samples[0]
    landmarks = np.full((68, 2), np.nan, dtype=np.float32)
    landmarks[17:] = 80
    samples = [Sample(first.crop, "s", first.camera, first.shape, first.expression, some) for some in (None, landmarks)]
    write_samples(tmp_path, samples, face_model)
    apart = disagreement(Crops.open([tmp_path]), aligner.regressor, face_model)
    assert apart[1] == pytest.approx(apart[0], abs=0.2)  # px; unknown ones would be 40 off
    assert 0 < apart[0] < 7
