"""Figures of a benchmark's sequences from the command line: another split, several sequences."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Run = Callable[..., Any]


@pytest.mark.parametrize("figure", ["components", "results", "errors"])
def test_another_split(late: Path, tmp_path: Path, run: Run, figure: str) -> None:
    if figure == "errors":
        pytest.importorskip("matplotlib")
    file = tmp_path / "a.png"
    words = ["show", figure, "youtube-vos", late, "copy", "--out", file, "--split"]
    done = run(*words, "full")
    assert (done.code, file.is_file()) == (0, True), done.err
    done = run(*words, "none")
    assert (done.code, "expected none/JPEGImages" in done.err) == (2, True)


def test_results_have_a_strip_for_each_sequence(world: Path, tmp_path: Path, run: Run) -> None:
    heights = []
    for names in (["two"], ["two", "one"], []):  # none: all
        chosen = ["--sequences", *names] if names else []
        file = tmp_path / f"{len(names)}.png"
        done = run("show", "results", "davis2017", world / "data", "copy", *chosen, "--out", file)
        assert done.code == 0, done.err
        with Image.open(file) as image:
            heights.append(image.height)
    assert heights[1] == heights[2] > 1.8 * heights[0]
