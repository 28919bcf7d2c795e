"""The pictures of the page in docs/: `python benchmarks/screenshots.py CLIP`."""

import shutil
import sys
import tempfile
import threading
from pathlib import Path

import uvicorn
from playwright.sync_api import sync_playwright

from liir import __version__
from liir.page.models import Models
from liir.page.security import Guard
from liir.page.server import create_app
from liir.page.studio import Studio

DOCS = Path(__file__).parents[1] / "docs"
MASK = DOCS.parent / "examples" / "carphone" / "00000.png"
DONE = "liir.editor.project.tasks.every(t => !['running', 'waiting'].includes(t.status))"


def main(clip: Path) -> None:
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        studio = Studio(Path(place), Models(device="cpu"))
        app = Guard(create_app(studio, __version__))
        server = uvicorn.Server(uvicorn.Config(app, port=8129, log_level="error", ws="none"))
        threading.Thread(target=server.run, daemon=True).start()
        number = studio.from_disk(clip)
        chromium = shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, bypass_csp=True)
        page.set_default_timeout(240_000)
        page.goto("http://127.0.0.1:8129/")
        page.wait_for_selector("#projects li")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=DOCS / "page-start.png")
        page.goto(f"http://127.0.0.1:8129/#{number}")
        page.wait_for_function("liir.editor.key && liir.frames.source")
        page.set_input_files("#import", MASK)
        page.wait_for_function("Object.keys(liir.editor.project.annotated).length")
        page.click("#settings summary")
        page.select_option("#size", "240")
        page.click("#settings summary")
        page.wait_for_function("liir.editor.waiting === 0")
        page.click("#propagate")
        page.wait_for_function("liir.editor.project.labelled.some(([a, b]) => b > 12)")
        page.wait_for_function(DONE)
        page.evaluate("liir.editor.go(40)")
        page.wait_for_function("liir.frames.index === 40")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for name, width, height in (("wide", 1280, 800), ("phone", 390, 844)):
                page.set_viewport_size({"width": width, "height": height})
                page.wait_for_timeout(900)
                page.evaluate("liir.view.fit()")
                page.mouse.move(2, 2)
                page.wait_for_timeout(7000)
                page.screenshot(path=DOCS / f"page-{name}-{scheme}.png")
        browser.close()
        server.should_exit = True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
