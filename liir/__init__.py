"""liir: learn visual correspondence from unlabelled video, and carry labels through a video."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from liir.annotations import Annotation
    from liir.backbones import load
    from liir.encoder import Model
    from liir.evaluation.benchmarks import evaluate
    from liir.learning.trainer import train
    from liir.presets import preset
    from liir.result import Result
    from liir.tracking import Tracker, track

_HOME = {
    "Annotation": "annotations",
    "Model": "encoder",
    "Result": "result",
    "Tracker": "tracking",
    "evaluate": "evaluation.benchmarks",
    "load": "backbones",
    "preset": "presets",
    "track": "tracking",
    "train": "learning.trainer",
}

__all__ = [
    "Annotation",
    "Model",
    "Result",
    "Tracker",
    "__version__",
    "evaluate",
    "load",
    "preset",
    "track",
    "train",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is asked for: `liir --help` need not wait for torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'liir' has no attribute {name!r}")
    return getattr(import_module(f"liir.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__]
