"""Adapting weights to footage, in colour and in grey."""

import signal

import numpy as np
import pytest
import torch

from liir.encoder import Encoder, find_weights, read_header, write_weights
from liir.errors import InputError
from liir.learning.adapting import GREY_SHARE, LEARNING_RATE, SHARE, adapt, gentle, is_grey
from liir.learning.trainer import train
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


CONFIG = ModelConfig(width=0.125)
PRESET = Preset(name="tiny", model=CONFIG, training=TrainingConfig(batch=1, crop=32))


@pytest.fixture
def base(tmp_path):
    """Weights to begin with."""
    torch.manual_seed(0)
    write_weights(tmp_path / "base.safetensors", Encoder(CONFIG).state_dict(), PRESET)
    return tmp_path / "base.safetensors"


def test_weights_move_a_little(footage, base, tmp_path):
    path, grey = footage
    assert is_grey([path]) == grey
    seen = []
    out = tmp_path / "my.safetensors"
    adapt([path], base, out, steps=3, workers=0, progress=seen.append)
    before, after = find_weights(base)[0].state_dict(), find_weights(out)[0].state_dict()
    moved = max(float((before[k] - after[k]).abs().max()) for k in before if "conv" in k)
    assert 0 < moved < 10 * LEARNING_RATE
    assert [state.step for state in seen] == [1, 2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == [base.name, "clip.mp4", out.name]
    assert gentle(PRESET, grey).training.rebuild == ("lightness" if grey else "colour")
    with pytest.raises(InputError, match="safetensors"):
        adapt([path], base, tmp_path / "my.pt", steps=1)


@pytest.mark.parametrize("share", [None, 0.75])
def test_a_share_of_what_is_learned_is_kept(share, footage, base, tmp_path, monkeypatch):
    path, grey = footage
    monkeypatch.setattr(
        "liir.learning.adapting.LEARNING_RATE", 0.05
    )  # far more than half floats err
    out = adapt([path], base, tmp_path / "my.safetensors", steps=3, workers=0, share=share)
    whole = train([path], gentle(PRESET, grey), tmp_path / "run", steps=3, init=base, workers=0)
    before, learned, kept = (find_weights(w)[0].state_dict() for w in (base, whole, out))
    share = share or (GREY_SHARE if grey else SHARE)
    for key, value in kept.items():
        if value.is_floating_point():
            part = torch.lerp(before[key], learned[key], share)
            torch.testing.assert_close(value, part, rtol=2e-3, atol=1e-4)
    told = read_header(out)[1]
    assert (told["steps"], told["share"]) == ("3", f"{share:g}")


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share, tmp_path):
    with pytest.raises(InputError, match=f"share {share}: "):
        adapt([tmp_path], "small", tmp_path / "my.safetensors", steps=1, share=share)


def test_what_is_there_stays(base, tmp_path):
    before = base.read_bytes()
    with pytest.raises(InputError, match=r"base\.safetensors: is there already"):
        adapt([tmp_path], base, base, steps=1)
    assert base.read_bytes() == before


def test_interrupted_it_writes_nothing_and_says_so(footage, base, tmp_path):
    def stop(state):
        signal.raise_signal(signal.SIGINT)

    out = tmp_path / "my.safetensors"
    with pytest.raises(KeyboardInterrupt, match=r"my\.safetensors is not written"):
        adapt([footage[0]], base, out, steps=3, workers=0, progress=stop)
    assert not out.exists()
