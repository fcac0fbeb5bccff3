"""Choose the H.264 encoder and its quality: x264, or NVENC of an NVIDIA card.

NVENC is chosen only where the frames are drawn on such a card, ffmpeg lists it, and a trial with it succeeds: ffmpeg
may list an encoder that the driver or the card does not have.

Both encode with constant quality and no limit of the bit rate: x264 by its rate factor (crf), NVENC by its cq. The
scales of these two differ. NVENC was chosen only in tests with a simulated ffmpeg; it has never encoded a video here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

RunFfmpeg = Callable[[tuple[str, ...]], tuple[int, str]]  # arguments of ffmpeg -> exit status, stdout

# The third fastest preset: 4 ms of processor time for a frame of 256x256. crf 17: losses are hardly visible.
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "17")
NVENC = ("-c:v", "h264_nvenc", "-preset", "p4", "-rc", "vbr", "-cq", "19", "-b:v", "0")
# RGB -> YUV, tagged bt709: without tags, players guess the matrix from the size, and colours shift. ffmpeg takes the
# tags from the frames, so they are set there and not as options of the encoder.
YUV_FILTERS = (
    "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
)
LIST_ENCODERS = ("-hide_banner", "-encoders")
NVENC_TRIAL = (
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


def encoder_arguments(device: str, run_ffmpeg: RunFfmpeg) -> tuple[str, ...]:
    """Return the arguments of ffmpeg that encode frames which are drawn on `device` (cpu, cuda or mps).

    run_ffmpeg: runs the ffmpeg that will encode; called only if the device is cuda.
    """
    return NVENC if device == "cuda" and _nvenc_works(run_ffmpeg) else X264


@functools.lru_cache(maxsize=4)
def _nvenc_works(run_ffmpeg: RunFfmpeg) -> bool:
    """Try NVENC, once per process."""
    status, listing = run_ffmpeg(LIST_ENCODERS)
    if status or not re.search(r"^\s*V\S*\s+h264_nvenc\s", listing, re.MULTILINE):
        return False
    return run_ffmpeg(NVENC_TRIAL)[0] == 0
