"""One model in memory, by names alone."""

import pytest

from liir.errors import InputError
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
