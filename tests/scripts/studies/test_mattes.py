"""Agreement of mattes with published ones: known overlaps, and what is said of a folder."""

import cv2
import numpy as np
import pytest

from anitalker.config import InputError
from scripts.studies import mattes


def test_known_overlaps():
    ours, theirs = np.zeros((10, 40), np.float32), np.zeros((10, 40), np.float32)
    ours[:, :20], theirs[:, 10:30] = 1, 1
    assert mattes.compare(ours, theirs) == pytest.approx((1 / 3, 0.5))
    assert mattes.compare(theirs, theirs) == (1, 0) and mattes.compare(0 * ours, 0 * ours) == (1, 0)


def test_a_folder(tmp_path, monkeypatch, capsys):
    portrait, alpha = np.full((48, 64, 3), 90, np.uint8), np.zeros((48, 64), np.uint8)
    portrait[:, :32], alpha[:, :32] = 250, 255
    for name in ("good", "bad"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), portrait if name == "good" else portrait[:, ::-1])
        cv2.imwrite(str(tmp_path / f"{name}_a.png"), alpha)
    monkeypatch.setattr(mattes, "load_matte", lambda name: None)
    monkeypatch.setattr(mattes, "find_matte", lambda network, picture: (picture[..., 0] > 200).astype(np.float32))
    parser = mattes.argparse.ArgumentParser()
    mattes.add_arguments(parser)
    assert mattes.run(parser.parse_args([str(tmp_path), "--sheet", str(tmp_path / "sheet.png")])) == 0
    told = capsys.readouterr().out
    assert "IoU: 0.5000" in told and "2 portraits" in told and told.index("bad") < told.index("good")
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[0] == 2 * mattes.SHEET_HEIGHT
    with pytest.raises(InputError, match="no mattes NAME_a"):
        list(mattes.read_portraits(tmp_path / "sheet.png"))
