"""The page of a running service in a headless Chromium, which must ask no other machine for anything."""

import contextlib
import io
import json
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
import trimesh

pytest.importorskip("gradio")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
sync_api = pytest.importorskip("playwright.sync_api")

from tddfa import video  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.web]

MS = 120_000  # for any condition: the machine may be busy
FLAGS = (
    "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
)  # fmt: skip
KINDS = ("2d_sparse", "2d_dense", "3d", "depth", "pncc", "pose", "uv_tex", "6dof", "box")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Address of a service. At the end it has to end while a page holds its connection."""
    log = tmp_path_factory.mktemp("service") / "log"
    command = [sys.executable, "-m", "tddfa", "serve", "--port", "0", "--device", "cpu"]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), log.read_text()
            yield address
            with urllib.request.urlopen(f"{address}/gradio_api/heartbeat/tests", timeout=60) as open_page:
                assert open_page.readline() == b"data: ALIVE\n"
                process.send_signal(signal.SIGTERM)
                assert process.wait(MS / 1000) == 0
        finally:
            process.kill()
    lines = log.read_text().splitlines()
    assert lines
    # a line per request, and none about a connection that was cut
    assert [line for line in lines if len(line.split()) != 6] == []


@pytest.fixture(scope="module")
def browser(service, tmp_path_factory, root):
    """Chromium, whose camera shows the astronaut."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("needs a browser for the page: apt install chromium")
    camera = tmp_path_factory.mktemp("camera") / "astronaut.mjpeg"
    camera.write_bytes(10 * (root / "examples/inputs/astronaut.jpg").read_bytes())
    with sync_api.sync_playwright() as playwright:
        options = [*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
        browser = playwright.chromium.launch(executable_path=found, args=options)
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser, service, **options):
    """The page in a context of its own."""
    asked, errors = [], []
    with contextlib.closing(browser.new_context(permissions=["camera"], **options)) as context:
        context.set_default_timeout(MS)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(service)
        page.wait_for_selector("#photo-run")
        yield page
    assert any(url.startswith(f"{service}/assets/") for url in asked)
    elsewhere = [url for url in asked if urlsplit(url).scheme not in ("data", "blob") and not url.startswith(service)]
    assert elsewhere == []
    assert [error.stack for error in errors if not from_a_removed_viewer(error)] == []


def from_a_removed_viewer(error):
    """Whether Gradio loaded its viewer of meshes for a canvas that is no longer there: the next result came first.

    Nothing of it is visible. Gradio 6.31 does not check it (`onMount` of its `Canvas3D`).
    """
    return "reading 'addEventListener'" in error.message and "/Canvas3D-" in error.stack


@pytest.fixture
def page(browser, service):
    with opened(browser, service) as page:
        yield page


def choose(page, tab, file):
    """Upload a file, a path or (name, content)."""
    field = page.locator(f"#{tab}-source input[type=file]").first
    if isinstance(file, tuple):
        field.set_input_files({"name": file[0], "mimeType": "image/png", "buffer": file[1]})
    else:
        field.set_input_files(str(file))
    page.locator(f"#{tab}-source").locator("img, video").first.wait_for(state="attached")


def find_faces(page, tab="photo"):
    """Click the button; return the cells of the table, row by row."""
    page.click(f"#{tab}-run")
    page.wait_for_selector(f"#{tab}-faces table")
    return [row.split() for row in page.locator(f"#{tab}-faces tbody tr").all_inner_texts()]


def downloads(page, tab):
    """Click every file; return their contents by name."""
    contents = {}
    for link in page.locator(f"#{tab}-files [data-testid=download-link]").all():
        with page.expect_download() as started:
            link.click()
        contents[started.value.suggested_filename] = started.value.path().read_bytes()
    return contents


def image(content):
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


def toast(page):
    """Text of the error that is shown; it is closed then."""
    shown = page.locator("[data-testid=toast-body]").first
    text = shown.locator("[data-testid=toast-text]").inner_text()
    shown.locator("[data-testid=toast-close]").click()
    shown.wait_for(state="detached")
    return text.strip()


def test_a_photo_in_all_kinds(page, root, astronaut):
    choose(page, "photo", root / "examples/inputs/astronaut.jpg")
    page.click("#photo-every")
    page.wait_for_function("document.querySelectorAll('#photo-kinds input:checked').length == 12")
    ((number, score, *_),) = find_faces(page)
    assert (number, float(score) > 0.9) == ("1", True)
    assert page.locator("#photo-shapes .bar").count() == 55
    files = downloads(page, "photo")
    names = {f"astronaut_{kind}.jpg" for kind in KINDS}
    assert set(files) == names | {f"astronaut.{end}" for end in ("ply", "obj", "mtl", "glb", "json")} | {
        "astronaut_obj.png"
    }
    for kind in KINDS:
        drawn = image(files[f"astronaut_{kind}.jpg"])
        assert drawn.shape == (512, 512, 3)
        assert np.abs(drawn.astype(int) - astronaut).max() > 60, kind  # something is drawn
    (face,) = json.loads(files["astronaut.json"])["faces"]
    assert len(face["landmarks"]) == 68
    assert abs(face["pose"]["yaw"]) < 10
    assert image(files["astronaut_obj.png"]).shape == (512, 512, 3)
    assert b"astronaut_obj.png" in files["astronaut.mtl"]
    assert b"mtllib astronaut.mtl" in files["astronaut.obj"]
    for end in ("ply", "glb"):
        mesh = trimesh.load(io.BytesIO(files[f"astronaut.{end}"]), file_type=end, force="mesh")
        assert len(mesh.vertices) > 10_000


def test_the_head_turns(browser, service):
    # small, as it is drawn without a graphics card
    with opened(browser, service, viewport={"width": 400, "height": 700}) as page:
        page.locator("#photo-examples button").first.click()
        page.wait_for_selector("#photo-faces table")
        canvas = page.locator("#photo-mesh canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        # it is there, and does not move by itself
        before = until(page, box, lambda shown: spread(shown) > 0.03)
        while not np.array_equal(shown := image(page.screenshot(clip=box)), before):
            before = shown
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + 80, middle[1], steps=4)
        page.mouse.up()
        until(page, box, lambda shown: spread(shown, before) > 0.01)


def spread(shown, other=None):
    """Fraction of the pixels that differ from those of another image, or else from the background."""
    return (np.abs(shown.astype(int) - (shown[60, 5] if other is None else other)).max(axis=-1) > 40).mean()


def until(page, box, condition):
    """What is drawn in a part of the page, once it fulfils a condition."""
    deadline = time.monotonic() + MS / 1000
    while time.monotonic() < deadline:
        shown = image(page.screenshot(clip=box))
        if condition(shown):
            return shown
    raise AssertionError("the head was not drawn as expected")


OBSERVED = """() => {
  window.seen = [];
  new MutationObserver(() => {
    const bar = document.querySelector('#video-state [role=progressbar]');
    if (bar) window.seen.push(Number(bar.getAttribute('aria-valuenow')));
    const cancel = document.querySelector('#video-cancel');  // it may be drawn after the bar
    if (bar && window.cancelAt && bar.getAttribute('aria-valuenow') >= window.cancelAt && !cancel.disabled) {
      window.cancelAt = 0;
      cancel.click();
    }
  }).observe(document.querySelector('#video-state'), {subtree: true, childList: true, attributes: true});
}"""


@pytest.fixture
def long_clip(tmp_path, astronaut):
    """A video of 500 frames: it does not end before somebody cancels it."""
    path = tmp_path / "long.mp4"
    with video.Writer(path, fps=25) as writer:
        for number in range(500):
            writer.write(np.roll(astronaut[:300, 60:380], 2 * (number % 20), axis=1), number / 25)
    return path


def test_a_video_with_its_progress_and_one_that_is_cancelled(page, long_clip, clip, service):
    page.get_by_role("tab", name="Video").click()
    choose(page, "video", long_clip)
    page.evaluate(OBSERVED)
    page.evaluate("window.cancelAt = 2")
    page.click("#video-run")
    page.get_by_text("Cancelled.").wait_for()
    page.wait_for_function("document.querySelector('#video-cancel').disabled")
    page.wait_for_selector("#video-run:enabled")
    time.sleep(2)  # for what may still come: it must not hide that the run was cancelled
    assert page.locator("#video-state").inner_text().strip() == "Cancelled."
    assert max(page.evaluate("window.seen")) < 100
    assert page.locator("#video-files [data-testid=download-link]").count() == 0
    # the next one is not held up by it
    page.locator("#video-source [aria-label=Clear]").click()
    choose(page, "video", clip)
    page.evaluate("window.seen = []")
    page.click("#video-run")
    page.wait_for_selector("#video-tracks table")
    seen = page.evaluate("window.seen")
    assert sorted(seen) == seen
    assert len(set(seen)) > 3
    assert seen[-1] == 100
    files = downloads(page, "video")
    assert set(files) == {f"slide_3d.{end}" for end in ("mp4", "jsonl", "glb")}
    assert len(files["slide_3d.jsonl"].splitlines()) == 24
    assert files["slide_3d.mp4"][4:8] == b"ftyp"
    page.wait_for_function("document.querySelector('#video-result video').duration > 0.8")  # it plays
    with urllib.request.urlopen(f"{service}/metrics", timeout=60) as answer:
        assert b"\ntddfa_requests_in_flight 0.0" in answer.read()


def test_a_second_video_waits_in_line(browser, service, long_clip, clip):
    with opened(browser, service) as first, opened(browser, service) as second:
        for page, path in ((first, long_clip), (second, clip)):
            page.get_by_role("tab", name="Video").click()
            choose(page, "video", path)
        first.click("#video-run")
        first.wait_for_selector("#video-cancel:enabled")
        # an example does not take the place of a video that is tracked
        first.locator("#video-examples button").click()
        assert toast(first) == "A video of this page is being tracked: wait for its end, or cancel it."
        assert first.locator("#video-source video").get_attribute("src").endswith("/long.mp4")
        for end in (second, first):
            second.click("#video-run")
            second.get_by_text("Waiting: 1 video before this one.").wait_for()
            end.click("#video-cancel")
            end.get_by_text("Cancelled.").wait_for()
        second.wait_for_selector("#video-tracks table")
        assert len(downloads(second, "video")) == 3
        # the results go with their video
        second.locator("#video-source [aria-label=Clear]").click()
        second.wait_for_selector("#video-tracks table", state="detached")
        assert second.locator("#video-files [data-testid=download-link]").count() == 0


def png_header(width, height):
    chunks = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IEND", b"")
    packed = (struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_what_is_no_photo_gets_a_sentence_and_the_next_one_works(page, root):
    for content, sentence in (
        (b"hello", "Not an image."),
        (png_header(60_000, 60_000), "Expected at most 50 million pixels, got more."),
    ):
        choose(page, "photo", ("me.png", content))
        page.click("#photo-run")
        assert toast(page) == sentence
        assert page.locator("#photo-faces").inner_text().strip() == sentence  # it stays
        page.locator("#photo-source [aria-label='Remove Image']").click()
        page.wait_for_function("document.querySelector('#photo-faces').innerText.trim() == ''")
    page.click("#photo-run")
    assert toast(page) == "Choose a photo first."
    page.locator("#photo-examples button").first.click()  # an example
    page.wait_for_selector("#photo-faces table")
    assert page.locator("#photo-images img").count() > 1
    # the results go with their photo
    page.locator("#photo-source [aria-label='Remove Image']").click()
    page.wait_for_selector("#photo-faces table", state="detached")
    for part in ("#photo-images img", "#photo-files [data-testid=download-link]", "#photo-shapes .bar"):
        page.wait_for_function(f"document.querySelectorAll('{part}').length == 0")


@pytest.mark.parametrize("pause", [0, 300])  # ms; without a pause, no click waits for what the one before started
def test_the_last_of_three_examples_is_shown(page, pause):
    page.evaluate(
        """async (pause) => {
          const examples = document.querySelectorAll('#photo-examples button');
          for (const number of [0, 2, 1]) {
            examples[number].click();
            await new Promise((done) => setTimeout(done, pause));
          }
        }""",
        pause,
    )
    page.locator("#photo-files", has_text="grace_hopper").wait_for()
    assert "grace_hopper" in page.locator("#photo-source img").first.get_attribute("src")
    assert page.locator("#photo-faces tbody tr").count() == 1


def test_the_head_is_drawn_though_its_viewer_loads_slowly(page):
    """The viewer of the first result arrives when the second result is there."""
    page.route(re.compile(r"/assets/lib-.*\.js$"), lambda route: (page.wait_for_timeout(2000), route.continue_()))
    examples = page.locator("#photo-examples button")
    examples.nth(0).click()
    page.wait_for_selector("#photo-faces table")
    examples.nth(1).click()
    page.locator("#photo-files", has_text="grace_hopper").wait_for()
    canvas = page.locator("#photo-mesh canvas")
    canvas.scroll_into_view_if_needed()
    until(page, canvas.bounding_box(), lambda shown: spread(shown) > 0.03)


def test_two_browsers_at_once(browser, service, root):
    with opened(browser, service) as first, opened(browser, service) as second:
        choose(first, "photo", root / "examples/inputs/grace_hopper.jpg")
        choose(second, "photo", root / "examples/inputs/two_people.jpg")
        second.click("#photo-run")
        assert len(find_faces(first)) == 1
        second.wait_for_selector("#photo-faces table")
        assert second.locator("#photo-faces tbody tr").count() == 2
        assert set(downloads(first, "photo")) & set(downloads(second, "photo")) == set()


def test_the_camera(page):
    page.get_by_role("tab", name="Camera").click()
    page.locator("#camera-source").get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#camera-source video').videoWidth > 0")
    page.locator("#camera-source [aria-label='capture photo']").click()
    page.locator("#camera-source img").first.wait_for()
    assert len(find_faces(page, "camera")) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_page(browser, service, scheme):
    options = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme, "has_touch": True}
    with opened(browser, service, **options) as page:
        page.locator("#photo-examples button").last.click()
        page.wait_for_selector("#photo-faces table")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        red, green, blue = (int(part) for part in color[color.index("(") + 1 : -1].split(",")[:3])
        assert (red + green + blue < 200) == (scheme == "dark")
