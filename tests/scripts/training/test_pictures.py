"""Weights of mouth and eyes, the terms of a recipe, and scores of frames."""

import numpy as np
import pytest
import torch

from anitalker.faces.landmarks import from_canonical
from encoders.image import to_tensor
from scripts.training.data import FrameCache
from scripts.training.engine import Engine
from scripts.training.loop import Run
from scripts.training.pairs import PairSampler
from scripts.training.pictures import LIPS, Discriminator, PictureTerms, importance, random_shift, score_frames, views
from scripts.training.presets import Pictures
from scripts.training.recipe import Recipe


def test_mouth_and_eyes_weigh_more_than_the_face_and_the_face_more_than_the_rest(face):
    shape = face.clone()
    shape[14, 1] += 0.1  # an open mouth
    points = from_canonical(shape[None], torch.tensor([[0, 0, 0, 0, 0, -0.5]]))
    weight, features = importance(points, 128)
    x, y = (points[0, [13, 33, 205], :2] * 128).long().T
    mouth, eye, cheek = weight[0, 0, y, x]
    assert weight[0, 0, 0, 0] == 1 and mouth > eye > cheek > 1.5
    assert features[0, 0, y[0], x[0]] > 0.9 and features[0, 0, y[2], x[2]] < 0.1


def test_a_picture_that_is_right_costs_nothing_and_the_discriminator_waits(cache, labels):
    pairs = PairSampler(FrameCache(cache, "train"), labels, stills=0.0).draw(2)
    recipe = Pictures(perceptual=0.0, adversarial=0.5, adversarial_after=3)
    terms, last = PictureTerms(recipe, "none"), torch.nn.Parameter(torch.ones(1))
    losses, total, outputs = terms(pairs.picture_b * last, pairs, pairs.landmarks_b, last, 0)
    assert set(losses) == {"l1"} and total == 0 and outputs == {}
    losses, total, outputs = terms(pairs.picture_a * last, pairs, pairs.landmarks_b, last, 5)
    assert set(losses) == {"l1", "adversarial"} and total > 0
    fake, real = outputs["adversarial"]
    assert len(fake) == len(real) == 3 and not any(view.pictures.requires_grad for view in fake)


def test_frames_are_scored_whole_and_inside_the_face(cache):
    val = FrameCache(cache, "val")

    def almost(numbers, pictures, landmarks):
        assert pictures.shape == (len(numbers), 3, 256, 256)
        return {"off": to_tensor(torch.from_numpy(np.array(val.frames[numbers]))) * 0.9}

    scores = score_frames(val, torch.device("cpu"), almost)
    assert set(scores) == {"copy_whole", "copy_face", "off_whole", "off_face"}
    assert all(len(values) == 2 for values in scores.values())
    assert min(scores["off_whole"]) > max(scores["copy_whole"]) + 3
    assert scores["off_whole"][0] == pytest.approx(scores["off_face"][0], abs=1)


@pytest.fixture
def marks(face):
    return from_canonical(face.expand(2, -1, -1), torch.tensor([[0, 0, 0, 0, 0, -0.5], [0.1, 0, 0, 0.1, 0.3, -0.6]]))


def adversarial(**options):
    torch.manual_seed(0)
    return Discriminator(**{"weight": 0.5, **options})


def learn(critic, made, true, step):
    """One step of the discriminators; what they said before it."""
    made = [view.detach() for view in made]
    loss, numbers = critic.loss(made, true, step=step)
    loss.backward()
    critic.update(Engine("cpu"))
    return numbers


def test_patches_hold_mouth_and_eye_at_full_resolution_under_their_rings(marks):
    pictures = torch.zeros(2, 3, 256, 256)
    x, y = (marks[0, LIPS, :2] * 256).long().tolist()
    pictures[0, 0, y, x] = 1.0
    mouth, eye, whole = views(pictures, marks, torch.zeros(2, 2, 2))
    assert mouth.pictures.shape == (2, 3, 64, 64) and mouth.rings.shape == (2, 4, 32, 32)
    row, column = divmod(int(mouth.pictures[0, 0].argmax()), 64)
    assert mouth.pictures[0].max() == 1 and abs(row - 32) <= 2 and abs(column - 32) <= 2
    assert mouth.rings[0, 0].sum() > 20 and mouth.rings[0, 2:].sum() == 0
    assert eye.rings[:, 2:].sum((1, 2, 3)).min() > 5
    assert whole.pictures.shape == (2, 3, 128, 128) and whole.rings.shape == (2, 4, 64, 64)


@pytest.mark.slow
def test_discriminators_learn_to_tell_and_the_generator_to_deceive(marks):
    critic, true = adversarial(lr=4e-3), torch.rand(2, 3, 256, 256) - 0.5
    made = torch.nn.Parameter(torch.zeros(2, 3, 256, 256))
    for step in range(1, 9):
        shift = random_shift(2)
        shown = views(made, marks, shift)
        judged = learn(critic, shown, views(true, marks, shift), step)
    assert judged["d_right"] > 0.9
    fixed = [p.clone() for p in critic.parameters()]
    loss, _ = critic.term(shown, (made - true).square().mean(), made, 12)
    slope = torch.autograd.grad(loss, made)[0]
    better, _ = critic.term(views(made - 50 * slope, marks, shift), (made - true).square().mean(), made, 13)
    assert better < loss
    assert all(torch.equal(a, b) for a, b in zip(fixed, critic.parameters(), strict=True))


def test_weight_balances_the_gradients_at_the_last_layer_and_fades_in(marks):
    critic, last = adversarial(after=10), torch.nn.Parameter(torch.ones(2, 3, 1, 1))
    made = last * (torch.rand(2, 3, 256, 256) - 0.5)
    assert not critic.active(9) and critic.active(10) and not adversarial(weight=0.0).active(10)
    asked = 3 * made.square().mean()
    loss, weight = critic.term(views(made, marks, random_shift(2)), asked, last, 10)
    assert weight == 0
    critic.update(Engine("cpu"))
    wanted = torch.autograd.grad(asked, last, retain_graph=True)[0].norm()
    given = torch.autograd.grad(loss, last)[0].norm()
    assert critic.ratio.item() == pytest.approx((wanted / (given + 1e-6)).clamp(max=100).item(), rel=1e-3)
    _, weight = critic.term(views(last * made.detach(), marks, random_shift(2)), asked, last, 10_001)
    assert weight.item() == pytest.approx(0.5 * critic.ratio.item())


def test_state_survives_a_restart(tmp_path, marks):
    def run(critic):
        line = torch.nn.Linear(1, 1)
        optimizer = torch.optim.SGD(line.parameters(), lr=0.1)
        return Run(tmp_path, {}, {"line": line}, optimizer, Recipe(steps=1), helpers={"adversarial": critic})

    critic = adversarial()
    shown = views(torch.zeros(2, 3, 256, 256), marks, random_shift(2))
    learn(critic, shown, views(torch.ones(2, 3, 256, 256), marks, random_shift(2)), 0)
    run(critic).save()
    again = adversarial()
    assert run(again).resume()
    assert torch.equal(again.patch.exit.weight, critic.patch.exit.weight)
    assert torch.equal(
        again.optimizer.state[again.patch.exit.weight]["exp_avg_sq"],
        critic.optimizer.state[critic.patch.exit.weight]["exp_avg_sq"],
    )
