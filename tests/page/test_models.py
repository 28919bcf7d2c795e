"""One model in memory, by names alone."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from liir.errors import InputError
from liir.page import models as models_module
from liir.page.models import Models


def test_names(weights):
    models = Models([str(weights)], dtype="float32")
    assert "small" in models.names
    assert models.default == "tiny"
    first = models.get("tiny")
    assert models.get("tiny") is first
    with pytest.raises(InputError, match="no model"):
        models.get(str(weights))  # a path is no name
    assert Models().default == "small"


def test_one_at_a_time(weights, tmp_path):
    """The one asked for last is kept; a file that has changed is read again."""
    other = tmp_path / "other.safetensors"
    shutil.copy(weights, other)
    models = Models([str(weights), str(other)], dtype="float32")
    assert models.default == "other"
    first = models.get("tiny")
    second = models.get("other")
    assert second is not first
    assert models.get("other") is second
    assert models.get("tiny") is not first  # the second took its place
    adapted = models.get("adapted", other)
    assert models.get("adapted", other) is adapted
    os.utime(other, ns=(1, 1))
    assert models.get("adapted", other) is not adapted


def test_many_who_ask_at_once_are_given_the_same(weights, monkeypatch):
    loaded = []
    real = models_module.load

    def slow(source, **options):
        loaded.append(source)
        time.sleep(0.05)
        return real(source, **options)

    monkeypatch.setattr(models_module, "load", slow)
    models = Models([str(weights)], dtype="float32")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: models.get("tiny"), range(8)))
    assert all(model is found[0] for model in found)
    assert loaded == [str(weights)]


@pytest.mark.parametrize("name", ["adapted", "../tiny", "", "tiny.safetensors"])
def test_other_names_are_none(weights, name):
    with pytest.raises(InputError, match=r"there are .*tiny"):
        Models([str(weights)]).source(name)


def test_a_model_s_own_settings_are_known_without_loading_it(weights, tmp_path):
    models = Models([str(weights)])
    assert models.own("tiny") == {"size": 48, "radius": 4, "references": 3}
    assert models.own("small").keys() == {"size", "radius", "references"}
    assert models.own("adapted", tmp_path / "gone") is None
    (tmp_path / "broken").write_bytes(b"no weights")
    assert models.own("adapted", tmp_path / "broken") is None
    assert models.own("random:small") is None
