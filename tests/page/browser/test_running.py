"""Labels through the clip: streamed, cancelled, cut off, corrected, adapted, exported, imported."""

import json
import zipfile

import numpy as np
import pytest

from liir import cli

LENGTH = 20


def masks_of(download):
    with zipfile.ZipFile(download.path()) as archive:
        names = [n for n in archive.namelist() if "masks/" in n and n.endswith(".png")]
        return {n.split("/")[-1]: archive.read(n) for n in names}


def test_annotate_propagate_correct_export_reload(tab, served, clip, weights, tmp_path):
    tab.open(clip)
    tab.drag((8, 20), (20, 20), (20, 32), (8, 32), (8, 24), (18, 26))
    tab.add_object()
    tab.drag((50, 40), (58, 44))
    assert set(np.unique(tab.labels())) == {0, 1, 2}
    tab.propagate()
    for frame in (3, 17, 9, 10, 0, 19):  # to the frame: its number is written in the picture
        tab.go(frame)
        bits = tab.ask(
            "() => [...Array(8).keys()].map(b => liir.view.picture.getContext('2d')"
            ".getImageData(8 * b + 4, 4, 1, 1).data[0] > 128)"
        )
        assert sum(bit << n for n, bit in enumerate(bits)) == frame
    tab.go(12)
    tab.press("e")
    tab.drag((50, 40), (58, 44))
    tab.press("b", "1")
    tab.drag((30, 22), (40, 30))
    fixed = tab.labels()
    tab.until("!document.getElementById('stale').hidden")
    tab.propagate()
    tab.go(12)
    assert np.array_equal(tab.labels(), fixed)
    masks = masks_of(tab.export("masks"))
    coco = json.loads(tab.export("coco").path().read_bytes())
    assert len(coco["images"]) == LENGTH
    project = next(served.root.glob("*/project.json")).parent
    words = ["track", str(next((project / "video").iterdir())), "--out", str(tmp_path / "out")]
    words += ["--annotation", str(project / "annotations"), "--model", str(weights)]
    assert cli.main([*words, "--dtype", "float32"]) == 0
    assert masks == {p.name: p.read_bytes() for p in (tmp_path / "out" / "masks").iterdir()}
    tab.page.reload()
    tab.ready()
    state = tab.project()
    assert set(state["annotated"]) == {"0", "12"}
    assert state["labelled"] == [[0, LENGTH - 1]]
    tab.until("liir.view.labels.includes(2)")
    assert set(np.unique(tab.labels())) == {0, 1, 2}


def test_a_correction_of_frame_40_stays(tab, film, tmp_path):
    tab.open(film(tmp_path / "long.mp4", 48))
    tab.drag((8, 20), (20, 20), (20, 32), (8, 32), (8, 24), (18, 26))
    tab.propagate()
    tab.page.fill("#frame", "40")
    tab.press("Enter")
    tab.until("liir.editor.frame === 40 && liir.editor.source === 'tracked'")
    tab.press("b")
    tab.drag((52, 10), (60, 14))
    fixed = tab.labels()
    before = {f: tab.ask(f"() => liir.editor.project.annotated[{f}]") for f in (0, 40)}
    tab.propagate()
    assert before == {f: tab.ask(f"() => liir.editor.project.annotated[{f}]") for f in (0, 40)}
    assert np.array_equal(tab.labels(), fixed)
    tab.page.reload()
    tab.ready()
    tab.go(40)
    tab.until("liir.editor.source === 'drawn' || liir.view.labels.some(Boolean)")
    assert np.array_equal(tab.labels(), fixed)
    assert tab.project()["labelled"] == [[0, 47]]


def set_size(tab, size):
    """A setting by which runs differ, and with which they take their time."""
    if not tab.page.is_visible("#size"):
        tab.page.click("#settings summary")
    tab.page.select_option("#size", str(size))
    tab.saved()
    tab.until(f"liir.editor.project.settings.size === {size}")


def running(tab, frames=3):
    tab.begin()
    tab.until(f"liir.editor.project.tasks.at(-1).done >= {frames}", 60)


def test_cancel_keeps_what_is_done(tab, clip):
    tab.open(clip)
    tab.drag((8, 20), (20, 32))
    set_size(tab, 720)
    running(tab)
    assert tab.page.is_visible("#task-bar")
    tab.page.click("#cancel")
    tab.idle()
    state = tab.project()
    assert state["tasks"][-1]["status"] == "cancelled"
    (first, last), *gaps = state["labelled"]
    assert first == 0
    assert 2 <= last < LENGTH - 1
    assert not gaps
    assert not tab.page.is_visible("#task-bar")
    tab.propagate()
    assert tab.project()["labelled"] == [[0, LENGTH - 1]]


def test_a_killed_server_goes_on_where_it_was(open_tab, process, clip):
    tab = open_tab(process.url)
    tab.open(clip)
    tab.drag((8, 20), (20, 32))
    painted = tab.labels()
    set_size(tab, 720)
    running(tab)
    process.kill()
    tab.until("!document.getElementById('toast').hidden")  # the page says that it is alone
    process.start()
    tab.until("liir.editor.project.tasks.length === 0 || liir.editor.project.interrupted", 60)
    tab.page.reload()
    tab.ready()
    assert np.array_equal(tab.labels(), painted)
    tab.page.click("#resume")
    tab.until("liir.editor.project.labelled.length && !liir.editor.project.interrupted", 60)
    tab.idle()
    assert tab.project()["labelled"] == [[0, LENGTH - 1]]
    went_on = masks_of(tab.export("masks"))
    for size in (240, 720):  # another run, and then the first without a break
        set_size(tab, size)
        tab.propagate()
    assert masks_of(tab.export("masks")) == went_on


@pytest.mark.parametrize("kind", ["masks", "coco", "yolo", "cvat", "tiff"])
def test_exports_are_imported_again(tab, clip, kind, tmp_path):
    tab.open(clip)
    tab.drag((8, 20), (20, 20), (20, 32), (8, 32), (8, 24), (18, 26))
    drawn = tab.labels()
    got = tab.export(kind)
    file = tmp_path / got.suggested_filename
    got.save_as(file)
    tab.open(clip)  # a project of its own
    assert not tab.labels().any()
    tab.page.set_input_files("#import", str(file))
    tab.until("liir.view.labels.some(Boolean)")
    tab.saved()
    found = tab.labels()
    overlap = ((found > 0) & (drawn > 0)).sum() / ((found > 0) | (drawn > 0)).sum()
    assert overlap > 0.9 if kind in ("yolo", "cvat") else overlap == 1


@pytest.mark.parametrize("which", ["before", "after"])
def test_adapting_shows_both_and_keeps_either(tab, clip, monkeypatch, which):
    from liir.learning import trainer

    monkeypatch.setattr(trainer, "TIMED_STEPS", 2)
    tab.open(clip)
    tab.drag((8, 20), (20, 32))
    tab.page.click("#adapting summary")
    tab.page.fill("#minutes", "0.002")
    tab.begin("#adapt", "adapt")
    tab.until("!document.getElementById('choice').hidden", 90)
    assert tab.page.is_visible("#curve")
    tab.page.click("#compare")
    tab.page.fill("#compare-frame", "7")
    tab.until("document.getElementById('compare-out').textContent === '7'")
    tab.until("document.getElementById('after').width === 64")
    assert tab.page.is_visible("#before")
    tab.page.click(f"#keep-{which}")
    tab.until("document.getElementById('choice').hidden")
    wanted = "adapted" if which == "after" else ""
    tab.until(f"document.getElementById('model').value === '{wanted}'")
    tab.propagate()
    assert tab.project()["labelled"] == [[0, LENGTH - 1]]


def test_axe_finds_nothing_serious(open_tab, served, clip):
    """Wide and small, light and dark, with all that opens open, and in each dialog."""
    from axe_playwright_python.sync_playwright import Axe

    def look(tab, where):
        for scheme in ("light", "dark"):
            tab.page.emulate_media(color_scheme=scheme)
            found = Axe().run(tab.page).response["violations"]
            serious = [v for v in found if v["impact"] in ("serious", "critical")]
            told = [(v["id"], [n["html"] for n in v["nodes"]]) for v in serious]
            assert told == [], (where, scheme)

    for size in ((1280, 800), (390, 780)):
        tab = open_tab(served.url, viewport={"width": size[0], "height": size[1]})
        tab.open(clip)
        look(tab, "editor")
        for each in ("settings", "adapting", "exporting"):
            tab.page.click(f"#{each} > summary")
        tab.page.get_by_label("More for object 1").click()
        tab.page.select_option("#mode", "range")
        tab.page.click("[data-tool=smart]")
        # What other states of the project show.
        hidden = "['interrupted', 'stale', 'failed', 'choice', 'task', 'compare-note']"
        tab.page.evaluate(f"""for (const id of {hidden}) {{
            const each = document.getElementById(id); each.hidden = false;
            (each.querySelector('p') ?? each).textContent ||= 'Some words'; }}""")
        look(tab, "all open")
        tab.page.click("#help-open")
        look(tab, "help")
        tab.page.keyboard.press("Escape")
        tab.page.click("#add-point")
        look(tab, "question")
        tab.page.keyboard.press("Escape")
        tab.page.evaluate("document.getElementById('comparison').showModal()")
        look(tab, "comparison")
        tab.page.keyboard.press("Escape")
        tab.page.goto(f"{served.url}api.html")
        tab.page.wait_for_load_state("networkidle")
        look(tab, "the interface for programs")
