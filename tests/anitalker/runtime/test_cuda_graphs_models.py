"""CUDA graphs of the two model families: on a stand-in, on the meta device, and on a GPU."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from anitalker import rendering
from anitalker.models.lite import Lite
from anitalker.models.loading import load_model
from anitalker.models.original import Original
from anitalker.runtime import cuda_graphs
from anitalker.runtime.cuda_graphs import GraphedFunction, as_cuda_graph
from encoders import equalized

NO_CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
pytestmark = pytest.mark.usefixtures("able")


@pytest.fixture
def original(original_networks, picture, fixed_finder):
    model = Original(*original_networks())
    return model, model.prepare(picture, model.crop(picture, fixed_finder().find(picture)[0]))


@pytest.fixture
def lite(untrained_model, picture, fixed_finder):
    model = Lite(load_model(untrained_model))
    return model, model.prepare(picture, model.crop(picture, fixed_finder().find(picture)[0]))


def motions(subject, seed, rows=3):
    noise = torch.randn(rows, 20, generator=torch.Generator().manual_seed(seed))
    return subject.motion + 0.05 * noise


def test_the_original_renders_by_graphs_on_gpus(original, monkeypatch, new_card):
    model, subject = original
    card, results = new_card(), []
    monkeypatch.setattr(cuda_graphs, "capture_graph", card)
    monkeypatch.setattr(model, "device", torch.device("cuda"))
    ready = model.stage_one.dec.prepare(model.constants, subject.image_code, random_skips(model))
    drawing = model.frame_decoder(ready)
    for seed in range(3):
        results.append(drawing(motions(subject, seed)))
        wanted = model.stage_one.dec.draw(model.constants, ready, motions(subject, seed)).pictures
        torch.testing.assert_close(results[-1], wanted)
    assert (card.recordings, card.replays) == (1, 2) and (results[0] - results[2]).abs().max() > 1e-4


def random_skips(model):
    channels = model.stage_one.config.channels[1:]
    return tuple(torch.randn(1, width, 8 * 2**level, 8 * 2**level) for level, width in enumerate(channels))


def test_lite_renders_by_graphs_of_its_network(lite, monkeypatch, new_card):
    model, subject = lite
    assert subject.unet is None or subject.unet == model.decoder._unet  # on a CPU it is the network itself
    card = new_card()
    graphed = dataclasses.replace(subject, unet=GraphedFunction(model.decoder._unet, card))
    for seed in range(3):
        with torch.inference_mode():
            layers, wanted = (model._layers(face, motions(subject, seed)) for face in (graphed, subject))
        for name in ("flow", "masks", "synthesised", "landmark_pair"):
            torch.testing.assert_close(getattr(layers, name), getattr(wanted, name))
    assert (card.recordings, card.replays) == (1, 2)


class OnDevice(TorchDispatchMode):
    """Asserts that every tensor is on the meta device: on a GPU, host and device would have to synchronise."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            assert not isinstance(leaf, torch.Tensor) or leaf.device.type == "meta", f"{operation} is on the host"
        return result


def on_meta(thing):
    """The same on the meta device, where no value can be read."""
    if isinstance(thing, torch.Tensor):
        return thing.to("meta")
    if isinstance(thing, nn.Module):
        return copy.deepcopy(thing).to("meta")
    if isinstance(thing, tuple):
        return tuple(on_meta(item) for item in thing)
    if dataclasses.is_dataclass(thing):
        return type(thing)(*(on_meta(getattr(thing, field.name)) for field in dataclasses.fields(thing)))
    return thing


def test_the_captured_part_of_the_original_never_synchronises(original):
    """Once its caches are filled, which the call before the capture does."""
    model, subject = original
    draw = model.stage_one.dec.draw
    constants = on_meta(model.constants)
    ready = on_meta(model.stage_one.dec.prepare(model.constants, subject.image_code, random_skips(model)))
    motion = torch.empty(3, 20, device="meta")
    equalized._doubling.cache_clear()
    with pytest.raises(AssertionError, match="on the host"), OnDevice():
        draw(constants, ready, motion)
    draw(constants, ready, motion)
    with OnDevice():
        assert draw(constants, ready, motion).pictures.shape == (3, 3, 32, 32)


def test_the_captured_part_of_lite_never_synchronises(lite):
    model, subject = lite
    decoder, side = on_meta(model.decoder), model.decoder.side
    x = torch.empty(3, decoder.entry.in_channels - decoder.block_channels - 4, side, side, device="meta")
    codes, projection = (
        torch.empty(3, decoder.modulate.in_features, device="meta"),
        on_meta(subject.prepared.projection),
    )
    with torch.inference_mode(), OnDevice():
        assert decoder._unet(x, projection, codes).shape[2:] == (side, side)


@pytest.mark.cuda
@NO_CARD
def test_a_gpu_replays_the_function(caplog):
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 3, 3)).cuda().eval()
    graphed, pairs = as_cuda_graph(network, torch.device("cuda")), []
    for seed in range(5):
        x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed)).cuda()
        with torch.inference_mode():
            pairs.append((graphed(x), network(x)))
    for result, wanted in pairs:
        torch.testing.assert_close(result, wanted, atol=1e-3, rtol=1e-3)
    assert graphed.graph is not None and not caplog.records


@pytest.mark.cuda
@NO_CARD
def test_a_gpu_renders_on_where_a_capture_fails(caplog):
    """.item() makes the host wait, which no capture allows; the thread's stream is what it was."""
    graphed, before = as_cuda_graph(lambda x: x * x.sum().item(), torch.device("cuda")), torch.cuda.current_stream()
    for value in (1.0, 2.0, 3.0):
        x = torch.full((2, 2), value, device="cuda")
        torch.testing.assert_close(graphed(x), x * 4 * value)
    assert len(caplog.records) == 1 and torch.cuda.current_stream() == before
    assert not GraphedFunction.enabled


@pytest.mark.cuda
@NO_CARD
@pytest.mark.parametrize("family", ["original", "lite"])
def test_a_gpus_frames_are_those_without_graphs(
    family, original_networks, untrained_model, picture, fixed_finder, monkeypatch, caplog
):
    """Whole renders, batches of two, the last one smaller; twice, so that the second begins with a replay."""
    videos = []
    for enabled in ("1", "0"):
        monkeypatch.setenv("ANITALKER_GRAPHS", enabled)
        model = (
            Original(*original_networks(), "cuda")
            if family == "original"
            else Lite(load_model(untrained_model), "cuda")
        )
        subject = model.prepare(picture, model.crop(picture, fixed_finder().find(picture)[0]))
        motion = subject.motion + 0.05 * torch.randn(13, 20, generator=torch.Generator().manual_seed(0)).cuda()
        frames = [list(rendering.render(model, [subject], [motion], 2, picture)) for _ in range(2)]
        videos += [np.stack(video).astype(int) for video in frames]
        drawing = subject.draw if family == "original" else subject.unet
        assert (enabled == "1") == (getattr(drawing, "graph", None) is not None)
    for video in videos[1:]:
        assert np.abs(video - videos[0]).mean() < 0.05
    assert videos[0].std() > 1 and not caplog.records
