"""Means over people, not clips; what is shuffled against what; closures."""

import numpy as np
import pytest

from scripts.evaluation.people import SpokenLips, closures_of_people, people_report, person_means, related_clips


def spoken(person, seed, name="clip"):
    rng = np.random.default_rng(seed)
    return SpokenLips(name, person, "", rng.normal(size=60 * 640), rng.random(60), rng.random(60))


def test_a_person_with_many_clips_counts_once():
    values = person_means(["a", "b", "a"], np.array([1.0, 4.0, 3.0]))
    assert values.tolist() == [2.0, 4.0]
    clips = [spoken("a", 0), spoken("a", 1), spoken("b", 2)]
    curves = [clips[0].truth, clips[1].truth, np.full(60, 0.5)]
    report = people_report(clips, curves, related_clips(clips), 1)
    assert report["lip_correlation"] == pytest.approx(0.5)  # the mean over clips is two thirds
    assert report["interval"] == pytest.approx([0, 1]) and report["lip_lag_frames"] == 0
    deviations = [np.mean([clip.truth.std() for clip in clips[:2]]), clips[2].truth.std()]
    assert report["spread_ratio"] == pytest.approx(deviations[0] / sum(deviations))
    assert report["closures"]["recall"] < 1 and report["closures"]["precision"] == 1


def test_half_the_frames_are_compared_with_their_own_frames():
    clips = [spoken("a", 0), spoken("b", 1)]
    report = people_report(clips, [clip.truth[::2] for clip in clips], related_clips(clips), 2)
    assert report["lip_correlation"] == pytest.approx(1) == report["correlation_at_best_lag"]
    assert report["spread_ratio"] == pytest.approx(1) and "closures" not in report
    assert abs(report["shuffled"]) < 0.5


def test_faces_that_share_a_recording_are_not_strangers():
    clips = [spoken("a", 0), spoken("b", 1), spoken("c", 2)]
    shared = SpokenLips("d", "d", "", np.roll(clips[0].speech, 640), clips[0].truth, clips[0].loudness)
    related = related_clips([*clips, shared])
    assert related[0].tolist() == [True, False, False, True] and (related == related.T).all()
    clips = [clips[0], shared]
    report = people_report(clips, [clip.truth for clip in clips], related_clips(clips), 1)
    assert report["shuffled"] is None and report["shuffled_interval"] is None


def test_closures_are_counted_together_and_intervals_are_over_people():
    clips = [spoken("a", 0), spoken("b", 1)]
    report = closures_of_people(clips, [clips[0].truth, np.full(60, 0.5)])  # Bob never closes his lips
    assert report["precision"] == 1 and 0 < report["recall"] < 1
    assert report["f1"] == pytest.approx(2 * report["recall"] / (1 + report["recall"]))
    assert report["interval"] == pytest.approx([0, 1]) and report["recall_interval"] == pytest.approx([0, 1])
