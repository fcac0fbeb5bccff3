"""The study of gaze: its tables, and how labels are seen in the axes of landmarks."""

import numpy as np
import torch

from anitalker.decoder.eyelids import eye_axes
from anitalker.faces.landmarks import from_canonical
from scripts.label_irises import EyeLabels
from scripts.studies import gaze


def test_labels_in_the_axes_of_a_face(face):
    points = from_canonical(face[None], torch.tensor([[0.0, 0, 0.1, 0, 0, -0.6]]))
    corner, axes = eye_axes(points[..., :2])
    iris = (corner + 0.4 * axes[:, :, 0] - 0.1 * axes[:, :, 1]).numpy()
    width = axes[:, :, 0].norm(dim=-1).numpy()
    labels = EyeLabels(np.zeros((1, 2, 2, 9, 2), np.float32), iris, 0.2 * width, np.ones(1, bool))
    places = gaze.in_axes(labels, points)
    torch.testing.assert_close(places.centre, torch.tensor([[[0.4, -0.1]] * 2]), atol=1e-4, rtol=0)
    torch.testing.assert_close(places.radius, torch.full((1, 2), 0.2))


def test_tables(face):
    clips = {"ann": [((0.1, 0.05), (4.0, 2.0))], "bob": [((0.2, 0.1), (2.0, 1.0))] * 2}
    text = gaze.Clips.report(None, {name: [tuple(gaze.Pair(*p) for p in c) for c in cs] for name, cs in clips.items()})
    assert "clips of 2 people" in text and "0.50" in text and "15.00" in text
    stills = gaze.Stills(None, None, None, None)
    text = stills.report({"camera": [gaze.Pair(10.0, 2.0), gaze.Pair(20.0, 9.0), gaze.Pair(float("nan"), 1.0)]})
    assert "| camera | 2 | 15.0 / 15.0 | 5.5 / 5.5 | 50% |" in text
    frame = np.zeros((256, 256, 3), np.uint8)
    assert gaze.close_up(frame, from_canonical(face[None], torch.tensor([[0.0, 0, 0, 0, 0, -0.6]]))).shape == (
        140,
        360,
        3,
    )
    assert torch.allclose(gaze.turned(torch.zeros(1, 20), (90, 0))[0, :2], torch.tensor([np.pi / 2, 0.0]).float())
