"""Batch norm over the batches of all processes that train together.

Torch's own (`nn.SyncBatchNorm`) wants a GPU. On the CPU two sums go through an all-reduce that
autograd can go back through. Legend: B batch, C channels, H W cells.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


def synced(module: nn.Module, device: torch.device) -> nn.Module:
    """The module, its batch norms over all processes; parameters, buffers and names are as before.

    Args:
        module: Changed in place.
        device: Where it will run.
    """
    if device.type == "cuda":
        whole: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return whole
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.__class__ = SyncedBatchNorm  # it has the same state, and another forward pass
    return module


class SyncedBatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the batches of all processes, whose sizes may differ."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to the same; in training, every process has to be here."""
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        x = input.to(self.weight.dtype)
        sums = _sum(torch.cat((x.sum((0, 2, 3)), x.new_tensor([x.numel() / x.shape[1]]))))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        # Squares around the mean, not around zero: the difference of two large sums is noise.
        centred = x - mean[:, None, None]
        variance = _sum(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        out = torch.addcmul(self.bias[:, None, None], centred, scale[:, None, None])
        return out.to(input.dtype)


def _sum(value: Tensor) -> Tensor:
    """The sum over all processes; differentiable."""
    total: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return total


class _Sum(torch.autograd.Function):
    """Each process's loss depends on every addend: the gradients are summed in turn."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total
