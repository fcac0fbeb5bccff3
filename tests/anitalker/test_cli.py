"""The command line: JSON, progress, exit statuses, interruption."""

import json

import pytest

from anitalker import pipeline
from anitalker.cli import build_parser, main
from anitalker.commands.faces import find_faces
from anitalker.config import RenderOptions
from anitalker.models.base import FaceCheck
from anitalker.models.lite import Lite
from anitalker.motion.prior import MotionPrior
from anitalker.rendering import RenderFacts


@pytest.fixture
def render(monkeypatch, fixed_finder, example_portrait, clicks, untrained_model, tmp_path):
    """Arguments of a quick render to tmp_path/out.mp4."""
    monkeypatch.setattr("anitalker.models.loading.load_finder", lambda backend, device: fixed_finder())
    paths = [str(example_portrait), str(clicks), "-o", str(tmp_path / "out.mp4")]
    return ["render", *paths, "--model", str(untrained_model), "--device", "cpu", "--steps", "1", "--frame", "crop"]


@pytest.mark.slow
def test_json_is_one_object_and_progress_is_apart(render, capsys):
    assert main([*render, "--json", "--seed", "7"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert out.count("\n") == 1
    assert {"output", "frames", "fps", "seconds", "width", "height", "timings", "real_time_factor"} < set(facts)
    assert set(facts) == set(RenderFacts.__annotations__)
    assert facts["seed"] == 7 and facts["frames"] == 26 and facts["peak_rss_mb"] > 0
    assert "frames 26/26" in err.splitlines()[-1]


def test_interruption_leaves_nothing(render, capsys, monkeypatch, tmp_path):
    layers = Lite.layers

    def stop(*arguments):
        stop.calls += 1
        if stop.calls == 2:
            raise KeyboardInterrupt
        return layers(*arguments)

    stop.calls = 0
    monkeypatch.setattr(Lite, "layers", stop)
    assert main(render) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("interrupted")
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_ours_is_not_hidden(render, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(Lite, "layers", broken)
    with pytest.raises(ZeroDivisionError):
        main(render)


def test_faces(render, capsys, example_portrait):
    assert main(["faces", str(example_portrait), "--json", "--device", "cpu"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["faces"]) == 1 and len(facts["faces"][0]["landmarks"]) == 468
    assert facts["faces"][0]["doubts"] == [] and facts["faces"][0]["refused"] is False
    assert main(["faces", str(example_portrait), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("0: box (") and said.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("refused", [False, True])
def test_faces_say_what_rendering_would(render, capsys, caplog, monkeypatch, example_portrait, refused):
    monkeypatch.setattr("anitalker.models.lite.Lite.check_face", lambda *_: FaceCheck(refused, "it has a beak"))
    assert main(["faces", str(example_portrait), "--json", "--device", "cpu"]) == 0
    face = json.loads(capsys.readouterr().out)["faces"][0]
    assert face["doubts"] == ["it has a beak"] and face["refused"] is refused
    assert main(["faces", str(example_portrait), "--device", "cpu"]) == 0
    words = "cannot be animated: it has a beak" if refused else "may not move well: it has a beak"
    assert capsys.readouterr().out.splitlines()[1] == f"   {words}"
    assert main(render) == (2 if refused else 0)
    assert words in capsys.readouterr().err + caplog.text


@pytest.mark.slow
def test_doubts_are_the_same_before_and_in_rendering(example_portrait, monkeypatch):
    """By the shipped networks, with codes read for it and with those of a subject."""
    talker, seen = pipeline.load("lite", "cpu"), []
    rejection = MotionPrior.rejection
    monkeypatch.setattr(MotionPrior, "rejection", lambda self, scores: seen.append(scores) or rejection(self, scores))
    facts = find_faces(example_portrait, device="cpu")
    talker.portrait(example_portrait)
    assert facts["faces"][0]["doubts"] == [] and len(seen) == 2
    assert seen[0].tolist() == pytest.approx(seen[1].tolist(), rel=1e-4)


@pytest.mark.slow
def test_encode(render, capsys, tmp_path):
    from safetensors.numpy import load_file

    assert main(render) == 0
    model = render[render.index("--model") : render.index("--steps")]
    assert main(["encode", str(tmp_path / "out.mp4"), "-o", str(tmp_path / "m.safetensors"), *model]) == 0
    codes = load_file(tmp_path / "m.safetensors")
    assert codes["motion"].shape == (26, 20) and codes["identity"].shape == (64,)


def test_models(capsys):
    assert main(["models", "list", "--json"]) == 0
    assert "lite" in [model["name"] for model in json.loads(capsys.readouterr().out)["models"]]


def test_defaults_are_those_of_the_options(render):
    """No default is written twice."""
    from anitalker.commands.options import to_render_options

    bare = build_parser().parse_args(["render", "a", "b", "-o", "c.mp4"])
    assert to_render_options(bare) == RenderOptions()
