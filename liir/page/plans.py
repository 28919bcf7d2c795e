"""How the labels of a project are to travel, and which frames a run labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """How labels are to travel; None is the model's own.

    Attributes:
        model: A name that `Models` knows, or "adapted".
        size: Short side at which features are computed, in pixels; 0 for the video's own.
        radius: Half the side of the search window, in cells.
        references: Recent frames matched with.
    """

    model: str | None = None
    size: int | None = None
    radius: int | None = None
    references: int | None = None

    def changes(self) -> dict[str, Any]:
        """Fields of a `TrackingConfig` that differ from the model's own."""
        found: dict[str, Any] = {"size": self.size, "radius": self.radius}
        if self.references is not None:
            found["recent"] = tuple(range(2 * self.references - 1, 0, -2))
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Plan:
    """What a run labels.

    Attributes:
        mode: "whole", "forward", "backward" or "range".
        begin: First frame whose labels are taken.
        end: Frame before which they are.
        start: Where computing starts.
        stop: Frame before which it stops.
        annotations: Frames whose annotations are given.
        first: The first of them: frames before it are labelled backwards.
        skips: Whether it goes on from the tracker of an earlier run.
    """

    mode: str
    begin: int
    end: int
    start: int
    stop: int
    annotations: tuple[int, ...]
    first: int
    skips: bool = False
