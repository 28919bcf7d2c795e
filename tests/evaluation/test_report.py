"""A report as JSON, CSV and Markdown."""

import csv
import io
import json

import pytest

from liir.evaluation.report import Report, Row

REPORT = Report(
    "made-up",
    {"radius": 4},
    (
        Row("cat", "1", {"J": 0.5, "F": float("nan")}, "seen", pooled=object()),
        Row("all", "", {"PCK": 0.25}),
    ),
    {"G": 0.125, "J": 0.5},
)


def test_json_has_all_of_it_and_no_nan() -> None:
    document = json.loads(REPORT.to_json(), parse_constant=pytest.fail)
    assert document == {
        "benchmark": "made-up",
        "settings": {"radius": 4},
        "summary": {"G": 0.125, "J": 0.5},
        "rows": [
            {"sequence": "cat", "object": "1", "group": "seen", "scores": {"J": 0.5, "F": None}},
            {"sequence": "all", "object": "", "scores": {"PCK": 0.25}},
        ],
    }


def test_csv_has_a_line_for_each_row_and_the_mean() -> None:
    rows = list(csv.DictReader(io.StringIO(REPORT.to_csv())))
    assert [row["sequence"] for row in rows] == ["cat", "all", "mean"]
    assert rows[0] == {
        "sequence": "cat", "object": "1", "group": "seen", "J": "0.5", "F": "", "PCK": "", "G": "",
    }  # fmt: skip
    assert rows[2]["G"] == "0.125"


def test_markdown_is_a_table_in_percent() -> None:
    lines = REPORT.to_markdown().splitlines()
    assert lines[0] == "| made-up | J | F | PCK | G |"
    assert lines[2] == "| cat 1 | 50.0 | nan |  |  |"
    assert lines[-1] == "| **mean** | 50.0 |  |  | 12.5 |"
    assert len({line.count("|") for line in lines}) == 1
