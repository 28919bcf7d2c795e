"""Settings as text: `radius=14` to a field of a preset, checked."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal, get_args, get_origin, get_type_hints

from liir import presets
from liir.errors import InputError
from liir.inputs import naming, nearest
from liir.presets import Preset

LEAST_SIZE = 32
"""Pixels on the short side below which there are too few cells to tell anything."""

MOST_GAUSSIANS = 9
"""A window has more keys than that, whatever its radius."""

_MAY_BE_ZERO = {
    *("first", "size", "point_threshold", "gaussians", "seed", "warmup", "rival_margin"),
    *("annotated", "lasting_margin", "guide_radius", "common_fate", "seen_above"),
    *("weight_decay", "inter_weight", "compact_weight", "second_stage", "bank_points", "explosion"),
    *("view_share", "view_rotation", "view_shear", "view_shift", "view_perspective", "view_bend"),
    *("view_light", "view_colour", "cache_mib", "momentum"),
    *("grey_share", "light", "cover", "pieces", "contrast_weight", "average"),
}
_MOST = {"view_share": 1, "view_perspective": 0.4, "view_light": 1, "view_colour": 1}
_MOST |= {"grey_share": 1, "light": 1, "cover": 1, "pieces": 1, "average": 0.99999}
_MOST |= {"momentum": 1, "second_stage": 1, "guide_radius": 32, "common_fate": 1, "seen_above": 1}


def parse_settings(texts: Sequence[str], *parts: str) -> dict[str, dict[str, Any]]:
    """Reads FIELD=VALUE or PART.FIELD=VALUE; several numbers have commas between them.

    Args:
        texts: The settings; the last of several for one field counts.
        parts: Parts of a `Preset` that may be set. A field that several of them have is that of
            the first.

    Returns:
        Changed fields by part, for `dataclasses.replace`.

    Raises:
        InputError: There is no such field (the nearest is named), or its value cannot be that.
    """
    changes: dict[str, dict[str, Any]] = {"model": {}, "tracking": {}, "training": {}}
    fields = {part: vars(getattr(presets.base(), part)) for part in parts}
    for text in texts:
        before, sign, word = text.partition("=")
        part, _, name = before.rpartition(".")
        near = difflib.get_close_matches(name, [*chain(*fields.values())], n=1) or [name]
        part = part or next((each for each in parts if near[0] in fields[each]), parts[0])
        with naming(f"setting {text!r}"):
            if sign and part not in parts:
                raise InputError(f"fields of {part!r} cannot be set here{nearest(part, parts)}")
            if not sign:
                raise InputError(f"write FIELD=VALUE, such as {next(iter(fields[parts[0]]))}=...")
            default = fields[part].get(name)
            value = word if isinstance(default, str) else _value(word)
            if isinstance(default, tuple) and not isinstance(value, tuple):
                value = (value,) if word else ()
            empty: dict[str, Any] = {"name": "", "model": {}, "tracking": {}, "training": {}}
            try:
                presets.from_dict(empty | {part: {name: value}})
            except InputError:
                if name not in fields[part]:
                    raise
                hints = get_type_hints(type(getattr(presets.base(), part)))
                raise InputError(f"{name} is {_wanted(hints[name])}") from None
            _check_range(name, value)
        changes[part][name] = value
    return changes


def checked(preset: Preset | str) -> Preset:
    """The preset, or that of the name, if it can be trained; lists in it have become tuples.

    Raises:
        InputError: There is none of that name; or a field has the wrong type or is out of range,
            or two do not go together.
    """
    if isinstance(preset, str):
        return presets.preset(preset)
    preset = presets.from_dict(presets.to_dict(preset))
    for part in (preset.model, preset.tracking, preset.training):
        for name, value in vars(part).items():
            with naming(f"setting '{name}={value}'"):
                _check_range(name, value)
    config = preset.training
    if config.gap >= config.chunk:
        raise InputError(
            f"gap {config.gap}: frames are drawn from the {config.chunk} that are decoded together "
            f"(chunk): give a smaller one, or --set chunk={config.gap + 1}"
        )
    placed = preset.model.position != "none" and preset.model.position_fit == "crop"
    if config.zoom != 1 and placed:
        raise InputError(
            "zoom: with position_fit=crop all frames of a sample have the position of one crop; "
            "leave one of them out"
        )
    if config.inter_weight > 0 and config.shifting == "aligned" and placed:
        raise InputError(
            "shifting aligned: with position_fit=crop the same window of another video has "
            "another position, which gives it away; use --set shifting=roll"
        )
    return preset


def _wanted(hint: Any) -> str:
    """What a field of that type takes, in words."""
    inner = get_args(hint)
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, inner))
    if get_origin(hint) is tuple:
        count = "" if inner[-1] is ... else f"{len(inner)} "
        whole = "whole " if inner[0] is int else ""
        return f"{count}{whole}numbers with commas between them"
    if inner:  # what may be None
        return " or ".join(_wanted(part) for part in inner)
    words: dict[Any, str] = {int: "a whole number", float: "a number", type(None): "none"}
    return words[hint]


def _value(word: str) -> Any:
    """A number, none, several of them with commas between, or else the word itself."""
    if "," in word:
        return tuple(_value(each) for each in word.split(",") if each)
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return None if word.lower() == "none" else word


def _check_range(name: str, value: Any) -> None:
    if name == "crop_source" and [*value] != sorted(value):
        raise InputError("is the wrong way round: give the smallest side first")
    for number in value if isinstance(value, tuple) else (value,):
        if not isinstance(number, int | float):
            continue
        if not math.isfinite(number) or number < 0 or (number == 0 and name not in _MAY_BE_ZERO):
            raise InputError("is out of range: give a positive number")
        if number > _MOST.get(name, math.inf):
            raise InputError(f"is out of range: give {_MOST[name]} or less")
        if name == "size" and 0 < number < LEAST_SIZE:
            raise InputError(
                f"is too small: give {LEAST_SIZE} pixels or more, or 0 for the video's own"
            )
        if name == "gaussians" and number > MOST_GAUSSIANS:
            raise InputError(f"is out of range: give {MOST_GAUSSIANS} or fewer")
        if name == "chunk" and number < 2:
            raise InputError("is too small: a pair takes 2 frames or more")
        if name == "crop" and number % 8:
            raise InputError("is not a multiple of 8")
