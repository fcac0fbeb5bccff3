"""A live face without a network and by a clock of its own: pace, sound in step, interruption, idling, listening."""

from concurrent.futures import Executor, Future

import numpy as np
import pytest
import torch

from anitalker.config import InputError, RenderOptions
from anitalker.streaming import live_face
from anitalker.streaming.live_face import LiveFace

OPTIONS = RenderOptions(frame="crop", steps=1)
TONE = (0.3 * np.sin(np.arange(32_000) * 0.3)).astype(np.float32)


class Clock:
    """A clock that goes when somebody waits, or a frame is drawn."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time

    def wait(self, seconds):
        self.time += seconds


class Inline(Executor):
    """Draws at once, on the thread that asks for it."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Watched:
    """A face whose pictures are its motion; each takes `cost` seconds."""

    def __init__(self, talker, portrait, monkeypatch, **options):
        self.clock, self.cost, self.events, self.motions = Clock(), 0.01, [], []
        monkeypatch.setattr(LiveFace, "_draw", self.draw)
        tell = lambda name, value: self.events.append((name, value))  # noqa: E731
        self.face = LiveFace(talker, portrait, OPTIONS, on_event=tell, now=self.clock, executor=Inline(), **options)
        self.face.frame_rate.threads = 1
        self.motions.clear()

    def draw(self, face_motions):
        (motion,) = face_motions
        self.clock.wait(self.cost)
        self.motions.append(motion[0])
        return motion.numpy()

    def live(self, seconds):
        """Frames of the next seconds."""
        frames, end = [], self.clock.time + seconds
        while self.face._next_time() < end:
            self.clock.time = max(self.clock.time, self.face._next_time())
            for begun in self.face.begin_frames():
                frames.append(self.face.finish_frame(begun, self.clock.wait))
        self.clock.time = max(self.clock.time, end)
        return frames

    def lips(self):
        """How far the lips of each drawn frame are from rest."""
        lips = self.face.stream.model.subspaces.lips
        return [float(((motion - self.face._rest[0][0])[:20] @ lips).norm()) for motion in self.motions]


@pytest.fixture
def watched(talker, example_portrait, monkeypatch):
    # A real draw of the untrained model costs more than the rest of the test.
    return Watched(talker, talker.portrait(example_portrait), monkeypatch)


def test_frames_come_by_the_clock_with_or_without_speech(watched):
    frames = watched.live(2)
    assert [frame.index for frame in frames] == list(range(len(frames))) and 44 <= len(frames) <= 50
    assert all(frame.is_drawn and not frame.is_speaking for frame in frames)
    assert all(frame.delay == pytest.approx(watched.face.delay, abs=1e-3) for frame in frames)


def test_sound_is_in_step_with_its_frame_and_is_not_changed(watched):
    watched.live(1)
    begin = watched.face.position
    watched.face.push(TONE[:16_000])
    frames = watched.live(2)
    sound = np.concatenate([watched.face.sound(frame) for frame in frames])
    first = int(np.flatnonzero(sound)[0]) + frames[0].index * 640
    assert 0 <= first - begin - int(live_face.JITTER_SECONDS * 16_000) <= 2
    spoken = sound[np.flatnonzero(sound)[0] - 1 :][:16_000]
    assert np.array_equal(spoken, TONE[:16_000])
    assert [name for name, _ in watched.events] == ["speaking", "idle"]


def test_a_short_pause_is_no_end_of_speaking(watched):
    watched.face.push(np.concatenate([TONE[:4000], np.zeros(4000, np.float32), TONE[:4000]]))
    watched.live(1.7)
    assert [name for name, _ in watched.events] == ["speaking", "idle"]


def test_lips_are_still_without_speech_and_the_head_is_not(watched):
    watched.live(3)
    lips, motion = watched.lips(), torch.stack(watched.motions)
    assert max(lips) < 1e-5 and (motion[:, :3].std(0) > 0).all()


def test_an_interruption_closes_the_lips_and_silences_the_voice_within_200_ms(watched):
    watched.live(0.5)
    watched.face.push(TONE)
    watched.live(1)
    assert watched.lips()[-1] > 0.01
    at = watched.clock.time
    watched.face.interrupt()
    watched.motions.clear()
    frames = watched.live(0.2)
    assert watched.lips()[-1] < 1e-5 and watched.clock.time - at <= 0.201
    assert not watched.face.sound(frames[-1]).any() and watched.face.waiting_seconds < 0.05
    watched.live(1)
    assert max(watched.lips()[len(frames) - 1 :]) < 1e-5  # what the networks heard before does not come up again


def test_it_speaks_again_after_an_interruption(watched):
    watched.face.push(TONE)
    watched.live(0.5)
    watched.face.interrupt()
    watched.face.push(TONE[:8000])
    watched.motions.clear()
    frames = watched.live(1)
    assert max(watched.lips()[10:]) > 0.01 and any(frame.is_speaking for frame in frames[8:])


def test_the_end_of_a_turn_is_told_when_it_has_been_heard(watched):
    watched.face.push(TONE[:8000])
    watched.face.end_of_turn()
    watched.live(0.5)
    assert ("turn_ended", 0) not in watched.events
    watched.live(0.6)
    assert watched.events.count(("turn_ended", 0)) == 1


def test_the_frame_rate_falls_in_steps_and_sound_does_not_break(watched):
    watched.cost = 0.05
    watched.face.push(TONE)
    frames = watched.live(3)
    told = [value for name, value in watched.events if name == "frame_rate"]
    assert told[:2] == [20, 15] and not all(frame.is_drawn for frame in frames)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    sound = np.concatenate([watched.face.sound(frame) for frame in frames])
    assert np.count_nonzero(sound[320 : 320 + len(TONE)]) > 0.99 * len(TONE)


def test_a_machine_that_is_far_too_slow_still_shows_a_picture_now_and_then(watched):
    watched.cost = 0.5
    frames = watched.live(5)
    drawn = [frame.index for frame in frames if frame.is_drawn]
    assert [frame.index for frame in frames] == list(range(len(frames))) and len(frames) > 100
    assert max(np.diff(drawn)) <= 30 and len(drawn) >= 5


def test_after_a_standstill_it_goes_on_from_now(watched):
    watched.live(0.5)
    watched.clock.wait(10)
    frames = watched.live(1)
    assert [frame.index for frame in frames] == list(range(frames[0].index, frames[0].index + len(frames)))
    assert frames[-1].is_drawn and frames[-1].delay < watched.face.delay + 0.05
    assert sum(frame.is_drawn for frame in frames) < 40


def test_a_listening_head_nods(watched):
    watched.live(0.2)
    for _ in range(60):
        watched.face.hear(TONE[:640])
        watched.live(0.04)
    watched.motions.clear()
    quiet = watched.face.nods._heard
    watched.live(1)
    assert quiet >= 25 and watched.face.nods._depth > 0


def test_a_microphone_that_has_fallen_behind_catches_up_in_silence(watched):
    for _ in range(20):  # 0.8 s that came at once
        watched.face.push(TONE[:640], is_live=True)
    end = watched.face.line.end
    watched.face.push(np.zeros(640, np.float32), is_live=True)
    assert watched.face.line.end == end
    watched.face.push(np.zeros(640, np.float32))  # a text's pauses stay
    assert watched.face.line.end == end + 640


def test_too_much_speech_is_refused(watched):
    with pytest.raises(InputError, match="wait already"):
        for _ in range(3):
            watched.face.push(np.zeros(120 * 16_000, np.float32))
    watched.face.interrupt()
    watched.face.push(TONE)


def test_models_of_whole_clips_are_refused(talker, example_portrait):
    portrait = talker.portrait(example_portrait)
    talker.model = type("Whole", (), {"streaming": None})()
    with pytest.raises(InputError, match="--model lite"):
        LiveFace(talker, portrait)


@pytest.mark.slow
def test_on_its_thread_it_yields_frames_with_sound_until_it_is_closed(talker, example_portrait):
    filtered = []
    face = LiveFace(talker, talker.portrait(example_portrait), OPTIONS, (lambda x: filtered.append(1) or x,))
    with face:
        face.push(TONE[:4000])
        stream = face.frames()
        pairs = [next(stream) for _ in range(12)]
    assert all(picture.shape == (256, 256, 3) and sound.shape == (640,) for picture, sound in pairs)
    assert filtered and any(sound.any() for _, sound in pairs)
    assert len(list(stream)) < 50 and not face.is_alive and face.fault is None


@pytest.mark.slow
def test_a_fault_ends_the_frames_and_is_kept(talker, example_portrait, monkeypatch):
    face = LiveFace(talker, talker.portrait(example_portrait), OPTIONS)
    monkeypatch.setattr(face._drawer, "_draw", lambda motions: 1 / 0)
    with face:
        list(face.frames())
    assert isinstance(face.fault, ZeroDivisionError)
