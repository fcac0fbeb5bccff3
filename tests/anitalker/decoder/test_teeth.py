"""Upper teeth: where the skull has them, brighter for brighter skin, hidden until the mouth opens."""

import torch

from anitalker.decoder.composition import compose
from anitalker.decoder.decoder import Decoder
from anitalker.decoder.teeth import TOOTH_LENGTH, UPPER_LIP, upper_teeth
from anitalker.faces.landmarks import INNER_LIPS, from_canonical, rasterise
from anitalker.network_config import DecoderConfig

ABOVE, BELOW = [13, 82, 81, 80, 191, 312, 311, 310, 415], [14, 87, 178, 88, 95, 317, 402, 318, 324]


def placed(face):
    """A shut mouth."""
    points = from_canonical(face[None], torch.tensor([[0.0, 0, 0, 0, 0, -0.6]]))
    points[:, ABOVE] = points[:, BELOW] = (points[:, ABOVE] + points[:, BELOW]) / 2
    return points


def test_they_hang_below_the_upper_lip(face):
    landmarks = placed(face)
    coverage = upper_teeth(torch.zeros(1, 3, 256, 256), landmarks)[0, 3]
    column = int(landmarks[0, UPPER_LIP, 0] * 256)
    lip, height = float(landmarks[0, UPPER_LIP, 1]), float(landmarks[0, 152, 1] - landmarks[0, 10, 1])
    inside, below = int((lip + 0.5 * TOOTH_LENGTH * height) * 256), int((lip + 1.5 * TOOTH_LENGTH * height) * 256)
    assert coverage[inside, column] > 0.9 and coverage[below + 1, column] == 0
    outside = int(landmarks[0, 61, 0] * 256) - 2  # the mouth's outer corner
    assert coverage[:, outside].max() == 0


def test_brighter_skin_has_brighter_teeth_and_dark_skin_teeth_brighter_than_itself(face):
    landmarks = placed(face)
    levels = [upper_teeth(torch.full((1, 3, 256, 256), tone), landmarks) for tone in (-0.6, 0.0, 0.6)]
    shown = levels[0][0, 3] > 0.9
    means = [float(teeth[0, :3, shown].mean()) for teeth in levels]
    assert means[0] < means[1] < means[2] and means[0] > -0.6 + 0.2


def test_only_an_opening_shows_them(face):
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig(channels=(8, 8, 16, 16))).eval()
    shut, picture = placed(face), torch.full((1, 3, 256, 256), -0.2)
    ready = decoder.prepare(picture, shut, torch.zeros(1, 20), torch.zeros(1, 256))
    bare = ready.__class__(**{**vars(ready), "teeth": torch.zeros_like(ready.teeth)})
    opened = shut.clone()
    opened[:, BELOW, 1] += 0.05
    mouth = rasterise(opened, (INNER_LIPS,), 256)[0, 0] > 0.9
    with torch.no_grad():
        for target, expected in ((shut, False), (opened, True)):
            change = compose(picture, decoder.layers(ready, target, torch.zeros(1, 20)))
            change = (change - compose(picture, decoder.layers(bare, target, torch.zeros(1, 20)))).abs()
            assert bool((change[0, :, mouth] > 0.2).any()) is expected
            away = torch.nn.functional.max_pool2d(mouth[None, None].float(), 9, 1, 4)[0, 0] == 0
            assert change[0, :, away].max() < 1e-5
