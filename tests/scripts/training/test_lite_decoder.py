"""The decoder stage: it learns from a teacher."""

import copy
from pathlib import Path

import pytest
import torch

from anitalker.config import DecoderConfig, MotionSpaceConfig, from_dict
from anitalker.decoder.decoder import Decoder
from anitalker.models import loading
from anitalker.motion.motion_space import MotionSpace
from scripts.training.codes import start_from_labels
from scripts.training.data import FrameCache
from scripts.training.lite_decoder import DecoderObjective
from scripts.training.pairs import PairSampler
from scripts.training.presets import decoder_config, resolve


@pytest.mark.slow
def test_a_cheaper_decoder_learns_from_a_teacher(cache, labels):
    """The teacher itself has nothing to learn; another decoder comes nearer to it, and the teacher stays as it is."""
    data = FrameCache(cache, "train")
    space = MotionSpace(MotionSpaceConfig())
    start_from_labels(space, labels, data)
    config, tensors = loading.read(Path("checkpoints/lite.safetensors"))
    teacher = Decoder(from_dict(DecoderConfig, config["decoder"]))
    own = {name.removeprefix("decoder."): one for name, one in tensors.items() if name.startswith("decoder.")}
    teacher.load_state_dict(own)
    recipe = resolve("lite-256", "decoder", {"channels": "16,24", "block": 4, "perceptual": 0.0})
    pairs = PairSampler(data, labels, stills=0.0).draw(1)

    def taught(decoder, steps):
        torch.manual_seed(0)
        objective = DecoderObjective(space, decoder, recipe, "none", 4, False, False, teacher)
        optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-3)
        values = []
        for step in range(steps):
            torch.manual_seed(1)  # the same noise on the landmarks
            losses, _ = objective(pairs, step)
            optimizer.zero_grad()
            losses["distillation"].backward()
            optimizer.step()
            values.append(losses["distillation"].item())
        return values

    assert taught(copy.deepcopy(teacher), 1)[0] < 0.002  # rounding
    values = taught(Decoder(decoder_config(recipe, MotionSpaceConfig())), 8)
    assert min(values[4:]) < 0.9 * values[0]
    assert all(torch.equal(one, own[name]) for name, one in teacher.state_dict().items())
