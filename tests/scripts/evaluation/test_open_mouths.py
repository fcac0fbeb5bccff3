"""Open mouths in silence: which stills are chosen, and what is said of them."""

import pytest

from anitalker.faces.landmarks import lip_opening
from scripts.evaluation import open_mouths


def test_open_mouths_report_what_the_lips_do_in_silence(fakes, monkeypatch):
    known = fakes.clip()
    stills = {"val": [({}, known.frames[0], fakes.face(0.06))], "train": [({}, known.frames[1], fakes.face(0.08))] * 3}
    monkeypatch.setattr(open_mouths, "load_stills", lambda data, splits: iter(stills[splits[0]]))
    result = open_mouths.run(fakes.session(fakes.Oracle(known), [], "--stills", "2"))["open_mouths"]
    # The oracle's silence repeats the clip's first frame.
    assert result["opening_after_1s"] == pytest.approx(float(lip_opening(known.landmarks[0])), abs=1e-6)
    assert result["opening_before"] == pytest.approx(0.07, abs=1e-4)
    assert result["stills"] == 2 and result["from_train"] == 1 and result["share_closed"] == 0.0


def test_widest_mouths_come_first(fakes, monkeypatch):
    stills = [({}, None, fakes.face(opening)) for opening in (0.02, 0.06, 0.09, 0.07)]
    monkeypatch.setattr(open_mouths, "load_stills", lambda *_: iter(stills))
    widest = [round(float(lip_opening(points)), 2) for _, points in open_mouths.widest("", "val", 2)]
    assert widest == [0.09, 0.07] and len(open_mouths.widest("", "val", 9)) == 3  # the first is closed
