"""Scores of the arms of an ablation, beside the published ones."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from liir.evaluation.ablation import Line
from liir.show import plot
from liir.show.output import suffix, write_png

_ROW = 34


def show_arms(lines: Sequence[Line], out: Path) -> None:
    """Draws a row for each arm: a dot for each seed, a bar at their mean, a diamond for the paper.

    Args:
        lines: Of one benchmark or of several, which have a panel each.
        out: A PNG.

    Raises:
        InputError: Matplotlib is not installed, or it cannot be written.
    """
    suffix(out, ".png")
    names = list(dict.fromkeys(line.benchmark for line in lines))
    arms = list(dict.fromkeys(line.arm for line in lines))
    made = plot.figure(260 + 520 * len(names), 130 + _ROW * len(arms))
    panels = made.subplots(1, len(names), squeeze=False, sharey=True).ravel()
    ours, paper = (plot.line(place)["color"] for place in (0, 1))
    for axes, name in zip(panels, names, strict=True):
        plot.plain(axes, name)
        for line in lines:
            if line.benchmark != name:
                continue
            y = arms.index(line.arm)
            axes.plot(line.known, [y] * len(line.known), "o", color=ours, alpha=0.6, markersize=7)
            if line.known:
                mean = statistics.mean(line.known)
                axes.plot([mean], [y], "|", color=ours, markersize=20, markeredgewidth=3)
            if line.published is not None:
                style = {"markerfacecolor": "white", "color": paper, "markersize": 8}
                axes.plot([line.published], [y], "D", **style)
        told = next((each for each in lines if each.benchmark == name), None)
        axes.set_xlabel(f"%; diamonds: published on {told.standard}" if told else "%")
    panels[0].set_yticks(range(len(arms)), arms)
    panels[0].set_ylim(len(arms) - 0.5, -0.5)
    panels[0].plot([], [], "o", color=ours, alpha=0.6, label="ours, a seed")
    panels[0].plot([], [], "|", color=ours, markersize=14, markeredgewidth=3, label="ours, mean")
    panels[0].plot([], [], "D", color=paper, markerfacecolor="white", label="published")
    made.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    write_png(out, plot.drawn(made))
