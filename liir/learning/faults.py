"""What could not be read of the training data, counted and named when a run ends."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

_log = logging.getLogger(__name__)
_NAMED = 20


def tell_faults(
    faults: Mapping[str, str], videos: int, out: Path, step: int, seconds: float
) -> None:
    """Writes a line to the log and, with every reason, one to the run's log.jsonl.

    Args:
        faults: Why, by the path of each video that was left out.
        videos: How many there are in all.
        out: The run's folder.
        step: Steps done.
        seconds: Time spent on them.
    """
    if not faults:
        return
    log = out / "log.jsonl"
    names = [Path(path).name for path in sorted(faults)]
    more = ", ..." if len(names) > _NAMED else ""
    _log.warning(
        "%d of %d videos could not be read and were left out: %s%s (why: %s)",
        len(names), videos, ", ".join(names[:_NAMED]), more, log,
    )  # fmt: skip
    entry = {"step": step, "seconds": round(seconds, 1), "videos": videos, "left_out": {**faults}}
    try:
        with log.open("a") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        _log.warning("%s: not written: %s", log, error)
