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
