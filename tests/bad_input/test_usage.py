"""Bad input: exit status 2, one line that starts with `error: `, no traceback, no file left."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from anitalker import pipeline, weights
from anitalker.cli import main
from anitalker.video import Writer


class Code:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (self.target, "w"))


@pytest.fixture
def place(tmp_path, clicks, example_portrait, untrained_model, monkeypatch, fixed_finder):
    """A folder with one of everything that is wrong, and what is right: good.webp, good.wav and the model."""
    monkeypatch.setattr(pipeline, "load_finder", lambda backend, device: fixed_finder())
    monkeypatch.chdir(tmp_path)
    good = example_portrait.read_bytes()
    (tmp_path / "good.webp").write_bytes(good)
    (tmp_path / "good.wav").write_bytes(clicks.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(untrained_model.read_bytes())
    (tmp_path / "empty").touch()
    (tmp_path / "text.png").write_text("not a picture, not a sound")
    Image.open(example_portrait).convert("RGB").save("whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:1000])
    Image.new("RGB", (200, 200), "gray").save("plain.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)).save("small.png")
    (tmp_path / "silent.wav").write_bytes(clicks.read_bytes()[:44])
    with Writer("mute.mp4", 64, 64) as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))
    np.save("nan.npy", np.array([[0, 0, 0], [0, np.nan, 0]]))
    np.save("flat.npy", np.zeros(7))
    np.save("objects.npy", np.array([Code("it-ran")], dtype=object), allow_pickle=True)
    config, tensors = weights.read("model.safetensors")
    key = next(iter(tensors))
    wrong = {name: tensor[..., :1].contiguous() if name == key else tensor for name, tensor in tensors.items()}
    torch.save({"config": config, "weights": wrong}, "shape.pt")
    torch.save({"config": config, "weights": {"x": Code("it-ran")}}, "code.pt")
    (tmp_path / "code.safetensors").write_bytes((tmp_path / "code.pt").read_bytes())
    return tmp_path


def flags(**changed):
    """The arguments of a render that works, but for what is changed."""
    given = {"portrait": "good.webp", "speech": "good.wav", "-o": "out.mp4", "--model": "model.safetensors", **changed}
    return ["render", *(part for key, value in given.items() for part in ((key, value) if key[0] == "-" else (value,)))]


CASES = {
    "missing portrait": (flags(portrait="none.png"), "portrait is missing"),
    "missing speech": (flags(speech="none.wav"), "speech is missing"),
    "empty portrait": (flags(portrait="empty"), "portrait is empty"),
    "empty speech": (flags(speech="empty"), "speech is empty"),
    "portrait is a folder": (flags(portrait="."), "folder"),
    "text as portrait": (flags(portrait="text.png"), "not a picture"),
    "text as speech": (flags(speech="text.png"), "speech"),
    "sound as portrait": (flags(portrait="good.wav"), "not a picture"),
    "picture as speech": (flags(speech="plain.png"), "no sound"),
    "truncated JPEG": (flags(portrait="cut.jpg"), "damaged"),
    "no face": (flags(portrait="plain.png"), "no face"),
    "20x20": (flags(portrait="small.png"), "20x20"),
    "0 samples": (flags(speech="silent.wav"), "speech"),
    "video without sound": (flags(speech="mute.mp4"), "no sound"),
    "output folder missing": (flags(**{"-o": "none/out.mp4"}), "output folder is missing"),
    "output in a file": (flags(**{"-o": "good.wav/out.mp4"}), "output folder"),
    "output is a folder": (flags(**{"-o": "."}), "output"),
    "output of another kind": (flags(**{"-o": "out.avi"}), ".mp4"),
    "unknown choice": (flags(**{"--frame": "half"}), "'full', 'crop'"),
    "unknown option": ([*flags(), "--speed", "2"], "--speed"),
    "unknown command": (["sing"], "sing"),
    "no command": ([], "COMMAND"),
    "number out of range": (flags(**{"--steps": "0"}), "1 to 200"),
    "no number": (flags(**{"--seed": "x"}), "--seed"),
    "NaN angle": (flags(**{"--yaw": "nan"}), "-60 to 60"),
    "unknown face": (flags(**{"--face": "best"}), "largest, all"),
    "face out of range": (flags(**{"--face": "3"}), "1 face was found"),
    "pose and angle": ([*flags(**{"--pose": "nan.npy"}), "--yaw", "3"], "either"),
    "NaN in a pose file": (flags(**{"--pose": "nan.npy"}), "NaN or infinity in frame 1"),
    "pose of a wrong shape": (flags(**{"--pose": "flat.npy"}), "[T,3]"),
    "pose file with code": (flags(**{"--pose": "objects.npy"}), "no .npy of numbers"),
    "pose file is missing": (flags(**{"--pose": "none.npy"}), "missing"),
    "unknown model": (flags(**{"--model": "huge"}), "lite"),
    "weights of a wrong shape": (flags(**{"--model": "shape.pt"}), "wrong shape: decoder."),
    "weights with code": (flags(**{"--model": "code.pt"}), "hold code"),
    "renamed weights with code": (flags(**{"--model": "code.safetensors"}), "not a whole safetensors file"),
    "driving video without pictures": (["reenact", "good.webp", "good.wav", *flags()[3:]], "no pictures"),
    "faces of no picture": (["faces", "text.png"], "not a picture"),
    "encode into a folder that is missing": (["encode", "mute.mp4", "-o", "none/x.safetensors"], "folder is missing"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_nothing_left(place, capsys, case):
    arguments, words = CASES[case]
    before = sorted(path.name for path in place.iterdir())
    assert main([*arguments, "--device", "cpu"] if arguments[1:] else arguments) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith(("frames", "encode"))]
    assert out == "" and len(lines) == 1, err
    assert lines[0].startswith("error: ") and words in lines[0], err
    assert sorted(path.name for path in place.iterdir()) == before


def test_a_wrong_hash(place, capsys, monkeypatch):
    """A registered model whose file was changed."""
    (place / "model.safetensors").rename(place / "lite.safetensors")
    monkeypatch.setenv("ANITALKER_CHECKPOINTS", str(place))
    assert main([*flags(**{"--model": "lite"}), "--device", "cpu"]) == 2
    assert "SHA-256" in capsys.readouterr().err
    assert not (place / "out.mp4").exists()


def test_an_output_folder_that_refuses(place, capsys, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    assert main(flags()) == 2
    assert "cannot be written: '.' (Permission denied)" in capsys.readouterr().err


def test_as_a_process(place, root):
    """The same through python -m: no traceback, no warning of a library, nothing on stdout."""
    command = [sys.executable, "-m", "anitalker", *flags(portrait="cut.jpg")]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": str(root), "PATH": ""}, check=False
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: portrait is damaged")
