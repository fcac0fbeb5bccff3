"""A folder with one of everything that is wrong, and what must come of it: one line, exit status 2, nothing left."""

import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image

from anitalker.cli import main
from anitalker.media.video import probe
from anitalker.media.writer import VideoWriter
from anitalker.models import loading
from tests.bad_input.command_line import arguments


class Code:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (self.target, "w"))


@pytest.fixture(scope="session")
def everything(tmp_path_factory, clicks, example_portrait, untrained_model, make_wav):
    """One of everything that is wrong, and what is right: good.webp, good.wav, short.wav and the model."""
    place = tmp_path_factory.mktemp("everything")
    good = example_portrait.read_bytes()
    (place / "good.webp").write_bytes(good)
    (place / "good.wav").write_bytes(clicks.read_bytes())
    (place / "model.safetensors").write_bytes(untrained_model.read_bytes())
    make_wav(place / "short.wav", np.sin(np.arange(1600) * 0.1))
    (place / "empty").touch()
    (place / "text.png").write_text("not a picture, not a sound")
    Image.open(example_portrait).convert("RGB").save(place / "whole.jpg")
    (place / "cut.jpg").write_bytes((place / "whole.jpg").read_bytes()[:1000])
    Image.new("RGB", (200, 200), "gray").save(place / "plain.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)).save(place / "small.png")
    (place / "silent.wav").write_bytes(clicks.read_bytes()[:44])
    with VideoWriter(place / "mute.mp4", 64, 64) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))
    np.save(place / "nan.npy", np.array([[0, 0, 0], [0, np.nan, 0]]))
    np.save(place / "flat.npy", np.zeros(7))
    np.save(place / "objects.npy", np.array([Code("it-ran")], dtype=object), allow_pickle=True)
    config, tensors = loading.read(place / "model.safetensors")
    key = next(iter(tensors))
    wrong = {name: tensor[..., :1].contiguous() if name == key else tensor for name, tensor in tensors.items()}
    torch.save({"config": config, "weights": wrong}, place / "shape.pt")
    torch.save({"config": config, "weights": {"x": Code("it-ran")}}, place / "code.pt")
    (place / "code.safetensors").write_bytes((place / "code.pt").read_bytes())
    return place


@pytest.fixture
def place(tmp_path, everything, monkeypatch, fixed_finder):
    """The current folder: a copy of `everything`. The fixed finder finds the faces."""
    shutil.copytree(everything, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr("anitalker.models.loading.load_finder", lambda backend, device: fixed_finder())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(place, capsys):
    """Arguments and words -> the error line: exit status 2, one line with these words, no file left, within 20 s."""

    def check(command, words):
        before = sorted(path.name for path in place.iterdir())
        start = time.monotonic()
        assert main([*command, "--device", "cpu"] if command[1:] else command) == 2
        assert time.monotonic() - start < 20
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if not line.startswith(("frames", "encode", "WARNING"))]
        assert out == "" and len(lines) == 1, err
        assert lines[0].startswith("error: ") and words in lines[0], err
        assert sorted(path.name for path in place.iterdir()) == before
        return lines[0]

    return check


@pytest.fixture
def rendered(place, capsys):
    """Changed arguments -> what the video says about itself; nothing but the video is new."""

    def check(**changed):
        changed = {"speech": "short.wav", "-o": "out.mp4", **changed}
        output = changed["-o"]
        before = {path.name for path in place.iterdir()}
        assert main([*arguments(**changed), "--device", "cpu"]) == 0, capsys.readouterr().err
        assert {path.name for path in place.iterdir()} - before == {output.removeprefix("./")} - before
        return probe(output)

    return check
