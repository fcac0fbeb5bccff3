"""The suite `dub` with a dubber that moves lips with the loudness: what it compares with what, and what it keeps."""

import json

import numpy as np
import pytest
import torch

from anitalker.media.yuv import FilmedFrame
from scripts.evaluation import dub
from scripts.evaluation.clips import first_frames
from scripts.evaluation.identity import Similarities
from scripts.evaluation.session import MetricNetworks

FRAMES, HOP = 28, 640


def film(fakes, seed, person, generated="no"):
    """A grey clip of somebody whose lips open with the loudness; the frame says how far, and which clip it is."""
    clip = first_frames(fakes.clip(seed, person), FRAMES)
    loud = np.random.default_rng(seed).uniform(0.01, 0.1, FRAMES)
    loud[13:] = 0.02
    clip.frames[:] = 120
    clip.frames[:, 0, 0] = np.stack([(1000 * loud).round(), np.full_like(loud, seed), loud], 1)
    clip.landmarks[:] = np.stack([fakes.face(opening) for opening in clip.frames[:, 0, 0, 0] / 1000])
    clip.speech[:] = np.repeat(loud, HOP)
    clip.row["generated"] = generated
    return clip


class Dubber:
    """Lips of the loudness, but for `leak` of the filmed ones; rows from 160 on are as bright as the speech is loud."""

    def __init__(self, leak=0.0):
        self.leak = leak

    def follow(self, frames):
        return ["track"]

    def dub(self, frames, tracks, speech):
        assert tracks == ["track"]
        samples = np.zeros(len(frames) * HOP)
        samples[: len(speech)] = speech[: len(samples)]
        loud = 1000 * samples.reshape(-1, HOP).mean(1)
        dubbed = frames.copy()
        dubbed[:, 0, 0, 0] = np.round((1 - self.leak) * loud + self.leak * frames[:, 0, 0, 0])
        dubbed[:, 160:] = 120 + np.round(loud)[:, None, None, None]
        return dubbed

    def region(self, frames, tracks, speech):
        share = np.zeros(frames.shape[:3], np.float32)
        share[:, 160:], share[:, 170:] = 0.5, 1.0
        return share


@pytest.fixture
def evaluate(fakes, monkeypatch, tmp_path):
    """evaluate(dubber, clips, *options, networks) -> `dub` of the report; contact sheets and scores under tmp_path."""
    monkeypatch.setattr(dub, "stored", lambda frames: dub.StoredFilm([FilmedFrame(f) for f in frames], frames))
    monkeypatch.setattr(dub, "encoded", lambda frames, filmed: frames)
    monkeypatch.setattr(dub, "CLOSE_UP_PIXELS", 16)

    class Model(fakes.Listener):
        canonical = torch.from_numpy(fakes.face() - np.float32([0.5, 0.5, 0]))

        def landmarks(self, frames):
            return np.stack([fakes.face(frame[0, 0, 0] / 1000) for frame in frames])

        def render(self, source, motion):
            frames = np.repeat(source.image[None], len(motion), 0)
            frames[:, 0, 0, 0] = (1000 * motion[:, 6]).round()
            return frames

    def run(dubber, clips, *options, networks=None):
        model = Model(*clips)
        model.dubber = dubber
        options = ("--stride", "4", "--out", str(tmp_path), *options)
        return dub.run(fakes.session(model, clips, *options, networks=networks)).get("dub")

    return run


@pytest.mark.slow
def test_lips_follow_the_other_speech_and_come_back(evaluate, fakes, tmp_path):
    clips = [film(fakes, 0, "ann"), film(fakes, 2, "bob"), film(fakes, 3, "cleo", "yes")]
    report = evaluate(Dubber(), clips)
    assert report["clips"] == 2 and report["people"] == 2 and report["generated"]["clips"] == 1
    assert [row["id"] for row in report["per_clip"]] == ["0", "2"]
    assert report["lip_correlation"] > 0.99 and report["render_lip_correlation"] > 0.99
    assert abs(report["behind_render"]) < 0.01 and report["leak"] < 0.7
    assert report["leak"] == pytest.approx(report["render_leak"], abs=0.02)
    assert report["redrawn"] == 1 and report["upper_face_psnr_lossless"] == report["upper_face_luma_psnr"] == 100
    # Dubbed back, the picture below the nose says the clip's own loudness; with silence it is the filmed grey.
    assert report["lower_face_psnr"] < report["frozen_lower_face_psnr"]
    assert report["border_change"] > 10 and report["flicker"] == pytest.approx(0, abs=1e-6)
    assert "mouth_perceptual" not in report and "identity" not in report
    low, high = report["interval"]["lip_correlation"]
    assert low <= report["lip_correlation"] <= high and len(report["interval"]["flicker"]) == 2
    assert json.loads(json.dumps(report, allow_nan=False)) and (tmp_path / "dub-0.png").is_file()


@pytest.mark.slow
def test_old_lips_that_stay_are_a_leak(evaluate, fakes):
    clips = [film(fakes, 0, "ann"), film(fakes, 2, "bob")]
    report = evaluate(Dubber(leak=0.8), clips)
    assert report["leak"] > 0.9 and report["behind_render"] > 0.2


@pytest.mark.slow
def test_scores_are_kept_and_taken_again(evaluate, fakes, tmp_path):
    clips = [film(fakes, 0, "ann"), film(fakes, 2, "bob")]
    first = evaluate(Dubber(), clips)
    stored = tmp_path / "parts" / "dub" / "0.json"
    changed = json.loads(stored.read_text())
    changed["scores"]["redrawn"] = 0.25
    stored.write_text(json.dumps(changed))
    assert evaluate(Dubber(), clips, "--resume")["per_clip"][0]["redrawn"] == 0.25
    assert evaluate(Dubber(), clips, "--resume", "--stride", "3")["per_clip"][0] != first["per_clip"][0]


@pytest.mark.slow
def test_identity_is_a_percentile(evaluate, fakes):
    known = Similarities(same=np.linspace(0.9, 1, 101), different=np.linspace(-0.5, 0.5, 101))
    networks = MetricNetworks(verifier=lambda frames, points: np.tile([1.0, 0.0], (len(frames), 1)), clips=known)
    report = evaluate(Dubber(), [film(fakes, 0, "ann"), film(fakes, 2, "bob")], networks=networks)
    assert report["identity"]["made"]["percentile"] == 100


def test_a_model_that_cannot_dub_and_a_single_speaker_have_no_score(evaluate, fakes):
    assert evaluate(None, [film(fakes, 0, "ann"), film(fakes, 2, "bob")]) is None
    assert evaluate(Dubber(), [film(fakes, 0, "ann")]) is None


def test_a_stored_video_comes_back_from_the_encoder():
    """What is not changed has the same luma and chroma before the encoder, so nothing but its loss remains."""
    frames = np.random.default_rng(0).integers(60, 190, (3, 32, 48, 1)).repeat(3, -1).astype(np.uint8)
    film = dub.stored(frames)
    read = dub.encoded(np.stack([frame.rgb for frame in film.frames]), film.frames)
    assert read.shape == film.shown.shape == frames.shape
    assert np.abs(read.astype(int) - film.shown).mean() < 6
    upper = np.zeros((3, 32, 48), bool)
    upper[:, :12] = True
    scores = dub.upper_face(frames, np.where(upper[..., None], frames, 30).astype(np.uint8), upper)
    assert scores["upper_face_psnr_lossless"] == 100 > scores["upper_face_psnr"] > 30
    assert scores["upper_face_luma_psnr"] > 30 and scores["upper_face_psnr_encoder"] > 30
