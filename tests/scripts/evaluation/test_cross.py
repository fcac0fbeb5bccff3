"""Cross-reenactment and the held-still check with an oracle and a planted verifier."""

import numpy as np
import pytest

from scripts.evaluation.cross import CrossReenactment, partners
from scripts.evaluation.held import HeldStill, diverse, turned
from scripts.evaluation.identity import Similarities
from scripts.evaluation.judges import Judges


def by_colour(frames, points):
    """A verifier that knows people by the colour of one pixel: 0 and 200 are strangers."""
    angle = np.deg2rad(frames[:, 255, 255, 0].astype(float) * 90 / 200)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def judges():
    known = Similarities(same=np.linspace(0.9, 1, 101), different=np.linspace(-0.5, 0.5, 101))
    return Judges(verifier=by_colour, clips=known, stills=known)


def coloured(known, value):
    known.frames[:, 255, 255] = value
    return known


def test_everybody_is_driven_by_somebody_else():
    rows = [{"identity": name} for name in "aabca"]
    assert partners(rows) == [2, 2, 3, 4, 2]
    assert partners([{"identity": "a"}] * 2) == [-1, -1]


@pytest.mark.parametrize(("shown", "percentile"), [(0, 100), (200, 51)])
def test_cross_reenactment_says_whose_face_it_is(fakes, shown, percentile):
    portrait, driver = coloured(fakes.clip(0, "a"), 0), coloured(fakes.clip(0, "b"), 200)
    made = coloured(fakes.clip(0, "a"), shown)
    subject = fakes.Oracle(made)
    part = CrossReenactment(subject, judges(), stride=5)
    part.add(portrait, subject.codes(portrait.frames), driver, subject.codes(driver.frames))
    report = part.result()
    assert report["made"]["pose_error_degrees"] == 0
    assert report["made"]["expression_error"] == pytest.approx(0, abs=1e-5)
    assert report["made"]["lip_correlation"] == pytest.approx(1, abs=1e-4)
    assert report["identity"]["made"]["percentile"] == pytest.approx(percentile, abs=2)
    assert report["nearer_to_portrait"] == (1.0 if shown == 0 else 0.0)


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


def test_the_face_that_became_another_is_the_worst(fakes):
    part = HeldStill(None, judges(), np.ones(4 * 16_000, np.float32), stride=2)
    for number, shown in enumerate((0, 200, 40)):
        portrait = coloured(fakes.clip(0, "a"), 0)
        part.subject = fakes.Oracle(coloured(fakes.clip(0, "a"), shown))
        part.add({"id": f"s{number}"}, portrait.frames[0], portrait.landmarks[0])
    report = part.result()
    assert report["faces"] == 3 and report["worst"] == ["s1", "s2", "s0"] and report["under_90"] == 1
    assert report["per_face"][1]["percentile"] == pytest.approx(51, abs=2) and report["percentile"] == 100
    assert part.worst()[0][0].startswith("s1") and part.worst()[0][1].shape[1:] == (256, 256, 3)
