"""The first annotation repeated; a model on frames squeezed to a square."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from liir.annotations import VOID, Annotation
from liir.backbones import adapted
from liir.encoder import Model
from liir.evaluation.layouts import Sequence
from liir.evaluation.sources import copied, tracked
from liir.presets import TrackingConfig
from liir.video import open_video

SIZE = (48, 96)  # H, W


def picture(step: int) -> np.ndarray:
    """A bright block on noise that stands still; it moves by 8 pixels a frame."""
    image = np.random.default_rng(0).integers(0, 99, (*SIZE, 3), dtype=np.uint8)
    image[16:32, 8 + 8 * step : 40 + 8 * step] = (250, 200, 40)
    return image


@pytest.fixture
def clip(tmp_path: Path) -> Sequence:
    for step in range(4):
        Image.fromarray(picture(step)).save(tmp_path / f"{step}.png")
    labels = np.zeros(SIZE, np.uint8)
    labels[16:32, 8:40] = 7
    labels[0, 0] = VOID
    late = np.zeros(SIZE, np.uint8)
    late[40:44, 4:8] = 9
    return Sequence(
        name="clip",
        folder=tmp_path,
        stems=("0", "1", "2", "3"),
        annotations={0: Annotation(labels, points={"nose": (24.0, 24.0)}), 2: Annotation(late)},
        counted=(1, 2, 3),
    )


@pytest.fixture
def plain() -> Model:
    """Colours at every fourth pixel: enough to follow a block."""

    def sample(rgb: torch.Tensor) -> torch.Tensor:
        return rgb[:, ::4, ::4] * 2 - 1

    settings = TrackingConfig(radius=6, temperature=0.01, size=48, similarity="cosine")
    return adapted(sample, "plain", tracking=settings, device="cpu")


def test_copies_take_later_objects_up(clip: Sequence) -> None:
    found = list(copied(clip))
    assert [each.index for each in found] == [0, 1, 2, 3]
    assert [set(np.unique(each.labels)) for each in found] == [{0, 7}, {0, 7}, {0, 7, 9}, {0, 7, 9}]
    assert found[3].points == {"nose": (24.0, 24.0, 1.0)}


def follows(found: list[object]) -> Iterator[float]:
    for each in found:
        truth = np.zeros(SIZE, bool)
        truth[16:32, 8 + 8 * each.index : 40 + 8 * each.index] = True
        given = each.labels == 7
        yield float((truth & given).sum() / (truth | given).sum())


@pytest.mark.parametrize("square", [None, 64])
def test_a_model_follows_at_the_frames_size(
    clip: Sequence, plain: Model, square: int | None
) -> None:
    found = list(tracked(plain, None, square)(clip))
    assert [each.labels.shape for each in found] == [SIZE] * 4
    given = clip.annotations[0].labels
    np.testing.assert_array_equal(found[0].labels == 7, given == 7)
    assert min(follows(found)) > 0.7
    assert (found[2].labels == 9)[40:44, 4:8].all()
    x, y, _ = found[0].points["nose"]
    assert (x, y) == pytest.approx((24, 24), abs=0.01)
    assert len(open_video(clip.folder).stems or ()) == 4
