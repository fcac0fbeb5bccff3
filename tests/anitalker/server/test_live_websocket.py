"""Speech of live sessions over the WebSocket, and what comes back."""

import numpy as np
import pytest

from anitalker.server.live_session import LiveSession

TONE = 0.3 * np.sin(np.arange(16_000) * 0.3)


def test_speech_by_websocket(client, avatar, monkeypatch):
    """PCM in pieces that split a sample, the end of the turn, an interruption; messages come back."""
    pushed, session = [], _fake_session(client, monkeypatch)
    monkeypatch.setattr(session, "say_samples", lambda samples: pushed.append(samples) or True)
    ended = []
    monkeypatch.setattr(session, "end_of_turn", lambda: ended.append(1) or session.tell({"event": "turn_ended"}))
    pcm = (TONE[:640] * 32767).astype("<i2")
    with client.websocket_connect("ws://localhost/v1/sessions/id/speech", subprotocols=["anitalker.speech"]) as socket:
        assert socket.accepted_subprotocol == "anitalker.speech"
        socket.send_bytes(pcm.tobytes()[:101])
        socket.send_bytes(pcm.tobytes()[101:])
        socket.send_text("end_of_turn")
        assert socket.receive_json() == {"event": "turn_ended"}
        socket.send_text("interrupt")
        socket.send_text("sing")
        assert socket.receive()["code"] == 1008
    assert np.array_equal(np.concatenate(pushed), pcm.astype(np.float32) / 32768)
    assert session.turn == 1 and ended == [1]


def test_a_websocket_without_a_session_is_closed(client):
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("ws://localhost/v1/sessions/x/speech") as socket:
        socket.receive()


def _fake_session(client, monkeypatch):
    class Session(LiveSession):
        def __init__(self):
            self.turn, self.face, self._channels = 0, None, set()
            self._listeners, self._microphones = set(), set()
            self._metrics = client.app.state.metrics

    session = Session()
    monkeypatch.setattr(client.app.state.sessions, "get", lambda session_id: _get(session_id, session))
    return session


def _get(session_id, session):
    from anitalker.server.live_sessions import UnknownSession

    if session_id != "id":
        raise UnknownSession(session_id)
    return session


def test_what_the_client_says_goes_to_those_who_ask_for_it(client, avatar, monkeypatch):
    """A voice agent hears the client's microphone over the WebSocket; others get messages only."""
    session = _fake_session(client, monkeypatch)
    heard = []
    session.microphone, session.face = "listen", type("Face", (), {"hear": lambda self, samples: heard.append(samples)})

    async def packets(track):
        for _ in range(3):
            yield TONE[:320].astype(np.float32)

    monkeypatch.setattr("anitalker.server.live_session.microphone", packets)
    session.face = session.face()
    address = "ws://localhost/v1/sessions/id/speech"
    with client.websocket_connect(f"{address}?microphone=true") as agent, client.websocket_connect(address) as other:
        client.portal.call(session._listen, None)
        client.portal.call(session.tell, {"event": "idle"})
        sound = [np.frombuffer(agent.receive_bytes(), "<i2") / 32768 for _ in range(3)]
        assert agent.receive_json() == other.receive_json() == {"event": "idle"}
    assert len(heard) == 3 and np.abs(np.concatenate(sound)[:320] - TONE[:320]).max() < 1e-4
