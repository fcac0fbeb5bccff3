"""Each kind moves the landmarks with the pixels, and what is missed is counted."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from anitalker.faces.detection import box_of
from scripts.evaluation.hard_faces import KINDS, hard_faces


@pytest.fixture
def still(face):
    """A grey picture with a bright spot on the nose tip, and the landmarks."""
    points = face.numpy() * 120 + np.array([128, 90, 0])
    image = Image.new("RGB", (256, 256), (90, 90, 90))
    x, y = points[1, :2]
    image.paste((255, 255, 255), (int(x) - 6, int(y) - 6, int(x) + 7, int(y) + 7))
    return image, points


@pytest.mark.parametrize("kind", [name for name in KINDS if "covered" not in name and name != "drawing"])
def test_landmarks_stay_on_their_pixels(still, kind):
    image, points = KINDS[kind](*still)
    light = np.asarray(image.convert("L"), np.float32)
    if kind.endswith("of 640"):
        assert image.size == (640, 480) and np.ptp(points[:, :2], axis=0).max() == pytest.approx(int(kind.split()[0]))
    y, x = (light > light.max() * 0.9).nonzero()
    assert np.hypot(x.mean() + 0.5 - points[1, 0], y.mean() + 0.5 - points[1, 1]) < 2


def test_covers_lie_on_the_face(still):
    x0, y0, x1, y1 = box_of(still[1])
    for kind in ("mouth covered", "eyes covered", "lower half covered"):
        image, points = KINDS[kind](*still)
        changed = np.argwhere((np.asarray(image) != np.asarray(still[0])).any(-1))
        assert (points == still[1]).all() and len(changed) > 0.1 * (x1 - x0) * (y1 - y0)
        assert changed[:, 0].min() > y0 - 2 and changed[:, 0].max() < y1 + 2


def test_a_drawing_is_lines_on_white(still):
    light = np.asarray(KINDS["drawing"](*still)[0])
    assert np.median(light) > 240 and light.min() < 200 and (light[..., 0] == light[..., 2]).all()


def test_what_is_missed_is_counted(still, monkeypatch):
    """A finder that sees the first of two stills only, two pixels off, and something elsewhere in the other."""
    off = still[1] + [2.0, 0.0, 0.0]
    answers = iter([off, still[1] * 0.1] * len(KINDS))
    monkeypatch.setattr(
        "scripts.evaluation.hard_faces.KINDS", {name: lambda image, points: (image, points) for name in KINDS}
    )

    def find(pixels):
        points = next(answers)
        return [SimpleNamespace(box=box_of(points), landmarks=points)]

    report = hard_faces(SimpleNamespace(find=find), [still, still])
    eyes = np.linalg.norm((still[1][33] - still[1][263])[:2])
    assert set(report) == set(KINDS)
    for row in report.values():
        assert row == {"missed": 0.5, "inter_ocular": pytest.approx(200 / eyes, abs=0.01)}
    blind = hard_faces(SimpleNamespace(find=lambda pixels: []), [still])
    assert all(row == {"missed": 1.0, "inter_ocular": None} for row in blind.values())
