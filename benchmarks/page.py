"""How long the page takes to show another frame while a run is under way.

    python benchmarks/page.py CLIP --size 480

Jumps to random frames in real Chromium, picture and labels, before and during a run; prints the
median, the 95th percentile and the longest in milliseconds. An idle machine, please.
"""

import argparse
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import uvicorn
from playwright.sync_api import sync_playwright

from liir import __version__
from liir.page.models import Models
from liir.page.security import Guard
from liir.page.server import _bound, create_app
from liir.page.studio import Studio

JUMP = """async frame => { const begun = performance.now(); liir.editor.cache.clear();
    await liir.editor.go(frame); return performance.now() - begun; }"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--jumps", type=int, default=60)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        studio = Studio(Path(place), Models(device="cpu"))
        number = studio.from_disk(wanted.clip)
        project = studio.project(number)
        while any(task.active for task in studio.tasks()):  # a copy that browsers play
            threading.Event().wait(0.2)
        labels = np.zeros(project.size, np.uint8)
        height, width = project.size
        labels[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = 1
        project.paint(0, labels, None)
        listener = _bound("127.0.0.1", 0)
        config = uvicorn.Config(Guard(create_app(studio, __version__)), log_level="error")
        server = uvicorn.Server(config)
        threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
        path = shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, bypass_csp=True)
        page.goto(f"http://127.0.0.1:{listener.getsockname()[1]}/#{number}")
        page.wait_for_function("window.liir && liir.editor.key && liir.frames.source")
        frames = np.random.default_rng(0).integers(0, project.clip.length, wanted.jumps).tolist()
        for state in ("idle", "during a run"):
            if state != "idle":
                page.evaluate(
                    "s => liir.editor.act('PATCH', '', {settings: {size: s}})", wanted.size
                )
                page.click("#propagate")
                page.wait_for_function("liir.editor.project.labelled.length > 0")
            took = [page.evaluate(JUMP, frame) for frame in frames]
            under_way = studio.busy(number)
            median, most = np.percentile(took, (50, 95))
            print(
                f"{state}: median {median:.0f} ms, 95 % {most:.0f} ms, longest {max(took):.0f} ms"
            )
        print(f"the run was {'still' if under_way else 'no longer'} under way at the end")
        browser.close()
        server.should_exit = True
        studio.close()


if __name__ == "__main__":
    main()
