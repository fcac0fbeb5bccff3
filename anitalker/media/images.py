"""Any picture file -> upright sRGB pixels, and the one place that says what a portrait may be.

JPEG, PNG, WebP, AVIF, HEIC, GIF, TIFF, BMP and what else Pillow reads; of an animation the first frame. The size is
judged by the header, before anything is decoded.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from pathlib import Path

import numpy as np

from anitalker.config import InputError
from anitalker.files import existing_file

SMALLEST = 64  # pixels: below this no face can be animated
LARGEST = 4096  # pixels: the long side that H.264 players accept; larger pictures are reduced
MOST = 2**27  # pixels, 134 million: decoding takes 4 bytes for each, twice
HEADER = 4096  # bytes that tell a picture from a drawing or a document
REFUSED = ("EPS", "WMF", "SPIDER", "FITS", "GRIB", "HDF5", "BUFR", "MPEG")  # not pictures, or only through programs
log = logging.getLogger(__name__)


class NoPicture(InputError):
    """The file is none that can be read as a picture; it may be a video."""


def read_picture(path: str | os.PathLike, what: str = "portrait") -> np.ndarray:
    """The picture as uint8 [H,W,3] sRGB, upright, transparency on white, the long side at most LARGEST.

    InputError if it is none (NoPicture), damaged, smaller than SMALLEST or of more than MOST pixels.
    """
    from PIL import Image, UnidentifiedImageError

    file = existing_file(path, what)
    _refuse_drawings(file, what)
    _know_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MOST decides
            warnings.filterwarnings("ignore", module="PIL")  # damaged metadata is no reason to refuse
            with Image.open(file) as picture:
                _check_size(picture, file, what)
                picture.draft("RGB", (LARGEST, LARGEST))  # JPEG: decodes at 1/2, 1/4 or 1/8, still above LARGEST
                picture.load()
                pixels = np.asarray(_rgb(picture))
    except UnidentifiedImageError:
        raise NoPicture(
            f"{what} is not a picture: {str(file)!r}; give a JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF file"
        ) from None
    except Image.DecompressionBombError:
        raise InputError(f"{what} is too large: {str(file)!r}; give at most {MOST:,} pixels") from None
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{what} does not fit into memory: {str(file)!r}; make it smaller first") from None
    except Exception as error:  # decoders of forty formats fail in every way on damaged files
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{what} is damaged: {str(file)!r} ({reason}); give a complete picture") from None
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise InputError(f"{what} is {width}x{height} pixels: {str(file)!r}; give at least {SMALLEST}x{SMALLEST}")
    return pixels


def _refuse_drawings(file: Path, what: str) -> None:
    """SVG and PDF have no pixels of their own."""
    with open(file, "rb") as stream:
        start = stream.read(HEADER).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kind = "a PDF" if start.startswith(b"%pdf-") else "PostScript" if start.startswith(b"%!ps") else None
    if start.startswith(b"<") and b"<svg" in start:
        kind = "an SVG drawing"
    if kind:
        raise InputError(f"{what} is {kind}: {str(file)!r}; export it as PNG or JPEG and give that")


def _know_heif() -> None:
    """Pillow reads HEIC and HEIF through pi-heif, which only decodes; without it those are no pictures."""
    try:
        import pi_heif
    except ImportError:
        return
    pi_heif.register_heif_opener(thumbnails=False)


def _check_size(picture, file: Path, what: str) -> None:
    """InputError by what the header says."""
    width, height = picture.size
    if picture.format in REFUSED:
        raise InputError(f"{what} is {picture.format}: {str(file)!r}; export it as PNG or JPEG and give that")
    if width * height > MOST:
        raise InputError(
            f"{what} is {width}x{height} pixels: {str(file)!r}; give at most {MOST:,} pixels, about {LARGEST} a side"
        )
    if min(width, height) < SMALLEST:
        raise InputError(f"{what} is {width}x{height} pixels: {str(file)!r}; give at least {SMALLEST}x{SMALLEST}")


def _rgb(picture):
    """A loaded PIL picture of any mode as upright RGB in sRGB."""
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


def _reduced(picture):
    """A long side of at most LARGEST, in the picture's own mode: first by a whole factor, then exactly."""
    if max(picture.size) <= LARGEST:
        return picture
    log.warning("the picture is %dx%d; its long side becomes %d pixels", *picture.size, LARGEST)
    if picture.mode in ("P", "PA", "1"):  # numbers of colours cannot be averaged
        deep = "transparency" in picture.info or picture.mode == "PA"
        picture = picture.convert("L" if picture.mode == "1" else "RGBA" if deep else "RGB")
    info = dict(picture.info)  # orientation and colour profile, which `reduce` forgets
    if (factor := max(picture.size) // LARGEST) > 1 and not picture.mode.startswith("I;16"):
        exif = picture.getexif()
        picture = picture.reduce(factor)
        picture.info = {**info, **({"exif": exif.tobytes()} if len(exif) else {})}
    if max(picture.size) > LARGEST:
        if picture.mode.startswith("I;16"):  # no filter of Pillow knows it
            picture = picture.convert("I")
        picture.thumbnail((LARGEST, LARGEST), reducing_gap=None)
    return picture


def _srgb(picture):
    """Colours of an embedded profile (Display P3 of phones, print CMYK) as sRGB; unchanged where that fails."""
    from PIL import ImageCms

    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = "RGB" if picture.mode == "RGBA" else picture.mode  # alpha is already on white
        return ImageCms.profileToProfile(
            picture.convert(mode), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        log.warning("the picture's colour profile cannot be used (%s); its numbers are taken as sRGB", error)
        return picture
