"""What do many negatives cost? Time and memory of the naive and of the streamed log-sum-exp.

    python benchmarks/negatives.py                       # 5,760 to 1,000,000 negatives
    python benchmarks/negatives.py --negatives 57600 --device cuda

Each row is a forward and a backward pass of 4,096 queries of 128 channels, in a process of its own;
memory is the most that the process takes, the library and the bank included. The naive form is left
out where its similarities alone exceed --most-gib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import record
import torch
from torch import Tensor

from liir.encoder import pick_device
from liir.learning.negatives import Bank, negative_lse
from liir.show import plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 4
TEMPERATURE = 0.07
COLUMNS = {
    "name": "negatives",
    "bank": "bank MiB",
    "form": "form",
    "seconds": "seconds",
    "peak": "peak MiB",
}


def naive(query: Tensor, videos: Tensor, keys: Tensor, owners: Tensor) -> Tensor:
    """All similarities at once."""
    scores = query @ keys.to(query.dtype).T / TEMPERATURE
    barred = (videos[:, None] == owners) | (owners < 0)
    return scores.masked_fill(barred, -torch.inf).logsumexp(1)


def streamed(query: Tensor, videos: Tensor, keys: Tensor, owners: Tensor) -> Tensor:
    """As in training."""
    return negative_lse(query, videos, keys, owners, TEMPERATURE)


FORMS = {"naive": naive, "streamed": streamed}


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """A row."""
    device = pick_device(job["device"])
    torch.manual_seed(0)
    count, channels, queries = job["negatives"] // POINTS, job["channels"], job["queries"]
    bank = Bank(count, POINTS, channels).to(device)
    made = torch.randn(*bank.features.shape, device=device)
    bank.push(torch.nn.functional.normalize(made, dim=2), torch.arange(count, device=device))
    del made
    query = torch.randn(queries, channels, device=device, requires_grad=True)
    videos = torch.arange(queries, device=device) // 256

    def both_ways() -> None:
        FORMS[job["form"]](query, videos, *bank.negatives()).sum().backward()

    seconds = record.timed(both_ways, runs=job["runs"], device=device)
    return job | {
        "name": f"{job['negatives']:,}",
        "bank": bank.features.nbytes / 2**20,
        "seconds": seconds,
        "peak": record.peak(device),
    }


def tables(found: record.Report) -> str:
    """Markdown."""
    return "\n".join(record.table(found["rows"], COLUMNS))


def draw(found: record.Report) -> Figure:
    """Seconds and memory over the number of negatives, a line for each form."""
    made = plot.figure(900, 360)
    sides = made.subplots(1, 2)
    for number, form in enumerate(FORMS):
        rows = [row for row in found["rows"] if row["form"] == form]
        x = [row["negatives"] for row in rows]
        y = [[row["seconds"]["median"] for row in rows], [row["peak"] for row in rows]]
        for axes, values in zip(sides, y, strict=True):
            axes.plot(x, values, marker="o", label=form, **plot.line(number))
    for axes, title in zip(sides, ("Seconds, forward and backward", "Peak MiB"), strict=True):
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("negatives")
        plot.plain(axes, title)
    sides[0].legend(frameon=False)
    return made


def main() -> None:
    """Prints a Markdown table; keeps JSON and a plot."""
    parser = record.options(__doc__)
    parser.add_argument("--negatives", type=int, nargs="+", default=[5760, 57600, 230400, 1000000])
    parser.add_argument("--queries", type=int, default=4096)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--most-gib", type=float, default=2.0)
    given = parser.parse_args()
    if record.one(given, measure):
        return
    shared = {key: getattr(given, key) for key in "device threads queries channels runs".split()}
    rows: list[dict[str, Any]] = []
    for count in given.negatives:
        for form in FORMS:
            if form == "naive" and 4 * count * given.queries > given.most_gib * 2**30:
                continue
            rows.append(record.alone(__file__, shared | {"negatives": count, "form": form}))
            record.tell(rows[-1], COLUMNS, first=len(rows) == 1)
    record.keep(record.report(__file__, rows), given.out, draw)


if __name__ == "__main__":
    main()
