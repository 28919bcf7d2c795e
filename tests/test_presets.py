"""Configurations survive JSON, and say what is wrong with a field."""

import dataclasses
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liir.encoder import Encoder
from liir.errors import InputError
from liir.presets import (
    PRESETS,
    ModelConfig,
    Preset,
    TrackingConfig,
    TrainingConfig,
    from_dict,
    preset,
    to_dict,
)

SCALES = st.floats(0.01, 100, allow_nan=False)
OFFSETS = st.lists(st.integers(0, 50), max_size=4).map(tuple)

PRESET = st.builds(
    Preset,
    name=st.text(max_size=8),
    model=st.builds(
        ModelConfig,
        width=SCALES | st.just(1),  # JSON may bring a whole number for a float
        position=st.sampled_from(["none", "sinusoid", "learnable"]),
    ),
    tracking=st.builds(
        TrackingConfig, topk=st.none() | st.integers(1, 99), first=OFFSETS, recent=OFFSETS
    ),
    training=st.builds(
        TrainingConfig,
        learning_rate=SCALES,
        crop_source=st.tuples(st.integers(8, 99), st.integers(99, 300)),
    ),
)


@given(PRESET)
def test_comes_back_from_json(config: Preset) -> None:
    back = from_dict(json.loads(json.dumps(to_dict(config))))
    assert back == config
    assert hash(back) == hash(config)  # the tuples are tuples again


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name: str) -> None:
    config = preset(name)
    assert config.name == name
    assert config == from_dict(to_dict(config))
    assert config.training.crop % 8 == 0
    assert config.training.gap < config.training.chunk
    Encoder(config.model)


def changed(one: Preset, other: Preset) -> dict[str, tuple[Any, Any]]:
    """Fields that differ, by part.field."""
    a, b = to_dict(one), to_dict(other)
    return {
        f"{part}.{name}": (value, b[part][name])
        for part in ("model", "tracking", "training")
        for name, value in a[part].items()
        if value != b[part][name]
    }


def test_each_rung_of_the_ladder_adds_one_part() -> None:
    names = ["baseline", "position", "inter", "compact"]
    steps = [changed(preset(a), preset(b)) for a, b in pairwise(names)]
    assert steps == [
        {"model.position": ("none", "learnable")},
        {"training.inter_weight": (0.0, 0.5)},
        {"tracking.gaussians": (0, 2), "training.compact_weight": (0.0, 1.0)},
    ]


def test_mast_is_paper_without_its_parts() -> None:
    assert changed(preset("paper"), preset("mast")) == {
        "model.position": ("learnable", "none"),
        "tracking.gaussians": (2, 0),
        "training.inter_weight": (0.5, 0.0),
        "training.compact_weight": (1.0, 0.0),
    }


def test_paper_is_compact_as_published() -> None:
    published = {
        "tracking.similarity": ("cosine", "dot"),
        "tracking.temperature": (0.05, 1.0),
        "tracking.radius": (20, 14),
        "tracking.topk": (5, None),
        "tracking.feedback": ("soft", "hard"),
        "tracking.guide_radius": (3, 0),
        "tracking.compact_form": ("mass", "published"),
        "training.similarity": ("cosine", "dot"),
        "training.temperature": (0.07, 1.0),
        "training.compact_form": ("mass", "published"),
    }
    assert changed(preset("compact"), preset("paper")) == published
    assert preset("paper").model.width == 1.0


def test_small_is_base_at_half_the_width() -> None:
    assert changed(preset("small"), preset("base")) == {"model.width": (0.5, 1.0)}


def test_base_is_position_with_another_way_of_shifting() -> None:
    assert changed(preset("position"), preset("base")) == {
        "training.shifting": ("roll", "aligned"),
        "training.bank_frames": (1440, 64),
        "training.momentum": (0.999, 0.0),
    }


def test_a_preset_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("small").model.width = 2.0  # type: ignore[misc]


def test_fields_that_are_missing_take_their_defaults() -> None:
    values = to_dict(preset("base"))
    del values["training"]["temperature"]
    assert from_dict(values).training.temperature == TrainingConfig().temperature


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(InputError, match="'smal'; did you mean small"):
        preset("smal")
    with pytest.raises(InputError, match="there are: small, base"):
        preset("xyz")


def test_unknown_field_names_the_nearest() -> None:
    values = to_dict(preset("small"))
    values["tracking"]["radios"] = 3
    with pytest.raises(InputError, match=r"TrackingConfig has no field 'radios'; .* radius\?"):
        from_dict(values)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("model", "width", "0.5"),
        ("model", "width", True),
        ("model", "width", None),
        ("model", "position", "learned"),
        ("tracking", "radius", 2.5),
        ("tracking", "topk", "all"),
        ("tracking", "first", 5),
        ("tracking", "recent", [1, "3"]),
        ("training", "crop_source", [96]),
        ("training", "seed", {}),
    ],
)
def test_value_of_another_type(part: str, field: str, value: Any) -> None:
    values = to_dict(preset("small"))
    values[part][field] = value
    with pytest.raises(InputError, match=field):
        from_dict(values)


@pytest.mark.parametrize("values", [{}, [], None, {"model": 3}, {"model": {}, "name": "x"}])
def test_no_configuration_at_all(values: Any) -> None:
    with pytest.raises(InputError, match="not a liir configuration"):
        from_dict(values)
