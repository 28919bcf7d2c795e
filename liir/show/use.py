"""Options that figures share: where they are written, how the models of a figure compute."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import OmitArgPrefixes, UseAppendAction, arg

from liir.settings import parse_settings
from liir.terminal import set_threads, with_flags

if TYPE_CHECKING:
    from liir.encoder import Model

Out = Annotated[Path, arg(metavar="FILE")]
Count = Annotated[int, arg(metavar="N")]


@dataclass(frozen=True, kw_only=True)
class Use:
    """How models compute.

    Attributes:
        device: auto, cpu, cuda, cuda:1, mps, ...
        dtype: Number format; auto is bfloat16 where the device is fast in it.
        threads: Threads to compute with.
        size: Short side at which features are computed, in pixels; 0 for the video's own.
        setting: Another tracking setting, as in liir track.
    """

    device: Annotated[str, arg(metavar="NAME")] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    threads: Annotated[int | None, arg(metavar="N")] = None
    size: Annotated[int | None, arg(metavar="N")] = None
    setting: Annotated[
        UseAppendAction[tuple[str, ...]], arg(name="set", metavar="FIELD=VALUE")
    ] = ()

    def load(self, name: str) -> Model:
        """Loads a model, with these tracking settings for its own."""
        changes = parse_settings(with_flags(self.setting, size=self.size), "tracking")["tracking"]
        set_threads(self.threads)
        from liir.backbones import load

        model = load(name, device=self.device, dtype=self.dtype)
        tracking = dataclasses.replace(model.preset.tracking, **changes)
        return dataclasses.replace(
            model, preset=dataclasses.replace(model.preset, tracking=tracking)
        )


Using = Annotated[Use, OmitArgPrefixes, arg(name="")]
AS_IS = Use()
