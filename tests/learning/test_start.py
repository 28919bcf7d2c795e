"""Runs that begin with weights: taken as they are, told, and refused where they cannot fit."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from liir.encoder import Encoder, read_weights, write_weights
from liir.errors import InputError
from liir.learning import start
from liir.learning.checkpoint import restore
from liir.learning.objective import Objective
from liir.learning.trainer import train
from liir.learning.widening import widened
from liir.presets import ModelConfig, Preset, TrainingConfig

NET = ModelConfig(width=0.125, position_grid=8)
TRAINING = TrainingConfig(
    batch=2, crop=32, crop_source=(24, 48), gap=2, chunk=6, reuse=2, radius=3, warmup=2
)
TINY = Preset(name="tiny", model=NET, training=TRAINING)


def weights(path: Path, model: ModelConfig = NET, seed: int = 7) -> Path:
    """Weights of some other run, batch norm statistics and all."""
    torch.manual_seed(seed)
    encoder = Encoder(model)
    for buffer in encoder.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    write_weights(path, encoder.state_dict(), Preset(name="other", model=model))
    return path


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders of frames."""
    rng = np.random.default_rng(0)
    folders = [tmp_path_factory.mktemp(name) for name in "ab"]
    for folder in folders:
        for i in range(6):
            pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return folders


def test_all_of_it_is_taken(tmp_path: Path) -> None:
    path = weights(tmp_path / "w.safetensors")
    expected = read_weights(path)[0].state_dict()
    module = Objective(TINY)
    module.start_from(start.read(path, NET).state)
    for name, value in module.encoder.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert torch.equal(module.slow_head.weight, expected["region_head.weight"])
    assert torch.equal(module.slow_head.bias, expected["region_head.bias"])


@pytest.mark.parametrize("own", ["none", "sinusoid", "learnable"])
@pytest.mark.parametrize("wanted", ["none", "sinusoid", "learnable"])
def test_position_maps(tmp_path: Path, own: str, wanted: str, caplog: object) -> None:
    path = weights(tmp_path / "w.safetensors", replace(NET, position=own))
    preset = replace(TINY, model=replace(NET, position=wanted))
    module = Objective(preset)
    before = module.encoder.state_dict().get("position.map", torch.zeros(0)).clone()
    module.start_from(start.read(path, preset.model).state)
    expected = read_weights(path)[0].state_dict()
    found = module.encoder.state_dict()
    if wanted == "learnable":
        theirs = expected["position.map"] if own == "learnable" else before
        assert torch.equal(found["position.map"], theirs)
    else:
        assert "position.map" not in found
    assert torch.equal(found["stem.weight"], expected["stem.weight"])
    told = [record.getMessage() for record in caplog.records]  # type: ignore[attr-defined]
    assert [f"position {own}" in line for line in told] == ([True] if own != wanted else [])


def test_a_map_on_another_grid_is_resized(tmp_path: Path) -> None:
    path = weights(tmp_path / "w.safetensors", replace(NET, position_grid=16))
    code = read_weights(path)[0].state_dict()["position.map"]
    found = start.read(path, NET).state["position.map"]
    assert found.shape[-2:] == (8, 8)
    # Halved bicubically: each value is a mean of the sixteen around it, with known weights.
    near = torch.tensor([-3.0, 19.0, 19.0, -3.0]) / 32
    expected = torch.einsum("cyx,y,x->c", code[0, :, 3:7, 5:9], near, near)
    torch.testing.assert_close(found[0, :, 2, 3], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        (
            "width",
            0.25,
            r"has width 0\.25, and this run's is narrower, 0\.125: add --set width=0\.25",
        ),
        ("pixel_channels", 32, "has pixel_channels 32, this run's 64"),
        ("region_channels", 64, "has region_channels 64, this run's 128"),
    ],
)
def test_another_network(tmp_path: Path, field: str, value: float, told: str) -> None:
    path = weights(tmp_path / "w.safetensors", replace(NET, **{field: value}))
    with pytest.raises(InputError, match=rf"w\.safetensors: its network {told}"):
        start.read(path, NET)


def test_a_wider_network(tmp_path: Path) -> None:
    path = weights(tmp_path / "w.safetensors")
    model = replace(NET, width=0.25)
    found = start.read(path, model).state
    expected = widened(read_weights(path)[0].state_dict(), model)
    assert found.keys() == Encoder(model).state_dict().keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)
    finer = start.read(path, replace(model, position_grid=16)).state["position.map"]
    assert finer.shape == (1, 16, 16, 16)


def test_no_such_weights(footage: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown model 'smal'.*did you mean small\?"):
        train(footage, TINY, tmp_path / "run", steps=1, init="smal")
    assert not (tmp_path / "run").exists()


def test_what_a_run_left_beside_its_weights(footage: list[Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(footage, TINY, run, steps=1, workers=0)
    for given in (run, run / "checkpoint.pt"):
        with pytest.raises(InputError, match=rf"^{given}: .*; give {run}/weights\.safetensors$"):
            start.read(given, NET)
    (tmp_path / "public.pth").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match=r"public\.pth: cannot be read .*; liir convert may"):
        start.read(tmp_path / "public.pth", NET)


@pytest.mark.parametrize("resume", [False, True, "auto"])
def test_weights_without_a_checkpoint_are_not_overwritten(
    footage: list[Path], tmp_path: Path, resume: Literal["auto"] | bool
) -> None:
    before = weights(tmp_path / "weights.safetensors").read_bytes()
    with pytest.raises(InputError, match="holds the weights of a run, and no checkpoint"):
        train(footage, TINY, tmp_path, steps=1, workers=0, resume=resume)
    assert (tmp_path / "weights.safetensors").read_bytes() == before


def test_a_run_from_weights(footage: list[Path], tmp_path: Path) -> None:
    """It begins there, resumes with them on record, and gives other weights than without."""
    path = weights(tmp_path / "w.safetensors")
    still = replace(TINY, training=replace(TRAINING, learning_rate=1e-12))
    out = tmp_path / "run"
    train(footage, still, out, steps=1, init=path, workers=0)
    state, expected = restore(out), read_weights(path)[0].state_dict()
    assert state.init is not None
    assert state.init.startswith(f"{path} (other, ")
    torch.testing.assert_close(state.objective["encoder.stem.weight"], expected["stem.weight"])
    # Statistics come along, and one step has moved them by a tenth of the way.
    moved = state.objective["encoder.stem_bn.running_var"] - 0.9 * expected["stem_bn.running_var"]
    assert float(moved.min()) > 0
    assert float(moved.max()) < 0.1 * 5
    train(footage, still, out, steps=2, resume=True, workers=0)
    assert restore(out).init == state.init
    assert json.loads((out / "config.json").read_text())["init"] == state.init
    with safe_open(out / "weights.safetensors", "pt") as file:
        assert file.metadata()["init"] == state.init
    with pytest.raises(InputError, match="--init begins a new run and --resume goes on"):
        train(footage, still, out, resume=True, init=path)


def test_the_same_weights_have_the_same_name(tmp_path: Path) -> None:
    one, same, other = (
        start.read(weights(tmp_path / name, seed=seed), NET).name.rpartition(", ")[2]
        for name, seed in [("a", 1), ("b", 1), ("c", 2)]
    )
    assert one == same != other


def test_auto_resume_begins_and_then_goes_on(footage: list[Path], tmp_path: Path) -> None:
    init, out = weights(tmp_path / "other.safetensors"), tmp_path / "run"
    again = {"resume": "auto", "init": init, "workers": 0}
    with pytest.raises(InputError, match="either --steps N or --minutes M"):
        train(footage, TINY, out, **again)  # it might be the first start
    for steps in (1, 3):
        train(footage, TINY, out, steps=steps, **again)
        assert restore(out).step == steps
    train(footage, TINY, tmp_path / "whole", steps=3, init=init, workers=0)
    name = restore(out).init
    assert name is not None
    assert name == restore(tmp_path / "whole").init
    other = replace(TINY, training=replace(TRAINING, batch=3))
    with pytest.raises(InputError, match="its run has other settings"):
        train(footage, other, out, steps=4, **again)
    assert restore(out).step == 3


def test_what_a_killed_process_left_goes(footage: list[Path], tmp_path: Path) -> None:
    train(footage, TINY, tmp_path, steps=1, workers=0)
    for name in (".checkpoint.pt.99.partial", ".weights.safetensors.99.partial"):
        (tmp_path / name).write_bytes(b"x" * 100)
    train(footage, TINY, tmp_path, steps=2, workers=0, resume=True)
    assert not [*tmp_path.glob(".*")]
