"""The batch norm of several processes is that of one with their batches joined."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from liir.encoder import Encoder, folded
from liir.learning import batch_norm
from liir.learning.batch_norm import SyncedBatchNorm, synced
from liir.learning.distributed import Team
from liir.presets import ModelConfig

RANKS = runpy.run_path(str(Path(__file__).with_name("ranks.py")))
TINY = ModelConfig(width=0.125, position_grid=8)
TWO_GPUS = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=TWO_GPUS)])
def test_two_processes_are_one_with_the_joined_batch(pair: Path, device: str) -> None:
    """Output, gradients and running statistics, in shares of one and two samples."""
    expected = RANKS["normalise"](Team(), torch.device(device))
    assert len(expected) == 7
    for rank in (0, 1):
        found = torch.load(pair / f"{rank}.pt")["norm"][device]
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-4, msg=name)


def test_gradient_and_statistics_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_norm.distributed, "all_reduce", lambda value: None)
    x = (torch.randn(4, 3, 5, 6, dtype=torch.float64) * 2 + 100).requires_grad_()
    weight = torch.randn(4, 3, 5, 6, dtype=torch.float64)
    results: list[dict[str, Tensor]] = []
    for prepare in (lambda norm: norm, lambda norm: synced(norm, torch.device("cpu"))):
        torch.manual_seed(1)
        norm = prepare(nn.BatchNorm2d(3).double())
        nn.init.uniform_(norm.weight, 0.5, 2.0)
        out = norm(x)
        gradients = torch.autograd.grad((out * weight).sum(), (x, norm.weight, norm.bias))
        result = dict(enumerate([out, *gradients])) | dict(norm.state_dict())
        results.append(result | {"eval": norm.eval()(x)})
    assert type(norm) is SyncedBatchNorm
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("device", ["cpu", "cuda"])  # the conversion for a GPU needs none
def test_weights_and_folding_are_as_before(device: str) -> None:
    plain = Encoder(TINY)
    for name, value in plain.state_dict().items():
        if "running" in name:
            value.uniform_(0.5, 2.0)
    keys = list(plain.state_dict())
    lab = torch.randn(1, 3, 32, 32)
    expected = folded(plain)(lab)
    parameters = list(plain.parameters())
    encoder: Any = synced(plain, torch.device(device))
    kinds = {type(m) for m in encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert kinds == {nn.SyncBatchNorm if device == "cuda" else SyncedBatchNorm}
    assert list(encoder.state_dict()) == keys
    # The very same parameters: an optimizer made before goes on with them.
    assert [*map(id, encoder.parameters())] == [*map(id, parameters)]
    assert torch.equal(folded(encoder)(lab), expected)
