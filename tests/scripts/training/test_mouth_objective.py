"""What the mouth synthesiser is asked for, and that it can learn it."""

from dataclasses import replace

import pytest
import torch

from anitalker.decoder.mouth import MouthSynthesizer
from anitalker.network_config import MouthConfig
from scripts.training.data import FrameCache
from scripts.training.mouth_data import MouthSampler
from scripts.training.mouth_objective import MouthObjective, MouthRecipe

SMALL = MouthConfig(channels=(24, 24, 32), values=8, keys=8)
PIXELS = MouthRecipe(perceptual=0, adversarial=0)


@pytest.fixture
def batch(cache, labels):
    """Three targets with two references, the second of which is the target's own patch, smooth and colourful."""
    drawn = MouthSampler(FrameCache(cache, "train"), labels).draw(3, 2, seed=2)
    coarse = torch.rand(3, 3, 8, 8) * 2 - 1
    target = torch.nn.functional.interpolate(coarse, (128, 128), mode="bilinear")
    patches, points, motion = drawn.patches.clone(), drawn.patch_landmarks.clone(), drawn.patch_motion.clone()
    patches[:, 1], points[:, 1], motion[:, 1] = target, drawn.landmarks, drawn.motion
    fields = {"patches": patches, "patch_landmarks": points, "patch_motion": motion}
    return replace(drawn, target=target, warped=torch.zeros_like(target), **fields)


@pytest.mark.slow
def test_terms_are_those_of_the_recipe(batch, perceptual_network):
    torch.manual_seed(0)
    losses, outputs = MouthObjective(MouthSynthesizer(SMALL), PIXELS, "none")(batch, 10)
    assert set(losses) == {"l1", "colour", "area", "total"} and outputs == {}
    judged = replace(PIXELS, perceptual=1.0, adversarial=0.05, adversarial_after=4)
    assert not MouthObjective(MouthSynthesizer(SMALL), judged, "none").adversaries  # it judges features
    objective = MouthObjective(MouthSynthesizer(SMALL), judged, perceptual_network)
    assert "hinge" not in objective(batch, 3)[0]
    losses, outputs = objective(batch, 4)
    assert {"perceptual", "hinge"} < set(losses) and set(outputs) == {"adversarial"}
    losses["total"].backward()
    discriminator = objective.adversaries["adversarial"]
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    assert objective.network.exit.weight.grad.abs().sum() > 0


@pytest.mark.slow
def test_the_discriminator_learns_to_tell_drawn_from_true(batch, perceptual_network):
    torch.manual_seed(0)
    recipe = replace(PIXELS, perceptual=1.0, adversarial=0.05, adversarial_after=0)
    objective = MouthObjective(MouthSynthesizer(SMALL), recipe, perceptual_network)
    discriminator = objective.adversaries["adversarial"]
    judged = objective(batch, 0)[1]["adversarial"]
    first, numbers = discriminator.loss(*judged, step=0)
    assert set(numbers) == {"d_loss", "d_right"}
    for step in range(8):
        loss, numbers = discriminator.loss(*judged, step=step)
        loss.backward()
        discriminator.optimizer.step()
        discriminator.optimizer.zero_grad()
    assert loss < 0.7 * first and numbers["d_right"] == 1


def test_neighbours_that_change_as_they_should_cost_nothing(batch):
    objective = MouthObjective(MouthSynthesizer(SMALL), PIXELS, "none")
    torch.nn.init.constant_(objective.network.exit.bias, -30.0)  # alpha 0: the warped portrait stays
    twice = replace(
        batch,
        **{
            name: getattr(batch, name).repeat(2, *[1] * (getattr(batch, name).ndim - 1))
            for name in ("target", "warped", "landmarks", "motion", "patches", "patch_landmarks", "patch_motion")
        },
        neighbours=True,
    )
    assert objective(twice, 0)[0]["temporal"] < 1e-6
    twice.target[3:] += 0.1
    assert objective(twice, 0)[0]["temporal"] > 0.05


@pytest.mark.slow
def test_a_reference_that_fits_is_found_and_copied(batch):
    torch.manual_seed(0)
    objective = MouthObjective(MouthSynthesizer(SMALL), PIXELS, "none")
    optimizer = torch.optim.Adam(objective.parameters(), 3e-3)
    history = []
    for step in range(120):
        optimizer.zero_grad()
        losses, _ = objective(batch, step)
        losses["total"].backward()
        optimizer.step()
        history.append(losses["l1"].item())
    assert min(history[-5:]) < 0.35 * history[0]
