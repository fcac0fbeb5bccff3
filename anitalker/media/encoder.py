"""Choose the encoder of a video and its quality: x264 or x265, or NVENC of an NVIDIA card.

NVENC is chosen only where the frames are drawn on such a card, ffmpeg lists it, and a trial with it succeeds: ffmpeg
may list an encoder that the driver or the card does not have.

All encode with constant quality and no limit of the bit rate: x264 and x265 by their rate factor (crf), NVENC by its
cq. The scales of these three differ. NVENC was chosen only in tests with a simulated ffmpeg; it has never encoded a
video here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from anitalker.config import InputError, RenderOptions

RunFfmpeg = Callable[[tuple[str, ...]], tuple[int, str]]  # arguments of ffmpeg -> exit status, stdout

# The third fastest presets: x264 takes 4 ms of processor time for a frame of 256x256.
SOFTWARE = {"h264": ("-c:v", "libx264", "-preset", "veryfast"), "hevc": ("-c:v", "libx265", "-preset", "veryfast")}
HARDWARE = {"h264": "h264_nvenc", "hevc": "hevc_nvenc"}
HEVC_TAG = ("-tag:v", "hvc1")  # without it Apple's players show nothing
CQ_OFFSET = 2  # from a crf of x264 to a cq of NVENC of about the same size
# The planes of `yuv`, tagged bt709: without tags, players guess the matrix from the size, and colours shift. ffmpeg
# takes the tags from the frames, so they are set there and not as options of the encoder.
TAGS = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
# VP9 counts its rate factor to 63. Without -row-mt and cpu-used a frame of 1080p takes longer than to draw it.
VP9 = ("-c:v", "libvpx-vp9", "-b:v", "0", "-deadline", "good", "-cpu-used", "5", "-row-mt", "1")
WEBP = ("-pix_fmt", "bgra", "-c:v", "libwebp_anim", "-compression_level", "2", "-loop", "0")
# What a GIF is made of, and PNG, quick to write.
LOSSLESS = {"GIF": ("-pix_fmt", "bgr0", "-c:v", "ffv1"), "PNG": ("-c:v", "png", "-compression_level", "3")}
# With alpha. A GIF's pixels are there or not; ProRes 4444 takes 16 bits of alpha, which 8 bits fill exactly.
VP9_ALPHA = ("-pix_fmt", "yuva420p", "-auto-alt-ref", "0")
GIF_ALPHA = ("-pix_fmt", "bgra", "-c:v", "ffv1")
PRORES = ("-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le", "-alpha_bits", "16", "-vendor", "apl0")
LIST_ENCODERS = ("-hide_banner", "-encoders")


def encoder_arguments(
    device: str, run_ffmpeg: RunFfmpeg, codec: str = RenderOptions.codec, quality: int = RenderOptions.quality
) -> tuple[str, ...]:
    """Return the arguments of ffmpeg that encode frames which are drawn on `device` (cpu, cuda or mps).

    codec: h264 or hevc; quality: a constant rate factor, 0 to 51; 0 loses nothing and is left to x264 and x265.
    run_ffmpeg: runs the ffmpeg that will encode; called only if the device is cuda or the codec is hevc. InputError
    where that ffmpeg has no HEVC.
    """
    if device == "cuda" and quality and _nvenc_works(run_ffmpeg, codec):
        return nvenc_arguments(codec, quality)
    if codec == "hevc" and not _is_listed(run_ffmpeg, "libx265"):
        raise InputError("codec is hevc, but this ffmpeg has no libx265; take --codec h264, or another ffmpeg")
    return software_arguments(codec, quality)


def software_arguments(codec: str, quality: int) -> tuple[str, ...]:
    """Return the arguments for x264 or x265."""
    arguments = (*SOFTWARE[codec], "-crf", str(quality))
    if codec == "h264":
        return arguments
    lossless = "" if quality else ":lossless=1"  # of x265 a crf of 0 is not
    return (*arguments, "-x265-params", f"log-level=error{lossless}", *HEVC_TAG)


def nvenc_arguments(codec: str, quality: int) -> tuple[str, ...]:
    """Return the arguments for NVENC, whose lowest quality number is 1: 0 leaves the choice to it."""
    cq = str(min(quality + CQ_OFFSET, 51))
    arguments = ("-c:v", HARDWARE[codec], "-preset", "p4", "-rc", "vbr", "-cq", cq, "-b:v", "0")
    return arguments if codec == "h264" else (*arguments, *HEVC_TAG)


def nvenc_trial(codec: str) -> tuple[str, ...]:
    """Return the arguments of ffmpeg that encode a few frames with NVENC and write nothing."""
    source = ("-f", "lavfi", "-i", "color=size=256x256:rate=25:duration=0.2", "-pix_fmt", "yuv420p")
    return (*source, *nvenc_arguments(codec, RenderOptions.quality), "-f", "null", "-")


def vp9_arguments(quality: int) -> tuple[str, ...]:
    """Return the arguments for VP9, whose rate factor goes from 0 to 63."""
    return (*VP9, *(("-crf", str(round(quality * 63 / 51))) if quality else ("-lossless", "1")))


def prores_arguments(quality: int) -> tuple[str, ...]:
    """Return the arguments for ProRes 4444, whose quantiser is 1 at best: 17 becomes 9."""
    return (*PRORES, "-qscale:v", str(max(1, round(quality / 2 + 0.5))))


def webp_arguments(quality: int) -> tuple[str, ...]:
    """Return the arguments for an animated WebP, whose quality is 100 at best: 17 becomes 85."""
    return (*WEBP, *(("-quality", str(round(100 - quality * 15 / 17))) if quality else ("-lossless", "1")))


@functools.lru_cache(maxsize=8)
def _nvenc_works(run_ffmpeg: RunFfmpeg, codec: str) -> bool:
    """Try NVENC, once per process and codec."""
    return _is_listed(run_ffmpeg, HARDWARE[codec]) and run_ffmpeg(nvenc_trial(codec))[0] == 0


@functools.lru_cache(maxsize=8)
def _is_listed(run_ffmpeg: RunFfmpeg, name: str) -> bool:
    status, listing = run_ffmpeg(LIST_ENCODERS)
    return status == 0 and bool(re.search(rf"^\s*V\S*\s+{name}\s", listing, re.MULTILINE))
