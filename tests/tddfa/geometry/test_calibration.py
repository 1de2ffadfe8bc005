import json

import cv2
import numpy as np
import pytest

from tddfa.geometry.calibration import read

MATRIX = np.array([[801.5, 0, 321.25], [0, 799.25, 239.5], [0, 0, 1]])
BENT = np.array([[-0.28, 0.07, 0.001, -0.002, 0.01]])


def opencvs(path, **content):
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in content.items():
        storage.write(name, value)
    storage.release()
    return path


class TestKinds:
    @pytest.mark.parametrize("name", ["a.yml", "a.yaml", "a.json"])
    @pytest.mark.parametrize("key", ["dist_coeffs", "distortion_coefficients"])
    def test_opencvs_files(self, tmp_path, name, key):
        path = opencvs(tmp_path / name, image_width=640, image_height=480, camera_matrix=MATRIX, **{key: BENT})
        camera = read(path, (480, 640))
        np.testing.assert_allclose(camera.matrix, MATRIX, rtol=1e-12)
        np.testing.assert_allclose(camera.distortion, BENT[0], rtol=1e-12)

    @pytest.mark.parametrize(("matrix", "bent"), [("camera_matrix", "dist_coeffs"), ("mtx", "dist")])
    def test_numpys(self, tmp_path, matrix, bent):
        np.savez(tmp_path / "a.npz", **{matrix: MATRIX, bent: BENT, "rvecs": np.zeros((5, 3))})
        camera = read(tmp_path / "a.npz")
        np.testing.assert_array_equal(camera.matrix, MATRIX)
        np.testing.assert_array_equal(camera.distortion, BENT[0])

    def test_plain_lists(self, tmp_path):
        (tmp_path / "a.json").write_text(
            json.dumps({"camera_matrix": MATRIX.tolist(), "dist_coeffs": BENT[0].tolist()})
        )
        (tmp_path / "a.yml").write_text("camera_matrix: [[801.5, 0, 321.25], [0, 799.25, 239.5], [0, 0, 1]]\n")
        for name, bent in (("a.json", BENT[0]), ("a.yml", [])):
            camera = read(tmp_path / name)
            np.testing.assert_allclose(camera.matrix, MATRIX)
            np.testing.assert_allclose(camera.distortion, bent)

    @pytest.mark.parametrize("none", [[], None])
    def test_an_empty_distortion_is_none(self, tmp_path, none):
        (tmp_path / "a.json").write_text(json.dumps({"mtx": MATRIX.tolist(), "dist": none}))
        np.savez(tmp_path / "a.npz", mtx=MATRIX, dist=np.zeros((0, 5)))
        opencvs(tmp_path / "a.yml", camera_matrix=MATRIX, distortion_coefficients=np.zeros((0, 0)))
        for name in ("a.json", "a.npz", "a.yml"):
            assert read(tmp_path / name).distortion.shape == (0,)

    def test_an_image_of_another_size_is_the_same_view(self, tmp_path):
        path = opencvs(tmp_path / "a.yml", image_width=640, image_height=480, camera_matrix=MATRIX)
        small = read(path, (240, 320)).matrix
        rays = np.array([(-0.3, 0.2, 1), (0.1, -0.2, 1)])
        whole, half = ((k @ rays.T)[:2] for k in (MATRIX, small))
        # a pixel of the small image covers four: 0 and 1 are around 0, and so on
        np.testing.assert_allclose(half, (whole - 0.5) / 2)
        np.testing.assert_allclose(read(path).matrix, MATRIX)
        with pytest.raises(ValueError, match=r"a\.yml: made for images of 640 x 480 px, .* than 640 x 360"):
            read(path, (360, 640))

    @pytest.mark.parametrize("image_size", [(0, 0), (480.5, 640), 5, (1, 2, 3)])
    def test_a_wrong_image_size_is_named(self, tmp_path, image_size):
        path = opencvs(tmp_path / "a.yml", image_width=640, image_height=480, camera_matrix=MATRIX)
        with pytest.raises(ValueError, match=r"^image_size: expected"):
            read(path, image_size)


class TestHostileFiles:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.txt", b"", "expected a calibration that ends in"),
            ("a.npz", b"hello", "not a calibration that can be read"),
            ("a.npz", b"PK\x03\x04" + bytes(50), "not a calibration that can be read"),
            ("a.json", b"{", "not a calibration that can be read"),
            ("a.json", b"[" * 100000, "not a calibration that can be read"),
            ("a.json", b"\xff\xfe", "not a calibration that can be read"),
            ("a.json", b"[1, 2]", "expected keys and values, got list"),
            ("a.json", b"{}", "expected a key 'camera_matrix'"),
            ("a.json", b'{"camera_matrix": null}', "camera_matrix: expected a few finite numbers"),
            ("a.json", b'{"camera_matrix": "abc"}', "camera_matrix: expected a few finite numbers"),
            ("a.json", b'{"camera_matrix": [1, 2]}', "camera_matrix: expected 3 x 3 numbers, got 2"),
            ("a.json", b'{"camera_matrix": [[[1]]]}', "camera_matrix: expected rows of numbers"),
            ("a.json", b'{"camera_matrix": [NaN,0,0,0,1,0,0,0,1]}', "camera_matrix: expected a few finite numbers"),
            ("a.json", b'{"camera_matrix": [[1,0,0],[0,1,0],[0,0,0]]}', "fx, fy > 0"),
            ("a.json", b'{"camera_matrix": [' + b"1," * 99999 + b"1]}", "camera_matrix: expected at most 64 numbers"),
            ("a.json", b'{"camera_matrix": [1,0,0,0,1,0,0,0,1], "dist": [1]}', "expected .* coefficients, got 1"),
            ("a.yml", b"!!python/object/apply:os.system [echo]", "not a calibration that can be read"),
            ("a.yml", b"camera_matrix: [1", "not a calibration that can be read"),
            ("a.yml", b"camera_matrix: !!opencv-matrix {rows: 3}", "camera_matrix: expected a few finite numbers"),
            ("a.yml", b"camera_matrix: !!opencv-matrix 5", "not a calibration that can be read"),
            (
                "a.yml",
                b"a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
                b"camera_matrix: [*c,*c,*c,*c,*c,*c]\n",
                "camera_matrix: expected rows of numbers",
            ),
            (
                "a.json",
                b'{"camera_matrix": [1,0,0,0,1,0,0,0,1], "image_width": 0, "image_height": 4}',
                "expected image_width, image_height of 1 px or more",
            ),
            (
                "a.json",
                b'{"camera_matrix": [1,0,0,0,1,0,0,0,1], "image_width": [], "image_height": 4}',
                "image_width: expected a few finite numbers",
            ),
        ],
    )  # fmt: skip
    def test_one_line_that_names_the_file(self, tmp_path, name, content, message):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            read(path, (10, 10))
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("width", [np.zeros((2, 2)), np.zeros(1, "f4,i4"), np.array("wide")])
    def test_an_image_size_of_another_kind(self, tmp_path, width):
        np.savez(tmp_path / "a.npz", camera_matrix=np.eye(3), image_width=width, image_height=480)
        with pytest.raises(ValueError, match=r"image_width: expected a few finite numbers|of 1 px or more"):
            read(tmp_path / "a.npz", (480, 640))

    def test_pickles_are_not_read(self, tmp_path):
        np.savez(tmp_path / "a.npz", camera_matrix=np.array([object()]))
        with pytest.raises(ValueError, match="not a calibration that can be read"):
            read(tmp_path / "a.npz")

    def test_size_is_checked_before_memory_is_taken(self, tmp_path):
        np.savez_compressed(tmp_path / "a.npz", camera_matrix=np.zeros(4 << 20))
        with pytest.raises(ValueError, match="bytes of unpacked arrays, got"):
            read(tmp_path / "a.npz")
        with (tmp_path / "a.json").open("wb") as file:
            file.truncate(1 << 30)
        with pytest.raises(ValueError, match="expected at most 16777216 bytes, got 1073741824"):
            read(tmp_path / "a.json")

    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "a.yml")
