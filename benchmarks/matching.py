"""What does matching alone cost: as public code has it, in tiles, and through the compiled kernel?

    python benchmarks/matching.py                    # 64 channels, radius 12, 5 references, 120x214
    python benchmarks/matching.py --cells 60 107 --forms tiled kernel --device cuda

Each row is a process of its own: seconds of a call, the most memory that the process takes, and the
time over what the machine's best matrix product would take. The naive form unfolds the window of
every cell of every reference. Where its memory is not there, it is run on some rows of queries and
its seconds are scaled; its row says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import limits
import record
import torch
from torch import Tensor
from torch.nn import functional as F

from liir import kernel
from liir.encoder import pick_device
from liir.matching import match
from liir.show import plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPERATURE, TOPK = 0.05, 5
FORMS = ("naive", "tiled", "kernel")
SMALL = (18, 22)  # cells on which results are compared
COLUMNS = {
    "name": "",
    "seconds": "seconds",
    "over_limit": "over limit",
    "peak": "peak MiB",
    "before": "of which before",
    "error": "largest error",
}


def naive(query: Tensor, keys: Tensor, radius: int, topk: int, rows: range) -> Tensor:
    """Similarities of the best keys (n w, topk) for some rows of queries, by unfolding windows."""
    channels, side = len(query), 2 * radius + 1
    ask = query[:, rows.start : rows.stop].flatten(1)  # (C, n w)
    scores = []
    for reference in keys:
        margin = F.pad(reference, (radius,) * 4)
        there = F.pad(reference.new_ones(1, *reference.shape[1:]), (radius,) * 4)
        part = slice(rows.start, rows.stop + 2 * radius)
        windows = F.unfold(margin[None, :, part], side).view(channels, side**2, -1)
        inside = F.unfold(there[None, :, part], side)[0] > 0
        found = (windows * ask[:, None]).sum(0)  # (P, n w)
        scores.append(found.masked_fill(~inside, -torch.inf))
    return torch.cat(scores).T.topk(topk, dim=1).values.float()


def dense(query: Tensor, keys: Tensor, radius: int, topk: int) -> Tensor:
    """The same in float64, from all pairs at once."""
    _, height, width = query.shape
    scores = torch.einsum("cyx,rcvu->yxrvu", query.double(), keys.double())
    y, x = torch.arange(height), torch.arange(width)
    rows, columns = ((a[:, None] - a).abs() <= radius for a in (y, x))
    near = rows[:, None, None, :, None] & columns[None, :, None, None, :]
    scores = scores.masked_fill(~near.to(scores.device), -torch.inf)
    return scores.flatten(2).flatten(0, 1).topk(topk, dim=1).values


def features(job: dict[str, Any], cells: tuple[int, int], device: torch.device) -> list[Tensor]:
    """A query and keys of unit length, channels closest in memory, as tracking has them."""
    torch.manual_seed(0)
    shape = (1 + job["references"], *cells, job["channels"])
    made = F.normalize(torch.randn(shape, device=device), dim=-1)
    made = made.to(getattr(torch, job["dtype"])).permute(0, 3, 1, 2)
    return [made[0], made[1:]]


def best(job: dict[str, Any], query: Tensor, keys: Tensor, rows: range) -> Tensor:
    """Similarities of the best keys, in the form that the job names."""
    if job["form"] == "naive":
        return naive(query, keys, job["radius"], TOPK, rows)
    found = match(query, keys, radius=job["radius"], topk=TOPK, temperature=TEMPERATURE)
    return found.values * TEMPERATURE


def rows_that_fit(job: dict[str, Any]) -> int:
    """Rows of queries whose unfolded windows, and their products, fit in half of what is free."""
    size = torch.finfo(getattr(torch, job["dtype"])).bits // 8
    a_row = 2 * size * job["channels"] * (2 * job["radius"] + 1) ** 2 * job["cells"][1]
    return int(max(1, min(job["cells"][0], record.free_bytes() / 2 // a_row)))


@torch.inference_mode()
def measure(job: dict[str, Any]) -> dict[str, Any]:
    """A row."""
    device = pick_device(job["device"])
    dtype = getattr(torch, job["dtype"])
    height, width = job["cells"]
    query, keys = features(job, SMALL, device)
    exact = dense(query, keys, job["radius"], TOPK)
    # Rounding of the features themselves is no error of the form.
    error = (best(job, query, keys, range(SMALL[0])).double() - exact).abs().max()
    query, keys = features(job, (height, width), device)
    count = height
    if job["form"] == "naive" and device.type == "cpu":
        count = rows_that_fit(job)
    before = record.peak(device)
    seconds = record.timed(
        lambda: best(job, query, keys, range(count)), runs=job["runs"], device=device
    )
    peak = record.peak(device)
    scale = height / count
    seconds = {k: v * (1 if k == "runs" else scale) for k, v in seconds.items()}
    shape = {"channels": job["channels"], "radii": [job["radius"]] * job["references"]}
    work = limits.matching_flops(height, width, **shape)
    limit = limits.measure(device, dtype, **shape)
    least = limit.seconds(matching_flops=work)
    part = "" if count == height else f", {count} of {height} rows, seconds scaled"
    return job | {
        "name": f"{job['form']}, {job['dtype']}{part}",
        "rows": count,
        "seconds": seconds,
        "limit_seconds": least,
        "over_limit": seconds["median"] / least,
        "gflop": work / 1e9,
        "before": before,
        "peak": peak,
        "error": float(error),
        "compiled": job["form"] == "kernel" and kernel.usable(),
        "limit": limit.told(),
    }


def tables(found: record.Report) -> str:
    """Markdown."""
    return "\n".join(record.table(found["rows"], COLUMNS))


def draw(found: record.Report) -> Figure:
    """Seconds and memory, side by side."""
    rows = found["rows"]
    made = plot.figure(1000, 150 + 45 * len(rows))
    left, right = made.subplots(1, 2, sharey=True)
    for place, row in enumerate(rows):
        colour = plot.line(FORMS.index(row["form"]))["color"]
        left.barh(place, row["seconds"]["median"], color=colour)
        limit = "limit" if place == 0 else None
        ends = [place - 0.4, place + 0.4]
        left.plot([row["limit_seconds"]] * 2, ends, color="black", lw=2.5, label=limit)
        right.barh(place, row["peak"], color=colour)
    left.set_yticks(range(len(rows)), [row["name"] for row in rows])
    left.invert_yaxis()
    left.set_xscale("log")
    left.set_xlabel("seconds (logarithmic)")
    left.legend(frameon=False)
    right.set_xlabel("MiB")
    plot.plain(left, "Matching: time")
    plot.plain(right, "Peak memory of the process")
    return made


def main() -> None:
    """Prints a Markdown table; keeps JSON and a plot."""
    parser = record.window_options(__doc__)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    given = parser.parse_args()
    if record.one(given, measure):
        return
    shared = "device threads cells channels radius references runs".split()
    rows: list[dict[str, Any]] = []
    for dtype in given.dtypes:
        for form in given.forms:
            job = {key: getattr(given, key) for key in shared} | {"form": form, "dtype": dtype}
            row = record.alone(__file__, job, kernel=form == "kernel")
            if form == "kernel" and not row["compiled"]:
                print("no kernel here: it needs AVX-512 and a C++ compiler")
                continue
            rows.append(row)
            record.tell(row, COLUMNS, first=len(rows) == 1)
    record.keep(record.report(__file__, rows), given.out, draw)


if __name__ == "__main__":
    main()
