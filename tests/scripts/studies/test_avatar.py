"""What tuning gains: halves of a person's clips, and the three portraits that are compared."""

from types import SimpleNamespace

import numpy as np
import pytest

from anitalker.motion.manner import USUAL, Manner
from scripts.studies import avatar


def test_a_person_s_clips_become_two_videos(monkeypatch, tmp_path):
    rows = [("a", "ada", ""), ("b", "bob", ""), ("c", "ada", "no"), ("d", "ada", ""), ("e", "ada", "yes")]
    names = ("id", "identity", "generated")
    clips = [SimpleNamespace(row=dict(zip(names, row, strict=True)), mp4=row[0].encode()) for row in rows]
    monkeypatch.setattr(avatar, "load_clips", lambda data, splits: clips)
    calls = []
    monkeypatch.setattr(avatar, "run_ffmpeg", lambda arguments: calls.append(arguments[-1]))
    first, second = avatar.halves("data", "tune", "ada", tmp_path)
    assert calls == [str(first), str(second)]
    assert first.with_suffix(".txt").read_text() == "file 'a.mp4'\nfile 'c.mp4'\n"
    assert second.with_suffix(".txt").read_text() == "file 'd.mp4'\n"
    first.touch()
    second.touch()
    avatar.halves("data", "tune", "ada", tmp_path)
    assert len(calls) == 2  # they are kept


def test_references_alone_have_neither_manner_nor_weights():
    prepared = []
    model = SimpleNamespace(
        crop=lambda picture, face: "crop", prepare=lambda picture, crop, photos=(), traits=None: prepared.append(traits)
    )
    talker = SimpleNamespace(model=model, finder=lambda: SimpleNamespace(find=lambda picture: ["face"]))
    from anitalker.models.base import PersonTraits

    empty = np.zeros(1)
    traits = PersonTraits(empty, empty, empty, empty, Manner(1.5), {"exit.bias": empty}, {"bias": empty})
    assert set(avatar.faces_of(talker, SimpleNamespace(portrait=None, traits=traits))) == {
        "untuned",
        "references",
        "tuned",
    }
    assert prepared[0] is None and prepared[2] is traits
    assert prepared[1].manner is USUAL and not prepared[1].mouth and not prepared[1].lips
    assert prepared[1].patches is empty


@pytest.mark.parametrize("name", ["tuned", "references"])
def test_ratios_compare_with_the_untuned_portrait(name):
    kinds = {"untuned": {"mouth": 2.0}, "references": {"mouth": 1.5}, "tuned": {"mouth": 1.0}}
    avatar.add_ratios(kinds)
    assert kinds[f"{name}_ratio"] == {"mouth": {"tuned": 0.5, "references": 0.75}[name]}
