"""Names and places: spaces, other scripts, dashes, links, lengths, pipes, devices, folders that refuse, full disks."""

import os
import shutil
import subprocess
from collections import namedtuple

import numpy as np
import pytest
from PIL import Image

from tests.bad_input.command_line import arguments

NAMES = [
    "two words",
    "Bjork and Zoe",
    "Björk 日本語 🙂",
    'it\'s 100% "quoted" $HOME',
    "%03d",
    "a:b",
    "concat:x",
    "x" * 240,
]


@pytest.fixture
def small(place, example_portrait):
    """small.png, which renders fast."""
    Image.open(example_portrait).convert("RGB").resize((96, 96)).save(place / "small-face.png")
    return place


@pytest.mark.parametrize("name", NAMES[:1] + NAMES[2:3] + [pytest.param(n, marks=pytest.mark.slow) for n in NAMES[3:]])
def test_any_name_will_do(small, rendered, name):
    """For the portrait, the speech and the video alike."""
    shutil.copy("small-face.png", f"{name}.png")
    shutil.copy("short.wav", f"{name}.wav")
    assert rendered(portrait=f"{name}.png", speech=f"{name}.wav", **{"-o": f"{name}.mp4"}).video_codec == "h264"


def test_a_leading_dash(small, rendered):
    shutil.copy("small-face.png", "-p.png")
    shutil.copy("short.wav", "-s.wav")
    assert rendered(portrait="./-p.png", speech="./-s.wav", **{"-o": "./-out.mp4"}).width == 96


def test_links_are_followed(small, rendered):
    os.symlink("small-face.png", "p.png")
    os.symlink("short.wav", "s.wav")
    os.mkdir("real")
    os.symlink("real", "linked")
    assert rendered(portrait="p.png", speech="s.wav").width == 96


def test_a_video_is_replaced_and_what_a_link_points_to_is_kept(small, rendered):
    (small / "old.mp4").write_text("keep me")
    os.symlink("old.mp4", "out.mp4")
    rendered(portrait="small-face.png")
    assert (small / "old.mp4").read_text() == "keep me" and not (small / "out.mp4").is_symlink()


BAD = {
    "a name of 300 characters": (arguments(portrait="x" * 300), "portrait cannot be reached"),
    "speech of 300 characters": (arguments(speech="x" * 300), "speech cannot be reached"),
    "an output of 300 characters": (arguments(**{"-o": "x" * 300 + ".mp4"}), "output name is too long"),
    "an output in 300 characters": (arguments(**{"-o": "x" * 300 + "/a.mp4"}), "output cannot be reached"),
    "an empty name": (arguments(portrait=""), "folder"),
    "a zero in the name": (arguments(portrait="a\0b.png"), "missing"),
    "a device without end": (arguments(portrait="/dev/zero"), "not a regular file"),
    "speech without end": (arguments(speech="/dev/urandom"), "not a regular file"),
    "nothing": (arguments(speech="/dev/null"), "not a regular file"),
    "a pipe": (arguments(portrait="pipe.png"), "not a regular file"),
    "a pipe with speech": (arguments(speech="pipe.png"), "not a regular file"),
    "a pose file that is a pipe": (arguments(**{"--pose": "pipe.png"}), "not a regular file"),
    "links in a circle": (arguments(portrait="circle"), "circle"),
    "a link to nothing": (arguments(portrait="dangling"), "missing"),
    "a web address": (arguments(portrait="https://example.org/face.jpg"), "missing"),
    "a web address of speech": (arguments(speech="http://example.org/talk.mp3"), "missing"),
    "output over the portrait": (arguments(portrait="same.mp4", **{"-o": "same.mp4"}), "one of the inputs"),
    "output over a link to the speech": (arguments(speech="same.mp4", **{"-o": "link.mp4"}), "one of the inputs"),
    "a dash as output": (arguments(**{"-o": "-x.mp4"}), "expected one argument"),
    "an output without a suffix": (arguments(**{"-o": "out"}), "ends in .mp4"),
    "an output that is a device": (arguments(**{"-o": "/dev/full"}), ".mp4"),
}


@pytest.mark.parametrize("case", BAD)
def test_refused_in_one_line(place, refused, case):
    os.mkfifo("pipe.png")
    os.symlink("circle", "circle")
    os.symlink("nowhere.png", "dangling")
    shutil.copy("mute.mp4", "same.mp4")
    os.symlink("same.mp4", "link.mp4")
    line = refused(*BAD[case])
    assert len(line) < 400


def test_a_full_disk_is_told_before_work(place, refused, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    refused(arguments(), "is full")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(place, refused):
    (place / "locked").mkdir(mode=0o500)
    refused(arguments(**{"-o": "locked/out.mp4"}), "cannot be written")


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 1200 kB that is made here, where that is allowed."""
    (tmp_path / "disk").mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", tmp_path / "disk"]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield tmp_path / "disk"
    subprocess.run(["umount", tmp_path / "disk"], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_while_writing(place, refused, tiny_disk):
    """Noise that H.264 cannot make small: no video, nothing left, one line."""
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)
    Image.fromarray(noise).save("noise.png")
    refused(arguments(portrait="noise.png", **{"-o": "disk/out.mp4"}), "is full")
    assert list(tiny_disk.iterdir()) == []
