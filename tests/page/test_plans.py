"""Settings as fields of a tracking configuration."""

from liir.page.plans import Settings


def test_only_what_is_set_changes():
    assert Settings(model="small").changes() == {}
    changes = Settings(size=0, radius=9, references=3).changes()
    assert changes == {"size": 0, "radius": 9, "recent": (5, 3, 1)}
