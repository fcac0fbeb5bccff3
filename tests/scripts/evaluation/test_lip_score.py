"""The lips of two folders: the still that speaks, late sound, people, languages, the stream, what is resumed."""

import numpy as np
import pytest

from anitalker.config import InputError
from scripts.evaluation import lip_score


@pytest.fixture
def score(fakes, lips_folder, monkeypatch):
    """score(*options, kind, clips) -> `lips` of the report of a listener over the lips folder and one film of Eve."""
    eve = fakes.clip(0, "eve")
    still = ({"id": "still", "licence": "CC0"}, eve.frames[0], fakes.face(0.0))
    monkeypatch.setattr(lip_score, "load_stills", lambda *_: [still])

    def run(*options, kind=fakes.Listener, clips=(eve,)):
        session = fakes.session(kind(eve), clips, "--lips", str(lips_folder), *options)
        return lip_score.run(session)["lips"]

    return run


def by_id(group, key="lip_correlation"):
    return {row["id"]: row[key] for row in group["per_clip"]}


def test_late_sound_is_in_step_and_people_count_once(score):
    report = score()
    assert report["still"] == "still" and report["step"] == 1
    filmed = report["filmed"]
    values = by_id(filmed)
    assert set(values) == {"0", "ann_0", "ann_1", "bob_0"}
    assert min(values[name] for name in ("ann_0", "ann_1", "bob_0")) > 0.85  # ann_1 is 3 frames late in the folder
    people = [values["0"], (values["ann_0"] + values["ann_1"]) / 2, values["bob_0"]]
    assert filmed["lip_correlation"] == pytest.approx(np.mean(people), abs=1e-3)
    assert filmed["people"] == 3 and filmed["clips"] == 4
    assert filmed["codes_lip_correlation"] == pytest.approx(filmed["lip_correlation"], abs=0.02)
    assert set(by_id(report["generated"])) == {"cleo_0"} and report["generated"]["languages"] == {}
    assert filmed["languages"]["en"]["people"] == 2 and filmed["languages"]["en"]["lip_correlation"] > 0.85
    low, high = filmed["interval"]
    assert low < filmed["lip_correlation"] < high
    keys = {"above_loudness", "shuffled", "spread_ratio", "correlation_at_best_lag", "closures", "codes_closures"}
    assert keys <= set(filmed) and "stream" not in report


def test_without_shifting_late_sound_the_correlation_is_lost(score, monkeypatch):
    monkeypatch.setattr("scripts.evaluation.lips_folder.av_offset", lambda row: 0)
    assert by_id(score("--no-render")["filmed"], "codes_lip_correlation")["ann_1"] < 0.5


def test_codes_alone_render_nothing(score, fakes, monkeypatch):
    monkeypatch.setattr(fakes.Listener, "render", None)
    report = score("--no-render")
    assert report["step"] is None and report["filmed"]["codes_lip_correlation"] > 0.6
    assert "lip_correlation" not in report["filmed"] and "closures" not in report["filmed"]


def test_every_second_frame_has_no_closures(score):
    filmed = score("--no-whole")["filmed"]
    assert filmed["languages"]["en"]["lip_correlation"] > 0.8 and "closures" not in filmed
    assert filmed["codes_closures"]["f1"] > 0.3


def test_the_stream_stands_beside_offline(score, fakes):
    class Late(fakes.Listener):
        def stream(self, source, speech, seed):
            return np.roll(self.speak(source, speech, seed), 2, 0)

    same, late = score("--stream")["stream"], score("--stream", kind=Late)["stream"]
    assert same["filmed"]["behind_offline"] == 0 == same["generated"]["codes_behind_offline"]
    assert late["filmed"]["behind_offline"] > 0.3 and late["filmed"]["lip_lag_frames"] == 2
    low, high = late["filmed"]["behind_offline_interval"]
    assert low <= late["filmed"]["behind_offline"] <= high


def test_a_clip_of_both_folders_counts_once_and_mute_films_do_not(score, fakes):
    films = [fakes.clip(0, "eve"), fakes.clip(0, "ann")]
    films[0].row["speaking_visible"] = "unknown"
    films[1].row["id"] = "ann_0"
    values = by_id(score("--no-render", clips=films)["filmed"], "codes_lip_correlation")
    assert list(values) == ["ann_0", "ann_1", "bob_0"] and values["ann_0"] < 0.5  # the film has another sound


def test_a_first_frame_without_a_face_is_no_portrait(score, fakes):
    class Blind(fakes.Listener):
        def landmarks(self, frames):
            self.lost += int(frames[0, 0, 0, 0] == 7 and frames.shape[1] == 256)
            return super().landmarks(frames)

    film = fakes.clip(0, "ann")
    film.row["id"] = "ann_0"
    film.frames[0, 0, 0, 0] = 7
    values = by_id(score("--no-render", kind=Blind, clips=[film])["filmed"], "codes_lip_correlation")
    assert list(values) == ["ann_0", "ann_1", "bob_0"] and values["ann_0"] > 0.85  # the still speaks


@pytest.mark.slow
def test_clips_that_are_done_are_not_done_again(score, fakes, tmp_path, monkeypatch):
    out = ["--out", str(tmp_path)]
    first = score("--no-whole", *out)
    assert (tmp_path / "lips-offline-ann_0.png").is_file()
    monkeypatch.setattr(fakes.Listener, "speak", None)
    assert score("--no-whole", *out, "--resume") == first
    with pytest.raises(TypeError):  # other frames than were measured
        score(*out, "--resume")


def test_the_still_is_free_closed_and_frontal(fakes, monkeypatch):
    def choose(*stills):
        monkeypatch.setattr(lip_score, "load_stills", lambda *_: list(stills))
        return lip_score.choose_still(fakes.session(fakes.Oracle(fakes.clip()), []))[0]

    def still(name, opening, licence="unknown"):
        return {"id": name, "licence": licence}, np.zeros((256, 256, 3), np.uint8), fakes.face(opening)

    # The oracle's yaw grows with the number of the picture.
    assert choose(still("a", 0.0), still("b", 0.0)) == "a"
    assert choose(still("a", 0.05), still("b", 0.0)) == "b"
    assert choose(still("a", 0.0), still("b", 0.0, "CC0-1.0")) == "b"
    with pytest.raises(InputError, match="no still"):
        choose(still("a", 0.05))
