"""Speech-driven scores with an oracle as the model; silence; which clips count."""

import pytest

from anitalker.faces.landmarks import lip_opening
from scripts.evaluation.speaking import AudioDriven, OpenMouthStills, heard, is_spoken, widest


def test_audio_driven_oracle_shuffled_and_silent(fakes):
    clips = [fakes.clip(0, "a"), fakes.clip(1, "b"), fakes.clip(2, "c")]
    part = AudioDriven(None, samples=2, stride=1)
    for known in clips:
        part.subject = fakes.Oracle(known)
        part.add(known, part.subject.codes(known.frames))
    result = part.result()
    assert result["lip_correlation"] == pytest.approx(1, abs=1e-5)
    assert result["lip_lag_frames"] == 0
    assert result["scorer_lip_correlation"] == pytest.approx(1, abs=1e-5)
    assert abs(result["shuffled"]) < 0.3
    assert result["silence_ratio"] < 1e-5
    assert result["spread_ratio"] == pytest.approx(1, abs=1e-5)


def test_only_real_visible_speakers_count(fakes):
    row = fakes.clip().row
    assert is_spoken(row)
    for key, value in (("speaking_visible", "unknown"), ("generated", "yes"), ("has_audio", "no")):
        assert not is_spoken(row | {key: value})


def test_open_mouths_report_what_the_lips_do_in_silence(fakes):
    known = fakes.clip()
    part = OpenMouthStills(fakes.Oracle(known))
    part.add(known.frames[0], known.landmarks[0])
    result = part.result()
    expected = float(lip_opening(known.landmarks[0]))  # the oracle's silence repeats the first frame
    assert result["opening_after_1s"] == pytest.approx(expected, abs=1e-6)
    assert result["share_closed"] == 0.0


def test_widest_mouths_come_first(fakes):
    stills = [(None, fakes.face(opening)) for opening in (0.02, 0.09, 0.05)]
    assert [round(float(lip_opening(points)), 2) for _, points in widest(stills, 2)] == [0.09, 0.05]


def test_frames_that_the_sound_does_not_reach_do_not_count(fakes):
    known = fakes.clip()
    short = type(known)(known.row, known.frames, known.landmarks, known.speech[: 30 * 640 + 1])
    assert len(heard(short).frames) == 31 == len(heard(short).landmarks)
    assert len(heard(known).frames) == fakes.FRAMES
    part = AudioDriven(fakes.Oracle(short), samples=2, stride=2)
    part.add(short, part.subject.codes(short.frames))
    assert part.result()["closures"]["f1"] == 1


def test_a_mouth_that_never_moves_scores_nothing(fakes):
    part = AudioDriven(None, samples=1, stride=1)
    for seed, name in enumerate("ab"):
        known = fakes.clip(seed, name)
        part.subject = fakes.Copier(known)
        part.add(known, part.subject.codes(known.frames))
    report = part.result()
    assert report["lip_correlation"] == 0 == report["closures"]["f1"] and report["spread_ratio"] < 1e-5
    assert report["presence"]["made"]["background_change"] in (0, None)
    assert report["table"]["made"]["closure_f1"] < report["table"]["trembling"]["closure_f1"]
