"""The probe of covered mouths and eyes on made-up codes: what it is taught, its limits and rates."""

import numpy as np
import pytest
import torch

from anitalker.motion.occlusion import OcclusionProbe
from scripts import train_covers
from scripts.training.data import FrameCache


def test_lessons_about_covers(cache):
    """Of a still three pictures: as it is, with its mouth covered, and something else; frames of clips as they are."""
    rng = np.random.default_rng(0)
    taught = list(train_covers.training_examples(FrameCache(cache, "train"), 2, 4, rng))
    kinds = [kind for _, kind in taught]
    assert len(taught) == 2 * 3 + 4 and kinds.count("real") == 2 and kinds.count("clip") == 4
    assert sum(train_covers.HIDES.get(kind) == 0 for kind in kinds) == 2
    assert all(picture.shape == (256, 256, 3) and picture.dtype == np.uint8 for picture, _ in taught)


def test_limits_and_rates_of_the_probe():
    """One real picture of a hundred is above each limit; rates are shares of a kind."""
    covers = OcclusionProbe(16)
    torch.manual_seed(0)
    covers.weight.copy_(torch.randn(2, 16))
    real = {"codes": np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)}
    facts = train_covers.set_limits(covers, real | {"kinds": np.array(["real", "clip"] * 100)})
    assert facts["real"] == 200
    rates = train_covers.detection(covers, real | {"kinds": np.array(["real"] * 200)})
    assert rates == {"real": {"pictures": 200, "mouth": pytest.approx(0.01), "eyes": pytest.approx(0.01)}}
    loud = covers.weight[:1].numpy() * 100
    assert train_covers.detection(covers, {"codes": loud, "kinds": np.array(["mask"])})["mask"]["mouth"] == 1


def test_what_is_taught_is_learned():
    """Codes of masks differ in one number, those of dark glasses in another."""
    rng, covers = np.random.default_rng(0), OcclusionProbe(16)
    kinds = np.array(["real", "mask", "dark glasses", "beside the face"] * 50)
    codes = rng.normal(size=(200, 16)).astype(np.float32)
    codes[kinds == "mask", 2] += 6
    codes[kinds == "dark glasses", 7] -= 6
    facts = train_covers.fit_probe(covers, {"codes": codes, "kinds": kinds})
    assert facts["covered"] == [50, 50] and facts["loss"] < 0.2
    train_covers.set_limits(covers, {"codes": codes, "kinds": kinds})
    rates = train_covers.detection(covers, {"codes": codes, "kinds": kinds})
    assert (
        rates["mask"]["mouth"] > 0.9 and rates["dark glasses"]["eyes"] > 0.9 and rates["beside the face"]["eyes"] < 0.1
    )
