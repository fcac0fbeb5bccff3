"""Candidates after the offer: fragments of SDP, and a session that connects by them alone."""

import pytest

from anitalker.config import InputError
from anitalker.server.trickle_ice import MAX_CANDIDATES, parse_fragment

HOST = "candidate:1 1 udp 2130706431 192.0.2.1 54321 typ host"
REFLEXIVE = "candidate:2 1 udp 1694498815 198.51.100.1 54400 typ srflx raddr 192.0.2.1 rport 54321"


def test_a_fragment_as_whip_has_it():
    lines = [
        "a=ice-ufrag:EsAw",
        "a=ice-pwd:x",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
        "a=mid:0",
        f"a={HOST}",
        f"a={REFLEXIVE}",
    ]
    candidates, has_ended = parse_fragment("\r\n".join([*lines, ""]))
    assert [(found.ip, found.type, found.sdpMid) for found in candidates] == [
        ("192.0.2.1", "host", "0"),
        ("198.51.100.1", "srflx", "0"),
    ]
    assert not has_ended and parse_fragment("\n".join([*lines, "a=end-of-candidates"]))[1]


def test_candidates_without_a_section_belong_to_the_first():
    (candidate,), _ = parse_fragment(f"a={HOST}\n")
    assert candidate.sdpMid is None and candidate.sdpMLineIndex == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no candidate"),
        ("hello", "has no candidate"),
        ("a=candidate:1 1 udp", "is no ICE candidate"),
        ("a=candidate:1 x udp y 192.0.2.1 z typ host", "is no ICE candidate"),
        (f"a={HOST}\n" * (MAX_CANDIDATES + 1), "allowed are"),
    ],
)
def test_what_is_no_fragment_is_refused_in_a_line(text, words):
    with pytest.raises(InputError, match=words) as refusal:
        parse_fragment(text)
    assert "\n" not in str(refusal.value)


def test_requests_that_are_no_fragment(client, monkeypatch):
    """Unknown sessions, other content types, other bodies."""
    from anitalker.server.trickle_ice import MEDIA_TYPE

    headers = {"content-type": MEDIA_TYPE}
    assert client.patch("/v1/sessions/x", content=f"a={HOST}", headers=headers).status_code == 404
    taken = []

    class Session:
        def add_candidates(self, candidates, are_last):
            taken.append((candidates, are_last))

    monkeypatch.setattr(client.app.state.sessions, "get", lambda session_id: Session())
    assert client.patch("/v1/sessions/x", json={"candidate": HOST}).status_code == 415
    assert client.patch("/v1/sessions/x", content=b"\xff\xfe", headers=headers).status_code == 400
    assert client.patch("/v1/sessions/x", content="a=end-of-candidates", headers=headers).status_code == 204
    assert taken == [([], True)]
