"""The plot of an ablation shows every score, ours and the paper's."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from liir.errors import InputError
from liir.evaluation.ablation import Line
from liir.show.arms import show_arms

OURS, PAPER = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


def line(arm: str, *scores: float | None, published: float | None = None) -> Line:
    return Line(benchmark="davis2016", arm=arm, scores=scores, published=published, standard="x")


def inked(path: Path, colour: tuple[int, int, int]) -> np.ndarray:
    """Rows of the plot's right part, without the legend below, in which a colour is."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)[:-70, 200:]
    return np.flatnonzero((np.abs(pixels - colour).sum(-1) < 12).any(1))


def test_every_arm_has_its_marks(tmp_path: Path) -> None:
    out = tmp_path / "plot.png"
    show_arms([line("a", 60.0, 61.0, published=70.0), line("b", 50.0), line("c", None)], out)
    ours, paper = inked(out, OURS), inked(out, PAPER)
    assert len(ours) > len(paper) > 0
    assert paper.max() < ours.max()  # only the first arm is published
    show_arms([line("a", None), line("b", 50.0)], tmp_path / "one.png")
    assert len(inked(tmp_path / "one.png", PAPER)) == 0


def test_nothing_scored_yet_is_drawn_too(tmp_path: Path) -> None:
    show_arms([line("a", None)], tmp_path / "empty.png")
    assert len(inked(tmp_path / "empty.png", OURS)) == 0


def test_only_png(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"end in \.png"):
        show_arms([line("a", 1.0)], tmp_path / "plot.jpg")
