"""How do time and memory grow with frames, objects, references, window and resolution?

    python benchmarks/scaling.py                          # all five curves
    python benchmarks/scaling.py --curve objects --timed 40
    python benchmarks/scaling.py --long                   # 3,000 frames at 480, 10,000 at 120

Each point is a job of `benchmarks/tracking.py`, in a process of its own, everything included; the
points of the frames curve are those of one run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import record
import tracking

from liir.show import plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = {
    "objects": (1, 4, 16, 64),
    "references": (1, 5, 20),
    "radius": (4, 12, 24),
    "size": (240, 480, 720, 1080),
}
LONG = {
    "objects": (1, 2, 4, 8, 16, 32, 64),
    "references": (1, 2, 5, 10, 20),
    "radius": (4, 8, 12, 16, 20, 24),
    "size": (240, 360, 480, 720, 1080),
}
FRAMES = ((1000, 120),)  # frames, size
LONG_FRAMES = ((3000, 480), (10000, 120))
UNITS = {"radius": "cells", "size": "pixels, short side"}
COLUMNS = {
    "name": "",
    "seconds": "seconds a frame",
    "growth": "of the first",
    "over_limit": "over limit",
    "peak": "peak MiB",
}


def shared(given: Any) -> dict[str, Any]:
    """What all points have in common, as `tracking.Job` takes it."""
    asked = {key: getattr(given, key) for key in ("model", "device", "dtype", "threads")}
    return asked | {"radius": 12, "parts": False}


def point(curve: str, value: int, given: Any) -> dict[str, Any]:
    """A row of any curve but that of frames."""
    warm = max(10, value + 1 if curve == "references" else 0)
    job = shared(given) | {"size": given.size, "warm": warm, "frames": warm + given.timed}
    row = record.alone(tracking.__file__, job | {curve: value})
    return row | {"curve": curve, "x": value, "name": f"{curve} {value}"}


def frames_curve(frames: int, size: int, given: Any) -> list[dict[str, Any]]:
    """Rows of one long run: seconds a frame and memory, every tenth of it."""
    job = shared(given) | {"size": size, "frames": frames, "every": max(1, frames // 10)}
    row = record.alone(tracking.__file__, job)
    rows, before = [], (1, 0.0)
    for done, seconds in ((int(t), s) for t, s in row["clock"].items()):
        mean = (seconds - before[1]) / (done - before[0])
        rows.append(
            {
                "curve": f"frames at {size}",
                "x": done,
                "name": f"frame {done} at {size}",
                "seconds": record.spread([mean]),
                "over_limit": mean / row["limit_seconds"],
                "peak": row["memory"][str(done)],
            }
        )
        before = done, seconds
    return rows


def tables(found: record.Report) -> str:
    """Markdown."""
    return "\n".join(record.table(found["rows"], COLUMNS))


def draw(found: record.Report) -> Figure:
    """A column a curve: seconds above, memory below."""
    curves = list(dict.fromkeys(row["curve"] for row in found["rows"]))
    made = plot.figure(max(500, 300 * len(curves)), 560)
    axes = made.subplots(2, len(curves), squeeze=False)
    for column, curve in enumerate(curves):
        rows = [row for row in found["rows"] if row["curve"] == curve]
        x = [row["x"] for row in rows]
        above, below = axes[0, column], axes[1, column]
        above.plot(x, [row["seconds"]["median"] for row in rows], marker="o", **plot.line(0))
        least, most = ([row["seconds"][key] for row in rows] for key in ("least", "most"))
        above.fill_between(x, least, most, alpha=0.2, color=plot.line(0)["color"])
        below.plot(x, [row["peak"] for row in rows], marker="o", **plot.line(1))
        plot.plain(above, curve)
        plot.plain(below, "")
        for axis in (above, below):
            axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
        below.set_xlabel(UNITS.get(curve, ""))
    axes[0, 0].set_ylabel("seconds a frame")
    axes[1, 0].set_ylabel("peak MiB")
    return made


def main() -> None:
    """Prints a Markdown table; keeps JSON and a plot."""
    parser = record.options(__doc__)
    parser.add_argument("--curve", nargs="+", choices=["frames", *CURVES])
    parser.add_argument("--model", default="small")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--timed", type=int, default=8, help="frames timed for each point")
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--frames", type=int, nargs=2, action="append", metavar=("N", "SIZE"))
    parser.add_argument("--values", type=int, nargs="+", help="points, in place of the usual ones")
    parser.add_argument("--long", action="store_true")
    given = parser.parse_args()
    if record.one(given, lambda job: job):
        return
    rows: list[dict[str, Any]] = []

    def add(row: dict[str, Any]) -> None:
        first = next((r for r in rows if r["curve"] == row["curve"]), row)
        row["growth"] = row["seconds"]["median"] / first["seconds"]["median"]
        rows.append(row)
        record.tell(row, COLUMNS, first=len(rows) == 1)

    for curve in given.curve or ["frames", *CURVES]:
        if curve == "frames":
            for frames, size in given.frames or (LONG_FRAMES if given.long else FRAMES):
                for row in frames_curve(frames, size, given):
                    add(row)
            continue
        for value in given.values or (LONG if given.long else CURVES)[curve]:
            add(point(curve, value, given))
    record.keep(record.report(__file__, rows), given.out, draw)


if __name__ == "__main__":
    main()
