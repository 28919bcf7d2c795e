"""The model in memory: one at a time, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from liir.encoder import Model, load, read_header
from liir.errors import InputError

_WEIGHTS = Path(__file__).parents[1] / "weights"


class Models:
    """Loads models by name and keeps the last one.

    Args:
        more: Weights beside the bundled ones, files, each offered under its name.
        device: As in `liir.load`.
        dtype: As in `liir.load`.
    """

    def __init__(
        self, more: Sequence[str] = (), *, device: str = "auto", dtype: str = "auto"
    ) -> None:
        bundled = sorted(path.stem for path in _WEIGHTS.glob("*.safetensors"))
        self._sources = {name: name for name in bundled}
        self._default = "small"
        for name in more:
            self._default = Path(name).stem if Path(name).is_file() else name
            self._sources[self._default] = name
        self._device, self._dtype = device, dtype
        self._lock = threading.Lock()
        self._held: tuple[str, int, Model] | None = None

    @property
    def names(self) -> list[str]:
        """Models that a project may choose."""
        return [*self._sources]

    @property
    def default(self) -> str:
        """The one that is used where none is chosen: the last of those given, else small."""
        return self._default

    def source(self, name: str) -> str:
        """What `liir.load` knows a model by.

        Raises:
            InputError: It is not one of `names`.
        """
        if name not in self._sources:
            raise InputError(f"there is no model {name!r}; there are {', '.join(self.names)}")
        return self._sources[name]

    def own(self, name: str, path: Path | None = None) -> dict[str, int] | None:
        """Size, radius and references that a model of a file tracks with, if it is one."""
        path = path or Path(self._sources.get(name, name))
        if not path.is_file():
            path = _WEIGHTS / f"{path}.safetensors"
        return _own(path, path.stat().st_mtime_ns) if path.is_file() else None

    def get(self, name: str, path: Path | None = None) -> Model:
        """The model of that name, or that of a file, which goes by the name.

        Raises:
            InputError: It is not one of `names`, or cannot be loaded.
        """
        source = self.source(name) if path is None else str(path)
        stamp = Path(source).stat().st_mtime_ns if Path(source).is_file() else 0
        with self._lock:
            if self._held is None or self._held[:2] != (source, stamp):
                self._held = None  # never two in memory
                self._held = source, stamp, load(source, device=self._device, dtype=self._dtype)
            return self._held[2]


@lru_cache
def _own(path: Path, stamp: int) -> dict[str, int] | None:
    """Of weights that were last written then."""
    try:
        config = read_header(path)[0].tracking
    except InputError:
        return None
    return {"size": config.size, "radius": config.radius, "references": len(config.recent)}
