"""The page in a tab of real Chromium, and the server behind it, for tests to act on."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress

import numpy as np
import pytest

uvicorn = pytest.importorskip("uvicorn")
driver = pytest.importorskip("playwright.sync_api")

from liir.page.models import Models  # noqa: E402
from liir.page.security import Guard  # noqa: E402
from liir.page.server import _bound, create_app  # noqa: E402
from liir.page.studio import Studio  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()


class Served:
    """A server in a thread of this process."""

    def __init__(self, root, weights):
        self.root, self.weights = root, weights
        self.studio = Studio(root, Models([str(weights)], dtype="float32"))
        app = Guard(create_app(self.studio, "test"))
        self.socket = _bound("127.0.0.1", 0)
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        options = {"sockets": [self.socket]}
        self.thread = threading.Thread(target=self.server.run, kwargs=options, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/"

    def stop(self):
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(10)
        self.studio.close()
        self.socket.close()


class Process:
    """`liir serve` in a process of its own, which can be killed."""

    def __init__(self, root, weights):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.command = [
            sys.executable, "-m", "liir", "serve", "--projects", root, "--port", str(port),
            "--model", weights, "--no-browser",
        ]  # fmt: skip
        self.url = f"http://127.0.0.1:{port}/"
        self.start()

    def start(self):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            self.command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(600):
            with suppress(OSError), urllib.request.urlopen(self.url, timeout=5):
                return
            assert self.process.poll() is None, "the server has ended"
            time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    stop = kill


class Tab:
    """A tab with the page, as a person uses it; the Content-Security-Policy holds."""

    def __init__(self, page, url):
        self.page, self.url, self.problems = page, url, []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._listen)
        page.on("request", self._follow)

    def _listen(self, message):
        # A refused request is told of as an error, and some are meant to be refused.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.problems.append(message.text)

    def _follow(self, request):
        if self.url not in request.url and not request.url.startswith(("blob:", "data:")):
            self.problems.append(request.url)

    def ask(self, expression, argument=None):
        return self.page.evaluate(expression, argument)

    def until(self, expression, seconds=30):
        """Waits for a condition; the policy forbids what Playwright has for that."""
        end = time.monotonic() + seconds
        while not self.ask(f"() => !!({expression})"):
            assert time.monotonic() < end, f"still not: {expression}"
            time.sleep(0.02)

    def open(self, *clips):
        self.page.goto(self.url)
        self.until("window.liir")
        self.page.set_input_files("#pick", [str(clip) for clip in clips])
        self.ready()

    def ready(self):
        self.until("window.liir && liir.editor.project && liir.editor.key && liir.frames.source")

    def saved(self):
        self.until("liir.editor.waiting === 0 && !liir.editor.drawing")

    def on_screen(self, *places):
        """Where places of the frame, in its pixels, are in the window."""
        return self.ask(
            "places => { const v = liir.view, b = v.canvas.getBoundingClientRect();"
            "return places.map(([x, y]) => [b.left + v.x + x * v.scale, b.top + v.y + y * v.scale])"
            "}",
            [list(place) for place in places],
        )

    def drag(self, *places):
        """Moves the pointer over places of the frame, the button down."""
        mouse, (first, *others) = self.page.mouse, self.on_screen(*places)
        mouse.move(*first)
        mouse.down()
        for place in others:
            mouse.move(*place, steps=4)
        mouse.up()
        self.saved()

    def click(self, *places):
        for place in self.on_screen(*places):
            self.page.mouse.click(*place)
        self.saved()

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def tool(self, name):
        self.page.click(f"[data-tool={name}]")

    def go(self, frame):
        self.ask("frame => liir.editor.go(frame)", frame)

    def project(self):
        return json.loads(self.ask("() => JSON.stringify(liir.editor.project)"))

    def labels(self):
        size = self.ask("() => [liir.view.height, liir.view.width]")
        return np.array(self.ask("() => [...liir.view.labels]"), np.uint8).reshape(size)

    def add_object(self):
        before = len(self.project()["objects"])
        self.page.click("#add-object")
        self.until(f"liir.editor.project.objects.length > {before}")
        self.saved()

    def begin(self, button="#propagate", kind="propagate"):
        """Presses what starts a task, and waits for it to be there."""
        runs = f"liir.editor.project.tasks.filter(t => t.kind === '{kind}').length"
        before = self.ask(runs)
        self.page.click(button)
        self.until(f"{runs} > {before}")

    def idle(self, seconds=60):
        states = "['running', 'waiting'].includes(t.status)"
        self.until(f"liir.editor.project.tasks.every(t => !{states})", seconds)

    def propagate(self):
        self.begin()
        self.idle()
        assert not self.page.is_visible("#failed"), self.page.inner_text("#failed")

    def export(self, kind):
        if not self.page.is_visible(f"#export-{kind}"):
            self.page.click("#exporting summary")
        with self.page.expect_download() as got:
            self.page.click(f"#export-{kind}")
        return got.value


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Chromium: apt-get install it")
    with driver.sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        yield browser
        browser.close()


@pytest.fixture
def served(tmp_path, weights, small_pictures):
    served = Served(tmp_path / "projects", weights)
    yield served
    served.stop()


@pytest.fixture
def process(tmp_path, weights):
    process = Process(tmp_path / "projects", weights)
    yield process
    process.stop()


@pytest.fixture
def open_tab(browser):
    """Opens tabs of a wide window, or with Playwright's options for another device."""
    tabs = []

    def opened(url, **options):
        options = {"viewport": {"width": 1280, "height": 800}} | options
        context = browser.new_context(accept_downloads=True, **options)
        context.set_default_timeout(20_000)
        tabs.append(Tab(context.new_page(), url))
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.page.context.close()
    assert [tab.problems for tab in tabs] == [[] for _ in tabs]


@pytest.fixture
def tab(open_tab, served):
    return open_tab(served.url)
