"""Which H.264 encoder of an ffmpeg is taken, and how it is told the quality: x264, or that of an NVIDIA card.

The card's is taken only where the frames are drawn on such a card, the ffmpeg has it, and a trial with it succeeds: an
ffmpeg may know an encoder that the driver, or the card, does not.

Quality is constant in both: x264 by its rate factor, NVENC by its counterpart, with the bit rate left open. Numbers of
the two are not the same scale. NVENC has been chosen in tests with a made-up ffmpeg only: it has never encoded for us.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

Ask = Callable[[tuple[str, ...]], tuple[int, str]]  # arguments of ffmpeg -> exit status, what it printed

# Of x264's presets the quickest but two: 4 ms of processor time a frame of 256x256. Constant quality 17: hardly seen.
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "17")
NVENC = ("-c:v", "h264_nvenc", "-preset", "p4", "-rc", "vbr", "-cq", "19", "-b:v", "0")
LISTING = ("-hide_banner", "-encoders")
TRIAL = (
    "-f",
    "lavfi",
    "-i",
    "color=size=256x256:rate=25:duration=0.2",
    "-pix_fmt",
    "yuv420p",
    *NVENC,
    "-f",
    "null",
    "-",
)


def encoder(device: str, ask: Ask) -> tuple[str, ...]:
    """ffmpeg's arguments for the video stream of frames that are drawn on `device` (cpu, cuda or mps).

    ask: runs the ffmpeg in question; it is not asked unless the device is cuda.
    """
    return NVENC if device == "cuda" and _works(ask) else X264


@functools.lru_cache(maxsize=4)
def _works(ask: Ask) -> bool:
    """Asked once per process."""
    status, listing = ask(LISTING)
    if status or not re.search(r"^\s*V\S*\s+h264_nvenc\s", listing, re.MULTILINE):
        return False
    return ask(TRIAL)[0] == 0
