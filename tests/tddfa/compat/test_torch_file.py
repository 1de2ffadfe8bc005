import contextlib
import io
import zipfile

import numpy as np
import pytest

from tddfa.compat.restricted_pickle import RefusedError
from tddfa.compat.torch_file import read_state, read_torch

STATE = {
    "conv.weight": np.random.default_rng(1).normal(size=(2, 3, 1, 1)).astype(np.float32),
    "conv.bias": np.array([1.5, -2], np.float32),
    "scalar": np.float32([7]).reshape(()),
}


@pytest.fixture(params=["zip_file", "old_file"])
def layout(request, reference):
    return getattr(reference, request.param)


def saved(tmp_path, data):
    (tmp_path / "weights.pth").write_bytes(data)
    return tmp_path / "weights.pth"


def test_both_layouts(tmp_path, reference, layout):
    state = read_state(saved(tmp_path, reference.torch_file(STATE, layout)))
    assert list(state) == list(STATE)
    for name, array in STATE.items():
        np.testing.assert_array_equal(state[name], array)
        assert state[name].shape == array.shape
        assert state[name].flags.writeable


def test_the_whole_file(tmp_path, reference, layout):
    content = read_torch(saved(tmp_path, reference.torch_file(STATE, layout)))
    assert content["epoch"] == 3
    assert set(content["state_dict"]) == {f"module.{name}" for name in STATE}


def test_tensors_may_share_a_storage(tmp_path, reference, layout):
    items = {"a": reference.tensor("0", (4,), count=8), "b": reference.tensor("0", (2, 2), count=8, offset=4)}
    data = np.arange(8, dtype="<f4").tobytes()
    state = read_state(saved(tmp_path, layout(reference.pickled_dict(items), {"0": data})))
    np.testing.assert_array_equal(state["b"], [[4, 5], [6, 7]])


def test_integers_are_left_out_and_halves_become_floats(tmp_path, reference, layout):
    items = {"w": reference.tensor("0", (2,), "HalfStorage"), "n": reference.tensor("1", (1,), "LongStorage")}
    storages = {"0": np.float16([1, 2]).tobytes(), "1": np.int64([5]).tobytes()}
    if layout is reference.old_file:
        items = {"w": items["w"]}
        file = layout(reference.pickled_dict(items), {"0": storages["0"]}, 2)
    else:
        file = layout(reference.pickled_dict(items), storages)
    state = read_state(saved(tmp_path, file))
    assert list(state) == ["w"]
    assert state["w"].dtype == np.float32


def test_a_truncated_file_is_refused(tmp_path, reference, layout):
    whole = reference.torch_file(STATE, layout)
    for end in (*range(0, len(whole), 7), len(whole) - 1):
        with pytest.raises(RefusedError, match=r"weights\.pth: not a file of tensors"):
            read_torch(saved(tmp_path, whole[:end]))


def test_a_file_that_claims_more_data_than_it_has_is_refused(tmp_path, reference, layout):
    items = {"a": reference.tensor("0", (1 << 28,))}
    with pytest.raises(RefusedError, match=r"claim|expected"):
        read_torch(saved(tmp_path, layout(reference.pickled_dict(items), {"0": bytes(16)})))


def test_damaged_bytes_give_the_one_error_or_other_numbers(tmp_path, reference, layout, rng):
    whole = reference.torch_file(STATE, layout)
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), rng.integers(1, 5)):
            data[at] = rng.integers(0, 256)
        with contextlib.suppress(RefusedError):
            read_state(saved(tmp_path, bytes(data)))


def test_a_name_in_the_archive_that_is_no_text(tmp_path, reference):
    whole = bytearray(reference.torch_file(STATE, reference.zip_file))
    entry = whole.find(b"PK\x01\x02")
    whole[entry + 9] |= 0x08  # the name is UTF-8
    whole[entry + 46] = 0xFF
    with pytest.raises(RefusedError, match=r"weights\.pth: not a file of tensors that can be read: "):
        read_state(saved(tmp_path, bytes(whole)))


def test_many_large_views_of_one_storage_are_refused(tmp_path, reference):
    items = {str(i): reference.tensor("0", (1 << 20,)) for i in range(600)}
    with pytest.raises(RefusedError, match="claim more than"):
        read_torch(saved(tmp_path, reference.zip_file(reference.pickled_dict(items), {"0": bytes(4 << 20)})))


def test_a_zip_that_claims_gigabytes_is_refused(tmp_path, reference, monkeypatch):
    monkeypatch.setattr("tddfa.compat.torch_file._MAX_BYTES", 100_000)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", reference.pickled(b"N"))
        archive.writestr("archive/data/0", bytes(1_000_000))
    with pytest.raises(RefusedError, match="expected at most 100000 bytes of unpacked arrays, got 1000004"):
        read_torch(saved(tmp_path, buffer.getvalue()))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged"),
        (b"PK\x03\x04 but no archive", "not a zip file"),
        (b"<html>not found</html>", "."),
    ],
)
def test_other_files_are_refused(tmp_path, data, message):
    with pytest.raises(RefusedError, match=message):
        read_torch(saved(tmp_path, data))


def test_code_is_refused_with_its_name(tmp_path, reference, layout):
    body = reference.pickled(b"cos\nsystem\n" + reference.text("touch hacked") + b"\x85R")
    with pytest.raises(RefusedError, match=r"weights\.pth.*os\.system"):
        read_torch(saved(tmp_path, layout(body, {})))


def test_big_endian_numbers_are_refused(tmp_path, reference):
    with pytest.raises(RefusedError, match="big-endian"):
        read_torch(saved(tmp_path, reference.zip_file(reference.pickled(b"N"), {}, byteorder=b"big")))


def test_nan_and_no_tensors_are_refused(tmp_path, reference):
    with pytest.raises(RefusedError, match="bias: expected finite"):
        read_state(saved(tmp_path, reference.torch_file({"bias": np.float32([np.nan])})))
    with pytest.raises(RefusedError, match="named tensors, got none"):
        read_state(saved(tmp_path, reference.torch_file({})))
    with pytest.raises(RefusedError, match="named tensors, got int"):
        read_state(saved(tmp_path, reference.zip_file(reference.pickled(b"K\x01"), {})))
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_state(tmp_path / "none.pth")


@pytest.mark.upstream
def test_the_released_weights(upstream):
    state = read_state(upstream / "weights/mb05_120x120.pth")
    assert state["fc_param.weight"].shape == (62, 512)
    assert read_state(upstream / "FaceBoxes/weights/FaceBoxesProd.pth")["loc.0.bias"].shape == (84,)
