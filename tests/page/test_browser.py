"""The page in real Chromium, as a person uses it."""

import json
import os
import shutil
import threading
import zipfile

import numpy as np
import pytest
import uvicorn

from liir import cli
from liir.page.models import Models
from liir.page.security import Guard
from liir.page.server import _bound, create_app
from liir.page.studio import Studio

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()
LENGTH = 20


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Chromium: apt-get install it")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        yield browser
        browser.close()


class Served:
    """A server in a thread; `restart` ends it as a crash would, projects and all in memory."""

    def __init__(self, root, weights):
        self.root, self.weights, self.port = root, weights, 0
        self.start()

    def start(self):
        self.studio = Studio(self.root, Models([str(self.weights)], dtype="float32"))
        app = Guard(create_app(self.studio, "test"))
        self.socket = _bound("127.0.0.1", self.port)
        self.port = self.socket.getsockname()[1]
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        options = {"sockets": [self.socket]}
        self.thread = threading.Thread(target=self.server.run, kwargs=options, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.port}/"

    def stop(self):
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(10)
        self.studio.close()
        self.socket.close()


@pytest.fixture
def served(tmp_path, weights, small_pictures):
    served = Served(tmp_path / "projects", weights)
    yield served
    served.stop()


@pytest.fixture
def tab(browser, served):
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, accept_downloads=True, bypass_csp=True
    )  # what waits in here is evaluated in the page
    context.set_default_timeout(20_000)
    page = context.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda r: (
            problems.append(r.url)
            if served.url not in r.url and not r.url.startswith(("blob:", "data:"))
            else None
        ),
    )
    yield page
    assert problems == []
    context.close()


def open_clip(tab, served, clip):
    tab.goto(served.url)
    tab.wait_for_function("window.liir")
    tab.set_input_files("#pick", str(clip))
    tab.wait_for_selector("#editor:not([hidden])")
    tab.wait_for_function("liir.editor.key && liir.frames.source")


def drag(tab, *places):
    """Moves the pointer over places of the frame, in pixels, the button down."""
    where = tab.evaluate(
        "places => { const v = liir.view, b = v.canvas.getBoundingClientRect();"
        "return places.map(([x, y]) => [b.left + v.x + x * v.scale, b.top + v.y + y * v.scale]) }",
        [list(place) for place in places],
    )
    tab.mouse.move(*where[0])
    tab.mouse.down()
    for place in where[1:]:
        tab.mouse.move(*place, steps=4)
    tab.mouse.up()
    saved(tab)


def saved(tab):
    tab.wait_for_function("liir.editor.waiting === 0 && !liir.editor.drawing")


def go(tab, frame):
    tab.evaluate("frame => liir.editor.go(frame)", frame)


def labels(tab, size=(48, 64)):
    return np.array(tab.evaluate("[...liir.view.labels]"), np.uint8).reshape(size)


def propagate(tab):
    runs = "liir.editor.project.tasks.filter(t => t.kind === 'propagate').length"
    before = tab.evaluate(runs)
    tab.click("#propagate")
    tab.wait_for_function(f"{runs} > {before}")
    tab.wait_for_function(
        "liir.editor.project.tasks.every(t => !['running', 'waiting'].includes(t.status))"
    )


def test_annotate_propagate_correct_export_reload(tab, served, clip, weights, tmp_path):
    open_clip(tab, served, clip)
    drag(tab, (8, 20), (20, 20), (20, 32), (8, 32), (8, 24), (18, 26))
    first = labels(tab)
    assert set(np.unique(first)) == {0, 1}
    tab.click("#add-object")
    tab.wait_for_function("liir.editor.object === 2")
    saved(tab)
    drag(tab, (50, 40), (58, 44))
    assert set(np.unique(labels(tab))) == {0, 1, 2}
    propagate(tab)
    for frame in (3, 17, 9, 10, 0, 19):  # to the frame: its number is written in the picture
        go(tab, frame)
        bits = tab.evaluate(
            "[...Array(8).keys()].map(b => liir.view.picture.getContext('2d')"
            ".getImageData(8 * b + 4, 4, 1, 1).data[0] > 128)"
        )
        assert sum(bit << n for n, bit in enumerate(bits)) == frame
    go(tab, 12)
    tab.keyboard.press("e")
    drag(tab, (50, 40), (58, 44))
    tab.keyboard.press("b")
    tab.keyboard.press("1")
    drag(tab, (30, 22), (40, 30))
    fixed = labels(tab)
    tab.wait_for_selector("#stale:not([hidden])")
    propagate(tab)
    go(tab, 12)
    assert np.array_equal(labels(tab), fixed)
    tab.click("#exporting summary")
    with tab.expect_download() as got:
        tab.click("#export-masks")
    with zipfile.ZipFile(got.value.path()) as archive:
        masks = {n.split("/")[1]: archive.read(n) for n in archive.namelist() if "masks/" in n}
    with tab.expect_download() as got:
        tab.click("#export-coco")
    coco = json.loads(got.value.path().read_bytes())
    assert len(coco["images"]) == LENGTH
    project = next(served.root.glob("*/project.json")).parent
    words = ["track", str(next((project / "video").iterdir())), "--out", str(tmp_path / "out")]
    words += ["--annotation", str(project / "annotations"), "--model", str(weights)]
    assert cli.main([*words, "--dtype", "float32"]) == 0
    assert masks == {p.name: p.read_bytes() for p in (tmp_path / "out" / "masks").iterdir()}
    tab.reload()
    tab.wait_for_function("window.liir && liir.editor.key && liir.frames.source")
    assert tab.evaluate("Object.keys(liir.editor.project.annotated)") == ["0", "12"]
    assert tab.evaluate("liir.editor.project.labelled") == [[0, LENGTH - 1]]
    assert set(np.unique(labels(tab))) == {0, 1, 2}


def test_keypoints_undo_and_two_tabs(tab, served, clip):
    open_clip(tab, served, clip)
    tab.click("#add-point")
    tab.fill("#ask-input", "corner")
    tab.click("#ask-yes")
    tab.wait_for_function("liir.editor.tool === 'point'")
    saved(tab)
    drag(tab, (4, 16), (5, 17))
    propagate(tab)
    go(tab, 10)
    tab.wait_for_function("liir.view.points.corner")
    other = tab.context.new_page()
    other.goto(tab.url)
    other.wait_for_function("window.liir && liir.editor.key")
    tab.keyboard.press("b")
    drag(tab, (20, 20), (30, 30))
    go(other, 10)
    other.wait_for_function("liir.view.labels.some(Boolean)")
    other.click("#undo")
    tab.wait_for_function("!liir.view.labels.some(Boolean)")
    tab.click("#redo")
    other.wait_for_function("liir.view.labels.some(Boolean)")


def test_axe_finds_nothing_serious(tab, served, clip):
    from axe_playwright_python.sync_playwright import Axe

    open_clip(tab, served, clip)
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        found = Axe().run(tab).response["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in serious] == []
