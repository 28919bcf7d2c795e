"""Features as colours: the same features have the same colour, in every frame and every run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from liir.encoder import load
from liir.errors import InputError
from liir.show.features import Axes, show_features
from liir.video import open_video


def test_the_same_features_have_the_same_colour() -> None:
    torch.manual_seed(3)
    basis = torch.linalg.qr(torch.randn(16, 16)).Q
    features = torch.randn(400, 16) * torch.tensor([9.0, 5, 3, *[0.1] * 13]) @ basis
    axes = Axes(features)
    # The axes are those of the largest variances, whatever their sign.
    assert (axes.axes * basis[:3].T).sum(0).abs().tolist() == pytest.approx([1, 1, 1], abs=0.02)
    again = Axes(features.flip(0))
    maps = features[:20].T.reshape(16, 4, 5)
    assert (axes.colours(maps) == again.colours(maps)).all()
    assert axes.colours(maps).shape == (4, 5, 3)
    moved = axes.colours(maps.roll(1, dims=2))
    assert (moved[:, 1:] == axes.colours(maps)[:, :-1]).all()


def test_the_first_axis_is_lightness_and_the_second_blue_to_yellow() -> None:
    features = torch.randn(500, 4) * torch.tensor([9.0, 4, 2, 0.1])
    axes = Axes(features)
    line = torch.linspace(-2, 2, 9)
    along = axes.mean + torch.outer(line * 9, axes.axes[:, 0])
    light = axes.colours(along.T[:, None])[0].astype(float) @ (0.299, 0.587, 0.114)
    assert (np.diff(light) >= -1).all()
    assert light[-1] - light[0] > 100
    across = axes.mean + torch.outer(line * 4, axes.axes[:, 1])
    colours = axes.colours(across.T[:, None])[0].astype(int)
    assert colours[0, 2] - colours[0, 0] > 50  # blue
    assert colours[-1, 0] - colours[-1, 2] > 50  # yellow


def test_picture_and_video(world: Path, tmp_path: Path) -> None:
    model = load(world / "tiny.safetensors", dtype="float32")
    video = open_video(world / "clip.mp4")
    told: list[tuple[int, int]] = []
    config = model.preset.tracking
    show_features(model, video, tmp_path / "a.png", config=config, frames=3)
    show_features(
        model,
        video,
        tmp_path / "a.mp4",
        config=config,
        start=1,
        stop=4,
        progress=lambda *at: told.append(at),
    )
    with Image.open(tmp_path / "a.png") as image:
        assert len(np.unique(np.asarray(image).reshape(-1, 3), axis=0)) > 500
    assert told == [(1, 3), (2, 3), (3, 3)]
    made = open_video(tmp_path / "a.mp4")
    scale = 6  # small frames are enlarged
    assert made.size == (scale * 64, 2 * scale * 96 + 12)
    left = next(made.frames()).rgb[:, : scale * 96].astype(int)
    assert np.abs(left[::scale, ::scale] - video.frame(1).rgb).mean() < 20
    with pytest.raises(InputError, match=r"from frame 6 on there is none; it has 6"):
        show_features(model, video, tmp_path / "b.png", config=config, start=6)
