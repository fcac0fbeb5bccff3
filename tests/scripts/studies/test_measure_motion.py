"""The prior and the factors, measured: numbers of made-up motion that are known, tables that say them."""

import numpy as np
import pytest
import torch

from anitalker import pipeline
from anitalker.motion.prior import MotionPrior
from anitalker.network_config import MotionPriorConfig
from scripts import study
from scripts.studies import measure_motion
from scripts.training.motion_data import MotionClip


@pytest.fixture
def prior():
    torch.manual_seed(0)
    made = MotionPrior(MotionPriorConfig(steps=1, layers=1, hidden=8, bins=4, code_size=6, directions=2)).eval()
    made.motion_std.fill_(0.05)
    return made.requires_grad_(False)


@pytest.fixture
def clips(face, prior):
    """Three clips whose codes are drawn from the prior, one frame of each unreadable, 80 frames."""
    made = []
    for number in range(3):
        codes = prior.sample(80, torch.Generator().manual_seed(number)).numpy()
        codes[40], good = 9.0, np.arange(80) != 40
        sound = np.random.default_rng(number).normal(0, 0.1, 80 * 640).astype(np.float32)
        row = {"speaking_visible": "yes" if number else "no", "has_audio": "yes"}
        lips = np.random.default_rng(number).random(80).astype(np.float32)
        made.append(MotionClip(row, codes, good, sound, lips, lips, face.numpy()))
    return made


def test_steps_and_sway(prior):
    motion = torch.zeros(4, 20)
    motion[1, 0], motion[2, 10], motion[3] = 0.1, 0.1, 5.0
    steps = measure_motion.steps_of(motion[:3], prior)
    assert torch.allclose(steps, torch.tensor([[2.0, 2.0, 5.7296], [8**0.5, 2.0, 5.7296]]), atol=1e-3)
    turning = torch.zeros(100, 20)
    turning[::2, 1] = 0.2
    assert float(measure_motion.sway(turning)) == pytest.approx(5.7296, rel=0.02)


def test_frames_that_were_not_read_do_not_count(prior, clips):
    likely, steps, heads = measure_motion.true_frames(prior, clips)
    assert len(likely) == 3 * 79 and len(steps) == 3 * 77 and heads.shape == (3,)
    assert float(likely.min()) > -100 and float(steps[:, 0].max()) < 20


@pytest.mark.slow
def test_idle_motion_beside_true_motion(prior, clips):
    lines = measure_motion.measure_idle(prior, clips, 50).splitlines()
    assert len(lines) == 6 and all(line.count("|") == lines[0].count("|") for line in lines)
    true, *sampled = [[float(cell) for cell in line.split("|")[4:7]] for line in lines[2:]]
    assert all(most[0] < true[0] for most in sampled), "sampled motion jumps"


@pytest.mark.slow
def test_between_says_which_way_is_likelier(prior, clips):
    line = measure_motion.measure_between(prior, clips, pairs=20)
    assert "20 pairs of val" in line and "nan" not in line


def test_factors_are_told_beside_what_was_made():
    usual = np.array([[2.0, 4.0, 3.0], [1.0, 2.0, 1.0]])
    lines = measure_motion.factors_table({"as made": usual, "--lips 0": usual * [0.1, 1.0, 1.0]}).splitlines()
    assert lines[2].startswith("| as made | 1.50 | 1.00 [1.00, 1.00] | 3.00 |")
    assert lines[3].startswith("| --lips 0 | 0.15 | 0.10 [0.10, 0.10] | 3.00 | 1.00 [1.00, 1.00] | 2.00 |")


def test_factors_need_a_data_folder(capsys):
    assert study.main(["measure_motion", "factors"]) == 2
    assert "factors came without --data" in capsys.readouterr().err


@pytest.mark.slow
def test_drawn_frames_of_the_shipped_model_obey_the_factors(root, monkeypatch):
    """Read again from what was drawn: still lips, a still head, wider lips; the rest of the face goes on as before."""
    from PIL import Image

    from anitalker.media.video import read_audio

    kept = ("as made", "--lips 0", "--lips 1.5", "--head 0")
    monkeypatch.setattr(measure_motion, "FACTORS", {name: measure_motion.FACTORS[name] for name in kept})
    stills = [np.asarray(Image.open(root / f"app/examples/{name}.webp").convert("RGB")) for name in ("portrait", "man")]
    speech = read_audio(root / "app/examples/speech.flac")[: 3 * 16_000]
    found = measure_motion.factors(pipeline.load("lite", "cpu"), stills, speech, every=3)
    share = {name: rows / found["as made"] for name, rows in found.items()}
    assert (share["--lips 0"][:, 0] < 0.2).all() and (share["--lips 0"][:, 2] > 0.7).all()
    assert (share["--head 0"][:, 2] < 0.4).all() and (share["--head 0"][:, 0] > 0.75).all()
    assert (share["--lips 1.5"][:, 0] > 1.25).all() and (share["--lips 1.5"][:, 2] < 1.3).all()
