"""Where a pixel's mass goes: in the references that tracking would take, as it deals it out."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from liir.backbones import adapted
from liir.encoder import load
from liir.errors import InputError
from liir.matching import match, normalise
from liir.presets import TrackingConfig
from liir.show.attention import references, rows, show_affinity
from liir.video import open_video


def test_references_are_those_of_tracking() -> None:
    config = TrackingConfig(radius=6, lasting_margin=3)
    assert references(40, 0, config) == {0: 9, 5: 9, 35: 6, 37: 6, 39: 6}
    assert set(references(40, 0, replace(config, topk=None)).values()) == {6}
    assert list(references(40, 0, config)) == [0, 5, 35, 37, 39]
    assert list(references(3, 0, config)) == [0, 2]
    assert list(references(42, 2, config)) == [2, 7, 37, 39, 41]
    assert list(references(0, 40, config)) == [40, 35, 5, 3, 1]  # backwards
    with pytest.raises(InputError, match="frame 4 is the annotated one"):
        references(4, 4, config)


@pytest.mark.parametrize("topk", [5, None])
def test_rows_are_shares_of_one(topk: int | None) -> None:
    keys = normalise(torch.randn(3, 8, 9, 12), "cosine")
    query = normalise(keys[1] + 0.3 * torch.randn(8, 9, 12), "cosine")
    config = TrackingConfig(radius=3, topk=topk)
    found = rows(query, keys, (4, 5), [config.radius] * len(keys), config)
    for maps in (found.plain, found.fitted):
        assert maps.shape == (3, 9, 12)
        assert float(maps.sum()) == pytest.approx(1, abs=1e-5)
    assert int(found.plain.argmax()) // (9 * 12) == 1
    if topk:
        expected = match(query, keys, radius=3, topk=5, temperature=config.temperature)
        number = 4 * 12 + 5
        weights = torch.zeros(3 * 9 * 12).scatter_add(
            0, expected.cells[number], expected.weights[number]
        )
        torch.testing.assert_close(found.plain.flatten(), weights, atol=1e-5, rtol=1e-4)
        assert int((found.plain > 0).sum()) == 5
    assert not torch.allclose(found.plain, found.fitted)


def test_picture(world: Path, tmp_path: Path) -> None:
    model = load(world / "tiny.safetensors", dtype="float32")
    video, config = open_video(world / "clip.mp4"), model.preset.tracking
    out = tmp_path / "a.png"
    show_affinity(model, video, out, frame=5, places=[(30, 30)], config=config)
    with Image.open(out) as image:
        one = np.asarray(image)
    hot = np.abs(one.astype(int) - (255, 244, 178)).max(axis=2) < 3
    assert hot.sum() > 20  # the brightest cell of all
    show_affinity(model, video, out, frame=5, places=[(30, 30), (96, 0)], config=config)
    with Image.open(out) as image:
        assert image.height > 1.5 * len(one)
    small = replace(config, size=32, topk=None)
    show_affinity(model, video, out, frame=5, places=[(0, 64)], config=small, annotated=3)
    nowhere: dict[str, list[tuple[float, float]]] = {"97,3: lies out": [(97, 3)], "say which": []}
    for message, places in nowhere.items():
        with pytest.raises(InputError, match=message):
            show_affinity(model, video, out, frame=5, places=places, config=config)
    with pytest.raises(InputError, match="frame 77 is not there"):
        show_affinity(model, video, out, frame=77, places=[(3, 3)], config=config)


def test_cells_of_any_size(world: Path, tmp_path: Path) -> None:
    network = partial(F.avg_pool2d, kernel_size=16)
    model = adapted(network, "patches", stride=16, offset=8, device="cpu")
    video = open_video(world / "clip.mp4")
    config = TrackingConfig(size=0, radius=2, lasting_margin=0)
    out = tmp_path / "a.png"
    show_affinity(model, video, out, frame=5, places=[(95, 63)], config=config)
    with Image.open(out) as image:
        hot = np.abs(np.asarray(image).astype(int) - (255, 244, 178)).max(axis=2) < 3
    # The hottest cell is 16 pixels wide, enlarged four times, in whichever row it is hottest.
    assert hot.sum() >= (4 * 16) ** 2 // 2
