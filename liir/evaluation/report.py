"""What an evaluation says: a row of scores for each object, class or clip, and their summary."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Row:
    """Scores of one object, one class or (points) one sequence; fractions.

    Attributes:
        sequence: the sequence's name.
        object: what of it; "" for all.
        scores: by name.
        group: what a summary tells apart, such as seen and unseen.
        pooled: what a summary over all sequences is made of, where that is no mean of `scores`.
    """

    sequence: str
    object: str
    scores: Mapping[str, float]
    group: str = ""
    pooled: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Report:
    """What a run scored: fractions in [0, 1] (decay: [-1, 1]), NaN where nothing counted.

    Attributes:
        benchmark: its name.
        settings: what the predictions were made with.
        rows: of each object, class or sequence.
        summary: the headline numbers.
        archive: what to send to the server that has the truth, if that is so.
    """

    benchmark: str
    settings: Mapping[str, object]
    rows: tuple[Row, ...]
    summary: Mapping[str, float]
    archive: Path | None = None

    def to_json(self) -> str:
        """All of it as a JSON document; NaN becomes null."""

        def plain(scores: Mapping[str, float]) -> dict[str, float | None]:
            return {name: None if np.isnan(value) else value for name, value in scores.items()}

        rows = []
        for row in self.rows:
            told = {"sequence": row.sequence, "object": row.object}
            rows.append(told | ({"group": row.group} if row.group else {}))
            rows[-1] |= {"scores": plain(row.scores)}  # type: ignore[dict-item]
        document = {
            "benchmark": self.benchmark,
            "settings": dict(self.settings),
            "summary": plain(self.summary),
            "rows": rows,
        }
        return json.dumps(document, indent=1, default=str)

    def to_csv(self) -> str:
        """A line for each row and, last, the summary (sequence "mean"); fractions, NaN empty."""
        columns = self._columns()
        text = io.StringIO(newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["sequence", "object", "group", *columns])
        for row in [*self.rows, Row("mean", "", self.summary)]:
            values = [row.scores.get(name, np.nan) for name in columns]
            shown = ["" if np.isnan(value) else repr(float(value)) for value in values]
            table.writerow([row.sequence, row.object, row.group, *shown])
        return text.getvalue()

    def to_markdown(self) -> str:
        """A table in percent: a line for each row and, last, the summary."""
        columns = self._columns()
        entries = [(f"{row.sequence} {row.object}".strip(), row.scores) for row in self.rows]
        lines = ["| " + " | ".join([self.benchmark, *columns]) + " |"]
        lines.append("|---|" + "---:|" * len(columns))
        for name, scores in [*entries, ("**mean**", self.summary)]:
            values = [f"{100 * scores[key]:.1f}" if key in scores else "" for key in columns]
            lines.append("| " + " | ".join([name, *values]) + " |")
        return "\n".join(lines) + "\n"

    def _columns(self) -> list[str]:
        names = [name for row in self.rows for name in row.scores]
        return list(dict.fromkeys([*names, *self.summary]))
