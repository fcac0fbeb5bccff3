"""The model under test speaks whole recordings and streams of the same sound."""

import numpy as np
import pytest

from anitalker.faces.landmarks import from_canonical
from scripts.evaluation.clips import Source
from scripts.evaluation.pipeline_adapter import ModelUnderTest


@pytest.fixture
def model(untrained_model, talker):
    return ModelUnderTest(str(untrained_model), "cpu")


@pytest.mark.slow
def test_a_stream_has_the_frames_of_the_recording(model):
    speech = np.random.default_rng(0).normal(0, 0.05, 640 * 10 + 100).astype(np.float32)
    picture = np.full((256, 256, 3), 120, np.uint8)
    points = from_canonical(model.canonical[None], model.space.canonical.new_tensor([[0, 0, 0, 0, 0, -0.6]]))[0].numpy()
    source = Source(picture, points, model.codes(picture[None])[0])
    whole, streamed = model.speak(source, speech, 0), model.stream(source, speech, 0)
    assert whole.shape == streamed.shape == (11, 20)
    assert np.allclose(streamed[0, 6:], source.motion[6:], atol=1e-5)  # it begins as the portrait
    assert not np.allclose(streamed[-1], streamed[0])
