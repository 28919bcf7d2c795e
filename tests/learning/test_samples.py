"""Pictures of a training step show the step."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from liir.colour import lab_to_rgb, rgb_to_lab
from liir.learning.clips import Batch
from liir.learning.objective import Objective
from liir.learning.samples import draw_affinity, draw_reconstruction
from liir.presets import ModelConfig, Preset, TrainingConfig

CONFIG = TrainingConfig(radius=2, temperature=0.02)


def batch() -> tuple[Batch, torch.Tensor]:
    """Two frames of coloured noise, the second 8 pixels further right, and features that tell."""
    small = torch.rand(2, 3, 8, 10)
    large = F.interpolate(small, (64, 80), mode="bicubic").clamp(0, 1)
    frames = torch.stack((large[..., :64], large[..., 8:72]), dim=1)
    rgb = (255 * frames).round().to(torch.uint8)
    wide = torch.randn(2, 16, 16, 20)
    features = torch.stack((wide[..., :16], wide[..., 2:18]), dim=1)
    window, dropped = torch.zeros(2, 4), torch.tensor([1, 2])
    flow = torch.full((2, 16, 16, 2), torch.nan)
    return Batch(rgb, window, dropped, torch.arange(2), ["a", "b"], flow, {}), features


def shown(
    given: Batch, config: TrainingConfig = CONFIG
) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """What an objective with those settings says it has shown and hidden; and what it got."""
    tiny = ModelConfig(width=0.125, position="none")
    training = replace(config, batch=2, crop=64)
    trained = Objective(Preset(name="tiny", model=tiny, training=training))
    got: list[torch.Tensor] = []
    early = trained.encoder.early
    trained.encoder.early = lambda lab: (got.append(lab), early(lab))[1]  # type: ignore[func-returns-value,method-assign]
    trained(rgb_to_lab(given.rgb), given.dropped, given.videos, None, False)
    assert trained.shown is not None
    return trained.shown, got[0].unflatten(0, (2, 2))


def tiles(sheet: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """The pictures of a sheet, which are 64 pixels wide and high, (rows, columns, 64, 64, 3)."""
    filled = (sheet != 255).any(axis=2)
    tops = [int(r) for r in np.flatnonzero(np.convolve(filled.mean(1) > 0.5, np.ones(64)) == 64)]
    tops = [r - 63 for r in tops][:rows]
    across = sheet.shape[1] // columns
    gap = 12
    lefts = [gap + c * (64 + gap) for c in range(columns)]
    assert across >= 64
    return np.array([[sheet[t : t + 64, x : x + 64] for x in lefts] for t in tops])


def test_a_rebuilt_frame_is_the_target_where_features_tell() -> None:
    given, features = batch()
    found = tiles(draw_reconstruction(given, shown(given)[0], features, CONFIG), 5, 2)
    assert found.shape == (2, 5, 64, 64, 3)
    target = given.rgb[:, 1].permute(0, 2, 3, 1).numpy().astype(int)
    inner = np.s_[:, 8:40, 8:40]  # what the reference does not show cannot be rebuilt
    assert (found[:, 1] == target).all()
    assert np.abs(found[:, 3].astype(int) - target)[inner].mean() < 12
    assert np.abs(found[:, 2].astype(int) - target)[inner].mean() > 30  # one colour is hidden
    dark = found[:, 4].astype(int)
    wrong = torch.randn_like(features)
    worse = tiles(draw_reconstruction(given, shown(given)[0], wrong, CONFIG), 5, 2)
    assert np.abs(worse[:, 3].astype(int) - target)[inner].mean() > 20
    assert (worse[:, 4].astype(int) - dark)[inner].mean() > 10


@pytest.mark.parametrize(
    ("change", "factor"),
    [({}, 1.5), ({"grey_share": 1.0}, 3), ({"light": 0.5, "cover": 1.0}, 1.5)],
)
def test_a_frame_is_shown_as_the_network_saw_it(change: dict[str, float], factor: float) -> None:
    given, features = batch()
    config = replace(CONFIG, **change)
    what, got = shown(given, config)
    assert torch.equal(what[1], got)
    found = tiles(draw_reconstruction(given, what, features, config), 5, 2)
    seen = (255 * lab_to_rgb(got[:, 1] / factor)).round().permute(0, 2, 3, 1).numpy()
    assert (found[:, 2] == seen).all()
    if "grey_share" in change:
        assert np.ptp(found[:, 2].astype(int), axis=-1).max() <= 1  # no colour


def test_pieces_are_part_of_the_frames() -> None:
    given, features = batch()
    config = replace(CONFIG, pieces=1.0)
    what, _ = shown(given, config)
    found = tiles(draw_reconstruction(given, what, features, config), 5, 2)
    for column, frame in ((0, 0), (1, -1)):
        drawn = (255 * lab_to_rgb(what[0][:, frame])).round().permute(0, 2, 3, 1).numpy()
        assert (found[:, column] == drawn).all()
        plain = given.rgb[:, frame].permute(0, 2, 3, 1).numpy()
        assert 0.01 < (found[:, column] != plain).any(-1).mean() < 0.5
    pieces = (what[0] != rgb_to_lab(given.rgb)).any(2)[:, :, None]
    for one, other in zip(what[1:], shown(given)[0][1:], strict=True):  # seen, and rebuilt
        changed = (one != other).any(2, keepdim=True)
        assert changed.any()
        assert not changed[~pieces].any()


def test_brightness_is_shown_where_that_is_rebuilt() -> None:
    given, features = batch()
    config = replace(CONFIG, rebuild="lightness")
    what, got = shown(given, config)
    assert torch.equal(what[1], got)
    found = tiles(draw_reconstruction(given, what, features, config), 5, 2)
    target = given.rgb[:, 1].permute(0, 2, 3, 1).numpy().astype(int)
    inner = np.s_[:, 8:40, 8:40]
    seen = (255 * lab_to_rgb(got[:, 1])).round().permute(0, 2, 3, 1).numpy()
    assert (found[:, 2] == seen).all()
    assert np.abs(found[:, 3].astype(int) - target)[inner].mean() < 12
    wrong = torch.randn_like(features)
    worse = tiles(draw_reconstruction(given, what, wrong, config), 5, 2)
    error = np.abs(worse[:, 3].astype(int) - target)[inner].mean()
    assert error > np.abs(found[:, 3].astype(int) - target)[inner].mean() + 2


def test_mass_is_shown_where_it_goes() -> None:
    given, features = batch()
    found = tiles(draw_affinity(rgb_to_lab(given.rgb), features, CONFIG), 4, 1)[0]
    for target, heat in (found[:2], found[2:]):
        assert (target[31:34, 31:34].astype(int).max(axis=2) > 0).all()
        # The middle cell lay two cells further right before.
        warm = heat[..., 0].astype(int) - heat[..., 2]
        rows, columns = np.nonzero(warm > 40)
        assert 30 <= rows.min() <= rows.max() <= 33
        assert 38 <= columns.min() <= columns.max() <= 41
