"""One model in memory: replaced when another is asked for, never for a name that is not on offer."""

import pytest

from anitalker import pipeline
from anitalker.config import InputError
from app.models import Models


@pytest.fixture
def loads(monkeypatch):
    """Names that were loaded; what is loaded is the name."""
    names = []
    monkeypatch.setattr(pipeline, "load", lambda name, device: names.append((name, device)) or name)
    return names


def test_a_model_is_loaded_only_when_it_changes(loads, monkeypatch):
    monkeypatch.setattr(Models, "names", ["first", "second"])
    models = Models("loaded before", "first", "cpu")
    assert models.get() == models.get("first") == "loaded before" and loads == []
    assert models.get("second") == models.get() == "second" and loads == [("second", "cpu")]
    assert models.get("first") == "first" and models.loads == 3


def test_the_default_model_is_offered_first(loads):
    models = Models("loaded before", "my.safetensors")
    assert models.names[:2] == ["my.safetensors", "lite"]
    with pytest.raises(InputError, match=r"model is '/etc/passwd'; allowed are my\.safetensors, lite"):
        models.get("/etc/passwd")
    assert loads == []


def test_a_failed_load_is_tried_again(loads, monkeypatch):
    """The old model was freed: the next request must not get None."""
    monkeypatch.setattr(Models, "names", ["first", "second"])
    models = Models("loaded before", "first")

    def fail(name, device):
        raise InputError("damaged file")

    monkeypatch.setattr(pipeline, "load", fail)
    with pytest.raises(InputError, match="damaged"):
        models.get("second")
    monkeypatch.setattr(pipeline, "load", lambda name, device: name)
    assert models.get() == "first"
