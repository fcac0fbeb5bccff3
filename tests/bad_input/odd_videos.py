"""Videos as cameras, editors and archives make them: a still face for a second, through ffmpeg's encoders."""

import subprocess
from dataclasses import dataclass

from anitalker.media.video import ffmpeg

RATE = 25
SIZE = (160, 200)
HLG = ("-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", "arib-std-b67")
QUIET_X265 = ("-x265-params", "log-level=none")


@dataclass(frozen=True)
class OddVideo:
    """How a video is made of a picture. size: of the frames that are read; drift: of a mean colour, of 255."""

    name: str
    filters: str
    flags: tuple[str, ...]
    size: tuple[int, int] = SIZE
    seconds: float = 1.0
    drift: float = 3.0
    before: tuple[str, ...] = ()  # options of the input


def to_hdr(transfer: str, pixels: str) -> str:
    """Filters that show an sRGB picture at the reference white of HDR."""
    return (
        f"format=gbrp,zscale=tin=iec61966-2-1:pin=bt709:min=gbr:rin=full:t={transfer}:p=bt2020:m=bt2020nc:r=limited:"
        f"npl=203,format={pixels}"
    )


def tagged(matrix: str, span: str, pixels: str) -> str:
    return f"scale=out_color_matrix={matrix}:out_range={span},format={pixels}"


ODD_VIDEOS = {
    "HEVC Main10 of a phone": OddVideo(
        "x.mp4",
        tagged("bt709", "tv", "yuv420p10le"),
        ("-c:v", "libx265", *QUIET_X265, "-tag:v", "hvc1", "-colorspace", "bt709"),
    ),
    "HLG of a phone": OddVideo("x.mov", to_hdr("arib-std-b67", "yuv420p10le"), ("-c:v", "libx265", *QUIET_X265, *HLG)),
    "HLG with an alpha channel": OddVideo(
        "x.mov", to_hdr("arib-std-b67", "yuva444p10le"), ("-c:v", "prores_ks", "-profile:v", "4444", *HLG)
    ),
    "PQ in Matroska": OddVideo(
        "x.mkv",
        to_hdr("smpte2084", "yuv420p10le"),
        ("-c:v", "libx265", *QUIET_X265, *HLG[:4], "-color_trc", "smpte2084"),
    ),
    "PQ in AV1": OddVideo(
        "x.mp4",
        to_hdr("smpte2084", "yuv420p10le"),
        ("-c:v", "libsvtav1", "-preset", "12", *HLG[:4], "-color_trc", "smpte2084"),
    ),
    "ProRes 422": OddVideo(
        "x.mov", tagged("bt709", "tv", "yuv422p10le"), ("-c:v", "prores_ks", "-colorspace", "bt709")
    ),
    "ProRes 4444 with alpha": OddVideo(
        "x.mov",
        tagged("bt709", "tv", "yuva444p10le"),
        ("-c:v", "prores_ks", "-profile:v", "4444", "-colorspace", "bt709"),
    ),
    "FFV1 of 16-bit RGB": OddVideo("x.mkv", "format=gbrp16le", ("-c:v", "ffv1")),
    "H.264 of RGB": OddVideo("x.mp4", "format=gbrp", ("-c:v", "libx264rgb")),
    "FFV1 of 16-bit grey": OddVideo("x.mkv", "format=gray16le", ("-c:v", "ffv1"), drift=60),
    "H.264 full range, no tags": OddVideo(
        "x.mp4",
        tagged("bt601", "pc", "yuvj420p"),
        (
            "-c:v",
            "libx264",
        ),
    ),
    "H.264 4:4:4 of 10 bits": OddVideo(
        "x.mp4", tagged("bt709", "tv", "yuv444p10le"), ("-c:v", "libx264", "-colorspace", "bt709")
    ),
    "VP9 of 10 bits": OddVideo(
        "x.webm",
        tagged("bt709", "tv", "yuv420p10le"),
        ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-colorspace", "bt709"),
    ),
    "AV1 of 12 bits": OddVideo(
        "x.mkv",
        tagged("bt709", "tv", "yuv422p12le"),
        ("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-colorspace", "bt709"),
    ),
    "interlaced MPEG-2, 29.97": OddVideo(
        "x.mpg",
        f"fps=60000/1001,{tagged('bt601', 'tv', 'yuv420p')},interlace=scan=tff",
        ("-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-b:v", "3M"),
    ),
    "anamorphic PAL": OddVideo(
        "x.mkv",
        f"scale=120:200,{tagged('bt601', 'tv', 'yuv420p')},setsar=4/3",
        (
            "-c:v",
            "libx264",
        ),
    ),
    "tall pixels": OddVideo(
        "x.mp4",
        f"scale=160:100,{tagged('bt601', 'tv', 'yuv420p')},setsar=1/2",
        (
            "-c:v",
            "libx264",
        ),
    ),
    "MJPEG of a camera": OddVideo("x.avi", "format=yuvj422p", ("-c:v", "mjpeg", "-q:v", "3")),
    "turned phone, 59.94": OddVideo(
        "x.mov",
        f"fps=60000/1001,transpose=cclock,{tagged('bt601', 'tv', 'yuv420p')}",
        (
            "-c:v",
            "libx264",
        ),
        before=("-display_rotation", "270"),
    ),
    "turned, of anamorphic pixels": OddVideo(
        "x.mov",
        f"scale=120:200,transpose=cclock,{tagged('bt601', 'tv', 'yuv420p')},setsar=3/4",
        (
            "-c:v",
            "libx264",
        ),
        before=("-display_rotation", "270"),
    ),
    "film, 23.976": OddVideo(
        "x.mp4",
        f"fps=24000/1001,{tagged('bt601', 'tv', 'yuv420p')}",
        (
            "-c:v",
            "libx264",
        ),
    ),
    "variable frame rate": OddVideo(
        "x.mkv",
        f"select=not(mod(n\\,3))+not(mod(n\\,7)),{tagged('bt601', 'tv', 'yuv420p')}",
        ("-c:v", "libx264", "-fps_mode", "vfr"),
    ),
    "five frames per second": OddVideo("x.wmv", "fps=5,format=yuv420p", ("-c:v", "wmv2", "-b:v", "2M")),
    "odd sizes": OddVideo("x.mkv", "scale=161:203,format=yuv444p", ("-c:v", "ffv1"), (161, 203)),
    "animation with alpha": OddVideo("x.mov", "format=argb", ("-c:v", "qtrle")),
    "animated GIF": OddVideo("x.gif", "fps=10", ()),
    "Theora in Ogg": OddVideo("x.ogv", "format=yuv420p", ("-c:v", "libtheora", "-q:v", "8")),
    "uncompressed 4:2:2 of 10 bits": OddVideo(
        "x.mov",
        tagged("bt601", "tv", "yuv422p10le"),
        (
            "-c:v",
            "v210",
        ),
    ),
}


def make(video: OddVideo, picture, folder, sound=None):
    """Encode a picture as this video in `folder`; returns its path. sound: a recording that goes into it."""
    path = folder / video.name
    silent = sound is None or path.suffix in (".gif",)
    command = [
        ffmpeg(),
        "-v",
        "error",
        "-y",
        "-loop",
        "1",
        "-framerate",
        str(RATE),
        "-t",
        str(video.seconds),
        "-i",
        picture,
    ]
    command += [] if silent else ["-i", sound, "-shortest"]
    command += ["-vf", f"scale={SIZE[0]}:{SIZE[1]}:flags=area,{video.filters}", *video.flags]
    if not video.before:
        subprocess.run([*command, path], check=True, capture_output=True)
        return path
    straight = folder / f"straight-{video.name}"
    subprocess.run([*command, straight], check=True, capture_output=True)
    subprocess.run(
        [ffmpeg(), "-v", "error", "-y", *video.before, "-i", straight, "-c", "copy", path],
        check=True,
        capture_output=True,
    )
    straight.unlink()
    return path
