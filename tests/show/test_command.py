"""`liir show`: every figure from one command, and one line where that cannot be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from liir.learning.monitor import LOG
from liir.show.command import FIGURES
from liir.video import open_video

Run = Callable[..., Any]


@pytest.mark.parametrize(
    "line",
    [
        "overlay {w}/masks --video {w}/clip.mp4 --out {o}.mp4",
        "overlay {w}/points.csv --video {w}/clip.mp4 --frame 3 --out {o}.png",
        "sheet {w}/masks --video {w}/clip.mp4 --frames 3 --columns 2 --out {o}.png",
        "components davis2017 {w}/data copy good={w}/good --sequence one --out {o}.png",
        "components davis2017 {w}/data {w}/bad {w}/tiny.safetensors --sequence two --out {o}.mp4",
        "components badja {w}/data copy --points {w}/data/badja.csv --out {o}.png",
        "results davis2017 {w}/data {w}/good --frames 3 --out {o}.png",
        "results davis2017 {w}/data rgb --sequences one --out {o}.png",
        "results badja {w}/data {w}/tiny.safetensors --size 48 --out {o}.png",
        "errors davis2017 {w}/data {w}/bad copy --sequence one --out {o}.png",
        "affinity {w}/clip.mp4 --frame 5 --at 30,30 --at 1.5,60 --model {m} --out {o}.png",
        "features {w}/clip.mp4 --model {m} --end 4 --out {o}.mp4",
        "features {w}/data/JPEGImages/one --model {m} --set similarity=dot --out {o}.png",
        "curves {w}/{log} --over hours --out {o}.png",
    ],
)
def test_every_figure(world: Path, tmp_path: Path, run: Run, line: str) -> None:
    (world / LOG).write_text('{"step": 10, "loss": 0.5, "seconds": 3.0}\n')
    if line.startswith(("errors", "curves")):
        pytest.importorskip("matplotlib")
    out = tmp_path / "new" / "figure"
    model = world / "tiny.safetensors"
    words = line.format(w=world, o=out, m=model, log=LOG).split()
    done = run("show", *words)
    file = Path(words[-1])
    assert (done.code, done.out) == (0, f"{file}\n"), done.err
    assert [*file.parent.iterdir()] == [file]
    if file.suffix == ".mp4":
        assert open_video(file).size[0] > 40
    else:
        with Image.open(file) as image:
            assert min(image.size) > 40


def test_every_figure_is_told(run: Run) -> None:
    done = run("show", "--help")
    assert done.code == 0
    assert all(f"  {name} " in done.out for name in FIGURES)
    for name in FIGURES:
        told = run("show", name, "--help")
        assert told.code == 0
        assert f"$ liir show {name} " in told.out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "say which figure to show: overlay, sheet"),
        ("overlays x", "unknown figure 'overlays'; did you mean overlay?"),
        ("sheet {w}/none --out {o}.png", "none: no such file or folder"),
        ("sheet {w}/masks --video {w}/clip.mp4 --out {o}.gif", "let the name end in .png"),
        ("overlay {w}/masks --video {w}/masks --out {o}.png", "say which with --frame"),
        ("sheet {w}/masks --video {w}/masks --out {w}/masks/0.png", "lies in what is drawn"),
        ("features {w}/clip.mp4 --out {w}/clip.mp4", "lies in what is drawn"),
        ("affinity {w}/masks --frame 5 --at 1,1 --out {w}/masks/00005.png", "in what is drawn"),
        ("results davis2017 {w}/data copy --out {w}/data/JPEGImages/one/00006.png", "lies in what"),
        ("components davis2017 {w}/data --sequence one --out {o}.png", "name what to draw"),
        ("components davis2017 {w}/data copy --out {o}.png", "say which sequence"),
        ("components davis {w}/data copy --out {o}.png", "no benchmark is called 'davis'"),
        ("components davis2017 {w}/data smal --sequence one --out {o}.png", "unknown model 'smal'"),
        ("results davis2017 {w}/data copy --sequences x --out {o}.png", "no 'x'; there are one, t"),
        ("results davis2017 {w}/data copy --frames 0 --out {o}.png", "--frames 0: give 1 or more"),
        ("errors badja {w}/data copy --out {o}.png", "has joints"),
        ("results davis2017 {w}/data copy --split train --out {o}.png", "train.txt: no such list"),
        ("errors semantic {w}/data copy --split x --out {o}.png", "semantic has no splits"),
        ("affinity {w}/clip.mp4 --frame 5 --at 30 --out {o}.png", "--at 30: give a pixel as X,Y"),
        ("affinity {w}/clip.mp4 --frame 5 --at 300,1 --out {o}.png", "lies outside of the frame"),
        ("affinity {w}/clip.mp4 --frame 0 --at 3,1 --out {o}.png", "is the annotated one"),
        ("features {w}/none.mp4 --out {o}.png", "no such file or folder"),
        ("features {w}/clip.mp4 --start 9 --out {o}.png", "from frame 9 on there is none"),
        ("features {w}/clip.mp4 --set radus=3 --out {o}.png", "did you mean radius?"),
        ("curves {w}/masks --out {o}.png", "holds no log.jsonl"),
        ("curves --out {o}.png", "nothing to draw"),
    ],
)
def test_bad_input_is_one_line(
    world: Path, tmp_path: Path, run: Run, line: str, message: str
) -> None:
    done = run("show", *line.format(w=world, o=tmp_path / "figure").split())
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("liir: error: ")
    assert done.err.count("\n") == 1
    assert message in done.err
    assert [*tmp_path.iterdir()] == []
