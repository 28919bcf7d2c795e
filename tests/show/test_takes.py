"""Sequences of a benchmark, and what was predicted for them."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from liir.annotations import Annotation
from liir.encoder import Model, load
from liir.errors import InputError
from liir.evaluation.report import Row
from liir.evaluation.stored import Predicted, Prediction
from liir.show.takes import Clip, Entry, Stage, chosen, ranks, truth

Scene = Callable[[int], tuple[np.ndarray, np.ndarray]]


def no_model(name: str) -> Model:
    raise InputError(f"unknown model {name!r}")


def test_a_folder_of_predictions(world: Path, scene: Scene) -> None:
    stage = Stage("davis2017", world / "data")
    clip = stage.clip("two")
    good = stage.take(clip, stage.entry(str(world / "good"), [clip], no_model))
    assert (good.name, good.score) == ("good", "J&F 100.0")
    assert [*good.labels] == [*range(6)]
    assert (good.labels[3] == scene(3)[1]).all()
    bad = stage.take(clip, stage.entry(f"roll={world / 'bad'}", [clip], no_model))
    assert bad.name == "roll"
    assert 0 < float(bad.score.removeprefix("J&F ")) < 90
    copied = stage.take(clip, stage.entry("copy", [clip], no_model))
    assert copied.name == "first frame copied"
    assert (copied.labels[3] == scene(0)[1]).all()


def test_what_liir_evaluate_keeps_has_the_benchmarks_name_between(
    world: Path, tmp_path: Path
) -> None:
    (tmp_path / "davis2017").symlink_to(world / "good")
    stage = Stage("davis2017", world / "data")
    clip = stage.clip("one")
    assert stage.take(clip, stage.entry(str(tmp_path), [clip], no_model)).score == "J&F 100.0"


def test_a_model(world: Path) -> None:
    stage = Stage("davis2017", world / "data")
    clip = stage.clip("one")
    calls: list[str] = []

    def model(name: str) -> Model:
        calls.append(name)
        return load(name, dtype="float32")

    seen: list[int] = []
    entry = stage.entry(str(world / "tiny.safetensors"), [clip], model)
    take = stage.take(clip, entry, lambda: seen.append(1))
    assert calls == [str(world / "tiny.safetensors")]
    assert (take.name, len(seen)) == ("tiny", 6)
    assert {*np.unique(take.labels[5])} <= {0, 1, 2}


def test_joints(world: Path) -> None:
    stage = Stage("badja", world / "data")
    clip = stage.clip(None)
    assert clip.name == "one"
    take = stage.take(clip, stage.entry("copy", [clip], no_model))
    assert take.labels == {}
    assert take.points[4] == {"nose": (60, 30, 1), "tail": (70, 50, 1)}
    assert take.score.startswith("PCK@0.1 ")
    true = truth(clip)
    assert [*true.points] == [0, 2, 4]
    assert true.points[4] == {"nose": (44, 30, 1), "tail": (54, 50, 1)}


def test_frames_are_those_that_count(world: Path) -> None:
    clip = Stage("davis2017", world / "data").clip("one")
    assert chosen(clip, 3) == [0, 2, 4]  # the last frame of DAVIS is not scored
    assert chosen(clip, 99) == [0, 1, 2, 3, 4]
    assert chosen(Stage("badja", world / "data").clip("one"), 99) == [0, 2, 4]
    assert [*truth(clip).labels] == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match="--frames 0: give 1 or more"):
        chosen(clip, 0)


def test_a_clip_whose_truth_is_hidden(late: Path) -> None:
    stage = Stage("youtube-vos", late)
    clip = stage.clip("a")
    assert chosen(clip, 99) == [0, 1, 2, 3, 4, 5]
    given = truth(clip)
    assert (given.name, [*given.labels]) == ("given", [0, 2])
    take = stage.take(clip, stage.entry("copy", [clip], no_model))
    assert ([*take.labels], take.score) == ([*range(6)], "")
    full = Stage("youtube-vos", late, split="full")
    clip = full.clip("a")
    assert [*truth(clip).labels] == [0, 1, 2, 3, 4, 5]
    assert full.take(clip, full.entry("copy", [clip], no_model)).score.startswith("J&F ")


def test_optical_flow_is_a_baseline(world: Path) -> None:
    pytest.importorskip("cv2")
    stage = Stage("davis2017", world / "data")
    clip = stage.clip("one")
    take = stage.take(clip, stage.entry("flow", [clip], no_model))
    assert take.name == "optical flow"
    assert float(take.score.removeprefix("J&F ")) > 90


def test_a_folder_of_a_transformer_is_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "dinov2-small"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    stage = Stage.__new__(Stage)  # neither data nor folder of predictions is looked at
    loaded: list[str] = []
    entry = stage.entry(str(folder), [], lambda name: loaded.append(name))  # type: ignore[arg-type, return-value, func-returns-value]
    assert (entry.name, loaded) == ("dinov2-small", [str(folder)])


def test_the_first_ids_have_the_first_colours(world: Path, scene: Scene) -> None:
    clip = Stage("davis2017", world / "data").clip("one")
    assert ranks(clip)[[0, 1, 2, 3, 255]].tolist() == [0, 1, 2, 255, 255]
    sparse = dataclasses.replace(clip, annotations={0: Annotation(11 * scene(0)[1])})
    assert ranks(sparse)[[0, 11, 22, 1, 255]].tolist() == [0, 1, 2, 255, 255]
    parts = dataclasses.replace(sparse, allowed=frozenset(range(24)))
    assert ranks(parts)[[0, 11, 22, 1, 2, 23, 24]].tolist() == [0, 1, 2, 3, 4, 23, 255]


def test_what_is_not_there(world: Path, tmp_path: Path) -> None:
    stage = Stage("davis2017", world / "data")
    with pytest.raises(InputError, match="say which sequence, with --sequence; there are one, two"):
        stage.clip(None)
    with pytest.raises(InputError, match="davis2017: no 'three'; there are one, two"):
        stage.clip("three")
    with pytest.raises(InputError, match="unknown model 'nothing'"):
        stage.entry("name=nothing", [stage.clip("one")], no_model)
    (tmp_path / "one").mkdir()
    with pytest.raises(InputError, match=r"none of the 4 predictions .* first 00001\.png"):
        stage.entry(str(tmp_path), [stage.clip("one")], no_model)
    with pytest.raises(InputError, match="no benchmark is called"):
        Stage("davis", world / "data")


def test_scores_see_all_that_was_predicted(world: Path) -> None:
    """How sure an instance is, and of which class, decides its place in AP."""
    stage, seen = Stage("davis2017", world / "data"), []
    clip = stage.clip("one")
    given = Predicted(1, np.zeros((2, 2), np.uint8), objects={1: 0.5}, classes={1: 3})

    def score(clip: Clip, predictions: Iterable[Prediction]) -> list[Row]:
        seen.extend(predictions)
        return []

    stage.protocol = dataclasses.replace(stage.protocol, score=score, summary=lambda rows: {})
    stage.take(clip, Entry("given", lambda clip: iter([given])))
    assert [(each.objects, each.classes) for each in seen] == [({1: 0.5}, {1: 3})]
