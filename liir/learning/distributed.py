"""Several processes that train one network: torchrun starts them, each takes a share of the batch.

Whatever the number of processes, a run is the same run: samples and random draws are those of the
global batch, of which each process takes its slots, and sums go over all. So every process holds
the same state at every step, and the first one alone writes it.
"""

from __future__ import annotations

import functools
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from liir import launch
from liir.encoder import pick_device
from liir.errors import InputError, ToldElsewhere
from liir.learning.batch_norm import synced

P = ParamSpec("P")
T = TypeVar("T")

# All wait while the first looks through the videos, scores or writes, as long as that takes. A
# device that hangs is found all the same: by the much shorter limit on what devices exchange.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Team:
    """The processes that train together, and this one's place among them.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        group: Over which they talk through the CPU; None for one process alone.
    """

    rank: int = 0
    size: int = 1
    group: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes, reports and decides."""
        return self.rank == 0

    def mistake(self, text: str) -> InputError:
        """The error for what all processes have found: the first one tells it."""
        return (InputError if self.first else ToldElsewhere)(text)

    def slots(self, batch: int, *, fixed: bool = False) -> range:
        """This process's slots of the batch of all; shares differ by one sample at most.

        Args:
            batch: Samples in all.
            fixed: Whether the run, which goes on, can have no other batch.

        Raises:
            InputError: There are more processes than samples.
        """
        if batch < self.size:
            larger = "" if fixed else f", or give a larger batch (--set batch={self.size})"
            raise self.mistake(
                f"batch={batch} cannot be shared out to {self.size} processes: start at most "
                f"{batch}{larger}"
            )
        return range(self.rank * batch // self.size, (self.rank + 1) * batch // self.size)

    def joined(self, mine: Tensor, batch: int) -> Tensor:
        """What all processes have of each sample, in the order of their slots.

        Args:
            mine: (B, ...) of this process's slots, any dtype.
            batch: Samples in all.

        Returns:
            (batch, ...), the same everywhere; without gradient.
        """
        if self.size == 1:
            return mine
        slots = self.slots(batch)
        whole = mine.new_zeros(batch, *mine.shape[1:])
        whole[slots.start : slots.stop] = mine.detach()
        distributed.all_reduce(whole)  # every slot is zero in all processes but one
        return whole

    def total(self, values: Sequence[float]) -> list[float]:
        """The sums of some numbers over all processes."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums, group=self.group)
        return sums.tolist()

    def anywhere(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        return self.total([float(flag)])[0] > 0

    def from_first(self, compute: Callable[[], T]) -> T:
        """What the first process computes; the others get a copy, or its error.

        Raises:
            InputError: The first process's; in the others as `ToldElsewhere`.
        """
        if self.size == 1:
            return compute()
        told: list[Any] = [None, None]
        if self.first:
            try:
                told[0] = compute()
            except InputError as error:
                told[1] = str(error)
        distributed.broadcast_object_list(told, src=0, group=self.group)
        result, mistake = told
        if mistake is not None:
            raise self.mistake(mistake)
        return result  # type: ignore[no-any-return]

    def from_all(self, compute: Callable[[], T]) -> list[T]:
        """What every process computes for itself, in the order of their ranks.

        Raises:
            InputError: That of the first process that failed, with its number and machine; in the
                others as `ToldElsewhere`.
        """
        if self.size == 1:
            return [compute()]
        mine: tuple[Any, str | None]
        try:
            mine = compute(), None
        except InputError as error:
            mine = None, f"process {self.rank} on {socket.gethostname()}: {error}"
        told: list[Any] = [None] * self.size
        distributed.all_gather_object(told, mine, group=self.group)
        for rank, (_, mistake) in enumerate(told):
            if mistake is not None:
                raise (InputError if rank == self.rank else ToldElsewhere)(mistake)
        return [value for value, _ in told]

    def device(self, name: str) -> torch.device:
        """This process's device: with several of them, a GPU each, or the CPU.

        Raises:
            InputError: It is not there, or processes would compute on devices of several kinds.
        """
        if self.size == 1:
            return pick_device(name)
        devices = self.from_all(functools.partial(_own_device, name))
        for rank, device in enumerate(devices):
            if device.type != devices[0].type:
                raise self.mistake(
                    f"process {rank} would compute on {device.type}, the first one on "
                    f"{devices[0].type}: give all the same --device"
                )
        mine = devices[self.rank]
        if mine.type == "cuda":
            torch.cuda.set_device(mine)
        return mine

    def parallel(self, module: nn.Module, device: torch.device) -> nn.Module:
        """The module, for training by all: the gradient of the mean of all processes' losses.

        Its batch norms become synchronised in place.

        Args:
            module: On its device, with the same state in all processes.
            device: That device.
        """
        if self.size == 1:
            return module
        synced(module, device)
        # A kernel of one pixel has two names for one order in memory; nothing is slower for it.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        with warnings.catch_warnings():
            # Torch 2.13 has a new name for `broadcast_buffers`, which 2.9 does not know.
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(
                module,
                device_ids=[device.index] if device.type == "cuda" else None,
                broadcast_buffers=False,  # all have computed the same
                find_unused_parameters=True,  # the region head's, before the second stage
            )


def _own_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = pick_device(name)
    if device.type == "cuda":
        count, mine = torch.cuda.device_count(), launch.local_rank()
        if ":" in name:
            raise InputError(f"--device {name}: every process takes a GPU of its own; give cuda")
        if mine >= count:
            raise InputError(
                f"{launch.local_size()} processes for {count} GPUs: start one for each "
                f"(torchrun --nproc-per-node {count})"
            )
        return torch.device("cuda", mine)
    if device.type != "cpu":
        raise InputError(f"--device {name}: several processes train on cuda or cpu")
    return device


_alone = Team()
_current = _alone


def current() -> Team:
    """The team that this process is in: one of its own outside `together`."""
    return _current


def together(function: Callable[P, T]) -> Callable[P, T]:
    """A function that, in processes started by torchrun, runs in all of them as one team.

    A process group that is there already is used, and left as it is. The function raises
    InputError where the processes do not find each other, or lose one.
    """

    @functools.wraps(function)
    def inner(*args: P.args, **options: P.kwargs) -> T:
        with _team():
            return function(*args, **options)

    return inner


@contextmanager
def _team() -> Iterator[None]:
    global _current
    joined = distributed.is_available() and distributed.is_initialized()
    if launch.size() == 1 and not joined:
        yield
        return
    if not joined:
        _join()
    try:
        group = distributed.new_group(backend="gloo", timeout=_PATIENCE)
        _current = Team(distributed.get_rank(), distributed.get_world_size(), group)
        yield
    except BaseException as error:
        # A group of GPUs waits for its members before it ends; some may wait for this process.
        if not joined and not torch.cuda.is_available():
            distributed.destroy_process_group()
        if not _lost(error):
            raise
        raise InputError(
            "another process of this run ended, and tells why if it could; --auto-resume goes on "
            f"from the last checkpoint ({str(error).splitlines()[0]})"
        ) from error
    finally:
        _current = _alone
    if not joined:
        distributed.destroy_process_group()


def _join() -> None:
    if launch.started_again():
        mistake = InputError if launch.is_first() else ToldElsewhere
        raise mistake(
            "started again, the processes do not find each other, for torchrun lets them meet in "
            "the old place: put TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 before torchrun"
        )
    try:
        # Gloo for what is on the CPU, and NCCL, where there are GPUs, for what is on them.
        distributed.init_process_group()
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the {launch.size()} processes of this run do not find each other: start them with "
            f"torchrun, or unset WORLD_SIZE for one alone ({str(error).splitlines()[0]})"
        ) from error


def _lost(error: BaseException) -> bool:
    """Whether an error says that another process is gone; gloo has no type for that."""
    return isinstance(error, distributed.DistError) or "gloo/transport" in str(error)
