"""What a teacher shows: matches by a chain of them, where the way back agrees."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import liir
from liir.colour import rgb_to_lab
from liir.encoder import Encoder, random_weights, write_weights
from liir.errors import InputError
from liir.learning import start
from liir.learning.objective import Objective
from liir.learning.teacher import Teacher, chained
from liir.presets import ModelConfig, Preset, TrainingConfig

CPU = torch.device("cpu")
SHARP = {"radius": 6, "temperature": 1e-3}


def moving(*places: tuple[int, int], cells: int = 12) -> torch.Tensor:
    """(1, T, C, h, w): one texture that lies at those (x, y)."""
    texture = torch.randn(16, 3 * cells, 3 * cells, generator=torch.Generator().manual_seed(0))
    frames = [texture[:, cells - y : 2 * cells - y, cells - x : 2 * cells - x] for x, y in places]
    return F.normalize(torch.stack(frames), dim=1)[None]


def own(cells: int = 12) -> torch.Tensor:
    """(h, w, 2) x, y of each cell, in pixels."""
    y, x = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
    return 4.0 * torch.stack((x, y), dim=-1)


@pytest.mark.parametrize("places", [[(0, 0), (2, -1)], [(0, 0), (2, 1), (4, 0), (5, 3)]])
def test_what_moved_is_found_where_it_was(places: list[tuple[int, int]]) -> None:
    found = chained(moving(*places), **SHARP)[0]
    right, down = places[-1]
    expected = own() - 4 * torch.tensor([right, down])
    # What was in the picture all the way along, and beside it in a radius of one cell.
    inside = ((expected >= 4) & (expected <= 40)).all(dim=-1)
    assert int(inside.sum()) > 30
    torch.testing.assert_close(found[inside], expected[inside], atol=0.1, rtol=0)


def test_what_came_into_the_picture_is_not_taught() -> None:
    found = chained(moving((0, 0), (5, 0)), **SHARP)[0]
    new = found[:, :4].isfinite().all(dim=-1)  # the left columns were not there before
    assert float(new.float().mean()) < 0.2


def test_a_chain_reaches_beyond_the_radius_of_a_step() -> None:
    steps = moving(*((4 * i, 0) for i in range(3)))
    tight = {"radius": 4, "temperature": 1e-3}
    middle = chained(steps, **tight)[0, 3:9, 9:11]
    torch.testing.assert_close(middle, own()[3:9, 1:3], atol=0.1, rtol=0)
    direct = chained(steps[:, [0, 2]], **tight)[0, 3:9, 9:11]
    assert bool(((direct - own()[3:9, 1:3]).norm(dim=-1) > 8)[direct[..., 0].isfinite()].all())


def test_identical_frames_stay_where_they_are_also_between_cells() -> None:
    found = chained(moving((0, 0), (0, 0), (0, 0)), **SHARP)[0]
    torch.testing.assert_close(found, own(), atol=1e-3, rtol=0)


def test_its_features_are_those_of_the_model() -> None:
    """The same matches as of features that `Model.encode` gives."""
    rgb = torch.randint(0, 256, (1, 2, 3, 64, 64), dtype=torch.uint8)
    rgb[:, 1] = rgb[:, 0].roll(8, dims=-1)
    model = liir.load("random:small")
    features = torch.stack([model.encode(frame) for frame in rgb[0]])[None]
    features = F.normalize(features.float(), dim=2)
    expected = chained(features, radius=6, temperature=model.preset.tracking.temperature)
    found = Teacher("random:small", CPU, 6).places(rgb_to_lab(rgb), None)
    same = (found - expected).nan_to_num(1e3).abs().amax(dim=-1) < 0.5
    assert (
        float((same | found.isnan().all(dim=-1) & expected.isnan().all(dim=-1)).float().mean())
        > 0.95
    )
    assert int(found.isfinite().sum()) > 50


# --- in a run

TINY = ModelConfig(width=0.125, position_grid=8)
TRAINING = TrainingConfig(batch=2, crop=32, radius=2, contrast_weight=1.0, teacher="random:small")


def taught(**changes) -> Objective:
    torch.manual_seed(0)
    config = dataclasses.replace(TRAINING, **changes)
    shown = start.teacher(config, CPU, None)
    return Objective(Preset(name="tiny", model=TINY, training=config), teacher=shown)


def losses(module: Objective, correspondence: torch.Tensor) -> dict[str, torch.Tensor]:
    lab = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) - 0.5
    lab[:, 1] = lab[:, 0].roll(4, dims=-1)
    return module(lab, torch.tensor([1, 2]), torch.tensor([1, 2]), None, False, correspondence)


def test_it_is_asked_where_nothing_is_known() -> None:
    nothing = torch.full((2, 8, 8, 2), torch.nan)
    known = own(8).expand(2, -1, -1, -1)
    module, alone = taught(), taught(teacher="")
    assert float(losses(alone, nothing)["contrast"].detach()) == 0
    loss = losses(module, nothing)["contrast"]
    assert float(loss.detach()) > 0
    loss.backward()
    assert float(module.encoder.pixel_head.weight.grad.abs().sum()) > 0
    # And nowhere else.
    torch.testing.assert_close(*(losses(m, known)["contrast"].detach() for m in (taught(), alone)))


def test_it_neither_learns_nor_is_kept() -> None:
    module = taught()
    assert module.state_dict().keys() == taught(teacher="").state_dict().keys()
    assert len([*module.parameters()]) == len([*taught(teacher="").parameters()])


def test_without_contrast_nothing_would_be_learned() -> None:
    with pytest.raises(InputError, match="contrast_weight"):
        start.teacher(dataclasses.replace(TRAINING, contrast_weight=0.0), CPU, None)


def test_it_must_be_there() -> None:
    with pytest.raises(InputError, match="unknown model 'smal'"):
        start.teacher(dataclasses.replace(TRAINING, teacher="smal"), CPU, None)


def test_a_run_goes_on_with_the_same(tmp_path: Path) -> None:
    """Of another width than its pupil; found by its content, not its name."""
    path = tmp_path / "teacher.safetensors"
    encoder, preset = random_weights("small")
    write_weights(path, encoder.state_dict(), preset)
    config = dataclasses.replace(TRAINING, teacher=str(path))
    first = start.teacher(config, CPU, None)
    assert first is not None
    state = type("State", (), {"teacher": first.name})()
    assert start.teacher(config, CPU, state).name == first.name
    torch.manual_seed(9)
    write_weights(path, Encoder(preset.model).state_dict(), preset)
    with pytest.raises(InputError, match="began with"):
        start.teacher(config, CPU, state)
