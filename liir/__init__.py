"""liir: learn visual correspondence from unlabelled video, and carry labels through a video."""

__version__ = "0.1.0"

from liir.annotations import Annotation
from liir.encoder import load
from liir.learning.trainer import train
from liir.presets import preset
from liir.tracking import Result, Tracker, track

__all__ = ["Annotation", "Result", "Tracker", "__version__", "load", "preset", "track", "train"]
