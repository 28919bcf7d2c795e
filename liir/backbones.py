"""Other encoders in the place of liir's: plain colours, and vision transformers from a folder.

Whatever makes a map of features of a picture can be tracked with: `adapted` makes a `Model` of it.

Legend: C channels, H W pixels, h w cells of the network's own grid.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from liir import encoder
from liir.colour import rgb_to_lab
from liir.encoder import Model, pick_device, pick_dtype
from liir.errors import InputError
from liir.grid import OFFSET, STRIDE
from liir.presets import Preset, TrackingConfig

Space = Literal["rgb", "lab"]

COLOUR_TRACKING = TrackingConfig(temperature=0.005, topk=10, radius=12)
"""For `rgb` and `lab`."""

TRANSFORMER_TRACKING = TrackingConfig(
    temperature=0.1, topk=5, radius=6, lasting_margin=3, point_sigma=0.5, common_fate=0.0
)
"""For transformers, whose cells are 14 or 16 pixels wide: 6 of them are as far as 24 of liir's. How
alike their features are where they are the same, and so `seen_above`, is not known."""

_FAMILIES = ("dinov2", "dinov2_with_registers", "dinov3_vit")
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@dataclass(frozen=True)
class _Adapted(Model):
    """A `Model` around a network that takes RGB in [0, 1]."""

    @torch.inference_mode()
    def encode(self, rgb: Tensor) -> Tensor:
        rgb = rgb.to(self.device)
        rgb = rgb.float() if rgb.is_floating_point() else rgb.float() / 255
        features: Tensor = self.encoder(rgb.to(self.dtype))
        return features


def adapted(
    network: nn.Module | Callable[[Tensor], Tensor],
    name: str,
    *,
    stride: int = STRIDE,
    offset: float = OFFSET,
    tracking: TrackingConfig | None = None,
    device: str = "auto",
    dtype: str = "float32",
) -> Model:
    """A model of anything that makes features of a picture.

    Args:
        network: From (3, H, W) RGB in [0, 1] to (C, h, w), h = ceil(H / stride), w likewise; called
            without gradients. A module is brought to the device and number format.
        name: What to call it.
        stride: Pixels from one cell to the next.
        offset: Where cell 0 looks, in pixels from the edge: 0.5 for the first pixel's centre,
            stride / 2 for the middle of a patch.
        tracking: Default settings; the radius counts cells of this grid. If not given, liir's
            without common fate.
        device: As in `liir.load`.
        dtype: As in `liir.load`.

    Raises:
        InputError: There is no such device or number format.
    """
    target = pick_device(device)
    kind = pick_dtype(dtype, target)
    module = network if isinstance(network, nn.Module) else _Function(network)
    module = module.eval().requires_grad_(False).to(target, kind)
    preset = Preset(name=name, tracking=tracking or TrackingConfig(common_fate=0.0))
    return _Adapted(module, preset, target, kind, name, stride, offset)


def load(name: str | Path = "small", *, device: str = "auto", dtype: str = "auto") -> Model:
    """Loads a model to track with.

    Args:
        name: What `liir.encoder.load` takes: a bundled model ("small"), a safetensors file of
            liir's, "random:PRESET". Or "rgb" or "lab" for colours alone, or a folder of Hugging
            Face's with a DINOv2 or DINOv3 vision transformer (needs liir[backbones]).
        device: "auto" (CUDA, then MPS, then CPU), or anything torch knows.
        dtype: "auto" (bfloat16 where the device computes in it, else float32; colours always
            float32), "float32", "bfloat16" or "float16".

    Raises:
        InputError: There is no such model, or it cannot be used here.
    """
    path = Path(name)
    if (path / "config.json").is_file():
        return transformer(path, device=device, dtype=dtype)
    if name in ("rgb", "lab") and not path.is_file():
        space: Space = "rgb" if name == "rgb" else "lab"
        return colours(space, device=device, dtype="float32" if dtype == "auto" else dtype)
    return encoder.load(name, device=device, dtype=dtype)


# --- Colours


class Colours(nn.Module):
    """Mean colours around the pixel that a cell looks at, as unit vectors.

    Colours are lifted onto a sphere of radius 2, (c, sqrt(4 - |c|^2)) / 2, where the cosine falls
    with their squared distance: 1 - d^2 / 8 for near ones.

    Args:
        space: "rgb", scaled to [-1, 1], or "lab", scaled as for liir's encoder.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space

    def forward(self, rgb: Tensor) -> Tensor:
        """(3, H, W) in [0, 1] to (4, h, w)."""
        rgb = rgb.float()
        colour = rgb_to_lab(rgb) if self.space == "lab" else 2 * rgb - 1
        # Five pixels from two before the cell's pixel on; those outside do not count.
        mean = F.avg_pool2d(colour[None], 5, STRIDE, 2, ceil_mode=True, count_include_pad=False)[0]
        height, width = rgb.shape[1:]
        mean = mean[:, : -(-height // STRIDE), : -(-width // STRIDE)]
        rest = (4 - mean.square().sum(0, keepdim=True)).clamp_min(0).sqrt()
        return torch.cat((mean, rest)) / 2


def colours(space: Space, *, device: str = "auto", dtype: str = "float32") -> Model:
    """Matching by colour alone: what learned features must beat.

    Args:
        space: "rgb" or "lab".
        device: As in `liir.load`.
        dtype: As in `liir.load`; differences of similar colours are lost in short formats.

    Raises:
        InputError: There is no such device or number format.
    """
    network = Colours(space)
    return adapted(network, space, tracking=COLOUR_TRACKING, device=device, dtype=dtype)


# --- Vision transformers


class Patches(nn.Module):
    """The last layer's patch tokens of a vision transformer as a map.

    Args:
        network: A DINOv2 or DINOv3 model of transformers.
        mean: Of RGB in [0, 1], taken away.
        std: What the rest is divided by.
    """

    def __init__(self, network: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.network = network
        self.side = int(network.config.patch_size)  # type: ignore[union-attr, arg-type]
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        """(3, H, W) in [0, 1] to (C, ceil(H / side), ceil(W / side))."""
        height, width = rgb.shape[1:]
        picture = ((rgb - self.mean) / self.std)[None]
        picture = F.pad(picture, (0, -width % self.side, 0, -height % self.side), mode="replicate")
        cells = (picture.shape[2] // self.side, picture.shape[3] // self.side)
        tokens: Tensor = self.network(pixel_values=picture).last_hidden_state[0]
        # Before the patches stand the class token and, in some, registers.
        patches: Tensor = tokens[-cells[0] * cells[1] :].T.unflatten(1, cells)
        return patches


def transformer(folder: Path, *, device: str = "auto", dtype: str = "auto") -> Model:
    """A DINOv2 or DINOv3 vision transformer from a folder of Hugging Face's.

    Nothing is downloaded: the folder holds config.json, model.safetensors and, for the mean and
    spread of colours, preprocessor_config.json (ImageNet's without it).

    Args:
        folder: As `save_pretrained` writes it, or a download of the model's repository.
        device: As in `liir.load`.
        dtype: As in `liir.load`.

    Raises:
        InputError: transformers is not installed, the folder holds no such model, or it is damaged.
    """
    config = _json(folder / "config.json", folder)
    family = config.get("model_type")
    if family not in _FAMILIES:
        weights = folder / "weights.safetensors"  # of liir train, whose folders have a config.json
        what = f"give {weights}" if weights.is_file() else f"liir takes {', '.join(_FAMILIES)}"
        raise InputError(f"{folder}: is a folder of a model of type {family!r}; {what}")
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise InputError(
            f"{folder}: needs transformers ({error}); pip install 'liir[backbones]'"
        ) from error
    logging: Any = import_module("transformers.utils.logging")
    logging.disable_progress_bar()
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        network, told = AutoModel.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
    except Exception as error:  # of many libraries' own types
        raise InputError(f"{folder}: cannot be loaded: {' '.join(str(error).split())}") from error
    finally:
        logging.set_verbosity(level)
    # What is missing would be filled with random numbers, and tracked with.
    missing = sorted({*told["missing_keys"], *map(str, told.get("mismatched_keys", ()))})
    if missing:
        raise InputError(f"{folder}: {len(missing)} weights are missing, first {missing[0]}")
    colours = folder / "preprocessor_config.json"
    found = _json(colours, folder) if colours.is_file() else {}
    mean, std = found.get("image_mean", _IMAGENET[0]), found.get("image_std", _IMAGENET[1])
    network = Patches(network, mean, std)
    return adapted(
        network,
        str(folder),
        stride=network.side,
        offset=network.side / 2,
        tracking=TRANSFORMER_TRACKING,
        device=device,
        dtype=dtype,
    )


def _json(path: Path, folder: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: is no folder of a Hugging Face model: {path.name} cannot be read ({error})"
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected a JSON object")
    return found


class _Function(nn.Module):
    """A plain function as a module without weights."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, rgb: Tensor) -> Tensor:
        return self.function(rgb)
