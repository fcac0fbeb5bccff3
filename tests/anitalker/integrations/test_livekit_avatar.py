"""A live face inside LiveKit's own AvatarRunner, with a room that only counts."""

import asyncio

import numpy as np
import pytest

from tests.conftest import run_async

pytest.importorskip("livekit.agents", reason="needs livekit-agents, which the user installs")
pytestmark = pytest.mark.slow
RATE = 24_000


class Room:
    """Connected; keeps what is published."""

    def __init__(self):
        self.local_participant, self.published = self, []

    def on(self, event, handler):
        pass

    off = on

    def isconnected(self):
        return True

    async def publish_track(self, track, options):
        self.published.append(track.name)
        return self

    async def wait_for_subscription(self):
        pass


def tone(seconds):
    from livekit import rtc

    samples = (8000 * np.sin(np.arange(int(seconds * RATE)) * 0.2)).astype(np.int16)
    return rtc.AudioFrame(samples.tobytes(), RATE, 1, len(samples))


def test_it_speaks_in_the_runner_and_tells_the_end(talker, example_portrait):
    from livekit.agents.voice.avatar import AudioSegmentEnd, AvatarRunner, QueueAudioOutput

    from anitalker.config import RenderOptions
    from anitalker.integrations.livekit_avatar import LiveKitFace
    from anitalker.streaming.live_face import LiveFace

    face = LiveFace(talker, talker.portrait(example_portrait), RenderOptions(frame="crop", steps=1))

    async def work():
        room, audio, generator = Room(), QueueAudioOutput(sample_rate=RATE), LiveKitFace(face)
        assert (generator.options().video_width, generator.options().video_fps) == (256, 25)
        runner = AvatarRunner(room, audio_recv=audio, video_gen=generator, options=generator.options())
        await runner.start()
        await audio.capture_frame(tone(0.5))
        audio.flush()
        played = await asyncio.wait_for(audio.wait_for_playout(), 60)
        assert not played.interrupted and played.playback_position >= 0.5
        assert room.published == ["avatar_audio", "avatar_video"]
        await generator.push_audio(tone(30))
        assert face.waiting_seconds > 20
        audio.clear_buffer()
        await asyncio.sleep(0.1)
        assert face.waiting_seconds < 1 and not generator._segments
        await generator.push_audio(AudioSegmentEnd())
        await generator.aclose()
        await runner.aclose()

    run_async(work())
    assert face.fault is None and not face.is_alive
