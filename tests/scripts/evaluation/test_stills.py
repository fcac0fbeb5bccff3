"""Stills that speak, with an oracle and a planted verifier; open mouths in silence; which stills are chosen."""

import numpy as np
import pytest

from anitalker.faces.landmarks import lip_opening
from scripts.evaluation import stills as suite
from scripts.evaluation.identity import Similarities
from scripts.evaluation.session import MetricNetworks
from scripts.evaluation.stills import diverse, turned


def by_colour(frames, points):
    """A verifier that knows people by the colour of one pixel: 0 and 200 are strangers."""
    angle = np.deg2rad(frames[:, 255, 255, 0].astype(float) * 90 / 200)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def still(fakes, number, opening, group, shift=0.0):
    points = fakes.face(opening)
    points[[234, 454, 1], :2] = (0.3, 0.5), (0.7, 0.5), (0.5 + shift, 0.5)
    return {"id": f"s{number}", "source": "set", "source_path": f"{group}/{number}.jpg"}, None, points


def test_half_of_the_faces_have_an_open_mouth_and_groups_take_turns(fakes):
    stills = [still(fakes, n, 0.09, "x") for n in range(9)] + [still(fakes, 10 + n, 0.01, "y") for n in range(9)]
    stills += [still(fakes, 30, 0.09, "z"), still(fakes, 31, 0.01, "z")]
    chosen = [row["id"] for row, *_ in diverse(stills, 8)]
    assert len(set(chosen)) == 8 and {"s30", "s31"} <= set(chosen)
    assert sum(int(name[1:]) < 10 or name == "s30" for name in chosen) == 4
    assert len(diverse(stills[:9], 8)) == 8  # nobody with a closed mouth: filled up


def test_turned_heads_come_first(fakes):
    stills = [still(fakes, n, 0.01, "x", shift) for n, shift in enumerate((0.0, 0.05, -0.1))]
    assert [row["id"] for row, *_ in diverse(stills, 2)] == ["s2", "s1"]
    assert turned(stills[2][2]) == pytest.approx(0.1 / 0.6, rel=1e-4)


def test_the_face_that_became_another_is_the_worst(fakes, monkeypatch):
    """Three stills of colour 0; the model shows colours 0, 200 and 40, and the verifier knows people by it."""
    clips = [fakes.clip(seed, "a") for seed in range(3)]
    stills = []
    for number, (known, shown) in enumerate(zip(clips, (0, 200, 40), strict=True)):
        image = known.frames[0].copy()
        image[255, 255] = 0
        known.frames[:, 255, 255] = shown
        stills.append(({"id": f"s{number}"}, image, known.landmarks[0]))
    monkeypatch.setattr(suite, "load_stills", lambda *_: iter(stills))
    monkeypatch.setattr(suite, "diverse", lambda stills, count: stills)
    monkeypatch.setattr(suite, "first_speech", lambda session: np.ones(4 * 16_000, np.float32))
    people = Similarities(same=np.linspace(0.9, 1, 101), different=np.linspace(-0.5, 0.5, 101))
    networks = MetricNetworks(verifier=by_colour, clips=people, stills=people)
    session, sheets = fakes.session(fakes.Oracle(*clips), clips, networks=networks), {}
    session.save_sheet = lambda name, rows: sheets.update({name: rows})
    report = suite.run_held_still(session)["held_still"]
    assert report["faces"] == 3 and report["worst"] == ["s1", "s2", "s0"] and report["under_90"] == 1
    assert report["percentile"] == 100 and report["open_mouths"] == sum(f["open_mouth"] for f in report["per_face"])
    assert [face["id"] for face in report["per_face"]] == ["s0", "s1", "s2"]
    stranger = report["per_face"][1]
    assert stranger["percentile"] < 90 and stranger["similarity"] == pytest.approx(0, abs=1e-6)
    assert {report["percentile_open"], report["percentile_closed"]} == {100, None}
    assert next(iter(sheets)) == "held-worst-1-s1" and sheets["held-worst-1-s1"][0][1].shape[1:] == (256, 256, 3)


def test_open_mouths_report_what_the_lips_do_in_silence(fakes, monkeypatch):
    known = fakes.clip()
    stills = {"val": [({}, known.frames[0], fakes.face(0.06))], "train": [({}, known.frames[1], fakes.face(0.08))] * 3}
    monkeypatch.setattr(suite, "load_stills", lambda data, splits: iter(stills[splits[0]]))
    result = suite.run_silence(fakes.session(fakes.Oracle(known), [], "--stills", "2"))["open_mouths"]
    # The oracle's silence repeats the clip's first frame.
    assert result["opening_after_1s"] == pytest.approx(float(lip_opening(known.landmarks[0])), abs=1e-6)
    assert result["opening_before"] == pytest.approx(0.07, abs=1e-4)
    assert result["smallest_before"] == pytest.approx(0.06, abs=1e-4)
    assert result["share_closed"] == float(result["opening_after_1s"] <= 0.025)
    assert result["stills"] == 2 and result["from_train"] == 1


def test_widest_mouths_come_first(fakes, monkeypatch):
    stills = [({}, None, fakes.face(opening)) for opening in (0.02, 0.06, 0.09, 0.07)]
    monkeypatch.setattr(suite, "load_stills", lambda *_: iter(stills))
    widest = [round(float(lip_opening(points)), 2) for *_, points in suite.widest("", "val", 2)]
    assert widest == [0.09, 0.07] and len(suite.widest("", "val", 9)) == 3  # the first is closed
