"""What the benchmarks found, as Markdown: the tables of docs/performance.md.

    python benchmarks/report.py                                # prints what lies in bench/
    python benchmarks/report.py --write docs/performance.md

Replaces what stands between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`; sections of which
there is no JSON stay as they are.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

NAMES = ("tracking", "matching", "prior", "scaling", "negatives", "training")


def section(found: dict[str, Any]) -> str:
    """The machine, and the tables of one benchmark."""
    machine = found["machine"]
    about = (
        f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores, "
        f"torch {machine['torch']}, commit `{machine['commit']}`"
    )
    about = f"{machine['gpu']}; {about}" if "gpu" in machine else about
    return f"*{about}.*\n\n{importlib.import_module(found['benchmark']).tables(found)}\n"


def replaced(text: str, name: str, body: str) -> str:
    """The document with one section anew.

    Raises:
        SystemExit: It has no such section.
    """
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    pattern = re.escape(begin) + ".*?" + re.escape(end)
    text, count = re.subn(pattern, lambda _: f"{begin}\n{body}{end}", text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"no section {begin} ... {end}")
    return text


def main() -> None:
    """Prints or writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("bench"), help="where the JSON lies")
    parser.add_argument("--write", type=Path, metavar="FILE", help="docs/performance.md")
    given = parser.parse_args()
    text = given.write.read_text("utf-8") if given.write else ""
    for name in NAMES:
        path = given.out / f"{name}.json"
        if not path.is_file():
            print(f"{path} is not there: run benchmarks/{name}.py", file=sys.stderr)
            continue
        body = section(json.loads(path.read_text("utf-8")))
        if given.write:
            text = replaced(text, name, body)
        else:
            print(f"## {name}\n\n{body}")
    if given.write:
        given.write.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
