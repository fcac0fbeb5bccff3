"""Mutated pictures and recordings, seeded: a correct result or InputError, never another fault, never a long wait."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from anitalker.config import InputError
from anitalker.media.images import read_picture
from anitalker.media.video import ffmpeg, read_audio

pytestmark = pytest.mark.slow
COUNT = 500
MAX_SECONDS = 20  # for one file


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Some of: flipped bytes, bytes at the start (where headers are), a cut, a piece twice, zeros, noise at the end."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        kind, at = int(rng.integers(6)), int(rng.integers(len(changed)))
        length = int(rng.integers(1, max(len(changed) // 8, 2)))
        if kind == 0:
            for place in rng.integers(0, len(changed), int(rng.integers(1, 30))):
                changed[place] = int(rng.integers(256))
        elif kind == 1:
            for place in rng.integers(0, min(len(changed), 200), int(rng.integers(1, 8))):
                changed[place] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))
        elif kind == 2:
            changed = changed[: max(at, 8)]
        elif kind == 3:
            changed[at:at] = changed[at : at + length]
        elif kind == 4:
            changed[at : at + length] = bytes(len(changed[at : at + length]))
        else:
            changed += rng.bytes(length)
    return bytes(changed)


def sources(kind):
    """Small valid files of every usual format -> list of (suffix, bytes)."""
    if kind == "picture":
        y, x = np.mgrid[:80, :96]
        picture = Image.fromarray(np.stack([x * 2, y * 2, (x + y) % 200], -1).astype(np.uint8))
        files = []
        for suffix, mode, more in (
            ("jpg", "RGB", {}),
            ("jpg", "CMYK", {}),
            ("png", "RGBA", {}),
            ("png", "P", {}),
            ("webp", "RGB", {}),
            ("gif", "P", {}),
            ("avif", "RGB", {}),
            ("tiff", "RGB", {"compression": "tiff_lzw"}),
            ("bmp", "RGB", {}),
        ):
            buffer = io.BytesIO()
            form = {"jpg": "JPEG"}.get(suffix, suffix.upper())
            picture.convert(mode).save(buffer, form, **more)
            files.append((suffix, buffer.getvalue()))
        return files
    import subprocess
    import tempfile
    from pathlib import Path

    files, tone = [], (0.5 * np.sin(np.arange(24000) * 0.1)).astype("<f4").tobytes()
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("wav", "mp3", "flac", "ogg", "m4a", "webm", "mkv", "aiff", "ts"):
            path = Path(folder) / f"x.{suffix}"
            source = ["-f", "f32le", "-ar", "48000", "-ac", "1", "-i", "pipe:0"]
            subprocess.run([ffmpeg(), "-v", "error", *source, path], input=tone, check=True)
            files.append((suffix, path.read_bytes()))
    return files


@pytest.mark.parametrize("kind", ["picture", "recording"])
def test_mutated_files(tmp_path, kind):
    """COUNT files; fails on the first that ends in anything but pixels, samples or InputError, or takes too long."""
    rng = np.random.default_rng(7)
    valid, good, refused = sources(kind), 0, 0
    for number in range(COUNT):
        suffix, data = valid[number % len(valid)]
        path = tmp_path / f"{number}.{suffix}"
        path.write_bytes(mutated(data, rng))
        start = time.monotonic()
        try:
            content = read_picture(path) if kind == "picture" else read_audio(path)
            good += 1
            assert content.size and (content.dtype == np.uint8 if kind == "picture" else np.abs(content).max() <= 1)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
        assert time.monotonic() - start < MAX_SECONDS, f"{path.name} took {time.monotonic() - start:.0f} s"
        path.unlink()
    assert good > COUNT // 20 and refused > COUNT // 20, (good, refused)
    print(f"{kind}: {good} read, {refused} refused")
