"""Two processes train as one does: losses, gradients, bank, weights; and stop as one."""

import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from liir.errors import InputError
from liir.learning import distributed
from liir.learning.checkpoint import Checkpoint, restore
from liir.learning.clips import Pairs
from liir.learning.distributed import Team, together
from liir.learning.shots import Shot
from liir.learning.trainer import train

RANKS = runpy.run_path(str(Path(__file__).with_name("ranks.py")))
CASES, TRAINED, OPTIONS = RANKS["CASES"], RANKS["TRAINED"], RANKS["OPTIONS"]


@pytest.fixture(scope="module")
def found(pair: Path) -> list[dict[str, Any]]:
    return [torch.load(pair / f"{rank}.pt") for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone(clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of ranks.py in one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    with RANKS["in_float64"]():
        train(clips, TRAINED, out, **OPTIONS)
    return out


def check_same(found: Checkpoint, expected: Checkpoint) -> None:
    """Of runs in float64: see `in_float64` of ranks.py."""
    assert (found.step, found.steps, found.data) == (expected.step, expected.steps, expected.data)
    assert torch.equal(found.rng, expected.rng)
    assert found.objective.keys() == expected.objective.keys()
    for name, value in expected.objective.items():
        torch.testing.assert_close(found.objective[name], value, rtol=1e-6, atol=1e-8, msg=name)


# --- the objective


@pytest.mark.parametrize("case", CASES)
def test_losses_gradients_and_state(found: list[dict[str, Any]], case: str) -> None:
    expected = RANKS["measure"](CASES[case], Team())
    if case not in ("small", "base", "baseline", "position", "mast"):
        assert expected["losses"]["inter"] > 0
    for rank in (0, 1):
        mine = found[rank]["objective"][case]
        for part in ("losses", "gradients", "state"):
            assert mine[part].keys() == expected[part].keys()
            for name, value in expected[part].items():
                torch.testing.assert_close(mine[part][name], value, rtol=1e-7, atol=1e-9, msg=name)
        assert torch.equal(mine["draw"], expected["draw"])  # all have drawn the same


# --- whole runs


def test_weights_are_those_of_one_process(
    found: list[dict[str, Any]], pair: Path, alone: Path
) -> None:
    check_same(restore(pair / "run"), restore(alone))
    assert found[0]["train"]["calls"] == [1, 2, 3, 4, 5, 6]
    assert found[1]["train"]["calls"] == []  # the first one reports
    names = {"checkpoint.pt", "clips.json", "config.json", "log.jsonl", "weights.safetensors"}
    assert {path.name for path in (pair / "run").iterdir()} == names


def test_one_process_goes_on_where_two_were_stopped(
    pair: Path, alone: Path, clips: list[Path]
) -> None:
    """SIGTERM, heard by the second alone, ends both after the same step."""
    out = pair / "stopped"
    assert {f"left by {rank}" for rank in (0, 1)} <= {path.name for path in out.iterdir()}
    assert restore(out).step == 3
    with RANKS["in_float64"]():
        train(clips, TRAINED, out, resume=True, **OPTIONS)
    check_same(restore(out), restore(alone))


def test_two_processes_go_on_where_one_was_stopped(
    found: list[dict[str, Any]], pair: Path, alone: Path
) -> None:
    assert {each["train"]["grown"] for each in found} == {3}
    check_same(restore(pair / "grown"), restore(alone))


def test_more_processes_than_a_run_has_samples(found: list[dict[str, Any]]) -> None:
    """Its batch is what it is."""
    (kind, text), other = (found[rank]["talk"]["too many to go on"] for rank in (0, 1))
    assert (kind, other) == ("InputError", ("ToldElsewhere", text))
    assert text.endswith("to 2 processes: start at most 1")


def test_numbers_that_are_none_stop_both(found: list[dict[str, Any]], pair: Path) -> None:
    (kind, text), other = (found[rank]["train"]["poisoned"] for rank in (0, 1))
    assert kind == "InputError"
    assert "at step 3 the loss is intra nan" in text
    assert text.count(".mp4 frames") == TRAINED.training.batch  # the clips of both
    assert other == ("ToldElsewhere", text)
    state = restore(pair / "poisoned")
    assert state.step == 3
    assert all(bool(value.isfinite().all()) for value in state.objective.values())


def test_a_mistake_is_told_once(found: list[dict[str, Any]]) -> None:
    (kind, text), other = (found[rank]["train"]["again"] for rank in (0, 1))
    assert kind == "InputError"
    assert "holds a run already" in text
    assert other == ("ToldElsewhere", text)


# --- what processes tell each other


def test_talk(found: list[dict[str, Any]]) -> None:
    talk = [each["talk"] for each in found]
    for each in talk:
        assert each["total"] == [1.0, 2.0]
        assert each["anywhere"] == [False, True]
        assert each["first"] == "told by 0"
        assert each["all"] == [0, 1]
    told, heard = "InputError", "ToldElsewhere"
    kinds = {
        "first fails": [told, heard],
        "second fails": [heard, told],
        "too many": [told, heard],
        "device": [told, heard],
    }
    for name, expected in kinds.items():
        assert [each[name][0] for each in talk] == expected
        assert talk[0][name][1] == talk[1][name][1]
    assert talk[0]["second fails"][1].startswith("process 1 on ")
    assert "batch=1 cannot be shared out to 2 processes" in talk[0]["too many"][1]


def test_one_process_has_nobody_to_ask() -> None:
    team = Team()
    mine = torch.randn(3, 2)
    assert team.first
    assert team.slots(5) == range(5)
    assert team.joined(mine, 3) is mine
    assert team.total([1.5, 2]) == [1.5, 2]
    assert (team.anywhere(True), team.anywhere(False)) == (True, False)
    assert (team.from_first(lambda: 3), team.from_all(lambda: 3)) == (3, [3])
    assert team.device("cpu") == torch.device("cpu")
    module = torch.nn.BatchNorm2d(2)
    assert team.parallel(module, torch.device("cpu")) is module
    assert type(module) is torch.nn.BatchNorm2d


@pytest.mark.parametrize(("size", "batch"), [(1, 8), (3, 8), (8, 8), (5, 64)])
def test_slots_are_shared_out_without_gap_or_overlap(size: int, batch: int) -> None:
    shares = [Team(rank, size).slots(batch) for rank in range(size)]
    assert [slot for share in shares for slot in share] == list(range(batch))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_samples_are_those_of_the_whole_batch(clips: list[Path]) -> None:
    config = replace(TRAINED.training, batch=5)
    shots = [Shot(str(clip), 0, 24, video) for video, clip in enumerate(clips)]
    for step in (0, 3):
        whole = Pairs(shots, config)[step]
        parts = [Pairs(shots, config, Team(rank, 2).slots(5))[step] for rank in (0, 1)]
        assert [len(part.rgb) for part in parts] == [2, 3]
        for name in ("rgb", "window", "dropped", "videos"):
            assert torch.equal(torch.cat([getattr(p, name) for p in parts]), getattr(whole, name))
        assert parts[0].names + parts[1].names == whole.names


# --- finding and losing each other


def test_a_process_alone_is_its_own_team() -> None:
    assert together(distributed.current)() == Team()


def test_processes_that_nobody_brings_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="start them with torchrun, or unset WORLD_SIZE"):
        together(distributed.current)()


def test_processes_do_not_wait_for_those_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(InputError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 before torchrun"):
        together(distributed.current)()


CRASH = """
import os, signal, sys
from liir import cli
from liir.learning import trainer

rate, first = trainer.learning_rate, os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"

def fall(step, *args):
    if first and step == 4 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ["RANK"] == "0":
        print("step", step, flush=True)
    return rate(step, *args)

trainer.learning_rate, trainer._SAVE_SECONDS = fall, -1.0
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_torchrun_starts_again_from_the_checkpoint(clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "crash.py").write_text(CRASH)
    settings = [f"--set={name}={value}" for name, value in (
        ("batch", 2), ("crop", 32), ("crop_source", "24,48"), ("chunk", 6), ("gap", 2),
        ("radius", 3),
    )]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         "--max-restarts=1", "crash.py", "train", *map(str, clips), "--out=run", "--steps=8",
         "--width=0.125", "--device=cpu", "--workers=0", "--auto-resume", *settings],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "another process of this run ended" in done.stderr
    steps = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("step")]
    assert steps == [0, 1, 2, 3, 4, 4, 5, 6, 7]  # the fifth was not taken the first time
    assert done.stdout.count("weights  ") == 1
    assert restore(tmp_path / "run").step == 8
