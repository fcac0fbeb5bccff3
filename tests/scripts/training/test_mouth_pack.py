"""The mouths of a cache as one file, and the cache that comes out of it."""

import numpy as np
import pytest

from anitalker.config import InputError
from scripts.training.data import FrameCache
from scripts.training.mouth_data import MouthSampler
from scripts.training.mouth_pack import main, mouth_box, pack, unpack


@pytest.mark.slow
def test_a_pack_gives_the_mouths_back(cache, labels, tmp_path):
    frames = np.lib.format.open_memmap(cache / "train" / "frames.npy", "r+")
    ramp = np.linspace(0, 255, 256)
    frames[:] = np.stack(np.broadcast_arrays(ramp[:, None], ramp, 128.0), -1).astype(np.uint8)  # smooth: H.264 keeps it
    frames.flush()
    labels.save(cache / "labels-lite.npz")
    assert main(["--cache", str(cache), "-o", str(tmp_path / "mouths.tar"), "--stills", "1"]) == 0
    unpack(tmp_path / "mouths.tar", tmp_path / "again")
    before, after = FrameCache(cache, "train"), FrameCache(tmp_path / "again", "train")
    assert len(after) == len(before) - 1  # one still of two
    for name in ("clip", "frame", "identity", "good"):
        assert (getattr(after, name)[:8] == getattr(before, name)[:8]).all(), name
    assert np.abs(after.landmarks[:8] - before.landmarks[:8]).max() < 1e-3
    left, top, right, bottom = mouth_box(before.landmarks[:4])
    inside = np.abs(after.frames[:4, top:bottom, left:right].astype(int) - before.frames[:4, top:bottom, left:right])
    assert inside.mean() < 3 and not after.frames[:4, :top].any()
    batch = MouthSampler(after, labels, stills=0).draw(4, 1, seed=0)
    assert batch.target.abs().max() <= 1


def test_shards_can_be_left_out_and_a_missing_pack_is_told(cache, labels, tmp_path):
    labels.save(cache / "labels-lite.npz")
    with pytest.raises(InputError, match="no clip of train is left"):
        pack(cache, tmp_path / "none.tar", 0, ["mixed-0"])
    with pytest.raises(InputError, match="no pack"):
        unpack(tmp_path / "other.tar", tmp_path / "more")
