"""Every tool, with a mouse, a finger, a pen and the keyboard alone."""

import time
import zipfile

import numpy as np
import pytest

from liir.coco import rasterise


def test_brush_eraser_undo_and_redo(tab, clip):
    tab.open(clip)
    assert set(np.unique(tab.labels())) == {0}
    tab.drag((10, 20), (30, 20))
    painted = tab.labels()
    assert painted[20, 10] == painted[20, 30] == 1
    tab.press("e")
    tab.drag((20, 14), (20, 26))
    erased = tab.labels()
    assert erased[20, 20] == 0
    assert ((erased == painted) | (erased == 0)).all()
    tab.page.click("#undo")
    tab.saved()
    tab.until("liir.view.labels[20 * 64 + 20] === 1")
    assert np.array_equal(tab.labels(), painted)
    tab.press("Control+Shift+Z")
    tab.until("liir.view.labels[20 * 64 + 20] === 0")
    tab.page.reload()
    tab.ready()
    assert np.array_equal(tab.labels(), erased)


def test_polygon_and_fill(tab, clip):
    tab.open(clip)
    corners = [(10.3, 9.1), (40.7, 12.4), (33.2, 38.9), (12.6, 30.2)]
    tab.press("p")
    tab.click(*corners)
    tab.press("Enter")
    tab.saved()
    painted = tab.labels() == 1
    # The pointer is where the window has pixels, not quite where it was sent.
    exact = rasterise([[value for corner in corners for value in corner]], (48, 64))
    assert (painted != exact).sum() <= 40
    assert painted[20, 25]
    tab.click((50, 10), (60, 10), (60, 20))
    tab.press("Escape")
    tab.press("Enter")
    assert np.array_equal(tab.labels() == 1, painted)  # given up
    tab.add_object()
    tab.press("f")
    tab.click((25, 20))
    assert np.array_equal(tab.labels() == 2, painted)  # and is not lost to what was asked before
    tab.click((0.5, 0.5))
    assert set(np.unique(tab.labels())) == {2}


def test_shapes_are_those_of_the_package(tab, clip):
    """A polygon drawn in the page has the pixels that its export would have."""
    tab.open(clip)
    rng = np.random.default_rng(0)
    for count in (3, 4, 5, 8, 13):
        corners = np.round(rng.uniform((-6, -6), (70, 54), (count, 2)), 2)
        drawn = tab.ask(
            "async corners => { const { polygon } = await import('/raster.js');"
            "const l = new Uint8Array(48 * 64); polygon(l, 64, 48, corners, 7); return [...l] }",
            corners.tolist(),
        )
        wanted = rasterise([corners.ravel().tolist()], (48, 64))
        assert np.array_equal(np.array(drawn).reshape(48, 64) == 7, wanted)


def test_smart_scribble_grows_and_is_told_what_is_not_the_object(tab, clip):
    tab.open(clip)
    tab.tool("smart")
    tab.drag((10, 24), (16, 24))
    grown = tab.labels()
    tab.drag((10, 24), (16, 24))
    assert grown[24, 10:16].all()
    assert (grown == 1).sum() > 100  # much more than the stroke
    tab.page.check("#negative")
    tab.drag((40, 40), (60, 44))
    assert not tab.labels()[42, 45:58].any()
    assert tab.labels()[24, 10:16].all()


def test_objects_are_named_coloured_hidden_merged_and_deleted(tab, clip):
    tab.open(clip)
    tab.drag((8, 20), (14, 24))
    tab.add_object()
    tab.drag((40, 20), (50, 24))
    names = tab.page.locator("#objects input[type=text]")
    names.nth(0).fill("red car")
    names.nth(0).press("Enter")
    tab.until("liir.editor.project.objects[0].name === 'red car'")
    colour = tab.page.locator("#objects input[type=color]").nth(0)
    colour.fill("#123456")
    colour.dispatch_event("change")
    tab.until("liir.editor.project.objects[0].colour === '#123456'")
    tab.page.get_by_label("Hide red car").click()
    tab.until("liir.editor.project.objects[0].hidden")
    two = tab.labels()
    tab.page.get_by_label("More for red car").click()
    other = tab.project()["objects"][1]["name"]
    tab.page.get_by_label("Merge red car into").select_option(other)
    tab.until("liir.editor.project.objects.length === 1")
    tab.until("liir.view.labels.every(v => v !== 1)")
    assert np.array_equal(tab.labels() == 2, two > 0)
    tab.page.get_by_label(f"More for {other}").click()
    tab.page.get_by_role("button", name="Delete", exact=True).click()
    tab.until("liir.editor.project.objects.length === 0")
    tab.until("liir.view.labels.every(v => v === 0)")
    tab.page.click("#undo")
    tab.until("liir.editor.project.objects.length === 1")


def test_the_keyboard_alone_does_it_all(tab, clip):
    tab.open(clip)

    def reach(name):
        """Goes on with Tab until the control has the focus."""
        for _ in range(120):
            if tab.ask(f"() => document.activeElement === document.querySelector('{name}')"):
                return
            tab.press("Tab")
        raise AssertionError(f"the keyboard does not come to {name}")

    tab.press("c", "]", "]", *["ArrowLeft"] * 5, "Enter")
    tab.saved()
    first = tab.labels()
    assert first[24, 27] == 1
    tab.press("n")
    tab.until("liir.editor.object === 2")
    tab.press(*["Shift+ArrowRight"] * 2, "Enter", "c")
    tab.saved()
    assert set(np.unique(tab.labels())) == {0, 1, 2}
    tab.press("r")
    tab.until("liir.editor.project.tasks.some(t => t.kind === 'propagate')")
    tab.idle()
    tab.press("End")
    tab.until("liir.editor.frame === 19 && liir.editor.source === 'tracked'")
    tab.press("ArrowLeft", "Home")
    tab.until("liir.editor.frame === 0")
    reach("#exporting summary")
    tab.press("Enter")
    reach("#export-masks")
    with tab.page.expect_download() as got:
        tab.press("Enter")
    with zipfile.ZipFile(got.value.path()) as archive:
        assert len([n for n in archive.namelist() if n.endswith(".png")]) == 20
    focus = tab.ask("() => document.activeElement.outerHTML")
    assert 'id="export-masks"' in focus[:100]  # going on from there
    tab.press("?")
    assert tab.page.is_visible("#help")
    tab.press("Escape")
    assert not tab.page.is_visible("#help")


def test_a_name_passed_by_keeps_no_focus(tab, clip):
    """It is selected as a whole where the focus stays, a moment later."""
    tab.open(clip)
    name = "document.querySelector('#objects input[type=text]')"
    wait = "await new Promise(done => setTimeout(done, 50));"
    left = f"{name}.focus(); document.getElementById('help-open').focus(); {wait}"
    assert tab.ask(f"async () => {{ {left} return document.activeElement.id }}") == "help-open"
    stayed = f"const name = {name}; name.focus(); {wait}"
    chosen = "name.value.slice(name.selectionStart, name.selectionEnd)"
    assert tab.ask(f"async () => {{ {stayed} return {chosen} }}") == "object 1"


@pytest.mark.parametrize("device", ["touch", "pen"])
def test_fingers_and_pens(open_tab, served, clip, device):
    size = {"width": 390, "height": 780}
    tab = open_tab(served.url, viewport=size, has_touch=True, is_mobile=True)
    tab.open(clip)
    wire = tab.page.context.new_cdp_session(tab.page)

    def touch(kind, *places):
        points = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(places)]
        wire.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def stroke(*places):
        places = tab.on_screen(*places)
        if device == "touch":
            touch("touchStart", places[0])
            for place in places[1:]:
                touch("touchMove", place)
            touch("touchEnd")
        else:
            kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 2), "mouseReleased"]
            for kind, (x, y) in zip(kinds, places, strict=True):
                told = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1}
                wire.send(
                    "Input.dispatchMouseEvent", told | {"pointerType": "pen", "clickCount": 1}
                )
        tab.saved()

    stroke((12, 20), (20, 22), (30, 24), (30, 24))
    assert tab.labels()[23, 26] == 1
    if device == "touch":  # two fingers move and enlarge the view, and paint nothing
        before, scale = tab.labels(), tab.ask("() => liir.view.scale")
        left, right = tab.on_screen((24, 20), (40, 20))
        touch("touchStart", left)
        touch("touchStart", left, right)
        touch("touchMove", (left[0] - 30, left[1]), (right[0] + 30, right[1]))
        touch("touchEnd")
        tab.saved()
        tab.until(f"liir.view.scale > {scale * 1.2}")
        tab.until("!liir.editor.drawing")
        end = time.monotonic() + 10  # what the first finger began is taken back once it is loaded
        while not np.array_equal(tab.labels(), before):
            assert time.monotonic() < end


def test_keypoints_and_two_tabs(tab, clip):
    tab.open(clip)
    tab.page.click("#add-point")
    tab.page.fill("#ask-input", "corner")
    tab.page.click("#ask-yes")
    tab.until("liir.editor.tool === 'point'")
    tab.saved()
    tab.drag((4, 16), (5, 17))
    tab.press("v")
    tab.saved()
    tab.until("liir.view.points.corner.visible === false")
    tab.press("v")
    tab.saved()
    tab.propagate()
    tab.go(10)
    tab.until("liir.view.points.corner")
    table = tab.export("points")
    rows = table.path().read_text("utf-8").splitlines()
    assert rows[0].startswith("frame,name,x,y,visible")
    assert len(rows) == 1 + 20
    other = type(tab)(tab.page.context.new_page(), tab.url)
    other.page.goto(tab.page.url)
    other.ready()
    tab.press("b")
    tab.drag((20, 20), (30, 30))
    other.go(10)
    other.until("liir.view.labels.some(Boolean)")
    other.page.click("#undo")
    tab.until("!liir.view.labels.some(Boolean)")
    tab.page.click("#redo")
    other.until("liir.view.labels.some(Boolean)")
    tab.page.get_by_label("Choose corner").click()
    tab.go(0)
    tab.press("Delete")
    tab.saved()
    tab.until("!liir.editor.drawnPoints.includes('corner')")
    assert other.problems == []
