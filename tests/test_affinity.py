"""One row of the affinity: the same as matching finds, and where its mass lies."""

import pytest
import torch

from liir.affinity import blocks, mass, row
from liir.compactness import condensed
from liir.matching import Matches, match, normalise
from liir.presets import TrackingConfig

R, C, H, W = 3, 8, 11, 13
SETTINGS = {"radius": 4, "temperature": 0.1}


def features() -> tuple[torch.Tensor, torch.Tensor]:
    keys = normalise(torch.randn(R, C, H, W), "cosine")
    return normalise(keys[0] + 0.5 * torch.randn(C, H, W), "cosine"), keys


@pytest.mark.parametrize("radius", [4, (4, 2, 6)])
@pytest.mark.parametrize("cell", [(0, 0), (5, 6), (H - 1, 3)])
def test_a_row_is_that_of_matching(cell: tuple[int, int], radius: int | tuple[int, ...]) -> None:
    query, keys = features()
    settings = SETTINGS | {"radius": radius}
    every = match(query, keys, topk=5, **settings)
    number = cell[0] * W + cell[1]
    one = row(query, keys, cell, topk=5, **settings)
    torch.testing.assert_close(one.values[0], every.values[number], atol=1e-5, rtol=1e-5)
    assert one.cells[0].tolist() == every.cells[number].tolist()
    torch.testing.assert_close(one.weights.sum(), torch.tensor(1.0))


def test_without_topk_the_whole_window_is_kept() -> None:
    query, keys = features()
    found = row(query, keys, (0, 0), topk=None, **SETTINGS)
    assert found.values.shape == (1, R * 5 * 5)
    scores = (query[:, :1, :1] * keys[:, :, :5, :5]).sum(1) / SETTINGS["temperature"]
    places = mass(found.tally, R, (H, W), query.device)
    torch.testing.assert_close(places[:, :5, :5].flatten(), scores.flatten().softmax(0))
    assert places.sum() == pytest.approx(1)
    assert (places[:, 5:] == 0).all()


def test_mass_is_what_labels_are_summed_with() -> None:
    query, keys = features()
    found = row(query, keys, (5, 6), topk=5, **SETTINGS)
    prior = TrackingConfig(gaussians=2, compact_threshold=0.0)
    for tally in (found.tally, condensed(found, R, (H, W), prior)):
        labels = torch.rand(R * H * W, 3)
        places = mass(tally, R, (H, W), query.device)
        torch.testing.assert_close(places.flatten() @ labels, tally(labels)[0])
        assert places.sum() == pytest.approx(1)


def test_the_prior_narrows_scattered_mass() -> None:
    weights = torch.tensor([[0.55, 0.3, 0.1, 0.05]])
    cells = torch.tensor([[5 * W + 5, 5 * W + 6, 2, 8 * W + 1]])
    scattered = Matches(weights.log(), cells, torch.zeros(1))
    fitted = mass(
        condensed(scattered, 1, (H, W), TrackingConfig(gaussians=2)), 1, (H, W), weights.device
    )[0]
    plain = mass(scattered.tally, 1, (H, W), weights.device)[0]
    assert plain[0, 2] == pytest.approx(0.1)
    assert fitted[0, 2] < 1e-6
    assert fitted[3:8, 3:9].sum() == pytest.approx(1, abs=1e-4)


def test_pixels_have_the_value_of_the_nearest_cell() -> None:
    cells = torch.arange(6.0).view(2, 3)
    pixels = blocks(cells, 7, 11)  # cells look at rows 0 and 4, columns 0, 4 and 8
    assert pixels.shape == (7, 11)
    assert pixels[0].tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    assert pixels[:, 0].tolist() == [0, 0, 3, 3, 3, 3, 3]
    patches = blocks(cells, 4, 8, stride=3, offset=1.5)  # three pixels each
    assert patches[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert patches[:, 0].tolist() == [0, 0, 0, 3]
