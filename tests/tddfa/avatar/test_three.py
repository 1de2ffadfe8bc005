"""three.js in a headless browser shows the files."""

import base64
import json
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from builders_gltf import node_package

from tddfa import export
from tddfa.avatar import Performer, open_take
from tddfa.surface.texture import unwrap
from tddfa.video import Frame

pytestmark = [pytest.mark.slow, pytest.mark.web]

PAGE = Path(__file__).with_name("three_page.html")
SECONDS = 120


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; what a page posts to /report/NAME is kept."""

    def __init__(self, *arguments, reports, done, **options):
        self.reports, self.done = reports, done
        super().__init__(*arguments, **options)

    def do_POST(self):
        name = self.path.rpartition("/")[2]
        self.reports[name] = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(204)
        self.end_headers()
        if name in ("done", "error"):
            self.done.set()

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("needs a browser for three.js: apt install chromium")
    return found


def shown(browser, glb, tmp_path):
    """What the page reports of a file."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "node_modules").symlink_to(node_package("three"))
    shutil.copy(PAGE, folder / "index.html")
    shutil.copy(glb, folder / "face.glb")
    reports, done = {}, threading.Event()
    handler = partial(Handler, directory=str(folder), reports=reports, done=done)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = ("--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
        command = [browser, *options, f"--user-data-dir={tmp_path / 'profile'}"]
        command.append(f"http://127.0.0.1:{server.server_address[1]}/index.html")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                assert done.wait(SECONDS), f"the page reported {sorted(reports)} only"
            finally:
                process.terminate()
        server.shutdown()
    assert "error" not in reports, reports["error"]
    return reports


def picture(report):
    return cv2.imdecode(np.frombuffer(base64.b64decode(report.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)


def test_the_face_is_shown_and_its_jaw_opens(browser, aligner, astronaut, tmp_path):
    faces = aligner(astronaut)
    texture = unwrap(astronaut, aligner.decoder.mesh(faces[0]), size=512).image
    (path,) = export.save(tmp_path / "face.glb", export.rigs(faces, aligner.decoder), textures=texture)
    reports = shown(browser, path, tmp_path)
    assert json.loads(reports["done"]) == {"names": 52, "played": []}
    before, after = picture(reports["shown"]), picture(reports["open"])
    face = (before != (255, 0, 0)).any(axis=-1)
    assert 0.2 < face.mean() < 0.5
    # the colours are those of the photo's face
    skin = astronaut[int(faces[0].landmarks[30, 1]), int(faces[0].landmarks[30, 0])].astype(float)
    assert np.abs(before[150:170, 150:170].reshape(-1, 3).mean(axis=0) - skin).max() < 60
    changed = np.abs(after.astype(int) - before).max(axis=-1) > 20
    rows = np.flatnonzero(changed.any(axis=1))
    assert changed.mean() > 0.02
    assert np.median(rows) > 160  # below the middle of the head


def test_an_animated_head_moves_as_the_face_did(browser, decoder, face_with, tmp_path):
    path = tmp_path / "take.glb"
    with open_take(path, Performer(decoder, "none")) as take:
        for index, (jaw, yaw) in enumerate(((0.0, 0), (0.8, 40), (0.2, 0))):
            faces = [face_with(angles=(yaw, 0, 0), jawOpen=jaw)]
            take.add(Frame(np.full((400, 400, 3), 90, np.uint8), index, index / 4), faces)
    played = json.loads(shown(browser, path, tmp_path)["done"])["played"]
    half = np.sin(np.radians(20)), np.cos(np.radians(20))
    np.testing.assert_allclose(played[0], [0, 0, 0, 0, 1, 1], atol=1e-3)
    np.testing.assert_allclose(played[1], [0.8, 0, half[0], 0, half[1], 1], atol=1e-3)
    # 0.6 of the way from the second frame to the third
    assert played[2][0] == pytest.approx(0.8 - 0.6 * 0.6, abs=1e-3)
    assert 2 * np.degrees(np.arcsin(played[2][2])) == pytest.approx(16, abs=0.5)
