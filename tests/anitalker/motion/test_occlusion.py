"""The occlusion probe: fits linearly separable codes, warns in words, and never while it is untrained."""

import pytest
import torch

from anitalker import pipeline
from anitalker.faces.detection import Face, box_of
from anitalker.faces.landmarks import LEFT_LID_PAIRS, RIGHT_LID_PAIRS
from anitalker.motion.occlusion import MESSAGES, PARTS, SHUT_EYES, OcclusionProbe, shut_eyes_warnings


@pytest.fixture
def labelled_codes():
    """Codes of 12 numbers; the mouth is covered where the second is large, the eyes where the fifth is small."""
    torch.manual_seed(0)
    codes = torch.randn(400, 12) * torch.logspace(-1, 1, 12) + 3
    parts = torch.stack([codes[:, 1] > codes[:, 1].median(), codes[:, 4] < codes[:, 4].quantile(0.3)], 1).float()
    return codes, parts


def test_an_untrained_probe_finds_nothing():
    assert OcclusionProbe(12).occluded_parts(torch.randn(1, 12) * 100) == []
    assert set(MESSAGES) == set(PARTS) and all("give a picture" in text for text in MESSAGES.values())


def test_both_parts_are_fitted(labelled_codes):
    probe, (codes, parts) = OcclusionProbe(12), labelled_codes
    assert probe.fit(codes, parts) < 0.4
    right = ((probe(codes) > 0) == (parts > 0)).float().mean(0)
    assert (right > 0.95).all()
    probe.limits.zero_()
    for n in range(20):
        names = probe.occluded_parts(codes[n : n + 1])
        assert names == [name for name, above in zip(PARTS, (probe(codes)[n] > 0).tolist(), strict=True) if above]
    again = OcclusionProbe(12)
    again.fit(codes, parts)
    assert torch.equal(again.weight, probe.weight)


def test_the_pipeline_says_what_to_do(talker, example_portrait, monkeypatch, caplog):
    """A warning for each occluded part, whatever the face backend; the portrait is prepared all the same."""
    from types import SimpleNamespace

    covers = OcclusionProbe(16)
    prior = SimpleNamespace(covers=covers)
    monkeypatch.setattr(talker.model, "prior", prior)
    assert len(talker.portrait(example_portrait).faces) == 1 and not caplog.records
    covers.limits.fill_(-1)
    talker.portrait(example_portrait)
    assert [record.getMessage() for record in caplog.records] == [f"face 0: {MESSAGES[name]}" for name in PARTS]


def test_shut_eyes_are_told(face, original_networks):
    """By landmarks of a calibrated finder, in both families."""
    from types import SimpleNamespace

    from anitalker.models.original import Original

    calibrated, other = SimpleNamespace(calibrated=True), SimpleNamespace(calibrated=False)
    shown, shut = (face.numpy() * 100 for _ in range(2))
    for upper, lower in RIGHT_LID_PAIRS + LEFT_LID_PAIRS:
        shut[upper] += 0.8 * (shut[lower] - shut[upper])
    awake, asleep = (Face(box_of(points), 0.9, points) for points in (shown, shut))
    assert shut_eyes_warnings(awake, calibrated) == shut_eyes_warnings(asleep, other) == ()
    assert shut_eyes_warnings(asleep, calibrated) == (SHUT_EYES,)
    check = Original(*original_networks()).check_face(asleep, None, calibrated)
    assert check.occlusion_warnings == (SHUT_EYES,) and not check.rejected


@pytest.mark.slow
def test_the_shipped_probe_on_the_example(example_portrait, caplog):
    """The example is not occluded; with a drawn mask there is a warning about its mouth alone."""
    import numpy as np
    from PIL import Image, ImageDraw

    talker = pipeline.load("lite", "cpu")
    picture = Image.open(example_portrait).convert("RGB")
    crop = talker.portrait(np.asarray(picture)).faces[0].crop
    assert "seems to cover" not in caplog.text
    points = crop.landmarks[:, :2] * crop.side + np.array(crop.origin)
    jaw = [93, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 323, 195]
    ImageDraw.Draw(picture).polygon([tuple(p) for p in points[jaw].tolist()], fill=(120, 180, 220))
    talker.portrait(np.asarray(picture))
    assert MESSAGES["mouth"] in caplog.text and MESSAGES["eyes"] not in caplog.text
