"""What live sessions show and speak carries their identifier."""

import asyncio
import pickle

import numpy as np
import pytest

from anitalker.config import RenderOptions
from anitalker.provenance.audio_mark_search import detect_sound
from anitalker.server.live_session import LiveSession
from anitalker.server.live_sessions import LiveSessions
from anitalker.server.metrics import Metrics
from tests.conftest import run_async


def test_texts_of_a_session_are_marked():
    """Two sentences, one after the other, carry the session's identifier; without marks they stay as they are."""

    async def work():
        session, heard = LiveSession("id", "off", (), None, lambda session: None), []
        session.say_samples = lambda samples, turn: heard.append(samples) or True
        text = "This sentence is spoken by a machine, and so is the next. Both carry the number of the session."
        await asyncio.to_thread(session.say_text, text, "en")
        session.has_marks = False
        await asyncio.to_thread(session.say_text, text, "en")
        await session.close()
        return session.identifier, heard

    identifier, heard = run_async(work())
    assert len(heard) == 4
    assert detect_sound(np.concatenate(heard[:2])).identifier == identifier
    assert not detect_sound(np.concatenate(heard[2:])).found


@pytest.mark.slow
def test_all_processes_of_a_session_put_the_watermark_at_the_same_place(server_talker, settings, example_portrait):
    """It is chosen before they get the filters: of copies each would take another one, from its own first frame."""

    async def work():
        sessions = LiveSessions(server_talker, settings, Metrics())
        session = LiveSession("id", "off", (), None, lambda session: None)
        options = RenderOptions(frame="crop")
        face = sessions._make_face(server_talker.portrait(example_portrait), options, session)
        filters = face._networks.draw._filters
        face.close()
        await session.close()
        return filters

    filters = run_async(work())
    again = pickle.loads(pickle.dumps(filters))
    rng = np.random.default_rng(0)
    dark, noisy = np.full((256, 256, 3), 60, np.uint8), rng.integers(20, 200, (256, 256, 3), np.uint8)
    other = again[-1](noisy).astype(int) - noisy  # its first frame is another one
    np.testing.assert_array_equal(filters[-1](dark).astype(int) - dark, other)
