"""Settings as fields of a tracking configuration; which frames a run labels, and from what."""

from dataclasses import asdict, replace

import pytest

from liir.errors import InputError
from liir.page.plans import Plan, Settings
from liir.page.propagation import make_plan
from liir.presets import TrackingConfig


def test_only_what_is_set_changes():
    assert Settings(model="small").changes() == {}
    changes = Settings(size=0, radius=9, references=3).changes()
    assert changes == {"size": 0, "radius": 9, "recent": (5, 3, 1)}


def test_no_setting_or_the_default_is_the_models_own():
    assert Settings().changes() == {}
    assert Settings(references=1).changes() == {"recent": (1,)}
    config = TrackingConfig()
    changed = replace(config, **Settings(radius=7, references=2).changes())
    assert (changed.radius, changed.recent, changed.size) == (7, (3, 1), config.size)


@pytest.fixture
def given(client, clip, square):
    """Annotated on 5 and 12 with an object, on 8 with an unseen point alone."""
    client.upload(clip)
    client.paint(5, square(5))
    client.paint(12, square(12))
    client.ask("POST", "/points", json={"name": "nose"})
    unseen = {"nose": {"x": 5, "y": 5, "visible": False}}
    client.ask("PUT", "/frames/8/points", json={"places": unseen})
    return client.studio.project(client.project)


@pytest.mark.parametrize(
    ("asked", "taken", "computed", "annotations", "first"),
    [
        (("whole", 9), (0, 20), (0, 20), (5, 12), 5),
        (("forward", 3), (3, 20), (3, 20), (5, 12), 5),
        (("forward", 9), (9, 20), (5, 20), (5, 12), 5),
        (("backward", 5), (0, 6), (0, 6), (5,), 5),
        (("backward", 7), (6, 13), (6, 13), (12,), 12),
        (("range", 2, 3), (2, 4), (2, 6), (5,), 5),
        (("range", 9, 10), (9, 11), (5, 11), (5,), 5),
        (("range", 14), (14, 15), (5, 15), (5, 12), 5),
    ],
)
def test_which_frames_are_labelled_from_what(given, asked, taken, computed, annotations, first):
    plan = make_plan(given, *asked)
    assert (plan.begin, plan.end) == taken
    assert (plan.start, plan.stop) == computed
    assert (plan.annotations, plan.first) == (annotations, first)
    assert not plan.skips
    assert Plan(**{**asdict(plan), "annotations": annotations}) == plan  # as run.json has it


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("backward", 13), "no frame from 13 on"),
        (("range", 9, 8), "ends .* before it begins"),
        (("range", 9, 20), "no frame 20"),
        (("forward", 20), "no frame 20"),
    ],
)
def test_what_cannot_be_labelled(given, asked, words):
    with pytest.raises(InputError, match=words):
        make_plan(given, *asked)


def test_next_to_an_annotation_there_is_nothing_between(given, square):
    with given.lock:
        given.paint(11, square(11), None)
    with pytest.raises(InputError, match="nothing lies between frame 12"):
        make_plan(given, "backward", 12)
