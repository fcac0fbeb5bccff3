"""Mark videos and pictures as synthetic as they are written: filters for frames, and a signature at the end."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from anitalker.config import RenderOptions
from anitalker.files import check_output, part_path, write_whole
from anitalker.media.formats import FORMATS
from anitalker.media.video import SYNTHETIC_COMMENT
from anitalker.provenance.aigc import KEY, XMP_KEYWORD, aigc_json, xmp_packet
from anitalker.provenance.credentials import Generator, sign_file
from anitalker.provenance.identity import SigningIdentity, signing_identity
from anitalker.provenance.label import Label
from anitalker.provenance.label_icon import LabelIcon
from anitalker.provenance.ledger import chosen_ledger
from anitalker.provenance.payload import new_identifier
from anitalker.provenance.picture_metadata import SUFFIXES, add_metadata
from anitalker.provenance.sign_apart import is_large, sign_apart
from anitalker.provenance.watermark import Watermarker

FrameFilter = Callable[[np.ndarray], np.ndarray]  # uint8 [H,W,3] -> uint8 [H,W,3]
Finish = Callable[[Path, Path, str], None]  # written file, target file, title of the file
UNMARKED_COMMENT = f"{SYNTHETIC_COMMENT}, whose user left out credentials and watermark"
log = logging.getLogger(__name__)


def frame_filters(
    width: int,
    height: int,
    label: bool,
    watermark: bool,
    identifier: str | None = None,
    language: str = RenderOptions.label_language,
    style: str = RenderOptions.label_style,
    labelled_frames: float = math.inf,
    edited: bool = False,
) -> tuple[FrameFilter, ...]:
    """Return the filters for the frames of one video, in their order: the visible label, then the watermark.

    identifier: of the video, see `payload.new_identifier`; None draws one. language: of the label, see `label.TEXTS`;
    style: words or icon; labelled_frames: at the beginning that have the label; edited: whether the video was filmed.
    """
    filters: list[FrameFilter] = []
    if label:
        drawn = LabelIcon(width, height, edited) if style == "icon" else Label(width, height, language)
        filters.append(drawn if labelled_frames == math.inf else Opening(drawn, math.ceil(labelled_frames)))
    if watermark:
        filters.append(Watermarker(identifier))
    return tuple(filters)


class Opening:
    """A filter for the first frames of a video; the others stay as they are."""

    def __init__(self, apply_filter: FrameFilter, frames: int) -> None:
        self._filter, self._left = apply_filter, frames

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return the next frame, uint8 [H,W,3]."""
        self._left -= 1
        return self._filter(frame) if self._left >= 0 else frame


def metadata_tags(identifier: str, marked: bool = True) -> dict[str, str]:
    """Return the tags of a video, by key: what China's standard asks for, and a comment where it is not marked."""
    told = {} if marked else dict.fromkeys(("comment", "description"), UNMARKED_COMMENT)
    return {KEY: aigc_json(identifier), **told}


def signing_step(generator: Generator, stamped: bool = True) -> Finish | None:
    """Return the step that signs a written file with credentials that name `generator`.

    stamped: whether a time-stamping authority is asked, where the user names one. None, and a warning, where
    c2pa-python cannot be used.
    """
    identity = signing_identity()
    if identity is None:
        return None
    if not stamped:
        identity = replace(identity, timestamp_url="")
    return partial(_sign, generator=generator, identity=identity)


def finishing_step(output: Path, generator: Generator | None, identifier: str) -> Finish | None:
    """Return the step that makes the final file, or each picture of a sequence, of the written one.

    Pictures, animated or not, get their metadata here, which a video gets from its writer. generator: see
    `signing_step`; None: it is not signed. A WebM never is: C2PA does not know it, which a warning says. Pictures of a
    sequence are not stamped by an authority: it would be asked for each.
    """
    form = FORMATS[output.suffix.lower()]
    if generator and not form.is_signed:
        log.warning("%s carries no content credentials: only watermark and metadata mark it; .mp4 has all", form.name)
    sign = signing_step(generator, form.name != "PNG") if generator and form.is_signed else None
    if output.suffix.lower() not in SUFFIXES:
        return sign

    comment = SYNTHETIC_COMMENT if generator else UNMARKED_COMMENT

    def finish(written: Path, target: Path, title: str) -> None:
        add_metadata(written, comment, xmp_packet(identifier, comment))
        if sign:
            sign(written, target, title)
        else:
            written.replace(target)

    return finish


def write_picture(
    output: Path,
    frame: np.ndarray,
    label: bool,
    generator: Generator,
    language: str = RenderOptions.label_language,
    style: str = RenderOptions.label_style,
) -> None:
    """Write a frame, uint8 [H,W,3], as a PNG with the marks of a video: watermark, metadata and credentials.

    label: whether the visible label is drawn, too, in a language and a style. A generator without an identifier gets
    one. The file appears whole or not at all, and is recorded in the ledger that ANITALKER_LEDGER names.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    identifier = generator.identifier or new_identifier()
    look = RenderOptions(label=label, label_language=language, label_style=style)
    generator = replace(generator, identifier=identifier, visible_label=look.visible_label)
    for apply_filter in frame_filters(frame.shape[1], frame.shape[0], label, True, identifier, language, style):
        frame = apply_filter(frame)
    metadata, sign, ledger = PngInfo(), signing_step(generator), chosen_ledger()
    metadata.add_text("Comment", SYNTHETIC_COMMENT)
    metadata.add_itxt(XMP_KEYWORD, xmp_packet(generator.identifier))

    def write(partial: Path) -> None:
        Image.fromarray(frame).save(partial, "PNG", pnginfo=metadata)
        if sign is None:
            return
        signed = part_path(output)
        try:
            sign(partial, signed, output.name)
            signed.replace(partial)
        finally:
            signed.unlink(missing_ok=True)

    write_whole(check_output(output, ".png"), write)
    if ledger:
        ledger.record(generator.identifier, generator.model, generator.seed, Path(output))


def _sign(written: Path, target: Path, title: str, generator: Generator, identity: SigningIdentity) -> None:
    if is_large(written, generator):
        sign_apart(written, target, generator, title)
    else:
        sign_file(written, target, generator, identity, title)
