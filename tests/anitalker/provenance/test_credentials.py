"""Content credentials: signed, read, altered; the identity that signs; and the verdict of `verify`."""

import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from anitalker.cli import main
from anitalker.config import InputError
from anitalker.media.video import ffmpeg, probe, read_frames
from anitalker.media.writer import VideoWriter
from anitalker.provenance.credentials import Generator, read_credentials
from anitalker.provenance.identity import _create_identity, _machine_identity, signing_identity
from anitalker.provenance.marks import frame_filters, signing_step, write_picture
from anitalker.provenance.verify import verify

ORIGIN = Generator("lite", "ab" * 32, 7)


@pytest.fixture(scope="module")
def marked(tmp_path_factory, clicks, example_portrait):
    """A marked video of 10 frames, with sound."""
    from anitalker.media.images import read_picture

    picture = read_picture(example_portrait)
    path = tmp_path_factory.mktemp("marked") / "made.mp4"
    with VideoWriter(path, 256, 256, clicks, frame_filters(256, 256, False, True), signing_step(ORIGIN)) as writer:
        for number in range(10):
            writer.write(np.roll(picture, number, 1))
    return path


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A configuration folder with nothing in it."""
    monkeypatch.setenv("ANITALKER_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def test_what_the_credentials_say(marked):
    credentials = read_credentials(marked)
    assert credentials.status == "intact" and credentials.ours and not credentials.trusted
    assert credentials.problems == ("signingCredential.untrusted",)
    assert credentials.source_type.endswith("/trainedAlgorithmicMedia")
    assert (credentials.origin["model"], credentials.origin["weights_sha256"], credentials.origin["seed"]) == (
        "lite",
        "ab" * 32,
        7,
    )
    assert credentials.made.endswith("Z") and "self-issued" in credentials.signer


def test_still_a_video_that_starts_at_once(marked):
    """Signed, the index still stands before the frames, and players find tag, sound and every frame."""
    data = marked.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert "Synthetic media" in probe(marked).comment and probe(marked).audio_codec == "aac"
    assert len(list(read_frames(marked))) == 10
    assert [path.name for path in marked.parent.iterdir()] == ["made.mp4"]


def test_as_made(marked):
    verdict = verify(marked)
    assert (verdict["made_by"], verdict["state"]) == ("anitalker", "intact")
    assert verdict["watermark"]["found"]


def test_one_byte_changed(marked, tmp_path):
    data = bytearray(marked.read_bytes())
    data[data.index(b"mdat") + 500] ^= 1
    (tmp_path / "changed.mp4").write_bytes(data)
    verdict = verify(tmp_path / "changed.mp4")
    assert verdict["state"] == "altered" and verdict["credentials"]["status"] == "altered"
    assert any("mismatch" in code for code in verdict["credentials"]["problems"])


def test_encoded_again(marked, tmp_path):
    """The credentials are gone, the watermark tells that they were there."""
    again = tmp_path / "again.mp4"
    command = [ffmpeg(), "-v", "error", "-i", str(marked), "-map_metadata", "-1", "-crf", "28", str(again)]
    subprocess.run(command, check=True)
    verdict = verify(again)
    assert verdict["credentials"]["status"] == "none" and verdict["comment"] is None
    assert (verdict["made_by"], verdict["state"]) == ("anitalker", "altered")


def test_pictures_and_foreign_files(example_portrait, clicks, tmp_path):
    for path in (example_portrait, clicks):
        assert (verify(path)["made_by"], verify(path)["state"]) == ("unknown", "unknown")
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="file is not audio or video"):
        verify(tmp_path / "x.mp4")


def test_a_picture_is_marked_like_a_video(example_portrait, tmp_path, monkeypatch):
    from PIL import Image

    from anitalker.media.images import read_picture
    from anitalker.provenance import marks

    picture, file = read_picture(example_portrait), tmp_path / "still.png"
    write_picture(file, picture, False, ORIGIN)
    verdict = verify(file)
    assert verdict["state"] == "intact" and verdict["watermark"]["found"]
    assert verdict["credentials"]["origin"]["seed"] == 7 and "Synthetic media" in verdict["comment"]
    shown = Image.open(file)
    assert shown.size == picture.shape[1::-1]
    shown.convert("RGB").save(tmp_path / "again.jpg", quality=90)
    assert verify(tmp_path / "again.jpg")["state"] == "altered"
    write_picture(tmp_path / "label.png", picture, True, ORIGIN)
    corner = np.asarray(Image.open(tmp_path / "label.png"))[-20:, :60].astype(int)
    assert np.abs(corner - np.asarray(shown)[-20:, :60]).mean() > 10
    monkeypatch.setattr(marks, "sign_file", lambda *_: (_ for _ in ()).throw(InputError("no signature")))
    with pytest.raises(InputError, match="no signature"):
        write_picture(tmp_path / "half.png", picture, False, ORIGIN)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.jpg", "label.png", "still.png"]


def test_the_command(marked, capsys):
    assert main(["verify", str(marked)]) == 0
    out = capsys.readouterr().out
    assert "made by AniTalker; intact" in out and "signature intact, signer not on a trust list" in out
    assert main(["verify", str(marked), "--json"]) == 0
    assert '"state": "intact"' in capsys.readouterr().out


def test_identity_is_made_once_and_private(fresh):
    first = signing_identity()
    assert signing_identity() == first
    file = fresh / "identity.pem"
    assert os.name == "nt" or stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in fresh.iterdir()] == ["identity.pem"]
    assert first.chain.count(b"BEGIN CERTIFICATE") == 2 and b"PRIVATE KEY" not in first.chain


def test_many_at_once_get_one_identity(fresh):
    """Workers that start together; each has its own memory, so the cache is passed by."""
    with ThreadPoolExecutor(8) as pool:
        identities = list(pool.map(lambda _: _machine_identity.__wrapped__(str(fresh)), range(8)))
    assert len({identity.chain for identity in identities}) == 1
    assert [path.name for path in fresh.iterdir()] == ["identity.pem"]


def test_where_nothing_can_be_kept(tmp_path, monkeypatch, caplog):
    """A folder that cannot be made: the work goes on, with an identity of its own."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ANITALKER_CONFIG", str(tmp_path / "file" / "config"))
    assert signing_identity().chain
    assert "no identity can be kept" in caplog.text


def test_a_users_certificate(fresh, tmp_path, monkeypatch, marked):
    """The user's own PEM files sign; half of a pair, and what is no key, are refused in one line."""
    machine_identity = signing_identity()
    (tmp_path / "chain.pem").write_bytes(machine_identity.chain)
    (tmp_path / "key.pem").write_bytes(machine_identity.key)
    monkeypatch.setenv("ANITALKER_CERTIFICATE", str(tmp_path / "chain.pem"))
    with pytest.raises(InputError, match="belong together"):
        signing_identity()
    monkeypatch.setenv("ANITALKER_KEY", str(tmp_path / "key.pem"))
    assert signing_identity() == machine_identity
    monkeypatch.setenv("ANITALKER_KEY", str(tmp_path / "chain.pem"))
    with pytest.raises(InputError, match="cannot be used"):
        signing_identity()


def test_a_certificate_that_does_not_fit_its_key(fresh, tmp_path, monkeypatch):
    """Nothing appears, and the message names the way out."""
    chain, key = signing_identity().chain, _create_identity().partition(b"-----BEGIN PRIVATE KEY-----")
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(key[1] + key[2])
    monkeypatch.setenv("ANITALKER_CERTIFICATE", str(tmp_path / "chain.pem"))
    monkeypatch.setenv("ANITALKER_KEY", str(tmp_path / "key.pem"))
    with pytest.raises(InputError, match="do not belong together"):
        signing_identity()


def test_without_c2pa(monkeypatch, tmp_path, caplog):
    """Where the library is missing, videos are made and the watermark stays; it is said."""
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    with VideoWriter(tmp_path / "x.mp4", 64, 64, finish=signing_step(ORIGIN)) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))
    assert "no content credentials" in caplog.text
    assert probe(tmp_path / "x.mp4").width == 64


@pytest.mark.slow
def test_marks_of_a_render(talker, example_portrait, clicks, tmp_path):
    """The pipeline marks what it writes; --no-marks leaves the comment only and warns; the label is seen."""
    from anitalker.config import RenderOptions

    facts = {}
    for name, options in {"on": {}, "off": {"marks": False}, "label": {"marks": False, "label": True}}.items():
        talker.render(
            example_portrait, clicks, tmp_path / f"{name}.mp4", RenderOptions(steps=1, frame="crop", **options)
        )
        facts[name] = verify(tmp_path / f"{name}.mp4")
    assert facts["on"]["state"] == "intact" and facts["on"]["watermark"]["found"]
    assert facts["off"]["credentials"]["status"] == "none" and not facts["off"]["watermark"]["found"]
    assert facts["off"]["comment"].startswith("Synthetic media")
    off, label = (next(read_frames(tmp_path / f"{name}.mp4")).astype(int) for name in ("off", "label"))
    changed = np.abs(off - label).max(-1) > 40
    assert changed[-24:, :110].any() and not changed[:-40].any()
