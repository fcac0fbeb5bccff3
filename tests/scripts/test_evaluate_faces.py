"""AP over overlaps with detectors whose answer is known: perfect, off by some pixels, blind; the table of detectors."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anitalker.config import InputError
from anitalker.faces.face_network import Detections, Detector
from anitalker.network_config import DetectorConfig
from scripts import evaluate_faces
from scripts.training import face_scores


@pytest.fixture
def score(monkeypatch, face):
    """Shift of every box, as a share of its side -> what `precisions` says."""
    boxes = torch.tensor([[10.0, 10, 60, 60], [80, 20, 120, 60]])

    def scenes(frames, landmarks, count, size):
        return torch.zeros(count, 3, size, size), boxes.expand(count, 2, 4), None, torch.ones(count, 2, dtype=bool)

    monkeypatch.setattr(face_scores, "make_scenes", scenes)
    still = SimpleNamespace(
        clip=np.full(4, -1), frames=np.zeros((4, 8, 8, 3), np.uint8), landmarks=np.zeros((4, 468, 3), np.float32)
    )

    def check(share, found=2):
        def detect(pictures, least):
            side = (boxes[:, 2] - boxes[:, 0])[:, None]
            moved = boxes + share * side * torch.tensor([1.0, 0, 1, 0])
            return [Detections(moved[:found], torch.tensor([0.9, 0.8])[:found], torch.zeros(found, 4, 2))] * len(
                pictures
            )

        detector = SimpleNamespace(detect=detect, config=SimpleNamespace(long_side=128))
        return evaluate_faces.precisions(detector, still, 16)

    return check


@pytest.mark.slow
def test_perfect_boxes(score):
    ones = dict.fromkeys(("ap50", "ap75", "ap50_95", "coco_ap50", "coco_ap50_95"), 1)
    assert score(0.0) == pytest.approx({"faces": 32, **ones})


@pytest.mark.slow
def test_boxes_a_little_off_lose_the_strict_overlaps(score):
    """A tenth of the side off is an overlap of 0.9 / 1.1 = 0.818: seven of ten thresholds."""
    made = score(0.1)
    assert made["coco_ap50"] == pytest.approx(1) and made["coco_ap50_95"] == pytest.approx(0.7)
    assert made["ap50"] == 1 and made["ap75"] == 1 and made["ap50_95"] == pytest.approx(0.7)


@pytest.mark.slow
def test_half_of_the_faces(score):
    half = score(0.0, found=1)
    assert half["ap50"] == pytest.approx(0.5)
    assert half["coco_ap50"] == pytest.approx(51 / 101)  # recall of 0 to 0.5 in steps of 0.01
    assert score(0.6)["ap50"] == score(0.6)["coco_ap50"] == 0


def test_without_torchmetrics_only_our_own(score, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.detection", None)
    assert set(score(0.0)) == {"faces", "ap50", "ap75", "ap50_95"}
    with pytest.raises(InputError, match=r"pip install -e .*train"):
        evaluate_faces.table([{"detector": "own", "milliseconds": {}}], 16)


FACTS = {
    "detector": "fcos",
    "steps": 250,
    "faces": 7,
    "coco_ap50": 0.9876,
    "coco_ap50_95": 0.5,
    "parameters": 1_234_567,
}
FACTS |= {"megabytes": 2.5, "milliseconds": {"processor": 10.04, "clock": 6.0}}


def test_the_table_has_a_line_for_each_detector():
    text = evaluate_faces.table([FACTS | {"detector": "own", "steps": None}, FACTS], 16)
    assert "| own | shipped |" in text and "| fcos | 250 | 0.988 | 0.500 | 1.23 | 2.50 | 10.0 | 6.0 |" in text
    assert "16 scenes of val stills with 7 faces" in text


def test_the_table_goes_between_the_marks_of_a_file(tmp_path):
    file = tmp_path / "page.md"
    with pytest.raises(InputError, match="once each"):
        evaluate_faces.insert("| new |", file)
    file.write_text(f"before\n{evaluate_faces.BEGIN}\n| old |\n{evaluate_faces.END}\nafter\n")
    evaluate_faces.insert("| new |", file)
    assert file.read_text() == f"before\n{evaluate_faces.BEGIN}\n| new |\n{evaluate_faces.END}\nafter\n"


def test_runs_that_are_none(tmp_path):
    with pytest.raises(InputError, match="--compare takes run folders"):
        evaluate_faces.trained(str(tmp_path))


def test_a_row_measures_what_is_given(monkeypatch):
    network = Detector(DetectorConfig(channels=(8, 8, 8, 8), pyramid=8, long_side=64))
    still = np.zeros((256, 256, 3), np.uint8)
    cache = SimpleNamespace(clip=np.full(4, -1), frames=[still] * 4, landmarks=np.zeros((4, 468, 3)))
    monkeypatch.setattr(
        evaluate_faces, "precisions", lambda detector, *_: {"faces": len(detector.detect(torch.zeros(1, 3, 64, 64)))}
    )
    monkeypatch.setattr(evaluate_faces.torch, "set_num_threads", lambda count: None)  # two stall on a busy machine
    made = evaluate_faces.row("own", 3, network, cache, 16)
    assert made["parameters"] == sum(p.numel() for p in network.parameters())
    assert 2 * made["parameters"] < 1e6 * made["megabytes"] < 5 * made["parameters"] + 30_000
    assert made["milliseconds"]["processor"] > 0 and made["steps"] == 3
    assert made["milliseconds"]["clock"] > 0
