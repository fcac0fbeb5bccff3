"""Both families through one interface: the same sentence, the same promises; and which family a name belongs to."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from anitalker import pipeline
from anitalker.cli import main
from anitalker.config import GAZE_SIZE, InputError, RenderOptions
from anitalker.media.video import probe, read_frames
from anitalker.models import loading
from anitalker.models.lite import Lite
from anitalker.models.original import Original

QUICK = RenderOptions(steps=2)
CPU = torch.device("cpu")


@pytest.fixture
def flags(original_files):
    """The original's files as command-line flags."""
    return ["--model", "original", "--stage1", str(original_files[0]), "--stage2", str(original_files[1])]


@pytest.fixture(params=["lite", "original"])
def any_talker(request, untrained_model, original_files, monkeypatch, fixed_finder):
    """A talker of each family, with a finder that always finds one face."""
    monkeypatch.setattr("anitalker.models.loading.load_finder", lambda backend, device: fixed_finder())
    if request.param == "lite":
        return pipeline.load(untrained_model, "cpu")
    return pipeline.load("original", "cpu", *original_files)


def test_the_pipeline_knows_no_family(root):
    """No branches in the pipeline: neither family is named in it, nor in the rendering or the reading of videos."""
    for file in ("pipeline", "rendering", "motion/driving_video"):
        text = (root / f"anitalker/{file}.py").read_text(encoding="utf-8")
        assert "isinstance(self.model" not in text
        for word in (
            "anitalker.models.lite",
            "anitalker.models.original",
            "import lite",
            "import original",
            "Lite",
            "Original",
        ):
            assert word not in text, f"{word} in {file}.py"


def test_each_family_has_everything(any_talker):
    model = any_talker.model
    for name in ("family", "name", "fingerprint", "device", "size", "steps", "driving_filter", "prior", "streaming"):
        assert hasattr(model, name)
    assert model.number_format in ("float32", "bfloat16")
    for name in (
        "check",
        "check_face",
        "crop",
        "prepare",
        "read_codes",
        "speech_features",
        "generate_motion",
        "render_frames",
        "render_patches",
    ):
        assert callable(getattr(model, name))
    assert type(any_talker.name) is str and model.steps > 0


@pytest.mark.slow
def test_speech_to_motion_to_frames(any_talker, example_portrait, clicks):
    portrait = any_talker.portrait(example_portrait)
    motion = any_talker.motion(portrait, clicks, QUICK)[0]
    numbers = 20 if any_talker.model.streaming is None else 20 + GAZE_SIZE
    assert motion.shape == (26, numbers) and motion.isfinite().all()  # ceil(1.03 s * 25)
    assert torch.equal(motion, any_talker.motion(portrait, clicks, QUICK)[0])
    assert not torch.equal(motion, any_talker.motion(portrait, clicks, replace(QUICK, seed=1))[0])
    assert portrait.faces[0].motion.shape == (1, 20)
    size = any_talker.model.size
    crops = list(any_talker.draw(portrait, [motion], replace(QUICK, frame="crop")))
    assert {frame.shape for frame in crops} == {(size, size, 3)} and len(crops) == 26
    assert any((frame != crops[0]).any() for frame in crops)


# What follows is asked of `lite` in test_pipeline.py.


@pytest.fixture
def published(original_files, monkeypatch, fixed_finder):
    """A talker of the original's family."""
    monkeypatch.setattr("anitalker.models.loading.load_finder", lambda backend, device: fixed_finder())
    return pipeline.load("original", "cpu", *original_files)


@pytest.mark.slow
@pytest.mark.parametrize("frame", ["full", "crop"])
def test_batch_size_does_not_matter(published, example_portrait, clicks, frame):
    portrait = published.portrait(example_portrait)
    motion = published.motion(portrait, clicks, QUICK)
    options = replace(QUICK, frame=frame)
    single, batch = (
        np.stack(list(published.draw(portrait, motion, replace(options, batch_size=size)))) for size in (1, 16)
    )
    assert single.shape == batch.shape and np.abs(single.astype(int) - batch).max() <= 1


def test_everybody_speaks_and_the_rest_is_untouched(published, clicks, fixed_finder):
    published._finders["own"] = fixed_finder(2)
    picture = np.random.default_rng(0).integers(0, 255, (300, 700, 3), np.uint8)
    both = published.portrait(picture, "all")
    assert len(both.faces) == 2
    outside = np.ones((300, 700), bool)
    for subject in both.faces:
        (x, y), side = map(int, subject.crop.origin), int(subject.crop.side)
        outside[max(y, 0) : y + side, max(x, 0) : x + side] = False
    frame = list(published.frames(both, clicks, QUICK))[-1]
    np.testing.assert_array_equal(frame[outside], picture[outside])
    for half in (slice(0, 350), slice(350, 700)):
        assert (frame[:, half] != picture[:, half]).any()
    with pytest.raises(InputError, match="2 faces speak"):
        published.draw(both, published.motion(both, clicks, QUICK), replace(QUICK, frame="crop"))


@pytest.mark.slow
def test_reenact_and_encode(published, example_portrait, clicks, tmp_path):
    published.render(example_portrait, clicks, tmp_path / "drive.mp4", QUICK)
    motion, identity = published.encode(tmp_path / "drive.mp4")
    assert motion.shape == (26, 20) and identity.ndim == 1
    assert np.linalg.norm(identity) == pytest.approx(1, abs=1e-4)
    for relative in (True, False):
        facts = published.reenact(example_portrait, tmp_path / "drive.mp4", tmp_path / "out.mp4", relative=relative)
        assert facts["frames"] == 26 and facts["model"] == published.name


@pytest.mark.slow
@pytest.mark.parametrize("frame", ["full", "crop"])
def test_the_original_by_command_line(
    flags, frame, example_portrait, clicks, tmp_path, capsys, monkeypatch, fixed_finder
):
    monkeypatch.setattr("anitalker.models.loading.load_finder", lambda backend, device: fixed_finder())
    out = tmp_path / "out.mp4"
    where = [str(example_portrait), str(clicks), "-o", str(out), "--device", "cpu", "--json"]
    assert main(["render", *where, *flags, "--steps", "2", "--frame", frame, "--yaw", "10", "--still"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["frames"] == len(list(read_frames(out))) == 26
    assert facts["width"] == (256 if frame == "full" else 32) == probe(out).width
    assert facts["model"] == "original-mfcc_full_control"
    codes = ["encode", str(out), "-o", str(tmp_path / "codes.safetensors"), "--device", "cpu", *flags]
    assert main(codes) == 0
    assert main(["reenact", str(example_portrait), str(out), "-o", str(tmp_path / "again.mp4"), *flags]) == 0


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--steps", "60"], "near it are"),
        (["--guidance", "2"], "leave --guidance away"),
        (["--stage2", "none.ckpt"], "none.ckpt"),
    ],
)
def test_errors_are_one_line(flags, extra, words, example_portrait, clicks, tmp_path, capsys):
    where = [str(example_portrait), str(clicks), "-o", str(tmp_path / "out.mp4"), "--device", "cpu"]
    assert main(["render", *where, *flags, *extra]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and words in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_which_family(untrained_model, original_files, monkeypatch, tmp_path):
    stage1, stage2 = original_files
    assert isinstance(loading.load(untrained_model, CPU), Lite)
    assert isinstance(loading.load("original", CPU, stage1, stage2), Original)
    assert isinstance(loading.load(stage2, CPU, stage1), Original)  # stage two stands for the whole
    with pytest.raises(InputError, match="belongs to --model original"):
        loading.load(untrained_model, CPU, stage1=stage1)
    monkeypatch.setenv("ANITALKER_CHECKPOINTS", str(tmp_path))
    with pytest.raises(InputError, match="anitalker models fetch stage1"):
        loading.load("original", CPU)
