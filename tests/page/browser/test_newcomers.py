"""Where people who see the page for the first time were led astray."""

import numpy as np


def add_point(tab, name="head"):
    tab.page.click("#add-point")
    tab.page.fill("#ask-input", name)
    tab.page.click("#ask-yes")
    tab.until("liir.editor.tool === 'point'")
    tab.saved()


def run_range(tab, first, last):
    tab.page.select_option("#mode", "range")
    tab.page.fill("#range-first", str(first))
    tab.page.fill("#range-last", str(last))
    tab.propagate()


def filed(served):
    """Where the files of the only project say that points are, by frame."""
    studio = served.studio
    return studio.project(studio.overview()[0]["id"]).results.points


def test_points_on_screen_are_those_of_the_files(tab, served, clip):
    tab.open(clip)
    tab.drag((8, 20), (20, 32))
    tab.propagate()
    tab.go(3)
    tab.until("liir.editor.source === 'tracked'")
    tab.go(0)
    add_point(tab)
    for place in ((14, 26), (50, 40)):
        tab.click(place) if place[0] == 14 else tab.drag((14, 26), place)
        run_range(tab, 0, 8)
        tab.go(3)
        tab.until("liir.view.points.head")
        x, y, *_ = filed(served)[3]["head"]
        tab.until(f"Math.hypot(liir.view.points.head.x - {x}, liir.view.points.head.y - {y}) < .01")
        tab.go(0)


def test_a_growing_stroke_leaves_other_objects_alone(tab, clip):
    tab.open(clip)
    tab.drag((40, 20), (50, 24))  # on what looks like the second one's surroundings
    painted = tab.labels() == 1
    tab.add_object()
    tab.tool("smart")
    tab.page.fill("#reach", "100")
    tab.drag((56, 40), (60, 44))
    assert (tab.labels() == 2).sum() > 100
    assert np.array_equal(tab.labels() == 1, painted)
    assert "lower Reach" in tab.page.inner_text("#toast")
    tab.press("1")
    tab.drag((42, 22), (44, 22))  # one that is scribbled on takes part
    assert tab.labels()[22, 43] == 1


def test_a_click_beside_the_picture_annotates_nothing(tab, clip):
    tab.open(clip)
    tab.drag((8, 20), (20, 20), (20, 32), (8, 32), (8, 24), (18, 26))
    tab.propagate()
    tab.go(1)
    tab.until("liir.editor.source === 'tracked' && liir.view.labels.includes(1)")
    (left,) = tab.on_screen((0, 24))
    assert left[0] > tab.ask("() => liir.view.canvas.getBoundingClientRect().left") + 2
    for tool in ("brush", "erase", "smart"):
        tab.tool(tool)
        tab.page.mouse.click(left[0] - 25, 500)  # a brush reaches a little way
        tab.saved()
    assert set(tab.project()["annotated"]) == {"0"}


def test_keys_live_on_after_a_slider_or_a_list(tab, clip):
    tab.open(clip)
    for slider in ("#scrub", "#brush-size", "#opacity"):
        tab.page.click(slider)
        tab.press("e")
        assert tab.ask("() => liir.editor.tool") == "erase"
        tab.press("b")
    tab.go(3)
    tab.page.click("#brush-size")
    size = int(tab.page.input_value("#brush-size"))
    tab.press("ArrowRight")
    assert int(tab.page.input_value("#brush-size")) == size + 1
    tab.page.click("#scrub")
    frame = tab.ask("() => liir.editor.frame")
    tab.press("ArrowRight")
    tab.until(f"liir.editor.frame === {frame + 1}")
    tab.page.click("#mode")
    tab.page.select_option("#mode", "forward")
    tab.press("e")
    assert tab.ask("() => liir.editor.tool") == "erase"


def test_playing_shows_no_other_frame_s_labels(tab, clip):
    """However slowly labels come: those on screen are of the frame on screen."""
    tab.open(clip)
    tab.drag((8, 20), (20, 20), (20, 32), (8, 32), (8, 24), (18, 26))
    tab.propagate()
    tab.page.route("**/frames/*", lambda route: (tab.page.wait_for_timeout(60), route.continue_()))
    tab.ask(
        """() => { window.seen = []; const { view, editor } = liir, render = view.render.bind(view);
        view.render = () => {
            render();
            if (!editor.playing || view.held) return;
            seen.push([editor.frame, editor.key === editor.keyOf(editor.frame)]);
        } }"""
    )
    tab.press("l")
    tab.until("liir.editor.playing === false && liir.editor.frame > 10", 60)
    seen = tab.ask("() => seen")
    assert len({frame for frame, _ in seen}) > 5
    assert all(right for _, right in seen)


def test_an_export_of_labels_from_before_a_change_says_so(tab, clip):
    tab.open(clip)
    tab.drag((8, 20), (20, 32))
    tab.propagate()
    tab.export("masks")
    assert not tab.page.is_visible("#toast")
    tab.go(6)
    tab.until("liir.editor.source === 'tracked'")
    tab.drag((40, 20), (50, 24))
    tab.until("liir.editor.project.stale === 6")
    tab.go(7)
    tab.until("document.getElementById('kind').textContent === 'from before your change'")
    tab.export("masks")
    tab.until("!document.getElementById('toast').hidden")
    assert "frames from 6 on are from before your last change" in tab.page.inner_text("#toast")


def test_nothing_is_painted_on_a_hidden_object(tab, clip):
    tab.open(clip)
    tab.drag((8, 20), (20, 32))
    painted = tab.labels()
    tab.page.get_by_label("Hide object 1").click()
    tab.until("liir.editor.project.objects[0].hidden")
    tab.saved()
    tab.drag((40, 20), (50, 24))
    tab.until("document.getElementById('toast').textContent.includes('is hidden')")
    assert np.array_equal(tab.labels(), painted)
    tab.page.get_by_label("Hide object 1").click()
    tab.until("!liir.editor.project.objects[0].hidden")
    tab.drag((40, 20), (50, 24))
    tab.page.get_by_label("Hide object 1").click()
    tab.until("liir.editor.project.objects[0].hidden")
    tab.press("Control+z")
    tab.until(f"liir.view.labels[20 * 64 + 45] === {painted[20, 45]}")
    assert tab.project()["objects"][0]["hidden"]
    tab.page.get_by_label("Hide object 1").click()
    tab.until("!liir.editor.project.objects[0].hidden")
    tab.press("Control+Shift+z")
    tab.until("liir.view.labels[20 * 64 + 45] === 1")
    assert not tab.project()["objects"][0]["hidden"]


def test_what_a_dead_server_did_not_save_is_not_shown_as_saved(open_tab, process, clip):
    tab = open_tab(process.url)
    tab.open(clip)
    tab.drag((8, 20), (20, 32))
    painted = tab.labels()
    tab.until("document.getElementById('saved').textContent === 'Saved'")
    process.kill()
    tab.drag((40, 20), (50, 24))
    tab.until("document.getElementById('saved').textContent === 'Not saved'")
    assert np.array_equal(tab.labels(), painted)
    process.start()
    tab.until("document.getElementById('toast').textContent === 'Connected again.'")
    tab.drag((40, 20), (50, 24))
    tab.until("document.getElementById('saved').textContent === 'Saved'")
    assert tab.labels()[22, 45] == 1


def test_the_eraser_takes_the_chosen_object_alone(tab, clip):
    tab.open(clip)
    tab.drag((8, 20), (50, 20))
    tab.add_object()
    tab.drag((8, 30), (50, 30))
    painted = tab.labels()
    tab.press("e")
    tab.drag((20, 14), (20, 36))
    erased = tab.labels()
    assert not (erased[:, 20] == 2).any()
    assert np.array_equal(erased == 1, painted == 1)
    tab.drag((40, 20), (45, 20))
    assert np.array_equal(tab.labels(), erased)
    assert "Shift" in tab.page.inner_text("#toast")
    tab.page.keyboard.down("Shift")
    tab.drag((20, 14), (20, 36))
    tab.page.keyboard.up("Shift")
    assert not tab.labels()[:, 20].any()


def test_small_things_that_made_people_hesitate(tab, clip):
    tab.open(clip)
    tab.drag((8, 20), (20, 32))
    tab.propagate()
    assert "The model's: 48" in tab.page.locator("#size").text_content()
    box = tab.page.locator("#track").bounding_box()
    tab.page.mouse.click(box["x"] + box["width"] * 12 / 19, box["y"] + 20)  # the curve
    tab.until("liir.editor.frame === 12")
    assert not tab.page.is_visible("#forget")
    tab.go(0)
    name = tab.page.get_by_label("Name of object 1")
    name.dblclick()
    tab.page.wait_for_timeout(50)
    tab.page.keyboard.type("girl")
    tab.press("Enter")
    tab.until("liir.editor.project.objects[0].name === 'girl'")
    tab.page.get_by_label("More for girl").click()
    assert tab.page.get_by_label("More for girl").get_attribute("aria-expanded") == "true"
    tab.press("Escape")
    assert tab.page.get_by_label("More for girl").get_attribute("aria-expanded") == "false"
    tab.page.click("#forget")
    tab.until("document.getElementById('toast').textContent.startsWith('Your mark is gone')")
    assert tab.project()["annotated"] == {}
    tab.page.goto(tab.url)
    tab.until("document.querySelector('#projects li')?.textContent.includes('changed today')")
