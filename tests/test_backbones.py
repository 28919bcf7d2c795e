"""Models that are not liir's: colours, transformers made up on the spot, functions."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from liir import backbones
from liir.annotations import Annotation
from liir.colour import rgb_to_lab
from liir.errors import InputError
from liir.labelling import label_video
from liir.presets import TrackingConfig
from liir.tracking import Tracker


def moving(step: int, height: int = 98, width: int = 126) -> tuple[np.ndarray, np.ndarray]:
    """A frame (H, W, 3) of a scene with a block of another texture that moves; its mask."""
    rng = np.random.default_rng(1)
    scene = rng.integers(0, 120, (height, width, 3), dtype=np.uint8)
    block = rng.integers(130, 255, (42, 42, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[28:70, 14 * (step + 1) : 14 * (step + 1) + 42] = 1
    scene[28:70, 14 * (step + 1) : 14 * (step + 1) + 42] = block
    return scene, mask


# --- Colours


@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_the_cosine_of_colours_falls_with_their_distance(space: str) -> None:
    model = backbones.load(space, device="cpu")
    rgb = torch.rand(3, 1, 4 * 50).repeat(1, 8, 1)
    colour = rgb_to_lab(rgb) if space == "lab" else 2 * rgb - 1
    features = model.encode(rgb)
    assert features.shape == (4, 2, 50)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.norm(dim=0), torch.ones(2, 50))
    flat = model.encode(torch.tensor([0.5, 0.5, 0.5])[:, None, None].expand(3, 8, 8))[:, 0, 0]
    near = model.encode(torch.tensor([0.52, 0.5, 0.48])[:, None, None].expand(3, 8, 8))[:, 0, 0]
    pair = torch.tensor([[0.5, 0.5, 0.5], [0.52, 0.5, 0.48]]).T[:, None]
    places = rgb_to_lab(pair) if space == "lab" else 2 * pair - 1
    distance = (places[:, 0, 0] - places[:, 0, 1]).square().sum()
    assert float(1 - flat @ near) == pytest.approx(float(distance) / 8, rel=0.05)
    assert colour.shape[2] == 200


def test_colours_are_taken_around_the_cells_own_pixel() -> None:
    picture = torch.zeros(3, 9, 13)
    picture[:, 2:7, 6:11] = 1.0  # two pixels each way from (4, 8): the cell (1, 2)
    features = backbones.Colours("rgb")(picture)
    assert features.shape == (4, 3, 4)
    torch.testing.assert_close(features[0, 1, 2], torch.tensor(0.5))
    torch.testing.assert_close(features[0, 0, 0], torch.tensor(-0.5))
    assert -0.5 < features[0, 1, 1] < 0.5
    edges = backbones.Colours("rgb")(torch.ones(3, 9, 13))
    torch.testing.assert_close(edges[:3], torch.full((3, 3, 4), 0.5))  # nothing from outside


@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_colours_track(space: str) -> None:
    config = replace(backbones.COLOUR_TRACKING, size=0)
    tracker = Tracker(backbones.load(space, device="cpu"), config)
    for step in range(3):
        rgb, mask = moving(step)
        result = tracker.step(rgb, mask if step == 0 else None)
        found = result.labels == 1
        assert (found & (mask == 1)).sum() / (found | (mask == 1)).sum() > 0.8


# --- Functions


def test_any_function_on_a_coarser_grid_tracks_without_drift() -> None:
    """Patches of 14 pixels as they are: a block that moves patch by patch is followed exactly."""

    def patches(rgb: torch.Tensor) -> torch.Tensor:
        assert rgb.dtype == torch.float32
        assert 0 <= float(rgb.min()) <= float(rgb.max()) <= 1
        return torch.nn.functional.unfold((rgb - 0.5)[None], 14, stride=14)[0].unflatten(1, (7, 9))

    model = backbones.adapted(
        patches,
        "patches",
        stride=14,
        offset=7,
        tracking=TrackingConfig(size=0, radius=2, topk=1, common_fate=0.0),
        device="cpu",
    )
    tracker = Tracker(model)
    for step in range(4):
        rgb, mask = moving(step)
        given = Annotation(mask, points={"middle": (35.0, 49.0)}) if step == 0 else None
        result = tracker.step(rgb, given)
        assert result.scores.shape[1:] == (7, 9)
        expected = tracker._grid.to_cells(torch.from_numpy(mask)[None] == 1)[0]
        torch.testing.assert_close(result.scores[1], expected)
        x, y, _ = result.points["middle"]
        assert (x, y) == pytest.approx((35 + 14 * step, 49), abs=1)


def test_an_adapted_model_labels_a_video(tmp_path: Path) -> None:
    model = backbones.load("lab", device="cpu")
    frames = np.stack([moving(step)[0] for step in range(3)])
    summary = label_video(model, frames, {0: Annotation(moving(0)[1])}, tmp_path)  # type: ignore[arg-type]
    assert summary.labelled == 3
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["job"]["model"] == "lab"


# --- Transformers


def tiny(folder: Path, kind: str, patch: int = 14) -> Path:
    """A transformer of that kind with random weights, as transformers writes it."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"image_size": 4 * patch, "patch_size": patch, "intermediate_size": 32}
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**sizes)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    return folder


KINDS = ["Dinov2", "Dinov2WithRegisters", "DINOv3ViT"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_transformer_gives_its_patch_tokens(tmp_path: Path, kind: str) -> None:
    folder = tiny(tmp_path / "model", kind, patch=16)
    model = backbones.load(folder, device="cpu", dtype="float32")
    assert (model.stride, model.offset) == (16, 8)
    rgb = torch.rand(3, 50, 70)
    features = model.encode(rgb)
    assert features.shape == (16, 4, 5)
    import transformers

    network = transformers.AutoModel.from_pretrained(folder).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    picture = (rgb - mean[:, None, None]) / std[:, None, None]
    padded = torch.nn.functional.pad(picture[None], (0, 10, 0, 14), mode="replicate")
    with torch.inference_mode():
        tokens = network(padded).last_hidden_state[0]
    extra = 1 + getattr(network.config, "num_register_tokens", 0)
    assert len(tokens) == extra + 20
    torch.testing.assert_close(features[:, 1, 2], tokens[extra + 5 + 2], rtol=1e-4, atol=1e-5)
    half = backbones.load(folder, device="cpu", dtype="bfloat16").encode((rgb * 255).byte())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), features, rtol=0.2, atol=0.2)


def test_a_transformer_needs_no_torchvision(tmp_path: Path) -> None:
    assert "torchvision" not in sys.modules
    backbones.load(tiny(tmp_path, "Dinov2"), device="cpu")
    assert "torchvision" not in sys.modules


def test_colours_are_scaled_as_the_folder_says(tmp_path: Path) -> None:
    folder = tiny(tmp_path, "Dinov2")
    rgb = torch.rand(3, 28, 28)
    before = backbones.load(folder, device="cpu", dtype="float32").encode(rgb)
    told = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    after = backbones.load(folder, device="cpu", dtype="float32").encode(rgb)
    assert not torch.allclose(before, after)


def test_a_transformer_tracks(tmp_path: Path) -> None:
    model = backbones.load(tiny(tmp_path, "Dinov2"), device="cpu", dtype="float32")
    tracker = Tracker(model, TrackingConfig(size=0, radius=2, topk=1))
    rgb, mask = moving(0)
    first = tracker.step(rgb, mask).scores
    torch.testing.assert_close(tracker.step(rgb).scores, first)


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def damaged(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")


def incomplete(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state["embeddings.cls_token"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def other_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')


def of_liir(folder: Path) -> None:
    (folder / "config.json").write_text('{"training": {}}')
    (folder / "weights.safetensors").touch()


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_weights, "cannot be loaded: .*model.safetensors"),
        (damaged, "cannot be loaded: "),
        (incomplete, "1 weights are missing, first embeddings.cls_token"),
        (other_kind, "of type 'bert'; liir takes dinov2, dinov2_with_registers, dinov3_vit"),
        (of_liir, "of type None; give .*weights.safetensors"),
        (no_json, "is no folder of a Hugging Face model: config.json cannot be read"),
        (a_list, "config.json: expected a JSON object"),
    ],
)
def test_a_wrong_folder_is_explained(tmp_path: Path, spoil: Any, message: str) -> None:
    spoil(tiny(tmp_path, "Dinov2"))
    with pytest.raises(InputError, match=message) as caught:
        backbones.load(tmp_path, device="cpu")
    assert "\n" not in str(caught.value)


def test_without_transformers_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "dinov2"}')
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"needs transformers .*pip install 'liir\[backbones\]'"):
        backbones.load(tmp_path, device="cpu")


# --- What liir has of its own


def test_names_of_liirs_own_models_lead_to_them() -> None:
    assert backbones.load("random:small", device="cpu").preset.name == "small"
    with pytest.raises(InputError, match="unknown model 'large'"):
        backbones.load("large", device="cpu")


def test_a_folder_of_that_name_does_not_hide_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rgb").mkdir()
    monkeypatch.chdir(tmp_path)
    assert backbones.load("rgb", device="cpu").name == "rgb"
