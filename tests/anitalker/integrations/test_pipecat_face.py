"""A live face inside Pipecat's own Pipeline."""

import asyncio
from functools import partial

import numpy as np
import pytest

from tests.conftest import run_async

pytest.importorskip("pipecat", reason="needs pipecat-ai, which the user installs")
pytestmark = pytest.mark.slow
RATE = 24_000


@pytest.fixture
def face(talker, example_portrait):
    from anitalker.config import RenderOptions
    from anitalker.streaming.live_face import LiveFace

    return LiveFace(talker, talker.portrait(example_portrait), RenderOptions(frame="crop", steps=1))


def tone(seconds):
    from pipecat.frames.frames import TTSAudioRawFrame

    samples = (8000 * np.sin(np.arange(int(seconds * RATE)) * 0.2)).astype(np.int16)
    return TTSAudioRawFrame(samples.tobytes(), RATE, 1)


def run(face, sent):
    """What comes out of a pipeline with the face when `sent` goes in."""
    from pipecat.tests import utils
    from pipecat.tests.utils import run_test

    from anitalker.integrations.pipecat_face import PipecatFace

    async def work():
        down, _ = await asyncio.wait_for(run_test(PipecatFace(face), frames_to_send=sent, start_timeout=30), 60)
        return down

    with pytest.MonkeyPatch.context() as patch:  # signals can be caught on the main thread alone
        patch.setattr(utils, "WorkerRunner", partial(utils.WorkerRunner, handle_sigint=False))
        return run_async(work())


def test_the_voice_comes_out_with_pictures_and_then_its_end(face):
    from pipecat.frames.frames import OutputImageRawFrame, TTSAudioRawFrame, TTSStartedFrame, TTSStoppedFrame

    down = run(face, [TTSStartedFrame(), tone(0.5), TTSStoppedFrame()])
    kinds = [type(frame) for frame in down]
    pictures = [frame for frame in down if isinstance(frame, OutputImageRawFrame)]
    sound = np.concatenate([np.frombuffer(f.audio, np.int16) for f in down if isinstance(f, TTSAudioRawFrame)])
    assert pictures[0].size == (256, 256) and len(pictures[0].image) == 256 * 256 * 3
    assert np.count_nonzero(np.abs(sound) > 100) == pytest.approx(0.5 * 16_000, rel=0.1)
    last_sound = len(kinds) - 1 - kinds[::-1].index(TTSAudioRawFrame)
    assert kinds.index(TTSStoppedFrame) > last_sound and TTSStartedFrame in kinds
    assert face.fault is None and not face.is_alive


def test_an_interruption_drops_what_waits(face):
    from pipecat.frames.frames import InterruptionFrame, TTSStoppedFrame
    from pipecat.tests.utils import SleepFrame

    # An interruption overtakes what is queued: it has to be taken first.
    down = run(face, [tone(30), TTSStoppedFrame(), SleepFrame(sleep=1.0), InterruptionFrame()])
    assert not any(isinstance(frame, TTSStoppedFrame) for frame in down)
    assert face.waiting_seconds == 0 and not face.is_alive
