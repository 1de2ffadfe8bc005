import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tddfa.datasets import files as sources


class TestParallelMap:
    def test_keeps_the_order(self):
        def job(i):
            time.sleep(0.002 * (7 - i % 7))
            return i * i

        assert list(sources.parallel_map(job, range(60), workers=4)) == [i * i for i in range(60)]

    def test_runs_only_slightly_ahead(self):
        done = []
        taken = sources.parallel_map(lambda i: done.append(i) or i, iter(range(10**9)), workers=2)
        assert next(taken) == 0
        taken.close()
        assert len(done) < 30

    def test_an_exception_is_raised_at_its_item(self):
        def job(i):
            if i == 3:
                raise ValueError("three")
            return i

        taken = sources.parallel_map(job, range(100), workers=2)
        assert [next(taken) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="three"):
            next(taken)
        assert all(not thread.name.startswith("evaluate") for thread in threading.enumerate())

    def test_no_items(self):
        assert list(sources.parallel_map(str, [])) == []


def test_folders_and_images(tmp_path):
    (tmp_path / "B").mkdir()
    (tmp_path / "B/a.mat").touch()
    (tmp_path / "B/a.JPG").touch()
    assert sources.first_folder(tmp_path, ("A", "B"), "*.mat") == tmp_path / "B"
    assert sources.first_folder(tmp_path / "B", ("A", "B"), "*.mat") == tmp_path / "B"
    assert sources.first_folder(tmp_path / "none", ("A", "B"), "*.mat") is None
    assert sources.image_beside(tmp_path / "B/a.mat") == tmp_path / "B/a.JPG"
    assert sources.image_beside(tmp_path / "B/b.mat") is None
    assert sources.relative_name(tmp_path / "B/a.JPG", tmp_path) == "B/a.JPG"
    assert sources.relative_name(tmp_path / "B/a.JPG", tmp_path / "C") == (tmp_path / "B/a.JPG").as_posix()


class TestMat:
    SHAPES = {"pt3d_68": (3, 68), "Pose_Para": (1, None)}

    def test_reads_the_wanted_variables(self, tmp_path, rng):
        points = rng.normal(size=(3, 68))
        savemat(tmp_path / "a.mat", {"pt3d_68": points, "Pose_Para": np.zeros((1, 7)), "roi": [1, 2]})
        arrays = sources.read_mat(tmp_path / "a.mat", self.SHAPES)
        np.testing.assert_array_equal(arrays["pt3d_68"], points)
        assert sorted(arrays) == sorted(self.SHAPES)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"Pose_Para": np.zeros((1, 7))}, "expected a variable pt3d_68"),
            ({"pt3d_68": np.zeros((2, 68)), "Pose_Para": np.zeros((1, 7))}, r"expected shape \(3, 68\), got \(2, 68\)"),
            ({"pt3d_68": np.full((3, 68), np.nan), "Pose_Para": np.zeros((1, 7))}, "finite"),
            ({"pt3d_68": np.array([["a"] * 68] * 3, dtype=object), "Pose_Para": np.zeros((1, 7))}, "numbers"),
        ],
    )
    def test_an_error_names_file_and_cause(self, tmp_path, content, message):
        savemat(tmp_path / "a.mat", content)
        with pytest.raises(ValueError, match=message) as caught:
            sources.read_mat(tmp_path / "a.mat", self.SHAPES)
        assert str(caught.value).startswith(str(tmp_path / "a.mat"))

    def test_damaged_files(self, tmp_path, rng):
        savemat(tmp_path / "a.mat", {"pt3d_68": rng.normal(size=(3, 68)), "Pose_Para": np.zeros((1, 7))})
        whole = (tmp_path / "a.mat").read_bytes()
        for content in (b"", b"no", whole[:200], whole[:-40], bytes(300), rng.bytes(2000)):
            (tmp_path / "b.mat").write_bytes(content)
            with pytest.raises(ValueError, match=r"b\.mat: not a \.mat file"):
                sources.read_mat(tmp_path / "b.mat", self.SHAPES)
        with pytest.raises(ValueError, match=r"not a \.mat file"):
            sources.read_mat(tmp_path / "none.mat", self.SHAPES)

    def test_too_large(self, tmp_path):
        with (tmp_path / "a.mat").open("wb") as file:
            file.truncate(1 << 23)
        with pytest.raises(ValueError, match="at most"):
            sources.read_mat(tmp_path / "a.mat", self.SHAPES)


class TestArrays:
    def test_npy(self, tmp_path, rng):
        np.save(tmp_path / "a.npy", rng.normal(size=(5, 2, 68)).astype(np.float32))
        assert sources.read_array(tmp_path / "a.npy", (None, None, 68)).shape == (5, 2, 68)
        for shape in ((None,), (4, 2, 68)):
            with pytest.raises(ValueError, match=r"a.npy: not an array of shape"):
                sources.read_array(tmp_path / "a.npy", shape)

    def test_pickles_are_refused(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
        np.savez(tmp_path / "a.npz", points=np.array([{}], dtype=object))
        with pytest.raises(ValueError, match=r"a.npy"):
            sources.read_array(tmp_path / "a.npy", (None,))
        with pytest.raises(ValueError, match=r"a.npz"):
            sources.read_arrays(tmp_path / "a.npz", ("points",))

    def test_too_large_an_array_is_refused(self, tmp_path):
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000, 2), }"
        header += b" " * (117 - len(header)) + b"\n"
        (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        with pytest.raises(ValueError, match=r"a.npy"):
            sources.read_array(tmp_path / "a.npy", (None, 2))

    def test_npz(self, tmp_path):
        np.savez(tmp_path / "a.npz", names=["a"], points=np.zeros((1, 2, 68)))
        assert sources.read_arrays(tmp_path / "a.npz", ("names", "points"))["points"].shape == (1, 2, 68)
        with pytest.raises(ValueError, match="expected arrays names, yaw, got none named yaw"):
            sources.read_arrays(tmp_path / "a.npz", ("names", "yaw"))
        (tmp_path / "b.npz").write_bytes(b"PK no")
        with pytest.raises(ValueError, match=r"b.npz: not arrays"):
            sources.read_arrays(tmp_path / "b.npz", ("names",))


def test_text(tmp_path):
    (tmp_path / "a.list").write_text("\ufeffa.jpg\r\n\n b.jpg \n", encoding="utf-8")
    assert sources.read_list(tmp_path / "a.list") == ["a.jpg", "b.jpg"]
    (tmp_path / "b.pts").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"b.pts: cannot be read"):
        sources.read_text(tmp_path / "b.pts")
    (tmp_path / "c.pts").write_text("x" * (1 << 20) + "y")
    with pytest.raises(ValueError, match=r"c.pts: cannot be read: expected at most"):
        sources.read_text(tmp_path / "c.pts")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_matlab_file_with_numbers_of_an_unknown_type_is_an_error(tmp_path, compressed):
    """SciPy ends the process at them."""
    path = tmp_path / "a.mat"
    savemat(path, {"pt3d_68": np.arange(204.0).reshape(3, 68), "name": "x", "cell": np.array([1, "a"], object)})
    data = bytearray(path.read_bytes())
    assert (sources.read_mat(path, {"pt3d_68": (3, 68)})["pt3d_68"] == np.arange(204).reshape(3, 68)).all()
    at = data.index(b"pt3d_68\0") + 8
    assert data[at : at + 4] == b"\x09\0\0\0"
    data[at : at + 4] = b"\x09\x30\0\0"
    if compressed:
        matrix = zlib.compress(bytes(data[128 : 136 + struct.unpack_from("<I", data, 132)[0]]))
        data[128:] = struct.pack("<2I", 15, len(matrix)) + matrix
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.mat: .* unknown type, 12297"):
        sources.read_mat(path, {"pt3d_68": (3, 68)})
    savemat(path, {"pt3d_68": np.arange(204).reshape(3, 68)}, do_compression=True)
    assert sources.read_mat(path, {"pt3d_68": (3, 68)})["pt3d_68"].shape == (3, 68)
    savemat(path, {"pt3d_68": np.full((3, 68), "a", object)})
    with pytest.raises(ValueError, match="pt3d_68: expected numbers, got cell"):
        sources.read_mat(path, {"pt3d_68": (3, 68)})


@pytest.mark.parametrize(
    "points", [np.full((68, 2), 4.0), np.arange(136.0).reshape(68, 2) + 500, np.arange(136.0).reshape(68, 2) * 1e6]
)
def test_landmarks_that_are_not_of_a_face_in_the_image(points):
    with pytest.raises(ValueError, match=r"a\.pts: expected landmarks of a face in an image of 160 x 120 px"):
        sources.check_landmarks(Path("a.pts"), points, np.zeros((120, 160, 3), np.uint8))


def test_a_face_partly_outside_is_in_the_image():
    sources.check_landmarks(Path("a.pts"), np.arange(136.0).reshape(68, 2) - 60, np.zeros((120, 160, 3), np.uint8))
