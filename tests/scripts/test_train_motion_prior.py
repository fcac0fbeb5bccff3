"""The prior's training on made-up codes and pictures: each step alone, then all of it once, the probe of covers too."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from anitalker.models import loading
from anitalker.motion.occlusion import OcclusionProbe
from anitalker.motion.prior import SCORES, MotionPrior, space_hash
from anitalker.network_config import MotionPriorConfig
from scripts import train_motion_prior
from scripts.training.data import FrameCache
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


@pytest.mark.slow
def test_all_of_it(features, cache, eye, tmp_path, monkeypatch):
    """One run: the file loads strictly, belongs to its space, and has the probe."""
    monkeypatch.setattr(train_motion_prior, "ODD", dict(list(train_motion_prior.ODD.items())[:2]))
    out = tmp_path / "prior.safetensors"
    few = ["--steps", "16", "--batch", "8", "--pictures", "64", "--odd", "2", "--stills", "4"]
    train_motion_prior.main(["--features", str(features), "--cache", str(cache), "--out", str(out), *few])
    config, tensors = loading.read(out)
    assert config["prior"]["space"] == space_hash(eye.space.state_dict())
    prior = MotionPrior.from_config(config)
    prior.load_state_dict(tensors)
    assert prior.limits.isfinite().all() and prior.covers.limits.isfinite().all() and prior.covers.weight.any()


def test_lessons_about_covers(cache):
    """Of a still three pictures: as it is, with its mouth covered, and something else; frames of clips as they are."""
    rng = np.random.default_rng(0)
    taught = list(train_motion_prior.cover_examples(FrameCache(cache, "train"), 2, 4, rng))
    kinds = [kind for _, kind in taught]
    assert len(taught) == 2 * 3 + 4 and kinds.count("real") == 2 and kinds.count("clip") == 4
    assert sum(train_motion_prior.HIDES.get(kind) == 0 for kind in kinds) == 2
    assert all(picture.shape == (256, 256, 3) and picture.dtype == np.uint8 for picture, _ in taught)


def test_limits_and_rates_of_the_probe():
    """One real picture of a hundred is above each limit; rates are shares of a kind."""
    covers = OcclusionProbe(16)
    torch.manual_seed(0)
    covers.weight.copy_(torch.randn(2, 16))
    real = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32))
    assert train_motion_prior.set_probe_limits(covers, real)["real"] == 200
    rates = train_motion_prior.occlusion_rates(covers, real, np.array(["real"] * 200))
    assert rates == {"real": {"pictures": 200, "mouth": pytest.approx(0.01), "eyes": pytest.approx(0.01)}}
    rates = train_motion_prior.occlusion_rates(covers, covers.weight[:1] * 100, np.array(["mask"]))
    assert rates["mask"]["mouth"] == 1


def test_what_is_taught_is_learned():
    """Codes of masks differ in one number, those of dark glasses in another."""
    rng, covers = np.random.default_rng(0), OcclusionProbe(16)
    kinds = np.array(["real", "mask", "dark glasses", "beside the face"] * 50)
    codes = rng.normal(size=(200, 16)).astype(np.float32)
    codes[kinds == "mask", 2] += 6
    codes[kinds == "dark glasses", 7] -= 6
    codes = torch.from_numpy(codes)
    facts = train_motion_prior.fit_probe(covers, codes, kinds)
    assert facts["covered"] == [50, 50] and facts["loss"] < 0.2
    train_motion_prior.set_probe_limits(covers, codes[torch.from_numpy(kinds == "real")])
    rates = train_motion_prior.occlusion_rates(covers, codes, kinds)
    assert rates["mask"]["mouth"] > 0.9 and rates["dark glasses"]["eyes"] > 0.9
    assert rates["beside the face"]["eyes"] < 0.1
