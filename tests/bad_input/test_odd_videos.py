"""Videos from real life: codec, depth, range, matrix, alpha, turn, rate and shape of the pixels."""

import json

import numpy as np
import pytest
from PIL import Image

from anitalker import pipeline
from anitalker.cli import main
from anitalker.media.video import probe, read_frames
from tests.bad_input.command_line import arguments
from tests.bad_input.odd_videos import ODD_VIDEOS, SIZE, make


@pytest.fixture(scope="session")
def picture(tmp_path_factory, example_portrait):
    """The example portrait, small."""
    path = tmp_path_factory.mktemp("picture") / "face.png"
    Image.open(example_portrait).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS).save(path)
    return path


@pytest.fixture(scope="session")
def shipped():
    """The shipped model and its face finder, loaded once."""
    return pipeline.load("lite", "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["HEVC Main10 of a phone", "anamorphic PAL"])
def test_an_odd_video_is_a_portrait_and_a_driver(place, rendered, picture, case):
    """Both ended in `no face was found`, in a traceback, or in a thin face."""
    video = make(ODD_VIDEOS[case], picture, place, place / "good.wav")
    facts = rendered(portrait=video.name)
    assert (facts.width, facts.height) == SIZE
    assert main(["reenact", "good.webp", video.name, "-o", "driven.mp4", *arguments()[5:], "--device", "cpu"]) == 0
    assert probe("driven.mp4").audio_codec == "aac"


@pytest.mark.slow
@pytest.mark.parametrize("case", ODD_VIDEOS)
def test_odd_videos_through_every_command(tmp_path, monkeypatch, capsys, picture, clicks, make_wav, shipped, case):
    """With the shipped weights: the face is found and moves, in the colours of the picture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "load", lambda *_, **__: shipped)
    make_wav(tmp_path / "speech.wav", 0.3 * np.sin(np.arange(3200) * 0.1))
    odd = ODD_VIDEOS[case]
    path = make(odd, picture, tmp_path, clicks)
    frame = list(read_frames(path))[10].astype(float)
    expected = Image.open(picture).convert("RGB").resize(odd.size)
    assert frame.shape[:2] == odd.size[::-1]
    np.testing.assert_allclose(frame.mean((0, 1)), np.asarray(expected).mean((0, 1)), atol=odd.drift)
    assert main(["faces", path.name, "--json"]) == 0
    faces = json.loads(capsys.readouterr().out)
    assert len(faces["faces"]) == 1 and (faces["width"], faces["height"]) == odd.size
    assert main(["render", path.name, "speech.wav", "-o", "said.mp4"]) == 0
    even = tuple(side + side % 2 for side in odd.size)
    assert (probe("said.mp4").width, probe("said.mp4").height) == even
    assert main(["reenact", str(picture), path.name, "-o", "driven.mp4"]) == 0
    driven = probe("driven.mp4")
    assert driven.seconds == pytest.approx(1, abs=0.15) and driven.width == SIZE[0]
    assert driven.audio_codec == ("aac" if probe(path).audio_codec else None)
