"""Checkpoints of the public MAST and LIIR code, as weights of liir.

Both are the network of `encoder` at full width, fed the same Lab pictures: only the names of the
tensors differ. MAST (github.com/zlai0/MAST) has neither a position map nor a region head; the LIIR
code that is built on it has both, and a bank and a momentum copy of which no use is made here.
"""

from __future__ import annotations

import dataclasses
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from liir.encoder import Encoder, write_weights
from liir.errors import InputError
from liir.files import writing
from liir.presets import Preset, preset

_BLOCK = r"feature_extraction\.layer(?P<stage>[1-4])\.(?P<block>[01])\."
_NAMES = {
    r"feature_extraction\.conv1\.(weight)": "stem.",
    r"feature_extraction\.bn1\.(\w+)": "stem_bn.",
    r"feature_extraction\.(pos_embed1)": "position.map",
    _BLOCK + r"(?P<part>conv1|bn1|conv2|bn2)\.(\w+)": "{part}.",
    _BLOCK + r"downsample\.(?P<part>[01])\.(\w+)": "shortcut.{part}.",
    r"feature_extraction\.conv1\.0\.(weight)": "stem.",
    r"feature_extraction\.conv1\.1\.(\w+)": "stem_bn.",
    _BLOCK + r"left\.0\.(\w+)": "conv1.",
    _BLOCK + r"left\.1\.(\w+)": "bn1.",
    _BLOCK + r"left\.3\.(\w+)": "conv2.",
    _BLOCK + r"left\.4\.(\w+)": "bn2.",
    _BLOCK + r"shortcut\.(?P<part>[01])\.(\w+)": "shortcut.{part}.",
    r"post_convolution\.(\w+)": "pixel_head.",
    r"conv_semantic\.(\w+)": "region_head.",
}
"""Theirs, with the tensor's own name last, and the beginning of ours."""

_UNUSED = re.compile(r"(colorizer|conv_semantic_k)\.")
_SHOWN = 3


@dataclass(frozen=True)
class Converted:
    """What came of a checkpoint.

    Attributes:
        preset: "paper" for LIIR, "mast" for MAST, with the sizes that were found.
        unused: Names of theirs that training alone needs: the bank, the momentum copy.
        untrained: Names of ours that the checkpoint does not have; they begin at random.
    """

    preset: Preset
    unused: tuple[str, ...]
    untrained: tuple[str, ...]

    def __str__(self) -> str:
        told = f"preset {self.preset.name}, width {self.preset.model.width:g}"
        for what, names in (("left out", self.unused), ("begins at random", self.untrained)):
            told += f"; {what}: {', '.join(names)}" if names else ""
        return told


def convert(path: Path, out: Path) -> Converted:
    """Writes the weights of a public checkpoint as liir's own.

    Args:
        path: What `torch.save` wrote: the state, or a dictionary with it as "state_dict". Nothing
            but tensors and plain values is read, so that the file cannot run code.
        out: The safetensors file to write.

    Raises:
        InputError: The file cannot be read, is of another network (it says what does not fit) or
            has numbers that are none; or `out` is there already, or cannot be written.
    """
    if out.exists():
        raise InputError(f"{out}: is there already; give another --out")
    found, unused, strange = _renamed(_read(path))
    if "stem.weight" not in found:
        raise InputError(
            f"{path}: has none of the names of MAST's or LIIR's weights{_some(strange)}"
        )
    config = _sized(found)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = Encoder(config.model).state_dict()
    absent = [name for name in expected if name not in found]
    untrained = tuple(name for name in absent if name.startswith("region_head."))
    # Old versions of torch did not count batches; inference makes no use of it.
    counts = {name for name in absent if name.endswith("num_batches_tracked")}
    missing = [name for name in absent if name not in {*untrained, *counts}]
    wrong = [n for n, value in found.items() if n in expected and value.shape != expected[n].shape]
    strange += [name for name in found if name not in expected]
    for names, what in ((missing, "lacks"), (wrong, "has other sizes of"), (strange, "also has")):
        if names:
            raise InputError(
                f"{path}: is no ResNet-18 as MAST and LIIR have it: it {what} {len(names)} "
                f"tensors{_some(names)}"
            )
    broken = [name for name, value in found.items() if not bool(value.isfinite().all())]
    if broken:
        raise InputError(f"{path}: not all of its numbers are finite{_some(broken)}")
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_weights(out, {**expected, **found}, config, {"converted from": path.name})
    return Converted(config, tuple(unused), untrained)


def _read(path: Path) -> Mapping[str, Any]:
    """The state in a checkpoint."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"{path}: holds more than tensors and plain values, or is no checkpoint; it is not "
            "read, for such a file could run code: save its state_dict alone"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: damaged, or not a checkpoint of torch's") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise InputError(f"{path}: holds no state_dict of a network")
    return state


def _renamed(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Tensors by our names, and theirs that are of no use, and theirs that nobody knows."""
    found: dict[str, Tensor] = {}
    unused, strange = [], []
    for full, value in state.items():
        name = full.removeprefix("module.")
        ours = _ours(name)
        if _UNUSED.match(name):
            unused.append(name)
        elif ours is None or not isinstance(value, Tensor):
            strange.append(name)
        else:
            found[ours] = value.float() if value.is_floating_point() else value
    return found, unused, strange


def _ours(name: str) -> str | None:
    """Our name of a tensor of theirs."""
    for pattern, beginning in _NAMES.items():
        match = re.fullmatch(pattern, name)
        if match:
            parts = match.groupdict()
            place = (
                f"stages.{int(parts['stage']) - 1}.{parts['block']}." if "stage" in parts else ""
            )
            last = "" if beginning == "position.map" else match.groups()[-1]
            return place + beginning.format(**parts) + last
    return None


def _sized(found: Mapping[str, Tensor]) -> Preset:
    """The preset of a checkpoint, with the sizes of its tensors."""
    config = preset("paper" if "position.map" in found else "mast")
    sizes: dict[str, Any] = {"width": found["stem.weight"].shape[0] / 64}
    if "position.map" in found:
        sizes["position_grid"] = found["position.map"].shape[-1]
    for head in ("pixel", "region"):
        if f"{head}_head.weight" in found:
            sizes[f"{head}_channels"] = found[f"{head}_head.weight"].shape[0]
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **sizes))


def _some(names: list[str]) -> str:
    """The first few names, in brackets."""
    more = ", ..." if len(names) > _SHOWN else ""
    return f" ({', '.join(names[:_SHOWN])}{more})" if names else ""
