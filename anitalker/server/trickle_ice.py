"""Candidates that follow an offer: fragments of SDP as RFC 8840 has them, sent by PATCH as in WHIP (RFC 9725)."""

from __future__ import annotations

from aiortc import RTCIceCandidate
from aiortc.sdp import candidate_from_sdp

from anitalker.config import InputError

MEDIA_TYPE = "application/trickle-ice-sdpfrag"
CANDIDATE, MID, END = "a=candidate:", "a=mid:", "a=end-of-candidates"
MAX_CANDIDATES = 100  # in one fragment


def parse_fragment(text: str) -> tuple[list[RTCIceCandidate], bool]:
    """Return the candidates of a fragment, and whether they are the last. InputError for what is none.

    Candidates before the first `a=mid` belong to the first section.
    """
    candidates, mid, has_ended = [], None, False
    for line in text.splitlines():
        if line.startswith(MID):
            mid = line.removeprefix(MID).strip()
        elif line.startswith(CANDIDATE):
            candidate = _candidate(line.removeprefix(CANDIDATE))
            candidate.sdpMid, candidate.sdpMLineIndex = mid, None if mid is not None else 0
            candidates.append(candidate)
        has_ended |= line.startswith(END)
    if len(candidates) > MAX_CANDIDATES:
        raise InputError(f"the fragment has {len(candidates)} candidates; allowed are {MAX_CANDIDATES}")
    if not candidates and not has_ended:
        raise InputError(f"the fragment has no candidate; send lines of {CANDIDATE} or {END}")
    return candidates, has_ended


def _candidate(text: str) -> RTCIceCandidate:
    try:
        return candidate_from_sdp(text)
    except (AssertionError, IndexError, ValueError):
        raise InputError(f"{text[:80]!r} is no ICE candidate; send it as the browser has it") from None
