"""How fast could it be here? The machine's own limit: rates of products, convolutions and copies.

    python benchmarks/limits.py                     # those of `small`, in the dtype it runs in
    python benchmarks/limits.py --model random:base --dtype float32

Measured in the process that asks, in the dtype that it computes in. The limit of a piece of work is
its encoder FLOPs over the best rate of any of the encoder's convolutions, and its matching FLOPs
over the best rate of a matrix product. A multiplication and an addition are two FLOPs.

Legend: R reference frames, C channels, H W pixels, h w cells, p side of a patch of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import record
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import liir
from liir.colour import rgb_to_lab
from liir.matching import TILE

_BATCH_SECONDS = 0.02  # what is over sooner is called several times, and timed together
_COPY_MIB = 128  # more than a processor's caches hold
_SQUARE = 1024


@dataclass(frozen=True)
class Limit:
    """What the machine does at best.

    Attributes:
        product: FLOP/s of matrix products by shape, each a spread.
        convolution: FLOP/s of the encoder's convolutions by shape.
        copy: Bytes read and written per second.
    """

    product: dict[str, record.Spread]
    convolution: dict[str, record.Spread]
    copy: record.Spread

    def seconds(self, encoder_flops: float = 0.0, matching_flops: float = 0.0) -> float:
        """What the work takes at least."""
        found = 0.0
        for flops, rates in ((encoder_flops, self.convolution), (matching_flops, self.product)):
            if flops:
                found += flops / best(rates)["median"]
        return found

    def told(self) -> dict[str, Any]:
        """The best of each, for a row: GFLOP/s and GB/s; and everything, for who wants to know."""
        row: dict[str, Any] = {"all": asdict(self), "copy": _giga(self.copy)}
        for name, rates in (("product", self.product), ("convolution", self.convolution)):
            if rates:
                row[name] = _giga(best(rates))
        return row


def best(rates: dict[str, record.Spread]) -> record.Spread:
    return max(rates.values(), key=lambda rate: rate["median"])


def _giga(rate: record.Spread) -> record.Spread:
    return {key: value if key == "runs" else value / 1e9 for key, value in rate.items()}


def measure(
    device: torch.device,
    dtype: torch.dtype,
    *,
    encoder: nn.Module | None = None,
    lab: Tensor | None = None,
    channels: int = 64,
    radii: Sequence[int] = (12,) * 5,
    runs: int = 5,
) -> Limit:
    """Measures the limit here and now.

    Args:
        device: Where.
        dtype: What is computed in.
        encoder: Whose convolutions are tried, on what `lab` becomes in it.
        lab: (B, 3, H, W) in the encoder's dtype, channels-last.
        channels: Of the features that are matched.
        radii: Of the window in each reference, in cells.
        runs: That count, of each.
    """
    patch = sum((TILE + 2 * radius) ** 2 for radius in radii)
    shapes = {
        f"{TILE**2}x{channels} by {channels}x{patch}": (TILE**2, channels, patch),
        f"{_SQUARE} cubed": (_SQUARE, _SQUARE, _SQUARE),
    }
    product = {name: _product(*shape, device, dtype, runs) for name, shape in shapes.items()}
    convolution = {} if encoder is None or lab is None else _convolutions(encoder, lab, runs)
    source = torch.ones(_COPY_MIB << 18, device=device)
    target = torch.empty_like(source)
    copy = _rate(lambda: target.copy_(source), 2 * source.nbytes, device, runs)
    return Limit(product, convolution, copy)


def _rate(function: Callable[[], object], work: float, device: torch.device, runs: int) -> Any:
    """Work per second, from calls grouped so that the clock is no matter."""
    once = record.timed(function, runs=2, device=device)["median"]
    calls = max(1, round(_BATCH_SECONDS / max(once, 1e-6)))

    def several() -> None:
        for _ in range(calls):
            function()

    seconds = record.timed(several, runs=runs, device=device)
    rate = {key: calls * work / seconds[key] for key in ("median", "least", "most")}
    return rate | {"least": rate["most"], "most": rate["least"], "runs": seconds["runs"]}


@torch.inference_mode()
def _product(
    rows: int, inner: int, columns: int, device: torch.device, dtype: torch.dtype, runs: int
) -> record.Spread:
    left = torch.randn(rows, inner, device=device).to(dtype)
    right = torch.randn(columns, inner, device=device).to(dtype).T
    out = torch.empty(rows, columns, device=device, dtype=dtype)
    work = 2.0 * rows * inner * columns
    found: record.Spread = _rate(lambda: torch.mm(left, right, out=out), work, device, runs)
    return found


@torch.inference_mode()
def _convolutions(encoder: nn.Module, lab: Tensor, runs: int) -> dict[str, record.Spread]:
    """FLOP/s of each different convolution that the encoder does."""
    seen: dict[str, tuple[nn.Conv2d, Tensor]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        size = "x".join(map(str, module.weight.shape))
        cells = "x".join(map(str, inputs[0].shape[2:]))
        seen.setdefault(f"{size} stride {module.stride[0]} on {cells}", (module, inputs[0].clone()))

    hooks = [m.register_forward_hook(note) for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    encoder(lab)
    for hook in hooks:
        hook.remove()
    found = {}
    while seen:  # each input goes once it has been used: together they are large
        name, (module, x) = seen.popitem()
        work = flops(lambda module=module, x=x: module(x))
        found[name] = _rate(lambda module=module, x=x: module(x), work, lab.device, runs)
    return found


def flops(function: Callable[[], object]) -> float:
    """FLOPs of the products and convolutions of a call, backward passes in it included."""
    with FlopCounterMode(display=False) as counter:
        function()
    return float(counter.get_total_flops())


def matching_flops(height: int, width: int, *, radii: Sequence[int], channels: int) -> float:
    """FLOPs of all similarities in windows, at the frame's edges too: 2 C h w sum (2r + 1)^2."""
    return 2.0 * channels * height * width * sum((2 * radius + 1) ** 2 for radius in radii)


def picture(model: liir.Model, height: int, width: int) -> Tensor:
    """(1, 3, H, W) as the encoder of a model gets it."""
    lab = rgb_to_lab(torch.rand(3, height, width).to(model.device))[None].to(model.dtype)
    return lab.contiguous(memory_format=torch.channels_last)


def of_tracking(
    model: liir.Model, size: tuple[int, int], radii: Sequence[int], runs: int = 5
) -> tuple[Limit, dict[str, float]]:
    """The limit of a frame of tracking, and its FLOPs.

    Args:
        model: What `liir.load` returned.
        size: (H, W) of the picture that is encoded.
        radii: Of the window in each reference, in cells.
        runs: As for `measure`.
    """
    lab = picture(model, *size)
    with torch.inference_mode():
        channels, height, width = model.encoder(lab)[0].shape
        work = {"encoder": flops(lambda: model.encoder(lab))}
    work["matching"] = matching_flops(height, width, radii=radii, channels=channels)
    limit = measure(
        model.device,
        model.dtype,
        encoder=model.encoder,
        lab=lab,
        channels=channels,
        radii=radii,
        runs=runs,
    )
    return limit, work


def main() -> None:
    """Prints the rates."""
    parser = record.options(__doc__)
    parser.add_argument("--model", default="small")
    parser.add_argument("--dtype", default="auto")
    given = parser.parse_args()
    record.one(given, lambda job: job)
    model = liir.load(given.model, device=given.device, dtype=given.dtype)
    config = model.preset.tracking
    limit, work = of_tracking(model, (480, 854), [config.radius] * 5)
    print(record.machine(), model.dtype)
    rows = [
        {"what": f"{kind}: {name}", "rate": _giga(rate)}
        for kind, rates in (("product", limit.product), ("convolution", limit.convolution))
        for name, rate in rates.items()
    ]
    rows.append({"what": "copy, GB/s", "rate": _giga(limit.copy)})
    print("\n".join(record.table(rows, {"what": "", "rate": "GFLOP/s"})))
    print(f"GFLOP of a frame: {', '.join(f'{k} {v / 1e9:.1f}' for k, v in work.items())}")
    print(f"limit of a frame: {limit.seconds(work['encoder'], work['matching']):.3f} s")


if __name__ == "__main__":
    main()
