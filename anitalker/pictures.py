"""Any picture file -> upright sRGB pixels, and the one place that says what a portrait may be."""

from __future__ import annotations

import io
import logging
import os
import warnings
from pathlib import Path

import numpy as np

from anitalker.config import InputError

SMALLEST = 64  # pixels: below this no face can be animated
LARGEST = 4096  # pixels: the long side that H.264 players accept; larger pictures are reduced
log = logging.getLogger(__name__)


def existing_file(path: str | os.PathLike, what: str) -> Path:
    """`path` if it is a file with something in it; InputError, naming `what`, otherwise."""
    file = Path(path)
    if file.is_dir():
        raise InputError(f"{what} is a folder: {str(file)!r}; give a file")
    if not file.exists():
        raise InputError(f"{what} is missing: no file {str(file)!r}; check the path")
    if file.is_file() and file.stat().st_size == 0:
        raise InputError(f"{what} is empty: {str(file)!r} has 0 bytes; give a complete file")
    if not os.access(file, os.R_OK):
        raise InputError(f"{what} cannot be read: {str(file)!r}; check its permissions")
    return file


def read_picture(path: str | os.PathLike, what: str = "portrait") -> np.ndarray:
    """The picture as uint8 [H,W,3] sRGB, upright, transparency on white; InputError if it is none or too small."""
    from PIL import Image, UnidentifiedImageError

    file = existing_file(path, what)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as picture:
                picture.load()
                pixels = np.asarray(_rgb(picture))
    except UnidentifiedImageError:
        raise InputError(f"{what} is not a picture: {str(file)!r}; give a JPEG, PNG, WebP, BMP or TIFF file") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(
            f"{what} is too large: {str(file)!r}; give at most {Image.MAX_IMAGE_PIXELS:,} pixels"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{what} is damaged: {str(file)!r} ({reason}); give a complete picture") from None
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise InputError(f"{what} is {width}x{height} pixels: {str(file)!r}; give at least {SMALLEST}x{SMALLEST}")
    return pixels


def _rgb(picture):
    """A loaded PIL picture of any mode as upright RGB in sRGB."""
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    if max(picture.size) > LARGEST:
        log.warning("the picture is %dx%d; its long side becomes %d pixels", *picture.size, LARGEST)
        picture.thumbnail((LARGEST, LARGEST))
    if picture.mode.startswith("I") or picture.mode == "F":  # 16 bit grey comes as I;16 or I
        values = np.asarray(picture, np.float32)
        white = 255.0 if values.max() <= 255 else 65535.0
        return Image.fromarray((values.clip(0, white) * (255 / white)).round().astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return _srgb(picture).convert("RGB")


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
