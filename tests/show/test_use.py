"""A model loaded with the tracking settings of the command line."""

from pathlib import Path

import pytest
import torch

from liir.errors import InputError
from liir.show.use import Use


def test_settings_are_the_models_own(world: Path) -> None:
    model = Use(dtype="float32", size=48, setting=("radius=3",)).load(
        str(world / "tiny.safetensors")
    )
    tracking = model.preset.tracking
    assert (tracking.size, tracking.radius, tracking.topk) == (48, 3, 5)
    assert model.dtype == torch.float32
    assert Use().load("lab").name == "lab"
    with pytest.raises(InputError, match="setting 'radius=x'"):
        Use(setting=("radius=x",)).load("small")
