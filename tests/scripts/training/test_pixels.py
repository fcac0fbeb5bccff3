"""Stage one of the original: HAL switched off, a short training with every term, and the file that it becomes."""

import torch

from anitalker.network_config import StageOneConfig
from anitalker.original.stage_one import StageOne
from scripts.training.pixels import draw_frames, use_last_stage_only


def test_hal_switched_off_is_the_last_stage_alone():
    network = StageOne(StageOneConfig(32, 32, channels=(16, 8, 8, 8)))
    use_last_stage_only(network)
    look = network.encode(torch.rand(1, 3, 32, 32))
    assert torch.allclose(look.image_code, look.stages[:, -1], atol=1e-6)
    assert not network.enc.net_app.ws.weights.requires_grad


def test_decoder_with_gradients_draws_what_the_fast_one_draws():
    network = StageOne(StageOneConfig(32, 32, channels=(16, 8, 8, 8)))
    for parameter in network.dec.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    look = network.enc(torch.rand(2, 3, 32, 32) * 2 - 1)
    pictures, place = draw_frames(network.dec, look.image_code, look.skips, look.motion_code.flip(0))
    for i in range(2):
        skips = tuple(skip[i : i + 1].detach() for skip in look.skips)
        constants = network.dec.constants()
        ready = network.dec.prepare(constants, look.image_code[i : i + 1].detach(), skips)
        drawn = network.dec.draw(constants, ready, look.motion_code[1 - i : 2 - i].detach())
        assert (drawn.pictures - pictures[i]).abs().max() < 1e-4
    assert place.shape == (2, 2, 32, 32)
    pictures.square().mean().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None and "identity_net" not in n]
    assert not without
