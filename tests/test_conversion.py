"""Checkpoints under the public names become the same network, or say what does not fit."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from liir.cli import main
from liir.conversion import convert
from liir.encoder import load, read_weights
from liir.errors import InputError
from liir.presets import preset

WIDTHS = ((64, 1), (128, 2), (256, 1), (256, 1))


class Part(nn.Module):
    """Modules under public names, called in the order and way that the test gives."""

    def __init__(self, run: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def conv(inputs: int, outputs: int, side: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)


def mast_block(inputs: int, outputs: int, stride: int) -> nn.Module:
    left = nn.Sequential(
        *(conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU()),
        *(conv(outputs, outputs), nn.BatchNorm2d(outputs)),
    )
    short = nn.Sequential()
    if stride > 1 or inputs != outputs:
        short = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
    return Part(lambda s, x: F.relu(s.left(x) + s.shortcut(x)), left=left, shortcut=short)


def liir_block(inputs: int, outputs: int, stride: int) -> nn.Module:
    parts: dict[str, nn.Module] = {
        "conv1": conv(inputs, outputs, 3, stride),
        "bn1": nn.BatchNorm2d(outputs),
        "conv2": conv(outputs, outputs),
        "bn2": nn.BatchNorm2d(outputs),
    }
    if stride > 1 or inputs != outputs:
        parts["downsample"] = nn.Sequential(
            conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
        )

    def run(s: nn.Module, x: Tensor) -> Tensor:
        short = s.downsample(x) if "downsample" in parts else x
        return F.relu(s.bn2(s.conv2(F.relu(s.bn1(s.conv1(x))))) + short)

    return Part(run, **parts)


def layers(block: Callable[[int, int, int], nn.Module]) -> dict[str, nn.Module]:
    inputs, made = 64, {}
    for number, (outputs, stride) in enumerate(WIDTHS, 1):
        pair = block(inputs, outputs, stride), block(outputs, outputs, 1)
        made[f"layer{number}"] = nn.Sequential(*pair)
        inputs = outputs
    return made


def through(s: nn.Module, x: Tensor) -> Tensor:
    return s.layer4(s.layer3(s.layer2(s.layer1(x))))


def mast_net() -> nn.Module:
    stem = nn.Sequential(conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU())
    extraction = Part(lambda s, x: through(s, s.conv1(x)), conv1=stem, **layers(mast_block))
    return Part(
        lambda s, x: s.post_convolution(s.feature_extraction(x)),
        feature_extraction=extraction,
        post_convolution=nn.Conv2d(256, 64, 3, 1, 1),
    )


def liir_net() -> nn.Module:
    def run(s: nn.Module, x: Tensor) -> Tensor:
        x = F.relu(s.bn1(s.conv1(x)))
        place = F.interpolate(s.pos_embed1, x.shape[-2:], mode="bicubic", align_corners=False)
        return through(s, x + place)

    extraction = Part(run, conv1=conv(3, 64, 7, 2), bn1=nn.BatchNorm2d(64), **layers(liir_block))
    extraction.pos_embed1 = nn.Parameter(torch.randn(1, 64, 128, 128))
    bank = nn.Module()
    bank.register_buffer("feats_queue", torch.randn(4, 128, 8, 8))
    bank.register_buffer("flag", torch.zeros(1))
    return Part(
        lambda s, x: s.post_convolution(s.feature_extraction(x)),
        feature_extraction=extraction,
        post_convolution=nn.Conv2d(256, 64, 3, 1, 1),
        conv_semantic=nn.Conv2d(256, 128, 3, 2, 1),
        conv_semantic_k=nn.Conv2d(256, 128, 3, 2, 1),
        colorizer=bank,
    )


def trained(net: nn.Module) -> nn.Module:
    """With batch norms that have seen something."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.7, 1.4)
            nn.init.uniform_(module.weight, 0.5, 1.0)
    return net.eval()


@pytest.mark.parametrize(("name", "make"), [("mast", mast_net), ("paper", liir_net)])
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_network_is_the_same(
    tmp_path: Path, name: str, make: Callable[[], nn.Module], wrapped: bool
) -> None:
    net = trained(make())
    state = net.state_dict()
    if wrapped:  # as DataParallel and the training scripts leave it
        state = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    torch.save(state, tmp_path / "a.pth")
    done = convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    encoder, config = read_weights(tmp_path / "a.safetensors")
    assert config == preset(name) == done.preset
    picture = torch.rand(1, 3, 24, 40) - 0.5
    with torch.no_grad():
        expected, found = net(picture), encoder(picture)
    torch.testing.assert_close(found, expected, atol=0.02 * float(expected.std()), rtol=0.01)
    load(tmp_path / "a.safetensors")
    if name == "paper":
        head = encoder.region_head.weight
        torch.testing.assert_close(head, net.conv_semantic.weight, atol=1e-3, rtol=1e-3)
        assert done.untrained == ()
        assert {n.split(".")[0] for n in done.unused} == {"conv_semantic_k", "colorizer"}
    else:
        assert done.untrained == ("region_head.weight", "region_head.bias")
        assert done.unused == ()


def test_states_without_counts_of_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the command line."""
    state = {k: v for k, v in mast_net().state_dict().items() if "num_batches" not in k}
    torch.save(state, tmp_path / "a.pth")
    assert main(["convert", str(tmp_path / "a.pth"), "--out", str(tmp_path / "a.safetensors")]) == 0
    told = capsys.readouterr().out
    assert "preset mast, width 1" in told
    assert "begins at random: region_head.weight, region_head.bias" in told
    assert int(read_weights(tmp_path / "a.safetensors")[0].stem_bn.num_batches_tracked) == 0


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    whole = mast_net().state_dict()
    conv = "feature_extraction.layer3.1.left.0.weight"
    cases = {
        "lacks 1 tensors (stages.2.1.conv1.weight)": {k: v for k, v in whole.items() if k != conv},
        "other sizes of 1 tensors (stages.2.1.conv1.weight)": {**whole, conv: torch.zeros(3, 3)},
        "also has 4 tensors (fc.a, fc.b, fc.c, ...)": {
            **whole,
            **{f"fc.{letter}": torch.zeros(2) for letter in "abcd"},
        },
        "none of the names of MAST's or LIIR's weights (a.weight)": {"a.weight": torch.zeros(1)},
        "holds no state_dict": [1, 2],
        "not all of its numbers are finite (stages.2.1.conv1.weight)": {
            **whole,
            conv: whole[conv] * torch.nan,
        },
    }
    for told, state in cases.items():
        torch.save(state, tmp_path / "a.pth")
        with pytest.raises(InputError) as caught:
            convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    torch.save(mast_net().state_dict(), tmp_path / "a.pth")
    before = (tmp_path / "a.pth").read_bytes()
    with pytest.raises(InputError, match=r"a\.pth: is there already"):
        convert(tmp_path / "a.pth", tmp_path / "a.pth")
    assert (tmp_path / "a.pth").read_bytes() == before


def test_the_folder_is_made(tmp_path: Path) -> None:
    torch.save(mast_net().state_dict(), tmp_path / "a.pth")
    convert(tmp_path / "a.pth", tmp_path / "new" / "folder" / "a.safetensors")
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["a.safetensors"]


def test_what_could_run_code_is_not_read(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="could run code"):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", bytes(300), None])
def test_no_checkpoint(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pth: ") as caught:
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)
