"""The encoder: a ResNet-18 at stride 4, and the model file around it.

Legend: B batch, C channels, H W pixels, h w feature cells (stride 4, h = ceil(H / 4)).
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from liir.colour import rgb_to_lab
from liir.errors import InputError
from liir.files import writing, written
from liir.grid import OFFSET, STRIDE
from liir.inputs import nearest
from liir.position import Fixed, Position
from liir.presets import ModelConfig, Preset, from_dict, preset, to_dict

PAD_TO = 8
"""Pictures are padded to a multiple of this, so that both heads see whole cells."""

_STAGES = ((64, 1), (128, 2), (256, 1), (256, 1))
_WEIGHTS = Path(__file__).parent / "weights"
FILE = "weights.safetensors"
"""In the folder of a run."""


class Block(nn.Module):
    """ResNet's basic block: two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H/stride, W/stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return F.relu(y, inplace=True)


class Encoder(nn.Module):
    """ResNet-18 without max-pool, features at stride 4; two heads.

    Args:
        config: Width, position code and head sizes.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        widths = [max(8, round(channels * config.width / 8) * 8) for channels, _ in _STAGES]
        self.stem = nn.Conv2d(3, widths[0], 7, stride=2, padding=3, bias=False)
        self.stem_bn = nn.BatchNorm2d(widths[0])
        code = Position(config.position, widths[0], config.position_grid)
        self.position: Position | Fixed = code
        stages = []
        inputs = widths[0]
        for outputs, (_, stride) in zip(widths, _STAGES, strict=True):
            stages.append(nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1)))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.pixel_head = nn.Conv2d(inputs, config.pixel_channels, 3, padding=1)
        self.region_head = nn.Conv2d(inputs, config.region_channels, 3, stride=2, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def early(self, lab: Tensor) -> Tensor:
        """What does not know its place yet: the stem.

        Args:
            lab: (B, 3, H, W), H and W multiples of 8.

        Returns:
            (B, C, H / 2, W / 2).
        """
        return F.relu(self.stem_bn(self.stem(lab)), inplace=True)

    def trunk(
        self, early: Tensor, window: Tensor | None = None, shift: Tensor | None = None
    ) -> Tensor:
        """What both heads read.

        Args:
            early: What `early` returned (B, C, H / 2, W / 2), with or without a position code.
            window: See `Position.forward`.
            shift: See `Position.forward`.

        Returns:
            (B, C, H / 4, W / 4).
        """
        features: Tensor = self.stages(self.position(early, window, shift))
        return features

    def forward(self, lab: Tensor, window: Tensor | None = None) -> Tensor:
        """Pixel features of pictures of any size.

        Args:
            lab: (B, 3, H, W) scaled Lab (see `liir.colour`).
            window: See `Position.forward`.

        Returns:
            (B, C, h, w): cell (j, i) looks at pixel (4 j, 4 i).
        """
        height, width = lab.shape[-2:]
        lab = F.pad(lab, (0, -width % PAD_TO, 0, -height % PAD_TO), mode="replicate")
        features: Tensor = self.pixel_head(self.trunk(self.early(lab), window))
        return features[..., : -(-height // STRIDE), : -(-width // STRIDE)]


def folded(encoder: Encoder) -> Encoder:
    """A copy for inference: every batch norm in the convolution before it, position fixed."""
    encoder = copy.deepcopy(encoder).eval()
    encoder.stem, encoder.stem_bn = _fold(encoder.stem, encoder.stem_bn)
    for block in [m for m in encoder.modules() if isinstance(m, Block)]:
        block.conv1, block.bn1 = _fold(block.conv1, block.bn1)
        block.conv2, block.bn2 = _fold(block.conv2, block.bn2)
        if len(block.shortcut):
            block.shortcut[0], block.shortcut[1] = _fold(block.shortcut[0], block.shortcut[1])
    if isinstance(encoder.position, Position):
        encoder.position = Fixed(encoder.position)
    return encoder.requires_grad_(False)


def _fold(conv: nn.Module, norm: nn.Module) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm)
    # An identity in the norm's place keeps the forward pass free of cases.
    return fuse_conv_bn_eval(conv, norm), nn.Identity()  # type: ignore[return-value]


@dataclass(frozen=True)
class Model:
    """Weights ready to track with; `liir.backbones` has those of other networks.

    Attributes:
        encoder: Folded, channels-last, in `dtype` on `device`.
        preset: The configuration the weights were made with; its `tracking` is the default.
        device: Where the encoder runs.
        dtype: What the encoder and the matching compute in.
        name: How the model was asked for.
        stride: Pixels of a picture from one cell to the next.
        offset: Where cell 0 looks, in pixels of the picture from its edge.
    """

    encoder: nn.Module
    preset: Preset
    device: torch.device
    dtype: torch.dtype
    name: str
    stride: int = STRIDE
    offset: float = OFFSET

    @torch.inference_mode()
    def encode(self, rgb: Tensor) -> Tensor:
        """Features of one picture.

        Args:
            rgb: (3, H, W), uint8 or floating point in [0, 1].

        Returns:
            (C, h, w) in the model's dtype.
        """
        lab = rgb_to_lab(rgb.to(self.device))[None].to(self.dtype)
        lab = lab.contiguous(memory_format=torch.channels_last)
        features: Tensor = self.encoder(lab)[0]
        return features


def load(name: str | Path = "small", *, device: str = "auto", dtype: str = "auto") -> Model:
    """Loads weights: bundled ones by name, or a safetensors file of liir's.

    Args:
        name: A bundled name ("small"), a path, or "random:PRESET" for weights nobody trained.
        device: "auto" (CUDA, then MPS, then CPU), or anything torch knows.
        dtype: "auto" (bfloat16 where the device computes in it, else float32), "float32",
            "bfloat16" or "float16".

    Raises:
        InputError: No such weights, a damaged file, weights of another architecture, or a device
            or dtype that is not there.
    """
    return ready(*find_weights(name), str(name), device, dtype)


def find_weights(name: str | Path) -> tuple[Encoder, Preset]:
    """Weights by the names that `load` knows, in float32 on the CPU.

    Raises:
        InputError: No such weights, a damaged file, or weights of another architecture.
    """
    path = Path(name)
    kind, _, which = str(name).partition(":")
    if kind == "random" and not path.exists():
        return random_weights(which or "small")
    if (path / FILE).is_file():
        raise InputError(f"{path}: is the folder of a run; give {path / FILE}")
    if not path.is_file():
        bundled = sorted(p.stem for p in _WEIGHTS.glob("*.safetensors"))
        path = _WEIGHTS / f"{name}.safetensors"
        if str(name) not in bundled:
            told = f"({', '.join(bundled) or 'none is bundled'}){nearest(str(name), bundled)}"
            what = "neither a file nor one of the bundled models"
            raise InputError(f"unknown model {str(name)!r}: {what} {told}")
    return read_weights(path)


def fingerprint(encoder: nn.Module) -> str:
    """What tells weights from others, whatever their file is called: 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for tensor in encoder.state_dict().values():
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def ready(encoder: Encoder, preset: Preset, name: str, device: str, dtype: str) -> Model:
    """Makes a model of an encoder, which stays as it is: folded, on a device, in a number format.

    Args:
        encoder: The weights, those of a training run too.
        preset: What they were made with.
        name: What to call the model.
        device: As in `load`.
        dtype: As in `load`.

    Raises:
        InputError: The device or dtype is not there.
    """
    target = pick_device(device)
    kind = pick_dtype(dtype, target)
    encoder = folded(encoder).to(target, kind)
    encoder = encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(encoder, preset, target, kind, name)


def random_weights(preset_name: str) -> tuple[Encoder, Preset]:
    """An untrained encoder, always the same: what the training of a preset is measured against.

    Raises:
        InputError: No preset has that name.
    """
    config = preset(preset_name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Encoder(config.model).eval(), config


def pick_device(name: str) -> torch.device:
    """Resolves "auto" and checks that the device is there.

    Raises:
        InputError: Torch does not know the device, or this machine lacks it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()  # "meta" holds nothing that could be brought back
    except (RuntimeError, AssertionError, ImportError) as error:
        raise InputError(
            f"device {name!r} cannot be used here; try --device auto or cpu"
        ) from error
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """Resolves "auto": bfloat16 where the hardware multiplies in it, float32 elsewhere.

    Raises:
        InputError: The name is not one of auto, float32, bfloat16, float16.
    """
    if name == "auto":
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.bfloat16 if native else torch.float32
        fast = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in kinds:
        raise InputError(f"unknown dtype {name!r}; use auto, {', '.join(kinds)}")
    return kinds[name]


def write_weights(
    path: Path, state: Mapping[str, Tensor], preset: Preset, notes: Mapping[str, str] | None = None
) -> None:
    """Writes weights with their configuration in the header; atomic.

    In float16, but for tensors with values beyond its range.

    Args:
        path: The file to write.
        state: An encoder's state, any floating dtype.
        preset: Stored as JSON under the key "liir".
        notes: Further header entries (steps trained, data), each a string.

    Raises:
        InputError: The disk is full, or the folder is not there or not to be written to; a file
            of that name stays as it was.
    """
    tensors = {key: _stored(value.detach().cpu()) for key, value in state.items()}
    header = {**(notes or {}), "liir": json.dumps(to_dict(preset), sort_keys=True)}
    # Not `save_file`: its files are readable by their owner alone, whatever the umask.
    with writing(path), written(path) as partial:
        partial.write_bytes(save(tensors, metadata=header))


def _stored(value: Tensor) -> Tensor:
    """A tensor as it is written: half precision, if that can hold it."""
    if value.is_floating_point():
        half = value.half()
        value = half if bool((half.isfinite() | ~value.isfinite()).all()) else value.float()
    return value.contiguous()


def read_header(path: Path) -> tuple[Preset, dict[str, str]]:
    """Reads the configuration and the notes that `write_weights` put beside weights.

    Raises:
        InputError: The file is missing, damaged or not liir's.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        told = f"{path}: cannot be read as a safetensors file: {error}"
        if path.suffix in (".pt", ".pth"):
            beside = path.with_name(FILE)
            told += f"; give {beside}" if beside.is_file() else "; liir convert may make one of it"
        raise InputError(told) from error
    if "liir" not in notes:
        raise InputError(
            f"{path}: no liir configuration in its header; use a file written by liir train"
        )
    try:
        return from_dict(json.loads(notes.pop("liir"))), notes
    except ValueError as error:
        raise InputError(f"{path}: its configuration does not fit this liir: {error}") from error


def read_weights(path: Path) -> tuple[Encoder, Preset]:
    """Reads what `write_weights` wrote, in float32 on the CPU.

    Raises:
        InputError: The file is missing, damaged, not liir's, or of another architecture.
    """
    preset, _ = read_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: cannot be read as a safetensors file: {error}") from error
    try:
        with torch.device("meta"):  # absurd sizes must not be allocated to be refused
            encoder = Encoder(preset.model)
    except (RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"{path}: its configuration describes no network: {error}") from error
    expected = {key: value.shape for key, value in encoder.state_dict().items()}
    found = {key: value.shape for key, value in state.items()}
    if expected != found:
        odd = next(k for k in {**expected, **found} if expected.get(k) != found.get(k))
        raise InputError(
            f"{path}: of another architecture: {odd} is {_shape(found.get(odd))}, "
            f"its configuration asks for {_shape(expected.get(odd))}"
        )
    odd = next((k for k, v in state.items() if not v.isfinite().all()), None)
    if odd is not None:
        raise InputError(f"{path}: {odd} holds values that are no numbers; train it again")
    encoder = Encoder(preset.model)
    encoder.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    )
    return encoder.eval(), preset


def _shape(shape: torch.Size | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape)) or "a scalar"
