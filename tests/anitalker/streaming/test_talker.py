"""Speech in pieces: the same features and frames as in one piece, motion in silence, pace, and latency."""

import time
from queue import Queue

import numpy as np
import pytest
import torch

from anitalker.config import InputError, RenderOptions
from anitalker.streaming.features import CONTEXT_SAMPLES, LEVEL_MEMORY_BLOCKS, StreamingSpeechFeatures
from anitalker.streaming.pacing import PIECE_SAMPLES, deadline, pace_realtime, prefetch, silence
from anitalker.streaming.talker import LOOKAHEAD_FRAMES, StreamingTalker
from encoders import audio
from encoders.speech import SpeechFeatures

CROP = RenderOptions(frame="crop", steps=1)


def voice(seconds):
    """Something between speech and noise: bursts of harmonics, float32 [N]."""
    t = np.arange(int(seconds * 16_000)) / 16_000
    tone = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12)) * (np.sin(2 * np.pi * 3 * t) > 0)
    return (0.05 * tone + 0.001 * np.random.default_rng(0).standard_normal(len(t))).astype(np.float32)


def pieces(samples, size):
    return [samples[at : at + size] for at in range(0, len(samples), size)]


@pytest.mark.parametrize("size", [37, 320, 5000])
def test_chunks_are_those_of_the_whole(size):
    features, sound = SpeechFeatures(), voice(1.23)
    stream_features = StreamingSpeechFeatures(features, level=audio.SPEECH_LEVEL)  # a gain of 1
    chunks = [stream_features.push(torch.tensor(piece)) for piece in pieces(sound, size)]
    chunks.append(stream_features.push(torch.zeros(0), last=True))
    whole = features(torch.tensor(sound))[None]
    assert torch.cat(chunks, 1).shape == whole.shape
    assert torch.allclose(torch.cat(chunks, 1), whole, atol=2e-4)


def test_the_level_is_measured():
    stream_features, faint = StreamingSpeechFeatures(SpeechFeatures()), 0.1 * voice(4)
    for piece in pieces(faint, PIECE_SAMPLES):
        stream_features.push(torch.tensor(piece))
    wanted = 10 ** ((audio.SPEECH_LEVEL - audio.speech_level(torch.tensor(faint))) / 20)
    assert stream_features.gain() == pytest.approx(wanted, rel=0.1)


@pytest.mark.slow
def test_memory_is_bounded():
    """Ten minutes cost the memory of one piece."""
    stream_features = StreamingSpeechFeatures(SpeechFeatures())
    for _ in range(700):
        stream_features.push(torch.zeros(audio.BLOCK_STEP))
    assert len(stream_features.waiting) < 3 * audio.SAMPLES_PER_FRAME
    assert len(stream_features.partial_block) < audio.BLOCK_STEP
    assert len(stream_features.block_powers) == LEVEL_MEMORY_BLOCKS


@pytest.mark.slow
def test_frames_do_not_depend_on_the_pieces(talker, example_portrait):
    portrait, sound = talker.portrait(example_portrait), voice(0.5)
    runs = [
        list(StreamingTalker(talker, portrait, CROP, level=-26.0).frames(pieces(sound, size)))
        for size in (PIECE_SAMPLES, 3000)
    ]
    assert len(runs[0]) == len(runs[1]) == audio.frame_count(len(sound))
    for frame, other in zip(*runs, strict=True):
        assert frame.shape == (256, 256, 3) and np.abs(frame.astype(int) - other).max() <= 1


def test_a_frame_leaves_when_its_lookahead_is_known(talker, example_portrait):
    stream = StreamingTalker(talker, talker.portrait(example_portrait), CROP, lookahead=2)
    left, fed = [], []
    for number, piece in enumerate(pieces(voice(0.6), PIECE_SAMPLES)):
        for _ in stream.motion(piece)[0]:
            left.append(len(left))
            fed.append((number + 1) * PIECE_SAMPLES)
    behind = [samples - frame * 640 for frame, samples in zip(left, fed, strict=True)]
    assert behind[0] <= 2 * 640  # the first one is the portrait itself
    assert max(behind) <= 3 * 640 + CONTEXT_SAMPLES + PIECE_SAMPLES and len(left) >= 10


def test_the_first_of_several_frames_waits_for_no_other(talker, example_portrait):
    """Sound that arrives in a burst, and the end: a frame is drawn while the next one's motion is made."""
    stream, moved = StreamingTalker(talker, talker.portrait(example_portrait), CROP), []
    making = stream.streams[0]._next_frame
    stream.streams[0]._next_frame = lambda end: moved.append(end) or making(end)
    frames = stream.frames([voice(0.8)])
    begun = []
    blank = np.zeros((256, 256, 3), np.uint8)
    stream._draw = lambda motions, frame: begun.append((frame, len(moved))) or blank
    assert len(list(frames)) == 20
    assert begun[0] == (0, 1) and begun[1][1] < 20


def test_the_portrait_moves_in_silence(talker, example_portrait):
    stream = StreamingTalker(talker, talker.portrait(example_portrait), CROP)
    moved = torch.cat([stream.motion(silence())[0] for _ in range(60)])
    assert len(moved) > 20 and (moved[:, :20].std(0) > 0).all()


def test_a_late_frame_is_the_last_one_again(talker, example_portrait):
    stream = StreamingTalker(talker, talker.portrait(example_portrait), CROP, late=lambda k: k % 2 == 1)
    frames = list(stream.frames(pieces(voice(0.4), PIECE_SAMPLES)))
    assert stream.skipped == 5 and len(frames) == 10
    assert all(np.array_equal(frames[k], frames[k - 1]) for k in (1, 3, 5, 7, 9))
    assert not np.array_equal(frames[2], frames[1])


def test_models_of_whole_clips_are_refused(talker, example_portrait):
    portrait = talker.portrait(example_portrait)
    talker.model = type("Whole", (), {"streaming": None})()
    with pytest.raises(InputError, match="--model lite"):
        StreamingTalker(talker, portrait)


class Clock:
    """A clock that goes only when somebody waits."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds

    def wait(self, seconds):
        self.seconds += seconds


def test_pace_fills_gaps_with_silence_and_holds_back_what_is_early():
    clock, arrived = Clock(), Queue()
    arrived.put(np.ones(5 * PIECE_SAMPLES + 7, np.float32))  # a burst
    stream = pace_realtime(arrived, clock, clock.wait)
    times, sums = [], []
    for number in range(12):
        sums.append(float(next(stream).sum()))
        times.append(clock())
        if number == 8:
            arrived.put(np.ones(PIECE_SAMPLES, np.float32))
            arrived.put(None)
            sums += [float(piece.sum()) for piece in stream]
            break
    assert times == pytest.approx([0.02 * k for k in range(9)])
    assert sums == [PIECE_SAMPLES] * 5 + [7, 0, 0, 0, PIECE_SAMPLES]


def test_pace_does_not_drift_when_the_consumer_is_slow():
    clock, arrived = Clock(), Queue()
    stream = pace_realtime(arrived, clock, clock.wait)
    for _ in range(10):
        next(stream)
        clock.wait(0.05)  # longer than a piece
    begun = clock()
    for _ in range(15):
        next(stream)
    assert clock() == begun  # it catches up without waiting


def test_deadlines_are_counted_from_the_beginning():
    clock = Clock()
    late = deadline(0.1, clock)
    clock.wait(0.5)
    assert late(9) and not late(11)


def test_an_error_of_the_other_thread_is_raised_here():
    def items():
        yield 1
        raise InputError("the microphone is gone")

    made = prefetch(items())
    assert next(made) == 1
    with pytest.raises(InputError, match="gone"):
        next(made)


@pytest.mark.slow
def test_the_other_thread_waits_and_ends_with_whoever_takes():
    made = []
    stream = prefetch((made.append(k) or k for k in range(1000)), backlog=3)
    assert next(stream) == 0
    time.sleep(0.3)
    assert len(made) <= 6
    stream.close()
    time.sleep(0.3)
    ended = len(made)
    time.sleep(0.2)
    assert len(made) == ended <= 7


@pytest.mark.slow
def test_latency_at_real_time(root, example_portrait):
    """The shipped model fed at the speed of speech: every frame comes, none before its look-ahead was spoken. How late
    they are is the machine's matter and printed (`-s`), stage by stage."""
    from anitalker import pipeline
    from anitalker.media.video import read_audio

    talker = pipeline.load("lite", "cpu")
    portrait = talker.portrait(example_portrait)
    sound = read_audio(root / "app/examples/speech.flac")[: 4 * 16_000]
    warm = StreamingTalker(talker, portrait, RenderOptions(frame="crop"))
    list(warm.frames([sound[:6400]]))
    stages, stream = measure_latency(talker, portrait, sound)
    latencies = stages["out"]
    print(f"\nfirst frame {latencies[0]:.3f} s, then {np.median(latencies[1:]):.3f} s, last {latencies[-1]:.3f} s")
    third = len(latencies) // 3
    parts = {"beginning": (1, third), "middle": (third, 2 * third), "end": (2 * third, -3), "last three": (-3, None)}
    for name, (first, last) in parts.items():
        medians = (f"{stage} {1e3 * np.median(times[first:last]):.0f}" for stage, times in stages.items())
        print(f"{name}, ms: {', '.join(medians)}")
    assert len(latencies) == audio.frame_count(len(sound)) and not stream.skipped
    assert min(latencies[1:-3]) >= LOOKAHEAD_FRAMES / 25


def measure_latency(talker, portrait, sound):
    """Seconds from the beginning of each frame's sound, at real-time speed, until the last piece that it waits for was
    heard, its motion was made, a core began to draw it, it was drawn, and it came out: stage -> one per frame; and
    processor seconds of motion and of drawing."""
    stages = {name: [] for name in ("heard", "moved", "begun", "drawn", "out", "motion cpu", "drawing cpu")}

    class Timed(StreamingTalker):
        def _motions(self, samples, last):
            heard, spent = time.monotonic(), time.thread_time()
            for made in super()._motions(samples, last):
                note(heard, "heard")
                note(time.monotonic(), "moved")
                stages["motion cpu"].append(time.thread_time() - spent)
                yield made
                spent = time.thread_time()

        def _draw(self, motions, frame):
            begun, spent = time.monotonic(), time.thread_time()
            drawn = super()._draw(motions, frame)
            done.append((frame, begun, time.monotonic(), time.thread_time() - spent))
            return drawn

    def note(at, stage):
        stages[stage].append(at - start - len(stages[stage]) / 25)

    stream, done = Timed(talker, portrait, RenderOptions(frame="crop")), []
    arrived = Queue()
    for piece in pieces(sound, PIECE_SAMPLES):
        arrived.put(piece)
    arrived.put(None)
    start = time.monotonic()
    for frame in stream.frames(_spoken(arrived)):
        assert frame.shape == (256, 256, 3)
        note(time.monotonic(), "out")
    for _, begun, drawn, spent in sorted(done):
        note(begun, "begun")
        note(drawn, "drawn")
        stages["drawing cpu"].append(spent)
    return stages, stream


def _spoken(arrived):
    """A piece is there when it has been spoken, 20 ms after it began."""
    time.sleep(PIECE_SAMPLES / 16_000)
    yield from pace_realtime(arrived)


def test_backgrounds_of_a_stream(talker, example_portrait, monkeypatch):
    """One that rests is made once; alpha and videos have no place in a stream."""
    from anitalker import scene

    monkeypatch.setattr(scene, "find_matte", lambda network, picture: np.zeros(picture.shape[:2], np.float32))
    monkeypatch.setattr(scene, "_network", lambda device: None)
    portrait = talker.portrait(example_portrait)
    stream = StreamingTalker(talker, portrait, RenderOptions(background="#00ff00"))
    frames = list(stream.push(np.zeros(16_000, np.float32), last=True))
    assert len(frames) == 25 and all(np.all(frame == (0, 255, 0)) for frame in frames)
    with pytest.raises(InputError, match="background is 'transparent'; a stream takes keep, blur, a colour"):
        StreamingTalker(talker, portrait, RenderOptions(background="transparent"))
