"""The frames a tracker remembers: annotated ones for good, the others while they are of use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from liir.errors import InputError
from liir.presets import TrackingConfig

MIB = 1 << 20


@dataclass(frozen=True)
class Reference:
    """A labelled frame.

    Attributes:
        step: When the tracker saw it.
        keys: (C, h, w) features, normalised for matching.
        values: (h w, K) label scores.
        known: (K,) bool; False where the frame says nothing of a label, because its object was
            first annotated later on.
        annotated: Whether a person labelled it.
        unseen: (h w,) how much of each cell shows what no annotated frame did (see `common_fate`);
            None: nothing.
    """

    step: int
    keys: Tensor
    values: Tensor
    known: Tensor
    annotated: bool
    unseen: Tensor | None = None

    @property
    def bytes(self) -> int:
        """Size of features and scores."""
        unseen = 0 if self.unseen is None else self.unseen.nbytes
        return self.keys.nbytes + self.values.nbytes + unseen


class Memory:
    """Reference frames under a byte budget.

    Used at step t: the first annotated frame and the latest few (`annotated`); the frames `first`
    steps after the latest one; the frames `recent` steps before t. What is not there is left out,
    what repeats counts once. Where nothing of it is there, the newest frame is used.

    Args:
        config: `annotated`, `first`, `recent`, `budget_mib`, `radius` and `lasting_margin`.
    """

    def __init__(self, config: TrackingConfig) -> None:
        self.config = config
        self.anchor = 0
        self._kept: dict[int, Reference] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """Size of all that is remembered."""
        return sum(reference.bytes for reference in self._kept.values())

    def add(self, reference: Reference, corrects: bool = False) -> None:
        """Remembers a frame; an annotated one becomes the new anchor.

        Args:
            reference: The frame.
            corrects: Whether its annotation speaks for labels that were tracked until now. What
                was tracked is then forgotten: it would vote the correction down again.

        Raises:
            InputError: One frame alone exceeds the budget.
        """
        if reference.annotated:
            self.anchor = reference.step
        if corrects:
            self._kept = {s: r for s, r in self._kept.items() if r.annotated}
        self._kept[reference.step] = reference
        self._forget(reference.step + 1)

    def references(self, step: int) -> list[Reference]:
        """What frame `step` is matched with, oldest first."""
        wanted = self._wanted(step)
        if not wanted & self._kept.keys():
            wanted = {max(self._kept, default=step)}
        return [r for s, r in sorted(self._kept.items()) if s in wanted]

    def lasting(self) -> set[int]:
        """Steps that are of use however far the tracker gets, until the next annotation."""
        annotated = sorted(s for s, r in self._kept.items() if r.annotated)
        count = self.config.annotated
        latest = {*annotated[:1], *annotated[-count:]} if count else set()
        return latest | {self.anchor + offset for offset in self.config.first}

    def radii(self, references: Sequence[Reference]) -> list[int]:
        """Of the window in each reference: those that last are looked at further around."""
        lasting, config = self.lasting(), self.config
        return [config.radius + config.lasting_margin * (r.step in lasting) for r in references]

    def state(self) -> dict[str, Any]:
        """All that it holds, for `torch.save`; shares the tensors, which never change."""
        return {"anchor": self.anchor, "kept": [dict(vars(r)) for r in self._kept.values()]}

    def restore(self, state: dict[str, Any]) -> None:
        """Puts back what `state` gave."""
        self.anchor = state["anchor"]
        self._kept = {r["step"]: Reference(**r) for r in state["kept"]}

    def add_labels(self, at: int, count: int) -> None:
        """Inserts `count` label channels at channel `at`, which no remembered frame knows."""
        for step, reference in self._kept.items():
            values, known = reference.values, reference.known
            self._kept[step] = replace(
                reference,
                values=torch.cat(
                    (values[:, :at], values.new_zeros(len(values), count), values[:, at:]), dim=1
                ),
                known=torch.cat((known[:at], known.new_zeros(count), known[at:])),
            )

    def _wanted(self, step: int) -> set[int]:
        return self.lasting() | {step - offset for offset in self.config.recent}

    def _forget(self, step: int) -> None:
        """Drops what no step from `step` on will ask for, then the oldest beyond the budget."""
        lasting = self.lasting()
        oldest = step - max(self.config.recent, default=1)
        self._kept = {s: r for s, r in self._kept.items() if s in lasting or s >= oldest}
        budget = self.config.budget_mib * MIB
        newest = step - 1
        while self.bytes > budget and len(self._kept) > 2:
            del self._kept[self._least(newest)]
        if self.bytes > budget and len(self._kept) == 1:
            need = -(-self.bytes // MIB)
            raise InputError(
                f"one frame's features and labels take {need} MiB, more than the budget of "
                f"{self.config.budget_mib} MiB; raise budget_mib or lower --size"
            )

    def _least(self, newest: int) -> int:
        """The step to give up first: unannotated before annotated, old before new.

        The newest frame and the anchor carry the labels on and are never given up.
        """
        candidates: Sequence[int] = [s for s in self._kept if s not in (newest, self.anchor)]
        return min(candidates, key=lambda s: (self._kept[s].annotated, s))
