"""The prior's training on made-up codes and pictures: each step alone, then all of it once, the probe of covers too."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from anitalker.config import MotionPriorConfig
from anitalker.models import loading
from anitalker.motion.prior import SCORES, MotionPrior, space_hash
from scripts import train_covers, train_motion_prior
from scripts.training.motion_data import load_motion

ROW = {"shard": "mixed-0", "speaking_visible": "yes", "generated": "no", "has_audio": "yes"}
SMALL = MotionPriorConfig(hidden=8, bins=3, steps=1, code_size=16, directions=4)


@pytest.fixture
def features(tmp_path):
    """Two clips of 60 frames, as scripts.extract_features writes them."""
    rng, folder = np.random.default_rng(0), tmp_path / "features"
    folder.mkdir()
    for split in ("train", "val"):
        codes = torch.from_numpy(rng.normal(0, 0.1, (60, 20)).astype(np.float32))
        flat = {name: torch.zeros(60) for name in ("lips", "eyes")}
        sound, neutral = torch.zeros(60 * 640, dtype=torch.int16), torch.zeros(468, 3)
        stored = {"codes": codes, "good": torch.ones(60, dtype=torch.uint8), "sound": sound, "neutral": neutral}
        save_file({**stored, **flat}, folder / f"{split}.safetensors")
    rows = [{**ROW, "id": split, "split": split, "identity": split} for split in ("train", "val")]
    (folder / "clips.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture
def eye(monkeypatch):
    """Sees what is bright: codes are means over the picture; a dark one has no face."""

    class Fake:
        def __init__(self, model):
            torch.manual_seed(0)
            self.mix = torch.nn.Linear(48, 36)
            encoder = SimpleNamespace(code_size=16)
            self.space = self.look_at
            self.look_at.__func__.config = SimpleNamespace(encoder=encoder)
            self.look_at.__func__.state_dict = lambda: dict(self.mix.state_dict())

        def look_at(self, pictures):
            flat = torch.nn.functional.adaptive_avg_pool2d(pictures, 4).flatten(1)
            motion, appearance = self.mix(flat).detach().split([20, 16], 1)
            return SimpleNamespace(motion=motion, appearance=appearance)

        def read(self, picture):
            if picture.mean() < 60:
                return None
            codes = self.look_at(train_motion_prior.to_tensor(np.ascontiguousarray(picture[:256, :256])))
            return {"motion": codes.motion, "appearance": codes.appearance, "score": 0.9, "residual": 0.01}

        read_frames = train_motion_prior.PictureReader.read_frames

    monkeypatch.setattr(train_motion_prior, "PictureReader", Fake)
    monkeypatch.setattr(train_covers, "PictureReader", Fake)
    return Fake("x")


def test_the_flow_learns(features, capsys):
    torch.manual_seed(0)
    prior = MotionPrior(SMALL)
    clips, val = (load_motion(features, split) for split in ("train", "val"))
    facts = train_motion_prior.train_flow(prior, clips, val, 16, 32)
    scores = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert facts["frames"] == 60 and facts["val"] == pytest.approx(max(scores), abs=0.01) and scores[-1] > scores[0]
    assert prior.motion_std.mean() == pytest.approx(0.1, rel=0.2)


def test_principal_directions():
    """Codes that vary along two axes: these are found with their variances, and the rest is noise."""
    torch.manual_seed(0)
    codes = 0.1 * torch.randn(500, 16) + 7
    codes[:, 3] += 3 * torch.randn(500)
    codes[:, 5] += 2 * torch.randn(500)
    prior = MotionPrior(SMALL)
    train_motion_prior.fit_appearance(prior, codes)
    assert prior.directions[0, 3].abs() > 0.99 and prior.directions[1, 5].abs() > 0.99
    assert prior.variances[:2].tolist() == pytest.approx([9, 4], rel=0.2)
    assert float(prior.noise) == pytest.approx(0.01, rel=0.3)
    assert prior.appearance_log_prob(codes).mean() > prior.appearance_log_prob(codes + 2).mean()


def test_one_in_a_hundred_real_pictures_is_doubted():
    torch.manual_seed(0)
    prior = MotionPrior(SMALL)
    train, val = (torch.randn(1000, len(SCORES)) * torch.tensor([1.0, 5, 2, 0.5]) + 3 for _ in range(2))
    facts = train_motion_prior.set_limits(prior, train, val)
    doubts = [prior.rejection(sign) for sign in val]
    assert sum(doubt is not None for doubt in doubts) == 10 and not any(doubt and doubt[0] for doubt in doubts)
    assert facts["refuse"] > facts["doubt"] and prior.rejection(train.median(0).values - 100)[0]


def test_all_of_it(features, cache, eye, tmp_path, monkeypatch):
    """One run each: the file loads strictly, belongs to its space, and a new prior keeps the probe."""
    monkeypatch.setattr(train_motion_prior, "KINDS", dict(list(train_motion_prior.KINDS.items())[:2]))
    monkeypatch.setattr(train_covers, "KINDS", dict(list(train_covers.KINDS.items())[::3]))
    out = tmp_path / "prior.safetensors"
    few = ["--steps", "16", "--batch", "8", "--pictures", "64", "--odd", "2"]
    common, some = ["--cache", str(cache)], ["--stills", "2", "--frames", "6", "--found", "2"]
    train_motion_prior.main(["--features", str(features), *common, "--out", str(out), *few])
    train_covers.main([*common, "--prior", str(out), "--codes", str(tmp_path / "codes.npz"), *some])
    config, tensors = loading.read(out)
    assert config["prior"]["space"] == space_hash(eye.space.state_dict())
    prior = MotionPrior.from_config(config)
    prior.load_state_dict(tensors)
    assert prior.limits.isfinite().all() and prior.covers.limits.isfinite().all() and prior.covers.weight.any()
    train_motion_prior.main(["--features", str(features), *common, "--out", str(out), *few])
    assert torch.equal(loading.read(out)[1]["covers.weight"], tensors["covers.weight"])
