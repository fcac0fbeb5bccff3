"""Large files are signed in another process, with the same result and the same errors."""

import subprocess

import pytest

from anitalker.config import InputError
from anitalker.media.video import ffmpeg
from anitalker.provenance import marks, sign_apart
from anitalker.provenance.credentials import Generator, read_credentials


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    target = tmp_path_factory.mktemp("large") / "film.mp4"
    picture = ["-f", "lavfi", "-i", "color=red:size=64x64:duration=0.2"]
    subprocess.run([ffmpeg(), "-v", "error", *picture, str(target)], check=True)
    return target


def test_a_large_file_is_signed_apart(video, tmp_path, monkeypatch):
    monkeypatch.setattr(sign_apart, "LARGE_BYTES", 10)
    finish = marks.signing_step(Generator("lite", "abc", 7, (video,)))
    finish(video, tmp_path / "out.mp4", "out.mp4")
    found = read_credentials(tmp_path / "out.mp4")
    assert (found.status, found.origin["seed"], found.ingredients) == ("intact", 7, ("film.mp4",))


def test_small_files_stay_in_this_process(video, tmp_path, monkeypatch):
    monkeypatch.setattr(marks, "sign_apart", None)
    marks.signing_step(Generator("lite"))(video, tmp_path / "out.mp4", "out.mp4")
    assert read_credentials(tmp_path / "out.mp4").status == "intact"


def test_a_fault_there_is_a_fault_here(video, tmp_path):
    with pytest.raises(RuntimeError, match=r"the credentials could not be signed: .*No such file"):
        sign_apart.sign_apart(tmp_path / "none.mp4", tmp_path / "out.mp4", Generator("lite"), "out.mp4")


def test_a_certificate_that_does_not_fit_is_one_line(video, tmp_path, monkeypatch):
    monkeypatch.setenv("ANITALKER_CERTIFICATE", str(video))
    monkeypatch.setenv("ANITALKER_KEY", str(video))
    with pytest.raises((InputError, RuntimeError)):
        sign_apart.sign_apart(video, tmp_path / "out.mp4", Generator("lite"), "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
