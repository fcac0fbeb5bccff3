"""Bad input: exit status 2, one line that starts with `error: `, no traceback, no file left."""

import subprocess
import sys

import pytest

from anitalker.cli import main
from tests.bad_input.command_line import arguments

CASES = {
    "missing portrait": (arguments(portrait="none.png"), "portrait is missing"),
    "missing speech": (arguments(speech="none.wav"), "speech is missing"),
    "empty portrait": (arguments(portrait="empty"), "portrait is empty"),
    "empty speech": (arguments(speech="empty"), "speech is empty"),
    "portrait is a folder": (arguments(portrait="."), "folder"),
    "text as portrait": (arguments(portrait="text.png"), "not a picture"),
    "text as speech": (arguments(speech="text.png"), "speech"),
    "sound as portrait": (arguments(portrait="good.wav"), "not a picture"),
    "picture as speech": (arguments(speech="plain.png"), "no sound"),
    "truncated JPEG": (arguments(portrait="cut.jpg"), "damaged"),
    "no face": (arguments(portrait="plain.png"), "no face"),
    "20x20": (arguments(portrait="small.png"), "20x20"),
    "0 samples": (arguments(speech="silent.wav"), "speech"),
    "video without sound": (arguments(speech="mute.mp4"), "no sound"),
    "output folder missing": (arguments(**{"-o": "none/out.mp4"}), "output folder is missing"),
    "output in a file": (arguments(**{"-o": "good.wav/out.mp4"}), "output folder"),
    "output is a folder": (arguments(**{"-o": "."}), "output"),
    "output of another kind": (arguments(**{"-o": "out.avi"}), ".mp4"),
    "unknown choice": (arguments(**{"--frame": "half"}), "'full', 'crop'"),
    "unknown option": ([*arguments(), "--speed", "2"], "--speed"),
    "unknown command": (["sing"], "sing"),
    "no command": ([], "COMMAND"),
    "number out of range": (arguments(**{"--steps": "0"}), "1 to 200"),
    "no size": (arguments(**{"--size": "1080p"}), "'1080p'; allowed are a whole number of pixels, or original"),
    "size out of range": (arguments(**{"--size": "63"}), "64 to 4096"),
    "unknown background": (arguments(**{"--background": "blurry"}), "allowed are keep, transparent, blur, a colour"),
    "no such background": (arguments(**{"--background": "beach.jpg"}), "background is missing: no file 'beach.jpg'"),
    "sound as background": (arguments(**{"--background": "good.wav"}), "background has no pictures"),
    "damaged background": (arguments(**{"--background": "cut.jpg"}), "background is damaged"),
    "transparent MP4": (arguments(**{"--background": "transparent"}), "MP4 has no transparency"),
    "no number": (arguments(**{"--seed": "x"}), "--seed"),
    "NaN angle": (arguments(**{"--yaw": "nan"}), "-60 to 60"),
    "unknown face": (arguments(**{"--face": "best"}), "largest, all"),
    "face out of range": (arguments(**{"--face": "3"}), "1 face was found"),
    "pose and angle": ([*arguments(**{"--pose": "nan.npy"}), "--yaw", "3"], "either"),
    "NaN in a pose file": (arguments(**{"--pose": "nan.npy"}), "NaN or infinity in frame 1"),
    "pose of a wrong shape": (arguments(**{"--pose": "flat.npy"}), "[T,3]"),
    "pose file with code": (arguments(**{"--pose": "objects.npy"}), "no .npy of numbers"),
    "pose file is missing": (arguments(**{"--pose": "none.npy"}), "missing"),
    "unknown model": (arguments(**{"--model": "huge"}), "lite"),
    "weights of a wrong shape": (arguments(**{"--model": "shape.pt"}), "wrong shape: decoder."),
    "weights with code": (arguments(**{"--model": "code.pt"}), "hold code"),
    "renamed weights with code": (arguments(**{"--model": "code.safetensors"}), "not a whole safetensors file"),
    "driving video without pictures": (["reenact", "good.webp", "good.wav", *arguments()[3:]], "no pictures"),
    "faces of no picture": (["faces", "text.png"], "not a picture"),
    "stream into a folder that is missing": (
        ["stream", "good.webp", "--input", "good.wav", "-o", "none/x.mp4"],
        "make it with `mkdir -p none`",
    ),
    "encode into a folder that is missing": (["encode", "mute.mp4", "-o", "none/x.safetensors"], "folder is missing"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_nothing_left(refused, case):
    refused(*CASES[case])


def test_a_wrong_hash(place, capsys, monkeypatch):
    """A registered model whose file was changed."""
    (place / "model.safetensors").rename(place / "lite.safetensors")
    monkeypatch.setenv("ANITALKER_CHECKPOINTS", str(place))
    assert main([*arguments(**{"--model": "lite"}), "--device", "cpu"]) == 2
    assert "SHA-256" in capsys.readouterr().err
    assert not (place / "out.mp4").exists()


def test_an_output_folder_that_refuses(place, capsys, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    assert main(arguments()) == 2
    assert "cannot be written: '.' (Permission denied)" in capsys.readouterr().err


@pytest.mark.slow
def test_as_a_process(place, root):
    """The same through python -m: no traceback, no warning of a library, nothing on stdout."""
    command = [sys.executable, "-m", "anitalker", *arguments(portrait="cut.jpg")]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": str(root), "PATH": ""}, check=False
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: portrait is damaged")
