"""Settings as text become fields of a preset, or one line says why not."""

import dataclasses

import pytest

from liir import presets
from liir.errors import InputError
from liir.settings import checked, parse_settings


@pytest.mark.parametrize(
    ("text", "part", "field", "value"),
    [
        ("radius=14", "training", "radius", 14),
        ("tracking.radius=14", "tracking", "radius", 14),
        ("position=none", "model", "position", "none"),
        ("topk=none", "tracking", "topk", None),
        ("topk=5", "tracking", "topk", 5),
        ("recent=7,5,3", "tracking", "recent", (7, 5, 3)),
        ("recent=1", "tracking", "recent", (1,)),
        ("recent=", "tracking", "recent", ()),
        ("size=0", "tracking", "size", 0),
        ("learning_rate=3e-4", "training", "learning_rate", 3e-4),
        ("clip_norm=1", "training", "clip_norm", 1),
        ("mix=3,0.5", "training", "mix", (3, 0.5)),
    ],
)
def test_a_text_is_a_field(text: str, part: str, field: str, value: object) -> None:
    changes = parse_settings([text], "training", "model", "tracking")
    assert changes.pop(part) == {field: value}
    assert not any(changes.values())


def test_every_default_can_be_said() -> None:
    preset = presets.small()
    for part in ("model", "tracking", "training"):
        fields = dataclasses.asdict(getattr(preset, part))
        for name, value in fields.items():
            word = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            assert parse_settings([f"{name}={word}"], part)[part] == {name: value}


def test_the_last_counts() -> None:
    assert parse_settings(["size=64", "size=96"], "tracking")["tracking"] == {"size": 96}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("radios=3", "radius"),
        ("radius", "FIELD=VALUE"),
        ("=3", "no field"),
        ("radius=", "radius"),
        ("radius=1.5", "radius is a whole number"),
        ("topk=far", "topk is a whole number or none"),
        ("temperature=far", "temperature is a number"),
        ("feedback=sofft", "feedback is one of soft, hard"),
        ("radius=-1", "positive"),
        ("radius=0", "positive"),
        ("temperature=nan", "positive"),
        ("temperature=inf", "positive"),
        ("recent=0", "positive"),
        ("recent=3,x", "recent is whole numbers with commas"),
        ("similarity=cosin", "similarity is one of cosine"),
        ("size=31", "32"),
        ("gaussians=10", "9 or fewer"),
        ("compact_form=publishd", "compact_form is one of mass, published"),
        ("crop=64", "no field"),
        ("training.crop=64", "fields of 'training' cannot be set here"),
        ("trackin.radius=3", "did you mean tracking?"),
    ],
)
def test_what_cannot_be_is_told(text: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_settings([text], "tracking")
    assert repr(text) in str(caught.value)
    assert told in str(caught.value)


def test_the_nearest_of_all_parts_is_named() -> None:
    with pytest.raises(InputError, match="did you mean position"):
        parse_settings(["positoin=none"], "training", "model")


def test_crops_are_whole_cells_of_both_heads() -> None:
    with pytest.raises(InputError, match="multiple of 8"):
        parse_settings(["crop=100"], "training")


def test_a_chunk_holds_a_pair() -> None:
    assert parse_settings(["chunk=2"], "training")["training"] == {"chunk": 2}
    with pytest.raises(InputError, match="'chunk=1': is too small: a pair takes 2 frames"):
        parse_settings(["chunk=1"], "training")


def test_shares_need_not_be_whole() -> None:
    with pytest.raises(InputError, match="mix is numbers with commas between them"):
        parse_settings(["mix=far"], "training")


@pytest.mark.parametrize("text", ["cover=1.5", "grey_share=2", "light=1.1", "average=1"])
def test_shares_end_at_one(text: str) -> None:
    with pytest.raises(InputError, match="or less"):
        parse_settings([text], "training")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("momentum=5", "or less"),
        ("second_stage=3", "or less"),
        ("crop_source=100,20", "the smallest side first"),
        ("dtype=float16", "dtype is one of auto, float32, bfloat16"),
    ],
)
def test_what_training_cannot_be(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_settings([text], "training")


def test_all_presets_can_be_trained() -> None:
    for make in presets.PRESETS.values():
        assert checked(make()) == make()


def test_fields_that_do_not_go_together() -> None:
    preset = presets.small()
    far = dataclasses.replace(preset.training, gap=16)
    with pytest.raises(InputError, match=r"gap 16: .* the 16 that .* chunk=17"):
        checked(dataclasses.replace(preset, training=far))
    checked(dataclasses.replace(preset, training=dataclasses.replace(far, chunk=17)))
    crop = dataclasses.replace(preset.model, position_fit="crop")
    inter = dataclasses.replace(preset.training, inter_weight=0.5)
    both = dataclasses.replace(preset, model=crop, training=inter)
    with pytest.raises(InputError, match="shifting=roll"):
        checked(both)
    checked(dataclasses.replace(both, model=dataclasses.replace(crop, position="none")))
    zoom = dataclasses.replace(preset.training, zoom=1.2)
    with pytest.raises(InputError, match="zoom: with position_fit=crop"):
        checked(dataclasses.replace(preset, model=crop, training=zoom))
    checked(dataclasses.replace(preset, training=zoom))
    checked(dataclasses.replace(both, training=dataclasses.replace(inter, shifting="roll")))


def test_presets_are_checked_field_by_field() -> None:
    listed = dataclasses.replace(presets.small().training, mix=[1, 2])
    assert checked(dataclasses.replace(presets.small(), training=listed)).training.mix == (1, 2)
    wild = dataclasses.replace(presets.small().tracking, radius=0)
    with pytest.raises(InputError, match="'radius=0': is out of range"):
        checked(dataclasses.replace(presets.small(), tracking=wild))
