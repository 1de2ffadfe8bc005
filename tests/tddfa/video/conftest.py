import gc

import pytest

from builders_video import VARYING, make_video, threads


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    if threads():  # of a reader that is in a cycle of references
        gc.collect()
    assert not threads()


@pytest.fixture(scope="module")
def short_video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("short_video") / "short_video.mp4", sound="aac")


@pytest.fixture(scope="module")
def varying(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("varying") / "varying.mp4", times=VARYING, sound="aac")
