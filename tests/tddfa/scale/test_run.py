"""A run in this process: its rows, a restart, and folders that are refused."""

import json
import sys

import pytest

from builders_scale import errors, faces, manifests, schema

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

from tddfa.scale import Job
from tddfa.scale import worker as workers
from tddfa.scale.job import MixedError


class TestRows:
    def test_a_row_per_face_has_the_record_of_the_face(self, do, photos, tmp_path, aligner):
        report = do(photos, batch_size=1)
        rows = faces(tmp_path / "out")
        assert (report.photos, report.faces, report.errors) == (13, 10, 2)
        paths = sorted([*photos.glob("face_*.png"), *photos.glob("b/face_*.png")], key=lambda path: path.parts)
        assert sorted(row["path"] for row in rows) == sorted(map(str, paths))
        for row in rows:
            (face,) = aligner(row["path"])
            record = face.to_dict(aligner.decoder, dense=False)
            assert record.keys() <= row.keys()
            for name in ("box", "score", "roi", "pose", "shape", "expression", "confidence"):
                assert row[name] == pytest.approx(record[name], rel=1e-5, abs=1e-4), name
            for name in ("landmarks", "camera", "rotation", "detected_points"):
                for mine, theirs in zip(row[name], record[name], strict=True):
                    assert mine == pytest.approx(theirs, rel=1e-5, abs=2e-3), name
            assert (row["frame"], row["time"], row["face"]) == (None, None, 0)
            assert (row["height"], row["width"]) == face.image_size
            for name in ("track_id", "visible", "six_dof", "pose_order", "landmark_convention"):
                assert row[name] == record[name], name

    def test_rows_tell_what_they_were_made_with(self, do, photos, tmp_path):
        do(photos / "face_0.png")
        (row,) = faces(tmp_path / "out")
        job = Job([str(photos / "face_0.png")], "out")
        assert row["model"] == job.identity()["model"]
        assert (row["precision"], row["provider"], row["version"]) == ("float", "cpu", job.identity()["version"])

    def test_dense_columns(self, do, photos, tmp_path, aligner):
        do(photos / "face_0.png", dense=True)
        (row,) = faces(tmp_path / "out")
        record = aligner(photos / "face_0.png")[0].to_dict(aligner.decoder)
        assert row["visible"] == record["visible"]
        assert row["six_dof"]["translation"] == pytest.approx(record["six_dof"]["translation"], rel=1e-4)
        assert row["six_dof"].keys() == record["six_dof"].keys()

    def test_what_cannot_be_read_is_a_row_of_errors(self, do, photos, tmp_path):
        report = do(photos)
        found = errors(tmp_path / "out")
        assert report.new_errors == len(found) == 2
        assert found[str(photos / "cut.jpg")] == "the file is truncated: the JPEG has no end marker"
        assert found[str(photos / "b/text.jpg")] == "not an image"

    def test_batches_of_another_size_give_the_same_to_a_thousandth_px(self, do, photos, tmp_path):
        do(photos, out="one", batch_size=1)
        do(photos, out="all", batch_size=64)
        one, all_ = faces(tmp_path / "one"), faces(tmp_path / "all")
        assert [row["path"] for row in one] == [row["path"] for row in all_]
        for mine, theirs in zip(one, all_, strict=True):
            for a, b in zip(mine["landmarks"], theirs["landmarks"], strict=True):
                assert a == pytest.approx(b, abs=5e-3)

    def test_a_photo_on_which_the_model_fails_is_an_error_of_its_own(self, do, photos, tmp_path, monkeypatch):
        real = workers.Aligner.batch

        def fails(self, images, **options):
            if any(image.shape[0] == 300 for image in images):
                raise ValueError("this one")
            return real(self, images, **options)

        def call(self, image, **options):
            return fails(self, [image])[0]

        monkeypatch.setattr(workers.Aligner, "batch", fails)
        monkeypatch.setattr(workers.Aligner, "__call__", call)
        report = do(photos)
        assert (report.faces, report.errors) == (5, 7)
        assert errors(tmp_path / "out")[str(photos / "face_1.png")] == "this one"


class TestRestart:
    def test_shards_that_are_done_are_not_done_again(self, do, photos, tmp_path):
        first = do(photos)
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("part-*")}
        again = do(photos)
        assert (first.shards, first.skipped, again.skipped, again.photos) == (4, 0, 4, 0)
        assert (again.faces, again.errors, again.new_errors) == (10, 2, 0)
        assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("part-*")}

    def test_a_run_that_ends_in_the_middle_goes_on(self, do, photos, tmp_path, monkeypatch):
        do(photos, out="whole")
        real, done = workers.Worker.run, []

        def ends(self, task):
            if len(done) == 2:
                raise OSError("the disk is gone")
            done.append(task.shard)
            return real(self, task)

        with monkeypatch.context() as patched:
            patched.setattr(workers.Worker, "run", ends)
            with pytest.raises(OSError, match="the disk is gone"):
                do(photos)
        assert len(manifests(tmp_path / "out")) == 2
        assert do(photos).skipped == 2
        assert faces(tmp_path / "out") == faces(tmp_path / "whole")
        assert errors(tmp_path / "out") == errors(tmp_path / "whole")

    def test_rows_without_their_manifest_are_written_again_and_not_doubled(self, do, photos, tmp_path):
        do(photos)
        rows = faces(tmp_path / "out")
        next((tmp_path / "out/_tddfa/done").glob("00000001-*")).unlink()
        assert do(photos).photos == 4
        assert faces(tmp_path / "out") == rows

    def test_a_photo_that_changed_is_done_again_with_its_shard_alone(self, do, photos, tmp_path):
        source = tmp_path / "photos"
        source.mkdir()
        for name in ("face_0.png", "face_1.png", "face_2.png"):
            (source / name).write_bytes((photos / name).read_bytes())
        do(source, shard_size=1)
        (source / "face_1.png").write_bytes((photos / "grey.png").read_bytes())
        report = do(source, shard_size=1)
        assert (report.photos, report.skipped, report.faces) == (1, 2, 2)

    def test_shards_that_are_no_more_leave_no_rows(self, do, photos, tmp_path):
        source = tmp_path / "photos"
        source.mkdir()
        for name in ("face_0.png", "face_1.png", "face_2.png"):
            (source / name).write_bytes((photos / name).read_bytes())
        do(source, shard_size=1, crops=64)
        (source / "face_2.png").unlink()
        assert do(source, shard_size=1, crops=64).faces == 2
        assert [row["path"][-10:] for row in faces(tmp_path / "out")] == ["face_0.png", "face_1.png"]
        assert sorted(path.name for path in (tmp_path / "out/crops").iterdir())[-1] == "part-00000001.tar"

    def test_errors_are_tried_again_on_request(self, do, photos, tmp_path):
        source = tmp_path / "list.txt"
        source.write_text(f"{photos / 'face_0.png'}\n{tmp_path / 'later.png'}\n")
        assert do(source, shard_size=1).errors == 1
        assert do(source, shard_size=1).photos == 0
        assert do(source, shard_size=1, retry_errors=True).photos == 1
        (tmp_path / "later.png").write_bytes((photos / "face_1.png").read_bytes())
        report = do(source, shard_size=1)
        assert (report.photos, report.errors, report.faces) == (1, 0, 2)
        assert errors(tmp_path / "out") == {}

    def test_too_many_errors_stop_the_run_and_keep_what_is_done(self, do, photos, tmp_path):
        report = do(photos, shard_size=1, max_errors=0)
        assert report.stopped
        assert report.errors == 1
        assert 0 < len(manifests(tmp_path / "out")) < 13
        assert len(errors(tmp_path / "out")) == 1
        assert do(photos, shard_size=1).faces == 10

    def test_ctrl_c_gives_a_report(self, do, photos, tmp_path):
        def interrupt(count):
            raise KeyboardInterrupt

        report = do(photos, progress=interrupt)
        assert report.interrupted
        assert report.photos == 4
        assert do(photos).faces == 10


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"dense": True}, "dense false, not true"),
            ({"model": {"precision": "int8"}}, 'precision "float", not "int8"'),
            ({"model": {"refine": 0}}, "refine null, not 0"),
            ({"config": "open_mb05+"}, 'config "open_mb05", not "open_mb05\\+"'),
            ({"shard_size": 5}, "shard_size 4, not 5"),
        ],
    )
    def test_other_models_and_options_do_not_mix(self, do, photos, tmp_path, options, named):
        do(photos / "face_0.png")
        before = (tmp_path / "out/_tddfa/job.json").read_bytes()
        with pytest.raises(MixedError, match=named):
            do(photos / "face_0.png", **options)
        assert (tmp_path / "out/_tddfa/job.json").read_bytes() == before

    def test_numbers_of_threads_and_photos_together_mix(self, do, photos):
        do(photos / "face_0.png", model={"device": "auto"})
        assert do(photos / "face_0.png", model={"device": "cpu"}, threads=1, batch_size=2).skipped == 1

    def test_another_source_does_not_mix(self, do, photos):
        do(photos / "face_0.png")
        with pytest.raises(MixedError, match=r"sources .*face_0.*, not .*face_1.*; give another --out"):
            do(photos / "face_1.png")

    def test_other_settings_in_the_same_config_do_not_mix(self, do, photos, tmp_path):
        config = tmp_path / "mine.yml"
        config.write_text("base: open_mb05\n")
        do(photos / "face_0.png", config=str(config))
        config.write_text("base: open_mb05\nrefine: 0\n")
        with pytest.raises(MixedError, match=r"made with settings\.refine 1, not 0; give another --out"):
            do(photos / "face_0.png", config=str(config))

    def test_a_folder_without_results_is_not_bound(self, do, photos, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["tddfa.scale.run"], "execute", lambda *_: (summary for summary in ()))
            do(photos / "face_0.png")
        assert do(photos / "face_0.png", photos / "face_1.png").faces == 2

    def test_other_files_do_not_mix(self, do, photos, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/thesis.doc").touch()
        with pytest.raises(MixedError, match=r"out: expected an empty folder or one of tddfa scale, found thesis\.doc"):
            do(photos)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.doc"]

    def test_other_files_beside_results_do_not_mix(self, do, photos, tmp_path):
        do(photos / "face_0.png")
        (tmp_path / "out/thesis.doc").touch()
        with pytest.raises(MixedError, match=r"found thesis\.doc"):
            do(photos / "face_0.png")

    def test_a_file_in_place_of_the_folder(self, do, photos, tmp_path):
        (tmp_path / "out").touch()
        with pytest.raises(MixedError, match="expected a folder, got a file"):
            do(photos)

    def test_an_empty_folder_has_no_photo(self, do, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match=r"empty: no photo and no video; .*'folder/\*\.tar'"):
            do(tmp_path / "empty")
        (tmp_path / "empty/a.jpg").write_bytes(b"")
        assert do(tmp_path / "empty").errors == 1

    def test_a_damaged_job_is_named(self, do, photos, tmp_path):
        do(photos / "face_0.png")
        (tmp_path / "out/_tddfa/job.json").write_text("{")
        with pytest.raises(MixedError, match=r"job\.json is damaged"):
            do(photos / "face_0.png")

    def test_a_worker_with_another_model_refuses(self, photos, tmp_path):
        job = Job([str(photos)], str(tmp_path / "out"))
        for part, value in (("model", "0" * 64), ("settings.refine", 0)):
            with pytest.raises(MixedError, match="has another model, or other settings of it"):
                workers.Worker(job, {**job.identity(), part: value})
        with pytest.raises(MixedError, match=r"this machine has version .*, the driver 0\.0"):
            workers.Worker(job, {**job.identity(), "version": "0.0"})


def test_a_full_disk_stops_the_run(do, photos, tmp_path, monkeypatch):
    def full(self, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workers.TableFile, "add", full)
    with pytest.raises(OSError, match="No space left on device"):
        do(photos / "face_0.png")
    assert not list((tmp_path / "out").rglob("*.part"))
    assert not (tmp_path / "out/_tddfa/done").exists()


def test_the_manifest_has_the_hash_of_inputs_and_the_model(do, photos, tmp_path):
    do(photos / "face_0.png", photos / "face_1.png")
    (manifest,) = manifests(tmp_path / "out")
    assert (manifest["photos"], manifest["faces"], manifest["errors"]) == (2, 2, [])
    assert len(manifest["inputs"]) == len(manifest["model"]) == 64
    assert json.loads((tmp_path / "out/_tddfa/job.json").read_text())["model"] == manifest["model"]


def test_the_schema_is_that_of_an_empty_table_too(do, photos, tmp_path):
    do(photos / "grey.png", out="none")
    do(photos / "face_0.png", out="one")
    assert schema(tmp_path / "none") == schema(tmp_path / "one")
