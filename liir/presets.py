"""What a model, a tracker and a training run are made of, and the named combinations.

Every setting is a field of one of three frozen dataclasses; a preset is a function that returns
one `Preset` made of the three. Nothing here imports torch, so that reading a preset is instant.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from liir.errors import InputError
from liir.inputs import nearest

Similarity = Literal["cosine", "dot"]
Shifting = Literal["none", "roll", "aligned", "drop"]
CompactForm = Literal["mass", "published"]
CompactSpread = Literal["fixed", "fitted"]
CompactNeighbours = Literal["allowed", "suppressed"]
PositionCode = Literal["none", "sinusoid", "learnable"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network: a ResNet-18 at stride 4 with two heads.

    Attributes:
        width: Factor on the channels of the stem, the four stages and the position map; the heads
            keep their sizes. 1.0 is the published network, 0.5 the small one.
        position: Position code added after the stem's ReLU.
        position_grid: Side of the learnable position map, in cells of that map.
        position_fit: How the map meets a training crop: "resize" stretches the whole map over the
            crop, "crop" gives the crop the part of the map that it covers in the full frame.
        pixel_channels: Channels of the head matched at stride 4.
        region_channels: Channels of the head matched at stride 8 (inter-video training only).
    """

    width: float = 1.0
    position: PositionCode = "learnable"
    position_grid: int = 128
    position_fit: Literal["resize", "crop"] = "resize"
    pixel_channels: int = 64
    region_channels: int = 128


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """How labels travel: similarity, window, references, feedback.

    Attributes:
        similarity: "cosine" normalises features to unit length, "dot" takes them as they are.
        temperature: Divides the similarity before the softmax.
        radius: Half the side of the square search window, in feature cells (stride 4).
        lasting_margin: Cells by which the window reaches further in the references that stay,
            annotated frames and `first`: from there, things have gone further. Needs `topk`.
        topk: Keys kept per query over all references jointly; None keeps the whole window.
        rival_margin: Similarity by which another query has to be closer to all of a query's keys
            for it to be left to the background, as new (see `newcomers`); 0: never. Needs `topk`.
        common_fate: The share that what is new takes of each label nearby, to go on with what it
            moves with (see `common_fate`); 0: it stays background. Needs `rival_margin`, "soft".
        seen_above: Cosine with its best key from which a cell is no newcomer to `common_fate`, as
            `small` and `base` have them; 0: of newcomers, what `rival_margin` tells alone.
        feedback: "soft" feeds label scores back as they are, "hard" their one-hot maximum.
        annotated: Annotated frames matched at most, the latest ones and the very first; 0: only
            those that `first` and `recent` name.
        first: References counted from the nearest annotated frame in the direction of travel.
        recent: References counted back from the current frame.
        budget_mib: MiB that remembered features and labels may take.
        size: Short side of the picture that features are of, in pixels; 0: the video's own.
        guide_radius: Cells around each whose colours say where a label ends (see `guide`); 0: none.
        point_sigma: Standard deviation of a keypoint's blob, in feature cells.
        point_threshold: Confidence below which a keypoint is reported invisible.
        gaussians: Gaussians in place of a query's confident matches in one reference; 0: none.
        compact_threshold: Matches in one reference are confident if the largest share is above.
        compact_form: "mass" keeps the mass that the matches had; "published" as the authors' code
            has it (see `compactness`).
        compact_spread: "fixed" at one cell, or "fitted" to the matches' second moment.
        compact_neighbours: Whether centres may lie side by side.
    """

    similarity: Similarity = "cosine"
    temperature: float = 0.05
    radius: int = 20
    lasting_margin: int = 12
    topk: int | None = 5
    rival_margin: float = 0.06
    common_fate: float = 0.03
    seen_above: float = 0.9
    feedback: Literal["soft", "hard"] = "soft"
    annotated: int = 4
    first: tuple[int, ...] = (0, 5)
    recent: tuple[int, ...] = (5, 3, 1)
    budget_mib: int = 512
    size: int = 480
    guide_radius: int = 3
    point_sigma: float = 1.0
    point_threshold: float = 0.25
    gaussians: int = 0
    compact_threshold: float = 0.1
    compact_form: CompactForm = "mass"
    compact_spread: CompactSpread = "fixed"
    compact_neighbours: CompactNeighbours = "allowed"


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How features are learned.

    Attributes:
        seed: Fixes initial weights and the whole order of samples.
        mix: Share of the samples that each of the places trained on gets, in any unit; empty:
            all of them are one place.
        draw: What is equally likely within a place: each of its "videos", or each of its "frames",
            so that a longer video comes more often.
        cuts: Where cuts are looked for: in every video, by decoding it once before the first step
            ("index"), or in each chunk as it is decoded ("chunk"), which starts at once.
        batch: Pairs of frames per step.
        crop: Side of the square crops the network sees, in pixels; a multiple of 8.
        crop_source: Smallest and largest side of the crop in the source frame, in pixels; the
            largest is cut to the frame's short side. With 48 to 160 of frames of 360 lines, things
            are as large in the crops as in the 480 lines that are tracked.
        frame_side: Largest short side of decoded frames, in pixels; larger ones are shrunk.
        view_share: Share of the samples of a video that are two views of one frame rather than two
            frames; samples of photographs always are. The views differ, at most, by
        view_rotation: degrees,
        view_zoom: this factor, larger or smaller,
        view_shear: this many pixels in x for one in y,
        view_shift: this share of the crop's side, in x and in y,
        view_perspective: this change of scale from the middle to a side, 0.4 or less,
        view_bend: this share of the crop's side at the 4x4 knots of a thin plate,
        view_light: this change of contrast, and half of it in brightness,
        view_colour: this change of tint and saturation. The defaults keep nearly every true match
            within a window of 6 cells.
        gap: Largest distance of the target from its references, in frames.
        references: Frames that a target is rebuilt from, at different distances.
        zoom: Largest factor by which a reference shows things larger or smaller than the target.
        targets: Which frames are rebuilt from the others: the "last" alone, or the first one as
            well ("both"), with the same features.
        chunk: Frames decoded together; `reuse` pairs are drawn from them.
        reuse: Steps in a row that draw from the same chunk.
        cache_mib: Bytes of decoded frames kept for later chunks, in MiB, over all the processes
            that decode; worth it where the whole data set fits. The samples are the same.
        radius: Half the side of the window colours are rebuilt from, in cells at stride 4.
        similarity, temperature: As in `TrackingConfig`.
        rebuild: "colour" hides a or b and rebuilds it; "lightness", for grey footage, hides
            the brightness around each pixel and rebuilds that from the detail.
        colour_scale: Factor on colours before the smooth L1 loss.
        grey_share: Share of the samples of which the network sees lightness alone. As with the two
            below, the colours that are rebuilt stay those of the frames (see `disguise`).
        light: Change of contrast, and half of it in brightness, of each frame by itself.
        cover: Share of the samples with something in front of a part of the target.
        pieces: Share with a piece of their frames that moves on its own (see `learning.pieces`).
        contrast_weight: Factor on contrast over cells whose match is known; needs a `view_share`,
            photographs, or a
        teacher: Weights, by the names that `liir.load` knows, whose matches are taught, too: from
            the target through all references to the farthest one, where the way back agrees (see
            `learning.teacher`).
        learning_rate: Peak of the cosine schedule (Adam).
        warmup: Steps over which the learning rate rises linearly from zero.
        weight_decay: Decoupled weight decay.
        clip_norm: Largest gradient norm.
        average: Weights are those of a mean over the run's steps, in which older ones fade by this
            factor a step, such as 0.999; 0: those of the last step.
        dtype: What the network computes in; "auto" is bfloat16 where the device is fast in it.
        explosion: A loss this many times the mean of the last hundred steps ends the run; 0: none.
        second_stage: Share of the run after which the terms below join; 1 leaves them out.
        inter_weight: Factor on inter-video reconstruction; 0 leaves it out.
        inter_radius: Half the side of its window, in cells at stride 8.
        bank_frames: Frames of other videos kept as negatives; 250000 make a million of them (with
            "aligned" shifting many more).
        bank_points: Points kept of each; 0 keeps the whole region map ("aligned" shifting does).
        bank_sampling: Where points are taken: "uniform", or more often on "edges".
        momentum: Of the copy of the region head that encodes negatives; 0: the head itself does.
        shifting: How position is kept from giving other videos away: "none"; "roll" rolls every
            frame's map by an offset of its own (a second pass through the stages); "aligned" takes
            negatives from the query's own window of other videos; "drop" leaves position out.
        compact_weight: Factor on the compactness of confident rows; 0 leaves it out.
        gaussians: Gaussians that a row is fitted with.
        compact_threshold: A row is confident if its largest share is above.
        compact_form, compact_spread, compact_neighbours: As in `TrackingConfig`.
    """

    seed: int = 0
    mix: tuple[float, ...] = ()
    draw: Literal["videos", "frames"] = "videos"
    cuts: Literal["index", "chunk"] = "index"
    batch: int = 8
    crop: int = 128
    crop_source: tuple[int, int] = (48, 160)
    frame_side: int = 480
    view_share: float = 0.0
    view_rotation: float = 10.0
    view_zoom: float = 1.15
    view_shear: float = 0.05
    view_shift: float = 0.05
    view_perspective: float = 0.1
    view_bend: float = 0.03
    view_light: float = 0.2
    view_colour: float = 0.05
    gap: int = 6
    references: int = 1
    zoom: float = 1.0
    targets: Literal["last", "both"] = "last"
    chunk: int = 16
    reuse: int = 8
    cache_mib: int = 0
    radius: int = 6
    similarity: Similarity = "cosine"
    temperature: float = 0.07
    rebuild: Literal["colour", "lightness"] = "colour"
    colour_scale: float = 20.0
    grey_share: float = 0.0
    light: float = 0.0
    cover: float = 0.0
    pieces: float = 0.0
    contrast_weight: float = 0.0
    teacher: str = ""
    learning_rate: float = 1e-3
    warmup: int = 50
    weight_decay: float = 0.0
    clip_norm: float = 5.0
    average: float = 0.0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    explosion: float = 25.0
    second_stage: float = 0.5
    inter_weight: float = 0.0
    inter_radius: int = 3
    bank_frames: int = 1440
    bank_points: int = 4
    bank_sampling: Literal["uniform", "edges"] = "uniform"
    momentum: float = 0.999
    shifting: Shifting = "roll"
    compact_weight: float = 0.0
    gaussians: int = 2
    compact_threshold: float = 0.5
    compact_form: CompactForm = "mass"
    compact_spread: CompactSpread = "fixed"
    compact_neighbours: CompactNeighbours = "allowed"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named combination of the three.

    Attributes:
        name: The preset's name.
        model: The network.
        tracking: How labels travel.
        training: How features are learned.
    """

    name: str
    model: ModelConfig = field(default_factory=ModelConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


def baseline() -> Preset:
    """Intra-video reconstruction alone: the first rung of the ladder."""
    return Preset(name="baseline", model=ModelConfig(position="none"))


def position() -> Preset:
    """`baseline` with a learnable position code."""
    return Preset(name="position")


def inter() -> Preset:
    """`position` with inter-video reconstruction in the second half of the run."""
    return Preset(name="inter", training=TrainingConfig(inter_weight=0.5))


def compact() -> Preset:
    """`inter` with spatial compactness, in training and in tracking: the whole method."""
    return Preset(
        name="compact",
        tracking=TrackingConfig(gaussians=2),
        training=TrainingConfig(inter_weight=0.5, compact_weight=1.0),
    )


def paper() -> Preset:
    """The whole method as published: dot products, whole window, hard labels fed back."""
    return Preset(
        name="paper",
        tracking=TrackingConfig(
            similarity="dot",
            temperature=1.0,
            radius=14,
            topk=None,
            feedback="hard",
            guide_radius=0,
            gaussians=2,
            compact_form="published",
        ),
        training=TrainingConfig(
            similarity="dot",
            temperature=1.0,
            inter_weight=0.5,
            compact_weight=1.0,
            compact_form="published",
        ),
    )


def mast() -> Preset:
    """`paper` without its parts. MAST's own tracker has another window: docs/protocols.md."""
    whole, replace = paper(), dataclasses.replace
    return Preset(
        name="mast",
        model=replace(whole.model, position="none"),
        tracking=replace(whole.tracking, gaussians=0),
        training=replace(whole.training, inter_weight=0.0, compact_weight=0.0),
    )


_ALIGNED = TrainingConfig(shifting="aligned", bank_frames=64, momentum=0.0)
"""For those who add an `inter_weight`: what is best by docs/ablations.md and docs/training.md.
The published presets above keep the published bank and its momentum."""


def small() -> Preset:
    """Half the width: the default on a laptop."""
    return Preset(name="small", model=ModelConfig(width=0.5), training=_ALIGNED)


def base() -> Preset:
    """Full width, as published: about two and a half times the time of `small`."""
    return Preset(name="base", training=_ALIGNED)


PRESETS: Mapping[str, Callable[[], Preset]] = {
    make.__name__: make for make in (small, base, baseline, position, inter, compact, paper, mast)
}


def preset(name: str) -> Preset:
    """Returns the preset of that name.

    Raises:
        InputError: No preset has that name; the message names the nearest one.
    """
    if name not in PRESETS:
        raise InputError(
            f"unknown preset {name!r}{nearest(name, PRESETS)} (there are: {', '.join(PRESETS)})"
        )
    return PRESETS[name]()


def to_dict(config: Preset) -> dict[str, Any]:
    """Returns the preset as nested plain dictionaries, ready for JSON."""
    return dataclasses.asdict(config)


def from_dict(values: Mapping[str, Any]) -> Preset:
    """Builds a preset from what `to_dict` returned (also after a trip through JSON).

    Raises:
        InputError: A field is unknown, or a value has the wrong type.
    """
    try:
        parts = {
            "model": _build(ModelConfig, values["model"]),
            "tracking": _build(TrackingConfig, values["tracking"]),
            "training": _build(TrainingConfig, values["training"]),
        }
        return Preset(name=str(values["name"]), **parts)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"not a liir configuration: {error}") from error


def _build(kind: Any, values: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    # JSON knows no tuples: a frozen, comparable configuration needs them back.
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    for name, value in fields.items():
        if name not in hints:
            raise InputError(f"{kind.__name__} has no field {name!r}{nearest(name, hints)}")
        if not _fits(value, hints[name]):
            raise InputError(f"{kind.__name__}.{name} cannot be {value!r}; see its documentation")
    return kind(**fields)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type as the fields above are declared with."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in inner
    if origin is types.UnionType:
        return any(_fits(value, part) for part in inner)
    if origin is tuple:
        sized = isinstance(value, tuple) and (inner[-1] is ... or len(value) == len(inner))
        return sized and all(_fits(item, inner[0]) for item in value)
    # A whole number will do for a float, but a truth value is no number.
    number = isinstance(value, (int, float) if hint is float else hint)
    return number and not isinstance(value, bool)
