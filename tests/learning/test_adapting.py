"""Adapting weights to footage, in colour and in grey."""

import numpy as np
import pytest
import torch

from liir.encoder import Encoder, find_weights, write_weights
from liir.errors import InputError
from liir.learning.adapting import LEARNING_RATE, adapt, gentle, is_grey
from liir.presets import ModelConfig, Preset, TrainingConfig
from liir.video import VideoWriter


@pytest.fixture(params=["colour", "grey"])
def footage(request, tmp_path):
    scene = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
    if request.param == "grey":
        scene[:] = scene[..., :1]
    scene = scene.repeat(8, 0).repeat(8, 1)
    with VideoWriter(tmp_path / "clip.mp4") as writer:
        for t in range(12):
            writer.write(scene[:, 4 * t : 4 * t + 96])
    return tmp_path / "clip.mp4", request.param == "grey"


def test_weights_move_a_little(footage, tmp_path):
    path, grey = footage
    assert is_grey([path]) == grey
    config = ModelConfig(width=0.125)
    preset = Preset(name="tiny", model=config, training=TrainingConfig(batch=1, crop=32))
    base = tmp_path / "base.safetensors"
    torch.manual_seed(0)
    write_weights(base, Encoder(config).state_dict(), preset)
    seen = []
    out = tmp_path / "my.safetensors"
    adapt([path], base, out, steps=3, workers=0, progress=seen.append)
    before, after = find_weights(base)[0].state_dict(), find_weights(out)[0].state_dict()
    moved = max(float((before[k] - after[k]).abs().max()) for k in before if "conv" in k)
    assert 0 < moved < 10 * LEARNING_RATE
    assert [state.step for state in seen] == [1, 2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == [base.name, "clip.mp4", out.name]
    assert gentle(preset, grey).training.rebuild == ("lightness" if grey else "colour")
    with pytest.raises(InputError, match="safetensors"):
        adapt([path], base, tmp_path / "my.pt", steps=1)
