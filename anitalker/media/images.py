"""Read any picture file as upright sRGB pixels. The limits of a portrait stand here.

JPEG, PNG, WebP, AVIF, HEIC, GIF, TIFF, BMP and what else Pillow reads; of an animation the first frame. The size is
read from the header and checked before anything is decoded.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anitalker.config import InputError
from anitalker.files import existing_file
from anitalker.media.cicp import read_cicp
from anitalker.media.tone_mapping import HDR_TRANSFERS, convert_pixels, needs_conversion
from anitalker.media.video import read_frames, warn_of_hdr

if TYPE_CHECKING:
    from PIL import Image

MIN_SIDE = 64  # pixels: no face in a smaller picture can be animated
MAX_SIDE = 4096  # pixels: the long side that H.264 players accept; larger pictures are reduced
MAX_PIXELS = 2**27  # 134 million: decoding takes 4 bytes for each, twice
ANIMATED_SUFFIXES = (".gif", ".webp")
ORIENTATION_TAG = 0x0112  # of EXIF
HEADER_BYTES = 4096  # show whether a file is a drawing or a document
PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif"}  # in folders
# Not pictures, or Pillow would need another program for them.
REFUSED_FORMATS = ("EPS", "WMF", "SPIDER", "FITS", "GRIB", "HDF5", "BUFR", "MPEG")
PROFILE_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}  # bytes 16 to 19 of an ICC profile -> Pillow's mode
log = logging.getLogger(__name__)


class NoPicture(InputError):
    """The file cannot be read as a picture; it may be a video."""


def read_picture(path: str | os.PathLike, what: str = "portrait") -> np.ndarray:
    """Read a picture as uint8 [H,W,3] sRGB, upright, transparency on white, the long side at most MAX_SIDE.

    HDR (AVIF, HEIC, PNG) is tone-mapped, with a warning.
    InputError if it is no picture (NoPicture), damaged, smaller than MIN_SIDE, or has more than MAX_PIXELS.
    """
    from PIL import Image, UnidentifiedImageError

    file = existing_file(path, what)
    _refuse_drawings(file, what)
    _register_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is the limit
            warnings.filterwarnings("ignore", module="PIL")  # damaged metadata is no reason to refuse
            with Image.open(file) as picture:
                _check_size(picture, file, what)
                picture.draft("RGB", (MAX_SIDE, MAX_SIDE))  # JPEG: decodes at 1/2, 1/4 or 1/8, still above MAX_SIDE
                pixels = _srgb_pixels(file, picture, what)
    except UnidentifiedImageError:
        raise NoPicture(
            f"{what} is not a picture: {str(file)!r}; give a JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF file"
        ) from None
    except Image.DecompressionBombError:
        raise InputError(f"{what} is too large: {str(file)!r}; give at most {MAX_PIXELS:,} pixels") from None
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{what} does not fit into memory: {str(file)!r}; make it smaller first") from None
    except Exception as error:  # decoders of forty formats raise anything on damaged files
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{what} is damaged: {str(file)!r} ({reason}); give a complete picture") from None
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise InputError(f"{what} is {width}x{height} pixels: {str(file)!r}; give at least {MIN_SIDE}x{MIN_SIDE}")
    return pixels


def read_animation(path: str | os.PathLike, most: int, what: str = "picture") -> Iterator[np.ndarray]:
    """Yield up to `most` frames of an animated picture, spread over it, as `read_picture`; of a still one frame.

    A damaged frame ends it, unless it is the first.
    """
    from PIL import Image

    yield read_picture(path, what)
    with contextlib.suppress(EOFError, OSError, SyntaxError, ValueError), Image.open(path) as picture:
        count = getattr(picture, "n_frames", 1)
        for number in sorted({count * n // most for n in range(1, most)} - {0}):
            picture.seek(number)
            yield np.asarray(_rgb(picture))


def _refuse_drawings(file: Path, what: str) -> None:
    """Raise InputError for SVG, PDF and PostScript: they have no pixels."""
    with open(file, "rb") as stream:
        start = stream.read(HEADER_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kind = "a PDF" if start.startswith(b"%pdf-") else "PostScript" if start.startswith(b"%!ps") else None
    if start.startswith(b"<") and b"<svg" in start:
        kind = "an SVG drawing"
    if kind:
        raise InputError(f"{what} is {kind}: {str(file)!r}; export it as PNG or JPEG and give that")


def _register_heif() -> None:
    """Let Pillow read HEIC and HEIF through pi-heif, which only decodes. Without it those files are no pictures."""
    try:
        import pi_heif
    except ImportError:
        return
    pi_heif.register_heif_opener(thumbnails=False)


def _check_size(picture: Image.Image, file: Path, what: str) -> None:
    """Raise InputError for a format or size, as the header gives them, that is not allowed."""
    width, height = picture.size
    if picture.format in REFUSED_FORMATS:
        raise InputError(f"{what} is {picture.format}: {str(file)!r}; export it as PNG or JPEG and give that")
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{what} is {width}x{height} pixels: {str(file)!r}; "
            f"give at most {MAX_PIXELS:,} pixels, about {MAX_SIDE} a side"
        )
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{what} is {width}x{height} pixels: {str(file)!r}; give at least {MIN_SIDE}x{MIN_SIDE}")


def _srgb_pixels(file: Path, picture: Image.Image, what: str) -> np.ndarray:
    """Load an opened picture as upright sRGB, uint8 [H,W,3]: by its colour tags if it is HDR, else by its profile."""
    from PIL import Image

    tags = read_cicp(file)
    is_hdr = tags[1] in HDR_TRANSFERS
    if not is_hdr and (picture.info.get("icc_profile") or not needs_conversion(*tags)):
        return np.asarray(_rgb(picture))
    if is_hdr and picture.format == "AVIF" and (pixels := _avif_of_more_than_8_bits(file, picture, what)) is not None:
        return np.asarray(_reduced(Image.fromarray(pixels)))
    if is_hdr:
        warn_of_hdr(tags[1], what)
    if is_hdr and picture.format == "HEIF":
        return np.asarray(_reduced(Image.fromarray(convert_pixels(_heif_of_16_bits(file), *tags))))
    picture.info.pop("icc_profile", None)
    return convert_pixels(np.asarray(_rgb(picture)), *tags)


def _avif_of_more_than_8_bits(file: Path, picture: Image.Image, what: str) -> np.ndarray | None:
    """Read an HDR AVIF by ffmpeg, uint8 [H,W,3] sRGB: Pillow keeps 8 bits of each channel, too few for HDR's curves.

    None where ffmpeg would not show the same: a transparent, turned or tiled picture, or an ffmpeg that cannot read it.
    """
    if picture.mode != "RGB" or picture.getexif().get(ORIENTATION_TAG, 1) != 1:
        return None
    try:
        with contextlib.closing(read_frames(file, 1, what)) as frames:
            pixels = next(frames)
    except InputError:
        return None
    return pixels if pixels.shape == (picture.height, picture.width, 3) else None


def _heif_of_16_bits(file: Path) -> np.ndarray:
    """Read the pixels of an HDR HEIC, uint16 [H,W,3], upright, or uint8 where it has no more bits."""
    import pi_heif

    heif = pi_heif.open_heif(file, convert_hdr_to_8bit=False)
    return np.asarray(heif)[..., :3].copy()  # the array lives in `heif`, and ends with it


def _rgb(picture: Image.Image) -> Image.Image:
    """Convert a picture of any mode to upright sRGB."""
    from PIL import Image, ImageOps

    picture = _reduced(picture)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I") or picture.mode == "F":  # 16 bit grey comes as I;16 or I
        values = np.nan_to_num(np.asarray(picture, np.float32))
        white = 1.0 if picture.mode == "F" and values.max() <= 1 else 255.0 if values.max() <= 255 else 65535.0
        return Image.fromarray((values.clip(0, white) * (255 / white)).round().astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        profile = picture.info.get("icc_profile")
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        if profile:
            picture.info["icc_profile"] = profile
    return _srgb(picture).convert("RGB")


def _reduced(picture: Image.Image) -> Image.Image:
    """Reduce the long side to at most MAX_SIDE, in the picture's own mode: first by a whole factor, then exactly."""
    if max(picture.size) <= MAX_SIDE:
        return picture
    log.warning("the picture is %dx%d; its long side becomes %d pixels", *picture.size, MAX_SIDE)
    if picture.mode in ("P", "PA", "1"):  # palette indices cannot be averaged
        has_alpha = "transparency" in picture.info or picture.mode == "PA"
        picture = picture.convert("L" if picture.mode == "1" else "RGBA" if has_alpha else "RGB")
    info = dict(picture.info)  # orientation and colour profile, which `reduce` drops
    if (factor := max(picture.size) // MAX_SIDE) > 1 and not picture.mode.startswith("I;16"):
        exif = picture.getexif()
        picture = picture.reduce(factor)
        picture.info = {**info, **({"exif": exif.tobytes()} if len(exif) else {})}
    if max(picture.size) > MAX_SIDE:
        if picture.mode.startswith("I;16"):  # Pillow has no filter for it
            picture = picture.convert("I")
        picture.thumbnail((MAX_SIDE, MAX_SIDE), reducing_gap=None)
    return picture


def _srgb(picture: Image.Image) -> Image.Image:
    """Convert the colours of an embedded profile (Display P3 of phones, print CMYK) to sRGB; unchanged on failure.

    The profile decides in which mode it is applied: a grey or palette picture may come with a profile for RGB.
    """
    from PIL import ImageCms

    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = PROFILE_MODES.get(profile[16:20], picture.mode)
        if mode != "RGB" and picture.mode != mode:  # numbers for ink or grey say nothing of other channels
            raise ValueError(f"it is for {mode}, the picture is {picture.mode}")
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture.convert(mode), source, target, outputMode="RGB") or picture
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        log.warning("the picture's colour profile cannot be used (%s); its numbers are taken as sRGB", error)
        return picture
