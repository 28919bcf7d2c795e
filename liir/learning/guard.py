"""Tells when a run has gone wrong, before the step that would make it worse is taken."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping

_RECENT = 100
_LEAST = 20
_USUAL = 0.1  # frames without colour cost nothing, and those after them are no explosion


class Guard:
    """Watches losses and gradients.

    Args:
        limit: A loss this many times the mean of the last hundred steps has exploded; 0: none has.
        recent: The losses of the steps before, if a run goes on.

    Attributes:
        recent: The losses of the last hundred steps.
    """

    def __init__(self, limit: float, recent: Iterable[float] = ()) -> None:
        self.limit = limit
        self.recent = deque(recent, _RECENT)

    def trouble(self, losses: Mapping[str, float], norm: float) -> str | None:
        """What is wrong with a step's losses and gradient norm; None if nothing is.

        The first steps have too little to be compared with.
        """
        if not all(map(math.isfinite, (norm, *losses.values()))):
            told = ", ".join(f"{name} {value}" for name, value in losses.items())
            return f"the loss is {told} and its gradient {norm}"
        loss = sum(losses.values())
        usual = max(_USUAL, sum(self.recent) / max(1, len(self.recent)))
        if self.limit and len(self.recent) >= _LEAST and loss > self.limit * usual:
            return f"the loss is {loss:.3g}, {loss / usual:.0f} times that of the steps before"
        self.recent.append(loss)
        return None
