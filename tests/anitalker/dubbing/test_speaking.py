"""What a face that is filmed while it speaks hands on to a dub."""

import numpy as np
import pytest

from anitalker.config import POSE_SIZE, InputError
from anitalker.dubbing.speaking import Performances, Utterance


@pytest.mark.slow
def test_a_performance_is_read_once_from_its_own_pose(talker, root, monkeypatch):
    from anitalker import driving

    reads = []
    read = driving.read_motion
    monkeypatch.setattr(driving, "read_motion", lambda *a, **k: reads.append(a) or read(*a, **k))
    file = root / "app/examples/driving.mp4"
    perform = Performances(talker.model, talker.finder())
    first, second = (perform(Utterance(person, 0, 50, np.zeros(0, np.float32), file)) for person in (0, 1))
    assert len(reads) == 1 and first.motion is second.motion
    assert (first.person, second.person, first.stop) == (0, 1, 50)
    motion, codes = first.motion.numpy(), talker.encode(file)[0]
    assert motion.shape == codes.shape
    assert np.abs(motion[0, :POSE_SIZE]).max() < 1e-5
    turned = codes[:, :3] - codes[0, :3]
    assert np.corrcoef(motion[:, 0], turned[:, 0])[0, 1] > 0.95
    np.testing.assert_allclose(motion[0, POSE_SIZE:], codes[0, POSE_SIZE:], atol=1e-4)


def test_a_recording_without_pictures_is_refused(talker, speech):
    perform = Performances(talker.model, talker.finder())
    with pytest.raises(InputError, match="driving video"):
        perform(Utterance(None, 0, 5, speech[0], speech[1]))
