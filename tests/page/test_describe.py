"""Frame numbers in few words."""

from liir.page.describe import ranges


def test_ranges():
    assert ranges(set()) == []
    assert ranges({4}) == [[4, 4]]
    assert ranges({0, 1, 2, 5, 7, 8}) == [[0, 2], [5, 5], [7, 8]]
