"""What torchrun tells each process that it starts, in the environment. Without torch: instant."""

import os


def size() -> int:
    """Processes that were started together, on all machines; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process was started alone, or as the first of several."""
    return size() == 1 or os.environ.get("RANK", "0") == "0"


def local_size() -> int:
    """Those of them on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if size() > 1 else 1


def local_rank() -> int:
    """This process's number on this machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if size() > 1 else 0


def started_again() -> bool:
    """Whether torchrun starts processes again that meet where those before them met.

    There lie the addresses of processes that are gone, and the new ones wait for them in vain.
    See pytorch/pytorch#135712.
    """
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    return again and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
