"""The whole objective on small batches: stages, shifting, bank, momentum."""

import dataclasses

import pytest
import torch

from liir.learning.objective import Objective, _edges
from liir.learning.reconstruction import inter_video_loss
from liir.presets import ModelConfig, Preset, TrainingConfig

TINY = ModelConfig(width=0.125, position_grid=8)
TRAINING = TrainingConfig(
    batch=2, crop=32, radius=2, inter_weight=0.5, bank_frames=4, bank_points=3, compact_weight=1.0,
    compact_threshold=0.05, inter_radius=1,
)  # fmt: skip


def objective(**changes):
    torch.manual_seed(0)
    training = dataclasses.replace(TRAINING, **changes)
    return Objective(Preset(name="tiny", model=TINY, training=training))


def step(module, second=True, seed=0, videos=(1, 2)):
    generator = torch.Generator().manual_seed(seed)
    lab = torch.rand(2, 2, 3, 32, 32, generator=generator) - 0.5
    losses = module(lab, torch.tensor([1, 2]), torch.tensor(videos), None, second)
    if losses["intra"].requires_grad:
        sum(losses.values()).backward()
    module.follow()
    return losses


def test_the_first_stage_is_intra_video_alone():
    module = objective()
    assert list(step(module, second=False)) == ["intra"]
    assert int(module.bank.pushed) == 0


@pytest.mark.parametrize("shifting", ["none", "roll", "aligned", "drop"])
def test_the_second_stage_fills_the_bank_and_then_uses_it(shifting):
    module = objective(shifting=shifting)
    for seed, videos in enumerate([(1, 2), (3, 4)]):
        assert set(step(module, seed=seed, videos=videos)) == {"intra", "compact"}
    losses = step(module, seed=2, videos=(1, 5))
    assert set(losses) == {"intra", "compact", "inter"}
    head = module.encoder.region_head.weight.grad
    assert bool(head.isfinite().all())
    assert float(head.abs().sum()) > 0
    assert module.slow_head.weight.grad is None


def test_only_pixels_of_other_videos_are_negatives():
    """What the bank holds of the query's own video does not touch the loss."""
    losses = []
    for garbage in (0.0, 1.0):
        module = objective(shifting="none")
        for seed in range(2):
            step(module, seed=seed, videos=(1, 2))
        module.bank.features[module.bank.videos == 1] += garbage
        lab = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(9)) - 0.5
        channels = torch.tensor([1, 2])
        own = module(lab, channels, torch.tensor([1, 1]), None, True)["inter"]
        other = module(lab, channels, torch.tensor([3, 3]), None, True)["inter"]
        losses.append((float(own.detach()), float(other.detach())))
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


def test_mass_that_leaks_is_punished():
    torch.manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(1, 2, 8, 4, 4), dim=2)
    features[:, 1] = features[:, 0]
    hidden = torch.full((1, 2, 1, 32, 32), 0.5)

    def loss(level):
        return inter_video_loss(features, hidden, lambda q: torch.full((1, 4, 4), level), TRAINING)

    none, some, much = loss(-torch.inf), loss(10.0), loss(20.0)
    assert none < 1e-6
    assert none < some < much


def test_momentum_follows_slowly():
    module = objective(momentum=0.9)
    before = module.slow_head.weight.clone()
    with torch.no_grad():
        module.encoder.region_head.weight += 1.0
    module.follow()
    torch.testing.assert_close(module.slow_head.weight, before + 0.1)


def test_the_bank_is_part_of_the_state():
    module, other = objective(), objective()
    step(module)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other.bank.features, module.bank.features)
    assert int(other.bank.pushed) == 2


def test_edges_are_where_colour_changes():
    plane = torch.zeros(1, 1, 32, 32)
    plane[..., 17:] = 1.0
    edges = _edges(plane)[0]
    assert edges.shape == (4, 4)
    assert bool((edges[:, 2] > 0).all())
    assert float(edges[:, [0, 1, 3]].sum()) == 0.0
