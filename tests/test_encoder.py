"""The network's geometry, its folding, and the weights file."""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from liir import encoder as module
from liir.encoder import (
    Encoder,
    folded,
    load,
    pick_device,
    pick_dtype,
    read_weights,
    write_weights,
)
from liir.errors import InputError
from liir.presets import ModelConfig, Preset, preset, to_dict

TINY = Preset(name="tiny", model=ModelConfig(width=0.125, position_grid=8))
REACH = 61  # pixels from the middle of a cell's receptive field to its edge


def trained(config: ModelConfig = TINY.model) -> Encoder:
    """An encoder whose batch norms do something, as after training."""
    encoder = Encoder(config)
    for name, value in encoder.state_dict().items():
        if name.endswith("running_var") or ("bn" in name and name.endswith("weight")):
            value.uniform_(0.5, 2.0)
        elif name.endswith(("running_mean", "bias")):
            value.normal_(0, 0.3)
    return encoder.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    write_weights(path, trained().state_dict(), TINY, {"steps": "3"})
    return path


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file can grow beyond `room` bytes, as on a disk that runs full halfway through."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_width_is_the_published_network() -> None:
    encoder = Encoder(ModelConfig(width=1.0))
    counts = [sum(p.numel() for p in stage.parameters()) for stage in encoder.stages]
    # The first three are those of ResNet-18; the fourth is narrower and keeps the stride.
    assert counts == [147_968, 525_568, 2_099_712, 2_361_344]
    assert encoder.stem.weight.shape == (64, 3, 7, 7)
    assert encoder.position.map.shape == (1, 64, 128, 128)
    parts = {"stem": 9536, "heads": 147_520 + 295_040, "map": 64 * 128 * 128}
    assert sum(p.numel() for p in encoder.parameters()) == sum(counts) + sum(parts.values())


def test_stages() -> None:
    encoder = Encoder(ModelConfig(width=1.0, position_grid=8)).eval()
    shapes = []
    for stage in encoder.stages:
        stage.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    with torch.no_grad():
        features = encoder.trunk(encoder.early(torch.zeros(1, 3, 32, 48)))
        region = encoder.region_head(features)
    assert shapes == [(64, 16, 24), (128, 8, 12), (256, 8, 12), (256, 8, 12)]
    assert region.shape == (1, 128, 4, 6)


def test_half_width_keeps_the_heads() -> None:
    encoder = Encoder(ModelConfig(width=0.5))
    assert encoder.stem.out_channels == encoder.position.map.shape[1] == 32
    assert encoder.pixel_head.weight.shape[:2] == (64, 128)
    assert encoder.region_head.weight.shape[:2] == (128, 128)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (1, 5), (7, 64), (36, 28)])
def test_grid_of_any_size(size: tuple[int, int]) -> None:
    with torch.no_grad():
        features = trained()(torch.randn(2, 3, *size))
    assert features.shape == (2, 64, -(-size[0] // 4), -(-size[1] // 4))
    assert features.isfinite().all()


@pytest.mark.parametrize("position", ["none", "learnable"])
def test_folding_changes_nothing(position: str) -> None:
    config = ModelConfig(width=0.125, position_grid=8, position=position)  # type: ignore[arg-type]
    encoder = trained(config)
    lab = torch.randn(2, 3, 40, 56)
    light = folded(encoder)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in light.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in encoder.modules())  # the other one is whole
    with torch.no_grad():
        expected = encoder(lab)
        scale = expected.std()
        torch.testing.assert_close(light(lab) / scale, expected / scale, atol=1e-4, rtol=0)


def test_moving_the_picture_by_one_cell_moves_the_features() -> None:
    encoder = trained(ModelConfig(width=0.125, position="none"))
    lab = torch.randn(1, 3, 164, 168)
    with torch.no_grad():
        before = encoder(lab[..., :160, :160])
        after = encoder(lab[..., 4:164, 8:168])
    inner = slice(-(-REACH // 4), -(-REACH // 4) + 6)
    shifted = slice(inner.start + 1, inner.stop + 1), slice(inner.start + 2, inner.stop + 2)
    torch.testing.assert_close(after[..., inner, inner], before[..., shifted[0], shifted[1]])


def test_a_cell_looks_at_every_fourth_pixel() -> None:
    encoder = Encoder(ModelConfig(width=0.125, position="none")).eval()
    for parameter in encoder.parameters():
        if parameter.ndim == 4:  # equal positive weights: what a cell sees is symmetric
            nn.init.constant_(parameter, 1 / parameter[0].numel())
    lab = torch.ones(1, 3, 144, 152, requires_grad=True)
    encoder(lab)[0, :, 17, 18].sum().backward()
    assert lab.grad is not None
    seen = lab.grad[0, 0]
    for axis, cell in ((0, 17), (1, 18)):
        line = seen.sum(1 - axis)
        place = line.nonzero()[:, 0]
        assert (place[0], place[-1]) == (4 * cell - REACH, 4 * cell + REACH)
        around = line[4 * cell - REACH : 4 * cell + REACH + 1]
        torch.testing.assert_close(around, around.flip(0))


def test_weights_come_back(weights: Path) -> None:
    torch.manual_seed(1)
    expected = trained().state_dict()
    encoder, config = read_weights(weights)
    assert config == TINY
    assert not encoder.training
    state = encoder.state_dict()
    assert state.keys() == expected.keys()
    for name, value in state.items():
        assert value.dtype == expected[name].dtype
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-6)


def test_weights_are_small_and_for_everybody_to_read(weights: Path) -> None:
    elements = sum(value.numel() for value in trained().state_dict().values())
    assert weights.stat().st_size < 2 * elements + 20_000
    mask = os.umask(0)
    os.umask(mask)
    assert weights.stat().st_mode & 0o777 == 0o666 & ~mask


def test_load_gives_a_model_ready_to_use(weights: Path) -> None:
    model = load(weights, device="cpu", dtype="float32")
    assert (model.name, model.dtype, model.preset) == (str(weights), torch.float32, TINY)
    rgb = torch.randint(256, (3, 33, 41), dtype=torch.uint8)
    features = model.encode(rgb)
    assert features.shape == (64, 9, 11)
    torch.testing.assert_close(model.encode(rgb.float() / 255), features, atol=1e-4, rtol=1e-4)
    coarse = load(weights, device="cpu", dtype="bfloat16").encode(rgb)
    assert coarse.dtype == torch.bfloat16
    likeness = torch.cosine_similarity(coarse.float(), features, dim=0)
    assert likeness.min() > 0.98


def test_bundled_weights_go_by_name(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WEIGHTS", weights.parent)
    assert load("tiny", dtype="float32").preset == TINY
    with pytest.raises(InputError, match=r"unknown model 'tinny'.*\(tiny\)"):
        load("tinny")
    monkeypatch.setattr(module, "_WEIGHTS", weights.parent / "nowhere")
    with pytest.raises(InputError, match="none is bundled"):
        load("tiny")


def test_random_weights_are_always_the_same() -> None:
    rng = torch.get_rng_state()
    first, second = load("random:small", dtype="float32"), load("random:", dtype="float32")
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.equal(first.encoder.stem.weight, second.encoder.stem.weight)
    assert first.preset == preset("small")
    with pytest.raises(InputError, match="did you mean small"):
        load("random:smal")


@given(st.floats(0, 1, exclude_max=True))
def test_cut_short(weights: Path, share: float) -> None:
    whole = weights.read_bytes()
    path = weights.with_name("cut.safetensors")
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"cut\.safetensors.*cannot be read") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


@given(st.integers(0, 20_000), st.integers(1, 255))
def test_a_wrong_byte_never_crashes(weights: Path, place: int, change: int) -> None:
    data = bytearray(weights.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    data[place % header] ^= change
    path = weights.with_name("wrong.safetensors")
    path.write_bytes(data)
    with suppress(InputError):
        read_weights(path)


def save_as(path: Path, state: dict[str, Tensor], header: dict[str, str] | None) -> Path:
    save_file({key: value.half() for key, value in state.items()}, path, metadata=header)
    return path


def test_not_ours(tmp_path: Path) -> None:
    state = {"a": torch.zeros(3)}
    with pytest.raises(InputError, match="no liir configuration"):
        read_weights(save_as(tmp_path / "a", state, None))
    with pytest.raises(InputError, match="does not fit this liir"):
        read_weights(save_as(tmp_path / "b", state, {"liir": "{"}))
    with pytest.raises(InputError, match="does not fit this liir"):
        read_weights(save_as(tmp_path / "c", state, {"liir": "[1]"}))
    with pytest.raises(InputError, match="cannot be read"):
        read_weights(tmp_path / "missing")
    with pytest.raises(InputError, match="cannot be read"):
        read_weights(tmp_path)


def test_of_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, trained().state_dict(), preset("small"))
    with pytest.raises(InputError, match=r"architecture: .* is .*, its configuration asks for"):
        load(path)
    state = dict(trained().state_dict())
    del state["pixel_head.bias"]
    header = {"liir": json.dumps(to_dict(TINY))}
    with pytest.raises(InputError, match=r"pixel_head\.bias is missing, .* asks for 64"):
        read_weights(save_as(path, state, header))


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, trained().state_dict(), TINY)
    before = path.read_bytes()
    with (
        full_disk(len(before) // 2),
        pytest.raises(InputError, match="cannot be written") as caught,
    ):
        write_weights(path, trained().state_dict(), TINY)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_nowhere_to_write(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_weights(tmp_path / "none" / "w.safetensors", trained().state_dict(), TINY)


def test_devices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "meta", "vulkan", "hpu", "mtia", "xpu:7"])
def test_devices_that_are_not_there(name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be used here; try --device auto"):
        pick_device(name)


def test_dtypes() -> None:
    cpu = torch.device("cpu")
    assert pick_dtype("float32", cpu) == torch.float32
    assert pick_dtype("auto", cpu) in (torch.float32, torch.bfloat16)
    with pytest.raises(InputError, match="unknown dtype 'fp16'; use auto, float32"):
        pick_dtype("fp16", cpu)
