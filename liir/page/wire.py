"""What goes between the page and the server: label images as text, and the forms of requests.

Legend: H W pixels of a frame.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from liir.errors import InputError
from liir.labels import Labels, Size

CPU = torch.device("cpu")
MOST_TEXT = 24_000_000
"""Characters of a packed label image."""

Packed = Annotated[str, Field(max_length=MOST_TEXT, description="gzip of H x W bytes, in base64")]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Colour = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]
Version = Annotated[str | None, Field(max_length=40)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Index = Annotated[int, Field(ge=0, le=2**31 - 1)]


def pack(labels: Labels) -> str:
    """A label image (H, W) uint8 as text."""
    return base64.b64encode(gzip.compress(labels.tobytes(), 1, mtime=0)).decode()


def unpack(text: str, size: Size) -> Labels:
    """The label image (H, W) uint8 of a text; never more than its size is unpacked.

    Raises:
        InputError: It is no packed label image of that size.
    """
    height, width = size
    try:
        data = base64.b64decode(text, validate=True)
        unpacker = zlib.decompressobj(wbits=31)
        values = unpacker.decompress(data, height * width + 1)
    except (binascii.Error, ValueError, zlib.error):
        raise InputError("labels are gzip of bytes, in base64") from None
    if len(values) != height * width:
        raise InputError(f"labels must hold {width}x{height} bytes")
    return np.frombuffer(values, np.uint8).reshape(size).copy()


class Form(BaseModel):
    """What a request says; a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Painting(Form):
    """A frame's label image; `version` is that of the marks which the painter saw."""

    labels: Packed
    version: Version = None


class PlaceForm(Form):
    """Where a point is, in pixels."""

    x: Number
    y: Number
    visible: bool = True


class Placing(Form):
    """Points of a frame by name; null takes one away."""

    places: dict[Name, PlaceForm | None] = Field(max_length=500)
    version: Version = None


class Growing(Form):
    """Strokes to grow: object ids, 255 for background; `reach` from 0 (near) to 1 (far)."""

    strokes: Packed
    reach: Annotated[Number, Field(ge=0, le=1)] = 0.5


class NewThing(Form):
    """An object to add."""

    name: Name | None = None


class ThingChange(Form):
    """What is to change of an object."""

    name: Name | None = None
    colour: Colour | None = None
    hidden: bool | None = None


class Merging(Form):
    """The object that another is to become part of."""

    into: Annotated[int, Field(ge=1, le=254)]


class NewPoint(Form):
    """A keypoint to add."""

    name: Name


class PointChange(Form):
    """What is to change of a keypoint."""

    name: Name
    rename: Name | None = None
    colour: Colour | None = None
    hidden: bool | None = None


class SettingsForm(Form):
    """How labels are to travel; null is the model's own."""

    model: Name | None = None
    size: Annotated[int, Field(ge=0, le=2160)] | None = None
    radius: Annotated[int, Field(ge=1, le=64)] | None = None
    references: Annotated[int, Field(ge=1, le=12)] | None = None


class ProjectChange(Form):
    """What is to change of a project."""

    name: Name | None = None
    settings: SettingsForm | None = None


class Running(Form):
    """Which frames to label: all, or forward or backward from `frame`, or `frame` to `last`."""

    mode: Literal["whole", "forward", "backward", "range"] = "whole"
    frame: Index = 0
    last: Index | None = None


class Adapting(Form):
    """How long to adapt the features, in minutes."""

    minutes: Annotated[Number, Field(gt=0, le=24 * 60)] = 5.0


class Keeping(Form):
    """Which labels and features to keep after adapting."""

    which: Literal["before", "after"]


class Problem(BaseModel):
    """Why a request was refused: what, and how to mend it."""

    detail: Any
