"""The buffer before the microphone's decoder: ours is in aiortc's place, and hands packets on with the next one."""

import logging

import pytest

from anitalker.server.rtc_tracks import JITTER_BUFFER, PromptBuffer, shorten_jitter_buffer
from tests.conftest import run_async


@pytest.fixture
def receiver():
    """An audio receiver as aiortc makes it."""
    from aiortc import RTCConfiguration, RTCPeerConnection

    async def make():
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        receiver = connection.addTransceiver("audio").receiver
        await connection.close()
        return receiver

    return run_async(make())


def add(buffer, number):
    """Add a packet of 20 ms -> the number of the packet that comes out, or None."""
    from aiortc.rtp import RtpPacket

    packet = RtpPacket(payload_type=96, sequence_number=(65_530 + number) % 65_536, timestamp=960 * number)
    packet._data = b"%d" % number
    _, frame = buffer.add(packet)
    return frame and int(frame.data)


def waiting_packets(buffer):
    """How many packets of 20 ms go in before the first comes out."""
    for number in range(20):
        if add(buffer, number) is not None:
            return number
    raise AssertionError("nothing comes out")


def test_packets_do_not_wait_for_others(receiver):
    """Fails when aiortc keeps its buffer under another name, or changes what it does."""
    assert waiting_packets(getattr(receiver, JITTER_BUFFER)) == 4, "aiortc's own buffer has changed: is ours needed?"
    assert shorten_jitter_buffer(receiver)
    assert waiting_packets(getattr(receiver, JITTER_BUFFER)) == 0


def test_packets_come_out_in_order_and_a_lost_one_stops_nothing():
    buffer = PromptBuffer(2)
    came = [add(buffer, number) for number in (0, 1, 3, 2, 4, 5, 7, 8, 9, 10)]
    assert came == [0, 1, None, 2, 3, 4, 7, 8, 9, 10]  # 6 was lost, and 5, which waited, with it; nobody waits now


def test_aiortc_reads_the_buffer_that_we_replace(receiver):
    """Its handler of packets names the attribute."""
    from aiortc import RTCRtpReceiver

    assert JITTER_BUFFER in RTCRtpReceiver._handle_rtp_packet.__code__.co_names


def test_another_aiortc_is_told_and_works_on(caplog):
    class Receiver:
        """Without the attribute."""

    with caplog.at_level(logging.WARNING):
        assert not shorten_jitter_buffer(Receiver())
    assert "jitter buffer" in caplog.text and not hasattr(Receiver(), JITTER_BUFFER)
