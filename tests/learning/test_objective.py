"""The whole objective on small batches: stages, shifting, bank, momentum."""

import dataclasses

import pytest
import torch

from liir.errors import InputError
from liir.learning import disguise
from liir.learning import objective as module_under_test
from liir.learning.objective import Objective, _edges, quick_products
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


def test_aligned_negatives_are_those_of_the_same_window():
    module = objective(shifting="aligned")
    for seed, videos in enumerate([(1, 2), (3, 4)]):
        step(module, seed=seed, videos=videos)
    query, videos = torch.randn(2, 128, 4, 4), torch.tensor([3, 9])
    found = module._others(videos, query)
    maps = module.bank.features.transpose(1, 2).unflatten(2, (4, 4))  # (F, C, h, w)
    for sample, video in enumerate(videos):
        others = maps[module.bank.videos != video]
        assert len(others) == (3 if sample == 0 else 4)
        for y in range(4):
            for x in range(4):
                window = others[..., max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
                scores = torch.einsum("c,fcyx->fyx", query[sample, :, y, x], window)
                expected = (scores / TRAINING.temperature).flatten().logsumexp(0)
                torch.testing.assert_close(found[sample, y, x], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["inter", "compact"])
def test_a_weight_is_a_factor_of_its_loss(name):
    found = []
    for factor in (1, 2):
        module = objective(**{f"{name}_weight": factor * getattr(TRAINING, f"{name}_weight")})
        for seed in range(2):
            step(module, seed=seed, videos=(2 * seed, 2 * seed + 1))
        found.append({key: float(v.detach()) for key, v in step(module, videos=(8, 9)).items()})
    once, twice = found
    assert once[name] > 0
    for key, loss in once.items():
        assert twice[key] == pytest.approx((2 if key == name else 1) * loss, rel=1e-5)


def test_what_is_covered_is_not_missed():
    """Of the covered part of a target, colours may be any; of the rest they may not."""
    lab = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5

    def loss(lab):
        module = objective(cover=1.0, inter_weight=0.0, compact_weight=0.0)
        torch.manual_seed(1)
        chances = torch.rand(2, 2, disguise.CHANCES)
        covered = ~disguise.disguised(lab, chances, module.preset.training)[1]
        torch.manual_seed(1)
        losses = module(lab, torch.tensor([1, 2]), torch.tensor([1, 2]), None, False)
        return float(losses["intra"].detach()), covered

    once, covered = loss(lab)
    assert bool(covered.any())
    away = covered.roll((-16, -16), dims=(-2, -1))  # what covers it comes from there
    other = lab.clone()
    other[:, -1] = torch.where(covered & ~away, 0.4, lab[:, -1])
    assert loss(other)[0] == pytest.approx(once, rel=1e-6)
    other[:, -1] = torch.where(covered, lab[:, -1], 0.4)
    assert loss(other)[0] != pytest.approx(once, rel=1e-2)


def test_what_the_references_do_not_show_is_not_missed():
    """Where matches are known and lie beyond the window, colours may be any."""
    changes = {"inter_weight": 0.5, "compact_weight": 0.0, "bank_frames": 2, "shifting": "none"}
    generator = torch.Generator().manual_seed(3)
    lab = torch.rand(2, 2, 3, 32, 32, generator=generator) - 0.5
    places = torch.full((2, 8, 8, 2), torch.nan)
    y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    places[1] = 4.0 * torch.stack((x, y), dim=-1)
    places[1, :, 4:, 0] += 400.0

    def losses(lab):
        module = objective(**changes)
        rest = (torch.tensor([1, 1]), torch.tensor([1, 2]), None, True, places)
        torch.manual_seed(1)
        module(lab, *rest)
        module.follow()
        found = module(lab, *rest)
        return {name: float(found[name].detach()) for name in ("intra", "inter")}

    def otherwise(sample, columns):
        """Other colours in the hidden channel: the network is not shown them."""
        other = lab.clone()
        other[sample, -1, 1, :, columns] = 0.4
        return losses(other)

    once = losses(lab)
    assert otherwise(1, slice(16, None)) == pytest.approx(once, rel=1e-6)
    for name in once:
        assert otherwise(1, slice(16))[name] != pytest.approx(once[name], rel=1e-3)
        assert otherwise(0, slice(16, None))[name] != pytest.approx(once[name], rel=1e-3)


def test_no_piece_hides_a_match_that_is_known():
    """Where a sample's matches are given, its frames stay as they are; the others' do not."""
    module = objective(pieces=1.0, contrast_weight=1.0)
    lab = torch.rand(2, 2, 3, 32, 32) - 0.5
    places = torch.full((2, 8, 8, 2), torch.nan)
    places[1, 3, 3] = 12.0
    module(lab, torch.tensor([1, 2]), torch.tensor([1, 2]), None, False, places)
    changed = (module.shown[0] != lab).flatten(2).any(2)
    assert changed.tolist() == [[True, True], [False, False]]


def test_both_frames_are_rebuilt_from_each_other():
    """The same as the mean of a batch and of that batch backwards."""
    changes = {"inter_weight": 0.0, "compact_weight": 0.0}
    lab = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5
    rest = (torch.tensor([1, 2]), torch.tensor([1, 2]), None, False)
    both = objective(targets="both", **changes)(lab, *rest)["intra"].detach()
    ways = [objective(**changes)(way, *rest)["intra"].detach() for way in (lab, lab.flip(1))]
    assert float(ways[0]) != pytest.approx(float(ways[1]), rel=1e-3)
    torch.testing.assert_close(both, sum(ways) / 2)


def test_contrast_is_there_where_matches_are_known():
    module = objective(contrast_weight=2.0)
    lab = torch.rand(2, 2, 3, 32, 32) - 0.5
    y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    places = (4.0 * torch.stack((x, y), dim=-1)).expand(2, -1, -1, -1)
    argue = (lab, torch.tensor([1, 2]), torch.tensor([1, 2]), None, False)
    assert "contrast" not in module(*argue)
    losses = module(*argue, places)
    losses["contrast"].backward()
    assert float(losses["contrast"].detach()) > 0
    assert float(module.encoder.pixel_head.weight.grad.abs().sum()) > 0


def test_the_mean_over_steps_follows_the_encoder():
    module = objective(average=0.75, inter_weight=0.0)
    before = {name: value.clone() for name, value in module.encoder.state_dict().items()}
    with torch.no_grad():
        for value in module.encoder.parameters():
            value += 1.0
    module.follow()
    assert module.learned is module.average
    for name, value in module.learned.named_parameters():
        torch.testing.assert_close(value, before[name] + 0.25)
        assert not value.requires_grad
    assert objective(inter_weight=0.0).learned.pixel_head.weight.requires_grad


def test_the_mean_begins_with_given_weights():
    given = objective(inter_weight=0.0).encoder.state_dict()
    given = {name: value + 1 for name, value in given.items()}
    module = objective(average=0.5, inter_weight=0.0)
    module.start_from(given)
    for name, value in module.learned.state_dict().items():
        torch.testing.assert_close(value, given[name])


def test_the_bank_holds_what_the_momentum_copy_says():
    module = objective()
    with torch.no_grad():
        for parameter in module.slow_head.parameters():
            parameter.zero_()
    module.bank.features.fill_(1.0)
    step(module)
    assert int(module.bank.pushed) == 2
    assert module.bank.features.flatten(1).any(1).tolist() == [False, False, True, True]


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


def test_a_bank_of_whole_maps():
    module = objective(bank_points=0)
    assert module.bank.features.shape == (4, 16, 128)
    for seed in range(3):
        losses = step(module, seed=seed, videos=(2 * seed, 2 * seed + 1))
    assert "inter" in losses
    with pytest.raises(InputError, match="bank_points 17: a crop of 32 pixels has 16 cells"):
        objective(bank_points=17)


def test_points_are_drawn_on_edges():
    """A frame whose right half is bright: the points lie where it begins."""
    module = objective(bank_sampling="edges", crop=64, bank_points=6, batch=1)
    hidden = torch.zeros(1, 1, 64, 64)
    hidden[..., 36:] = 1.0
    places = torch.arange(64.0).view(1, 1, 8, 8)  # a map whose cells say where they are
    assert set(module._points(places, hidden).flatten().int().tolist()) < {4, *range(4, 64, 8)}
    uniform = objective(bank_sampling="uniform", crop=64, bank_points=6, batch=1)
    drawn = {int(p) for _ in range(60) for p in uniform._points(places, hidden).flatten()}
    assert len(drawn) > 55


@pytest.mark.parametrize("shifting", ["roll", "drop"])
def test_the_shifted_pass_leaves_no_trace_in_the_batch_norms(shifting):
    """Inference goes by statistics of features that know their place."""
    one, other = objective(shifting=shifting), objective(shifting="none")
    for module in (one, other):
        step(module)
    norms = dict(one.encoder.named_buffers())
    for name, buffer in other.encoder.named_buffers():
        if "running" in name:
            torch.testing.assert_close(norms[name], buffer, msg=name)


# --- the shortcut that position shifting closes


def area_under_the_curve(positives, negatives):
    """Chance that a positive is above a negative; equals count half, down to a thousandth."""
    positives, negatives = (x.mul(1000).round() for x in (positives, negatives.sort().values))
    negatives = negatives.contiguous()
    below = torch.searchsorted(negatives, positives.contiguous())
    up_to = torch.searchsorted(negatives, positives.contiguous(), right=True)
    return float((below + up_to).float().mean() / 2 / len(negatives))


def place_alone(shifting, monkeypatch, momentum=0.999, lag=0.0):
    """Similarities of own-video and other-video pixels where nothing but place differs.

    Every image is the same flat grey, the position map is random. Interior cells: those that the
    padding of the convolutions does not reach. Positives are what a query meets at its own cell of
    the other frame, negatives what the loss takes from the bank. `lag` is how far the head that is
    learned has gone from its copy.
    """
    side, margin = 24, 9
    inside = slice(margin, side - margin)
    interior = torch.zeros(1, side, side)
    interior[:, inside, inside] = 1.0
    seen = []

    def watch(region, *_):
        seen.append(region)
        return region.sum() * 0

    monkeypatch.setattr(module_under_test, "inter_video_loss", watch)
    monkeypatch.setattr(module_under_test, "_edges", lambda plane: interior.expand(4, -1, -1))
    module = objective(
        shifting=shifting,
        crop=192,
        batch=4,
        bank_frames=16,
        bank_points=9,
        bank_sampling="edges",
        momentum=momentum,
    ).eval()
    with torch.no_grad():
        module.encoder.position.map.normal_(0, 2.0)
        weight = module.encoder.region_head.weight
        weight += lag * weight.std() * torch.randn_like(weight)
        lab, dropped = torch.full((4, 2, 3, 192, 192), 0.3), torch.ones(4, dtype=torch.int64)
        for number in range(10):
            module(lab, dropped, torch.arange(4) + 4 * number, None, True)
            module.follow()
    pairs = torch.cat(seen)[..., inside, inside]  # (B, 2, C, y, x)
    positives = (pairs[:, 0] * pairs[:, 1]).sum(1).flatten()
    bank, owners = module.bank.features, module.bank.videos
    pairs = pairs[:8]  # the first pairs of a full bank, which by now holds other videos alone
    assert not {*range(16, 24)} & {*owners.tolist()}
    query = pairs[:, 1]
    if shifting == "aligned":
        maps = bank.transpose(1, 2).unflatten(2, (side, side))[..., inside, inside]
        negatives = torch.einsum("bcyx,fcyx->bfyx", query, maps).flatten()
    else:
        query = query.permute(0, 2, 3, 1).flatten(0, 2)
        negatives = (query @ bank.flatten(0, 1).T).flatten()
    return positives, negatives


@pytest.mark.parametrize("shifting", ["none", "roll", "aligned", "drop"])
def test_place_alone_tells_no_video_from_another(shifting, monkeypatch):
    area = area_under_the_curve(*place_alone(shifting, monkeypatch))
    if shifting == "none":
        assert area > 0.9
    else:
        assert area == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("shifting", ["aligned", "drop"])
def test_a_copy_that_lags_tells_videos_apart(shifting, monkeypatch):
    """The same short cut by another door; without momentum it is closed."""
    lagging, following = (
        area_under_the_curve(*place_alone(shifting, monkeypatch, momentum, lag=1.0))
        for momentum in (0.999, 0.0)
    )
    assert lagging > 0.9
    assert following == pytest.approx(0.5, abs=0.05)


def test_products_are_rounded_where_features_are() -> None:
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = products.fp32_precision
    with quick_products(torch.float32):
        assert products.fp32_precision == before
    with quick_products(torch.bfloat16):
        assert products.fp32_precision == "bf16"
    assert products.fp32_precision == before
