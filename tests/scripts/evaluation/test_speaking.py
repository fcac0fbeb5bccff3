"""Speech-driven scores with an oracle as the model; which clips and frames count."""

import numpy as np
import pytest

from scripts.evaluation import speaking
from scripts.evaluation.clips import cut_to_sound
from scripts.evaluation.speaking import is_spoken


def report_of(fakes, kind, clips, *options):
    return speaking.run(fakes.session(kind(*clips), clips, *options))["audio_driven"]


@pytest.mark.slow
def test_audio_driven_oracle_shuffled_and_silent(fakes):
    clips = [fakes.clip(0, "a"), fakes.clip(1, "b"), fakes.clip(2, "c")]
    result = report_of(fakes, fakes.Oracle, clips, "--samples", "2", "--stride", "1")
    assert result["lip_correlation"] == pytest.approx(1, abs=1e-5)
    assert result["lip_lag_frames"] == 0 and result["samples"] == 2
    assert result["scorer_lip_correlation"] == pytest.approx(1, abs=1e-5)
    assert abs(result["shuffled"]) < 0.3
    assert result["silence_ratio"] < 1e-5
    assert result["spread_ratio"] == pytest.approx(1, abs=1e-5)


def test_only_real_visible_speakers_count(fakes):
    known = fakes.clip()
    assert is_spoken(known.row)
    for key, value in (("speaking_visible", "unknown"), ("generated", "yes"), ("has_audio", "no")):
        assert not is_spoken(known.row | {key: value})
    known.row["generated"] = "yes"
    assert speaking.run(fakes.session(fakes.Oracle(known), [known])) == {}


@pytest.mark.slow
def test_frames_that_the_sound_does_not_reach_do_not_count(fakes):
    known = fakes.clip()
    short = type(known)(known.row, known.frames, known.landmarks, known.speech[: 30 * 640 + 1])
    assert len(cut_to_sound(short).frames) == 31 == len(cut_to_sound(short).landmarks)
    assert len(cut_to_sound(known).frames) == fakes.FRAMES
    assert report_of(fakes, fakes.Oracle, [short], "--samples", "2")["closures"]["f1"] == 1


@pytest.mark.slow
def test_another_systems_video_of_late_sound_is_shifted_with_it(fakes):
    known = fakes.clip()
    known.row["av_offset_frames"] = "3"
    in_step = type(known)(known.row, known.frames, known.landmarks, known.speech[: -3 * 640])  # as read_clips gives it
    session = fakes.session(fakes.Oracle(known), [in_step], "--samples", "1")
    session.videos = lambda clip: np.concatenate([clip.frames[:3], clip.frames[:-3]])  # it followed the late sound
    assert speaking.run(session)["audio_driven"]["lip_correlation"] == pytest.approx(1, abs=1e-5)


def test_every_second_frame_of_every_sample_is_enough_without_whole(fakes):
    result = report_of(fakes, fakes.Oracle, [fakes.clip()], "--samples", "2", "--no-whole")
    assert result["lip_correlation"] == pytest.approx(1, abs=1e-5)
    assert "closures" not in result and "presence" not in result


@pytest.mark.slow
def test_syncnet_judges_made_and_true(fakes):
    known = fakes.clip()
    session = fakes.session(fakes.Oracle(known), [known], "--samples", "1")
    session.networks.syncnet = lambda frames, points, speech: {"lse_c": float(np.mean(points)), "offset": 0.0}
    result = speaking.run(session)["audio_driven"]["syncnet"]
    assert result["made"] == pytest.approx(result["true"]) and set(result["true"]) == {"lse_c", "offset"}


@pytest.mark.slow
def test_a_mouth_that_never_moves_scores_nothing(fakes):
    clips = [fakes.clip(seed, name) for seed, name in enumerate("ab")]
    report = report_of(fakes, fakes.Copier, clips, "--samples", "1", "--stride", "1")
    assert report["lip_correlation"] == 0 == report["closures"]["f1"] and report["spread_ratio"] < 1e-5
    assert report["presence"]["made"]["background_change"] in (0, None)
    assert report["table"]["made"]["closure_f1"] < report["table"]["trembling"]["closure_f1"]
