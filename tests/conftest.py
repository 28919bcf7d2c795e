"""Fixtures for every test: real data, devices, fixed seeds, few threads and no network."""

import os

# Before torch is imported: `make test` runs several processes, which share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import hypothesis
import numpy as np
import pytest
import torch

from liir import kernel

REPOSITORY = Path(__file__).resolve().parents[1]

hypothesis.settings.register_profile(
    "quick",
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "thorough", hypothesis.settings.get_profile("quick"), max_examples=500, derandomize=False
)
hypothesis.settings.load_profile(os.environ.get("LIIR_HYPOTHESIS", "quick"))


def available_devices() -> list[str]:
    """Names of the devices that this machine can compute on."""
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


@pytest.fixture(params=available_devices())
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device of this machine in turn; the CPU always."""
    return torch.device(request.param)


@pytest.fixture(params=["kernel", "pytorch"])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With the compiled kernel where there is one, and without it."""
    if request.param == "pytorch":
        monkeypatch.setattr(kernel, "_library", lambda: None)
    elif not kernel.usable():
        pytest.skip("no AVX-512 or no C++ compiler")
    return request.param == "kernel"


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real data (not part of the project): `LIIR_DATA` or ../shared/data."""
    root = Path(os.environ.get("LIIR_DATA") or REPOSITORY.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"real data not found at {root}; set LIIR_DATA to the folder that holds it")
    return root


class Outcome(NamedTuple):
    """What a command line did."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command line in this process."""

    def call(*words: object) -> Outcome:
        from liir.cli import main

        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """The same random numbers in every test, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - code under test may use the global generator
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run offline: only this machine may be connected to."""
    connect = socket.socket.connect

    def local_connect(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert isinstance(address, tuple)
            if address[0] not in ("127.0.0.1", "::1", "localhost"):
                pytest.fail(f"a test tried to reach {address[0]}: tests run without network")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", local_connect)
