"""Labels that are read while they grow; frames worth a correction."""

from liir.export import ConfidenceWriter
from liir.page.results import Results, doubtful


def test_rows_are_read_as_they_come(tmp_path):
    results = Results(tmp_path, None)
    assert not results.refresh()
    with ConfidenceWriter(tmp_path / "confidence.csv") as table:
        table.write(0, {1: 0.5})
        assert results.refresh()
        table.write(1, {1: 0.25, 2: 1.0})
        assert results.refresh()
    assert results.confidence == {0: {1: 0.5}, 1: {1: 0.25, 2: 1.0}}
    with ConfidenceWriter(tmp_path / "confidence.csv") as table:  # another run
        table.write(5, {3: 0.75})
    results.refresh()
    assert results.confidence == {5: {3: 0.75}}


def test_the_least_sure_frames_are_told_apart():
    sure = {f: {1: 0.95} for f in range(60)} | {20: {1: 0.3}, 21: {1: 0.35}, 45: {1: 0.5}}
    assert doubtful(sure, []) == [20, 45]
    assert doubtful(sure, [20]) == [45]
    gone = {f: {1: 0.95 if f < 30 else 0.0} for f in range(60)}
    assert doubtful(gone, [0]) == [30]
