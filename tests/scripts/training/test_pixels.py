"""Stage one of the original: HAL switched off, a short training with every term, and the file that it becomes."""

import torch

from anitalker.config import StageOneConfig
from anitalker.original.stage_one import StageOne
from scripts.training.pixels import use_last_stage_only


def test_hal_switched_off_is_the_last_stage_alone():
    network = StageOne(StageOneConfig(32, 32, channels=(16, 8, 8, 8)))
    use_last_stage_only(network)
    look = network.encode(torch.rand(1, 3, 32, 32))
    assert torch.allclose(look.image_code, look.stages[:, -1], atol=1e-6)
    assert not network.enc.net_app.ws.weights.requires_grad
