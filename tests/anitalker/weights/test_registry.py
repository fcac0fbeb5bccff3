"""The registry: names before files, hashes that hold, and what is shipped is what is registered."""

import re
from dataclasses import replace

import pytest

from anitalker.config import InputError
from anitalker.network_config import VARIANTS
from anitalker.weights import registry


def refused(name, words):
    with pytest.raises(InputError, match=words) as error:
        registry.resolve_verified(name)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    return str(error.value)


def test_the_hash_must_hold(tmp_path, monkeypatch):
    path = tmp_path / "face.safetensors"
    path.write_bytes(bytes(1000))
    monkeypatch.setenv("ANITALKER_CHECKPOINTS", str(tmp_path))
    entry = replace(registry.REGISTRY["face"], sha256=registry.sha256(path))
    monkeypatch.setitem(registry.REGISTRY, "face", entry)
    assert registry.resolve_verified("face") == path
    path.write_bytes(bytes(999) + b"1")
    refused("face", "SHA-256")
    assert registry.resolve_verified(path) == path  # by its path it is what the user says


def test_where_names_are_looked_for(tmp_path, monkeypatch):
    shipped, mine, cache = (tmp_path / name for name in ("shipped", "mine", "cache/anitalker"))
    monkeypatch.setattr(registry, "SHIPPED_FOLDER", shipped)
    monkeypatch.setenv("ANITALKER_CHECKPOINTS", str(mine))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    refused("lite", "not here")
    for folder in (cache, shipped, mine):  # each folder goes before those that are there already
        folder.mkdir(parents=True)
        (folder / "lite.safetensors").touch()
        assert registry.resolve("lite")[0].parent == folder
    assert registry.resolve(str(shipped)) == (shipped / "lite.safetensors", None)


def test_names_of_files_in_the_folders(tmp_path, monkeypatch):
    """A converted file is found by its name, also one with the name of a published file."""
    monkeypatch.setenv("ANITALKER_CHECKPOINTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    refused("stage1", "models fetch stage1")
    for name in ("stage1.safetensors", "mine.ckpt"):
        (tmp_path / name).touch()
    assert registry.resolve("stage1") == (tmp_path / "stage1.safetensors", None)
    assert registry.resolve("mine") == (tmp_path / "mine.ckpt", None)
    (tmp_path / "stage1.ckpt").touch()
    assert registry.resolve("stage1") == (tmp_path / "stage1.ckpt", registry.REGISTRY["stage1"])
    (tmp_path / "stage2_more_controllable_mfcc.ckpt").touch()
    assert registry.resolve("mfcc_full_control")[0].name == "stage2_more_controllable_mfcc.ckpt"


def test_unknown_names_list_the_known():
    assert "lite" in refused("nonsense", "nonsense")


def test_the_registry_is_what_is_shipped(root):
    """Each shipped file is registered under its own hash, which the model card repeats."""
    card = (root / "checkpoints/README.md").read_text(encoding="utf-8")
    entries = {entry.file: entry for entry in registry.REGISTRY.values()}
    for path in (root / "checkpoints").glob("*.safetensors"):
        assert entries[path.name].sha256 == registry.sha256(path)
        assert entries[path.name].sha256 in card


def test_published_files_have_size_and_hash():
    """All variants of the original can be downloaded, and nothing that is shipped."""
    published = {name for name, entry in registry.REGISTRY.items() if entry.published}
    assert published == {"stage1", "gfpgan", *VARIANTS}
    for name in published:
        entry = registry.REGISTRY[name]
        assert re.fullmatch("[0-9a-f]{64}", entry.sha256) and entry.size > 180e6 and entry.licence == "Apache-2.0"
        assert name == "gfpgan" or all(word in entry.file for word in name.split("_", 1))


def test_listing(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "SHIPPED_FOLDER", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ANITALKER_CHECKPOINTS", raising=False)
    (tmp_path / "stage1.safetensors").write_bytes(bytes(12))
    rows = {row["name"]: row for row in registry.list_weights()}
    assert rows.keys() == registry.REGISTRY.keys()
    assert rows["lite"]["file"] is None and rows["lite"]["bytes"] is None
    assert rows["mfcc_pose_only"]["file"] is None and rows["mfcc_pose_only"]["bytes"] == 237_213_440
    assert rows["stage1"]["file"] == str(tmp_path / "stage1.safetensors") and rows["stage1"]["bytes"] == 12
