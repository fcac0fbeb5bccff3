"""A filmed video that was edited: named as the parent with its hash, and its own credentials are kept as they are."""

import hashlib
import json
import logging
import subprocess

import numpy as np
import pytest

from anitalker.media.video import ffmpeg
from anitalker.media.writer import VideoWriter
from anitalker.provenance.credentials import Generator, read_credentials
from anitalker.provenance.marks import signing_step
from anitalker.provenance.verify import summary_lines, verify


def write(path, generator):
    with VideoWriter(path, 64, 64, finish=signing_step(generator)) as writer:
        for _ in range(3):
            writer.write(np.full((64, 64, 3), 90, np.uint8))
    return path


def report(path):
    """What c2pa's own reader says: the active manifest, and all."""
    import c2pa

    with open(path, "rb") as stream:
        told = json.loads(c2pa.Reader.try_create("video/mp4", stream).json())
    return told["manifests"][told["active_manifest"]], told


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A video with credentials of its own."""
    return write(tmp_path_factory.mktemp("parent") / "film.mp4", Generator("camera"))


def test_a_parent_with_credentials(signed, tmp_path):
    out = write(tmp_path / "dubbed.mp4", Generator("lite", "ab" * 32, 7, (signed,)))
    credentials = read_credentials(out)
    assert credentials.status == "intact" and credentials.ours and credentials.ingredients == ("film.mp4",)
    assert credentials.source_type.endswith("/compositeWithTrainedAlgorithmicMedia") and credentials.made.endswith("Z")
    digest = hashlib.sha256(signed.read_bytes()).hexdigest()
    assert credentials.origin["ingredients"] == [{"title": "film.mp4", "sha256": digest}]
    active, told = report(out)
    (parent,) = active["ingredients"]
    assert (parent["title"], parent["relationship"]) == ("film.mp4", "parentOf")
    assert len(told["manifests"]) == 2, "the parent's manifest is kept"
    kept = told["manifests"][parent["active_manifest"]]
    assert next(entry for entry in kept["assertions"] if "anitalker" in entry["label"])["data"]["model"] == "camera"
    codes = {failure["code"] for failure in parent["validation_results"]["activeManifest"]["failure"]}
    assert codes == {"signingCredential.untrusted"}
    actions = next(entry for entry in active["assertions"] if entry["label"].startswith("c2pa.actions"))["data"]
    assert [action["action"] for action in actions["actions"]] == ["c2pa.opened", "c2pa.edited"]
    assert "c2pa.ingredient" in actions["actions"][0]["parameters"]["ingredients"][0]["url"]


@pytest.mark.slow
def test_verify_names_it(signed, tmp_path):
    verdict = verify(write(tmp_path / "dubbed.mp4", Generator("lite", ingredients=(signed,))))
    assert (verdict["state"], verdict["credentials"]["ingredients"]) == ("intact", ("film.mp4",))
    assert ", from film.mp4" in "\n".join(summary_lines(verdict))
    assert verify(signed)["credentials"]["ingredients"] == ()
    assert ", from" not in "\n".join(summary_lines(verify(signed)))


def test_a_parent_that_was_altered(signed, tmp_path):
    """Its credentials are kept with what is wrong with them; those of the result are intact."""
    data = bytearray(signed.read_bytes())
    data[data.index(b"mdat") + 100] ^= 1
    (tmp_path / "film.mp4").write_bytes(data)
    out = write(tmp_path / "dubbed.mp4", Generator("lite", ingredients=(tmp_path / "film.mp4",)))
    assert read_credentials(out).status == "intact"
    (parent,) = report(out)[0]["ingredients"]
    codes = {failure["code"] for failure in parent["validation_results"]["activeManifest"]["failure"]}
    assert "assertion.bmffHash.mismatch" in codes


def test_a_parent_with_damaged_credentials(signed, tmp_path, caplog):
    data = bytearray(signed.read_bytes())
    place = data.index(b"jumb")
    data[place : place + 400] = bytes(400)
    (tmp_path / "film.mp4").write_bytes(data)
    with caplog.at_level(logging.WARNING):
        out = write(tmp_path / "dubbed.mp4", Generator("lite", ingredients=(tmp_path / "film.mp4",)))
    assert "the credentials of film.mp4 cannot be read" in caplog.text
    assert read_credentials(out).status == "intact" and read_credentials(out).ingredients == ("film.mp4",)


def test_files_that_hold_no_credentials(clicks, tmp_path):
    """Matroska as the parent, and a recording as another input."""
    film = tmp_path / "film.mkv"
    subprocess.run([ffmpeg(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x64:d=0.2", str(film)], check=True)
    out = write(tmp_path / "dubbed.mp4", Generator("lite", ingredients=(film, clicks)))
    assert read_credentials(out).ingredients == ("film.mkv", "clicks.wav")
    assert [entry["relationship"] for entry in report(out)[0]["ingredients"]] == ["parentOf", "inputTo"]
    assert read_credentials(out).status == "intact"
