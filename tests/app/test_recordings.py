"""Several recordings at once: what a ZIP may hold, what is skipped, named or refused, and that nothing is left over."""

import io
import shutil
import struct
import zipfile

import numpy as np
import pytest

from anitalker.config import InputError
from anitalker.server.limits import Limits
from app.recordings import plain_name, read_recordings, shown_name

LIMITS = Limits(upload_bytes=200_000, media_seconds=2, batch_recordings=6)


@pytest.fixture
def wav(make_wav, tmp_path):
    """Bytes of half a second of sound."""
    return make_wav(tmp_path / "sound.wav", np.random.default_rng(0).normal(0, 0.1, 8000)).read_bytes()


@pytest.fixture
def read(tmp_path):
    """Reads uploads: ZIPs from their entries, other files from their bytes; `read.folder` holds what was unpacked."""
    folder = tmp_path / "visitor" / "uploads"

    def read(*uploads, method=zipfile.ZIP_DEFLATED, limits=LIMITS):
        files = []
        for number, (name, content) in enumerate(uploads):
            files.append((name, tmp_path / f"upload-{number}"))
            if isinstance(content, bytes):
                files[-1][1].write_bytes(content)
                continue
            with zipfile.ZipFile(files[-1][1], "w", method) as packed:
                for entry, data in content.items():
                    packed.writestr(entry, data)

        def new_folder():
            folder.mkdir(parents=True)
            return folder

        try:
            return read_recordings(files, new_folder, limits)
        finally:
            read.left = sorted(str(path.relative_to(folder)) for path in folder.glob("*/*"))
            shutil.rmtree(folder, ignore_errors=True)

    return read


def outcome(recordings):
    return {
        recording.name: str(recording.refusal) if recording.refusal else recording.seconds for recording in recordings
    }


def test_files_and_zips_keep_their_order_and_names(read, wav):
    recordings = read(("b.wav", wav), ("more.zip", {"x/a.wav": wav, "Grüße.wav": wav}), ("c.wav", wav))
    assert list(outcome(recordings).items()) == [(name, 0.5) for name in ("b.wav", "a.wav", "Grüße.wav", "c.wav")]


def test_one_bad_entry_is_named_and_the_others_are_there(read, wav, make_wav, tmp_path):
    silence = make_wav(tmp_path / "silence.wav", np.zeros(8000)).read_bytes()
    long = make_wav(tmp_path / "long.wav", np.full(3 * 16_000, 0.1)).read_bytes()
    content = {"notes.txt": "hello", "fake.wav": "RIFF no", "silence.wav": silence, "long.wav": long, "good.wav": wav}
    told = outcome(read(("mixed.zip", content)))
    assert told.pop("good.wav") == 0.5
    assert "not audio or video" in told["notes.txt"] and "not audio or video" in told["fake.wav"]
    assert "silent" in told["silence.wav"] and "3 s long; allowed are 2 s" in told["long.wav"]


def test_names_in_a_zip_are_no_paths(read, wav, tmp_path):
    content = {"../../escape.wav": wav, "/etc/absolute.wav": wav, "..\\back.wav": wav, "a'b\n<i>.wav": wav}
    recordings = read(("x.zip", content))
    assert [recording.name for recording in recordings] == ["escape.wav", "absolute.wav", "back.wav", "a'b<i>.wav"]
    assert read.left == ["0-0/escape.wav", "0-1/absolute.wav", "0-2/back.wav", "0-3/a-b-i-.wav"]
    assert not list(tmp_path.glob("*.wav"))[1:] and not (tmp_path / "visitor/escape.wav").exists()


def test_clutter_of_systems_is_skipped_without_a_word(read, wav):
    content = {
        "__MACOSX/._a.wav": b"x",
        ".DS_Store": b"x",
        "d/.hidden.wav": wav,
        "Thumbs.db": b"x",
        "./d/a.wav": wav,
        "e/": "",
    }
    assert outcome(read(("mac.zip", content))) == {"a.wav": 0.5}


def test_nested_zips_are_refused_whatever_their_name(read, wav):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("a.wav", wav)
    told = outcome(read(("x.zip", {"notes.txt": "no recording", "inner.wav": inner.getvalue(), "a.wav": wav})))
    assert told["a.wav"] == 0.5 and "ZIP within the ZIP" in told["inner.wav"]
    assert read.left == ["0-2/a.wav"], "what is refused stays on the disk"


def test_bombs_are_counted_as_they_unpack(read, wav, monkeypatch):
    unpack, unpacked = zipfile.ZipExtFile.read, []

    def count(stream, size=-1):
        unpacked.append(len(piece := unpack(stream, size)))
        return piece

    monkeypatch.setattr(zipfile.ZipExtFile, "read", count)
    told = outcome(read(("bomb.zip", {"bomb.wav": bytes(50_000_000), "a.wav": wav})))
    assert told["a.wav"] == 0.5 and "more than 0.2 MB" in told["bomb.wav"]
    assert read.left == ["0-1/a.wav"]
    assert sum(unpacked) < 200_000 + 2**16 + len(wav), "unpacked further than the limit"
    with pytest.raises(InputError, match=r"more than 0\.6 MB in all"):
        read(("many.zip", {f"{number}.wav": bytes(199_000) for number in range(5)}))
    assert read.left == []


def test_a_size_that_the_table_of_contents_understates(read, tmp_path):
    """The header says 100 bytes; 50 MB are packed. No more than a piece over the limit is ever unpacked."""
    file = tmp_path / "lie.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.wav", bytes(50_000_000))
    data = bytearray(file.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(signature) + offset
        data[place : place + 4] = struct.pack("<I", 100)
    assert "damaged" in outcome(read(("lie.zip", bytes(data))))["a.wav"]
    assert read.left == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[: len(data) // 2], "damaged ZIP"),
        (lambda data: b"PK\x03\x04" + bytes(100), "damaged ZIP"),
        (lambda data: data.replace(b"PK\x01\x02", b"PK\x09\x09"), "damaged ZIP"),
    ],
)
def test_damaged_zips(read, wav, tmp_path, change, words):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("a.wav", wav)
    with pytest.raises(InputError, match=words):
        read(("x.zip", change((tmp_path / "x.zip").read_bytes())))
    assert read.left == []


def test_a_damaged_entry_an_encrypted_one_and_a_rare_method(read, wav, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("damaged.wav", wav)
        packed.writestr("locked.wav", wav)
        packed.writestr("rare.wav", wav, zipfile.ZIP_LZMA)
        packed.writestr("good.wav", wav)
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[data.index(wav) + 500] ^= 0xFF
    place = data.index(b"locked.wav", data.index(b"PK\x01\x02"))  # in the table of contents
    data[place - 46 + 8] |= 1
    told = outcome(read(("x.zip", bytes(data))))
    assert "damaged" in told["damaged.wav"] and "password" in told["locked.wav"] and "method" in told["rare.wav"]
    assert told["good.wav"] == 0.5 and len(read.left) == 1


def test_a_long_table_of_contents_is_not_read(read):
    with pytest.raises(InputError, match="table of contents is too long"):
        read(("x.zip", {f"{number:0100}": "" for number in range(9000)}), method=zipfile.ZIP_STORED)


@pytest.mark.slow
def test_bounds_of_number_and_length(read, wav):
    with pytest.raises(InputError, match="7 recordings came; allowed are 6"):
        read(("x.zip", {f"{number}.wav": wav for number in range(6)}), ("a.wav", wav))
    assert read.left == []
    limits = Limits(upload_bytes=200_000, media_seconds=0.5)
    with pytest.raises(InputError, match=r"3 s long in all; allowed are 2 s"):
        read(("x.zip", {f"{number}.wav": wav for number in range(6)}), limits=limits)
    assert read.left == []


def test_names_for_people_and_for_files():
    assert shown_name("a/b\\c\x00d\u202e.wav") == "cd.wav"
    assert shown_name("a/" + "x" * 300) == "x" * 80 and shown_name("\x01") == "a file without a name"
    assert (
        plain_name("../../é è.WAV") == "é-è.WAV" and plain_name("no suffix.a/b") == "b" and plain_name("x.w v") == "x"
    )
