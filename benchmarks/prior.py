"""What does the compactness prior cost in tracking? Plain matching and the Gaussians, in turns.

    python benchmarks/prior.py                    # 64 channels, radius 12, 5 references, 120x214
    python benchmarks/prior.py --topk 10 --objects 8 --device cuda

A row is a whole frame's matching and its tally of labels: of the best keys and of whole windows,
each by the compiled kernel and without it, without Gaussians and with two of them. Both take turns
in one process, and the ratio is that of their medians.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import record
import torch
from torch import Tensor
from torch.nn import functional as F

from liir import kernel
from liir.compactness import condensed, condensed_window
from liir.encoder import pick_device
from liir.matching import match, window_tally
from liir.presets import TrackingConfig
from liir.show import plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOISE = 3.0
"""Of references, as a share of the features: a sixth of the rows then is confident, some more than
with trained features (6 to 14 % on goat, car-shadow and dance-twirl)."""
COLUMNS = {
    "name": "",
    "plain": "plain, seconds",
    "seconds": "with Gaussians",
    "ratio": "ratio",
    "confident": "confident rows, %",
    "peak": "peak MiB",
}


def features(job: dict[str, Any], device: torch.device) -> list[Tensor]:
    """A query and, as its keys, itself with noise; of unit length, channels closest in memory."""
    torch.manual_seed(0)
    height, width = job["cells"]
    query = torch.randn(1, height, width, job["channels"], device=device)
    noise = torch.randn(job["references"], *query.shape[1:], device=device)
    both = F.normalize(torch.cat((query, query + NOISE * noise)), dim=-1)
    made = both.to(getattr(torch, job["dtype"])).permute(0, 3, 1, 2)
    return [made[0], made[1:]]


def whole(
    job: dict[str, Any], query: Tensor, keys: Tensor, values: Tensor, config: TrackingConfig
) -> Callable[[], Tensor]:
    """A frame's matching and tally, as `Tracker` does it."""
    form = {"radius": config.radius, "temperature": config.temperature}

    def best() -> Tensor:
        found = match(query, keys, topk=job["topk"], **form)  # type: ignore[arg-type]
        if not config.gaussians:
            return found.tally(values)
        return condensed(found, len(keys), tuple(job["cells"]), config)(values)

    def window() -> Tensor:
        if not config.gaussians:
            return window_tally(query, keys, **form)(values)  # type: ignore[arg-type]
        return condensed_window(query, keys, config)(values)

    return window if job["topk"] is None else best


@torch.inference_mode()
def measure(job: dict[str, Any]) -> dict[str, Any]:
    """A row."""
    device = pick_device(job["device"])
    query, keys = features(job, device)
    cells = job["cells"][0] * job["cells"][1]
    values = torch.rand(job["references"] * cells, 1 + job["objects"], device=device)
    plain = TrackingConfig(radius=job["radius"], topk=job["topk"])
    fitted = replace(plain, gaussians=2, compact_form=job["form"])
    calls = [whole(job, query, keys, values, config) for config in (plain, fitted)]
    without, seconds = record.timed_in_turns(*calls, runs=job["runs"], device=device)
    found = match(
        query, keys, radius=job["radius"], topk=5, temperature=plain.temperature, full=True
    )
    rows = torch.zeros(len(found.weights), len(keys), device=device)
    rows.scatter_reduce_(1, found.cells // cells, found.weights, "amax")
    confident = (rows > fitted.compact_threshold).float().mean()
    where = "whole windows" if job["topk"] is None else f"best {job['topk']}"
    where += ", kernel" if kernel.usable() else ""
    return job | {
        "name": f"{where}, {job['form']}, {job['dtype']}",
        "plain": without,
        "seconds": seconds,
        "ratio": seconds["median"] / without["median"],
        "confident": 100 * float(confident),
        "peak": record.peak(device),
    }


def tables(found: record.Report) -> str:
    """Markdown."""
    return "\n".join(record.table(found["rows"], COLUMNS))


def draw(found: record.Report) -> Figure:
    """Seconds, side by side."""
    rows = found["rows"]
    made = plot.figure(900, 150 + 60 * len(rows))
    axes = made.subplots()
    for place, row in enumerate(rows):
        for shift, key, label in ((-0.2, "plain", "plain"), (0.2, "seconds", "with Gaussians")):
            colour = plot.line(int(shift > 0))["color"]
            named = label if place == 0 else None
            axes.barh(place + shift, row[key]["median"], 0.4, color=colour, label=named)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("seconds a frame")
    axes.legend(frameon=False)
    plot.plain(axes, "Matching without and with the compactness prior")
    return made


def main() -> None:
    """Prints a Markdown table; keeps JSON and a plot."""
    parser = record.window_options(__doc__)
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--topk", type=int, default=5)
    given = parser.parse_args()
    if record.one(given, measure):
        return
    shared = "device threads cells channels radius references objects runs".split()
    rows: list[dict[str, Any]] = []
    for dtype in given.dtypes:
        kinds = ((given.topk, "mass"), (None, "mass"), (None, "published"))
        for compiled, (topk, form) in product((True, False), kinds):
            if compiled and not kernel.usable():
                continue
            job = {key: getattr(given, key) for key in shared}
            job |= {"topk": topk, "form": form, "dtype": dtype}
            rows.append(record.alone(__file__, job, kernel=compiled))
            record.tell(rows[-1], COLUMNS, first=len(rows) == 1)
    record.keep(record.report(__file__, rows), given.out, draw)


if __name__ == "__main__":
    main()
