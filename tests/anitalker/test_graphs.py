"""CUDA graphs with a stand-in for the card: when one is recorded, replayed, checked, given up. On a card: mark cuda."""

import copy
import dataclasses
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from anitalker import graphs
from anitalker.graphs import TOLERANCE, Graphed, graphed
from anitalker.lite import Lite
from anitalker.original import Original
from anitalker.weights import load_model
from encoders import equalized


class Card:
    """A stand-in for `graphs.record`: a replay fills the output from the fixed inputs, `spoil` does harm to it."""

    def __init__(self, spoil=lambda output: None):
        self.recordings, self.replays, self.spoil = 0, 0, spoil

    def __call__(self, work, device):
        self.recordings += 1
        output = work().clone()

        def replay():
            self.replays += 1
            output.copy_(work())
            self.spoil(output)

        return replay, output


@pytest.fixture(autouse=True)
def able(monkeypatch):
    monkeypatch.setattr(Graphed, "able", True)


def function(x):
    return torch.stack([x.sum(1) + 1, x.prod(1)])


def batch(rows, seed=0):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed))


def test_recorded_at_the_second_call_replayed_from_the_third():
    card, plain = Card(), []
    one = Graphed(lambda x: plain.append(1) or function(x), card)
    made, seen = [], []
    for seed in range(5):
        made.append(one(batch(4, seed)))
        seen.append((card.recordings, card.replays))
    assert seen == [(0, 0), (1, 1), (1, 2), (1, 3), (1, 4)]  # the first replay is the check
    assert len(plain) == 2 + 1 + 4  # twice as it is, once to record, and in the replays
    for seed, result in enumerate(made):  # all kept: they are copies
        assert torch.equal(result, function(batch(4, seed)))


def test_other_shapes_run_the_function_until_they_come_twice():
    card = Card()
    one, counts = Graphed(function, card), []
    for seed, rows in enumerate([4, 4, 4, 3, 4, 3, 3, 3, 4]):
        assert torch.equal(one(batch(rows, seed)), function(batch(rows, seed)))
        counts.append((card.recordings, card.replays))
    assert counts == [(0, 0), (1, 1), (1, 2), (1, 2), (1, 3), (1, 3), (2, 4), (2, 5), (2, 5)]
    assert one.recorded.inputs[0].shape == (3, 3)  # one recording at a time


def test_single_frames_are_never_recorded():
    card = Card()
    one = Graphed(function, card)
    for seed in range(4):
        assert torch.equal(one(batch(1, seed)), function(batch(1, seed)))
    assert card.recordings == 0 and graphs.LEAST == 2


@pytest.mark.parametrize(("share", "kept"), [(0.5, True), (2.0, False), (float("nan"), False)])
def test_the_first_replay_is_checked(caplog, share, kept):
    card = Card(lambda output: output.add_(share * TOLERANCE * function(batch(4, 1)).abs().max()))
    one = Graphed(function, card)
    for seed in range(4):
        made = one(batch(4, seed))
        assert torch.equal(made, function(batch(4, seed))) or (kept and seed > 1)
    assert (one.recorded is not None) == kept and card.recordings == 1
    assert [record.levelname for record in caplog.records] == ([] if kept else ["WARNING"])


def test_a_recording_that_keeps_its_inputs_is_found_out(caplog):
    one = Graphed(function, lambda work, device: (lambda: None, work().clone()))
    for seed in range(4):
        assert torch.equal(one(batch(4, seed)), function(batch(4, seed)))
    assert "without a CUDA graph" in caplog.text and "differ by" in caplog.text and len(caplog.records) == 1


def test_recording_that_fails_is_told_once(caplog):
    calls = []

    def fails(work, device):
        calls.append(1)
        raise RuntimeError("operation not permitted\nwhen a stream is capturing")

    one = Graphed(function, fails)
    for seed in range(5):
        assert torch.equal(one(batch(4, seed)), function(batch(4, seed)))
    another = Graphed(torch.square, fails)  # neither does any other in this process
    assert torch.equal(another(batch(4)), another(batch(4)))
    assert len(calls) == 1 and len(caplog.records) == 1
    assert caplog.messages[0].endswith("longer: operation not permitted")  # one line


def test_a_replay_that_fails_later_costs_no_frame(caplog):
    def late(output):
        if card.replays == 3:
            raise RuntimeError("lost")

    card = Card(late)
    one = Graphed(function, card)
    for seed in range(6):
        assert torch.equal(one(batch(4, seed)), function(batch(4, seed)))
    assert card.replays == 3 and card.recordings == 1 and one.recorded is None and caplog.messages[0].endswith("lost")


def test_autocast_keeps_nothing_while_recording_and_has_recordings_of_its_own():
    layer, seen, card = nn.Linear(3, 3), [], Card()
    one = Graphed(lambda x: seen.append(torch.is_autocast_cache_enabled()) or layer(x).float(), card)
    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            low = one(batch(4))
    assert seen == [True, True, False, True, True]  # as it is, twice; recorded; replayed by the stand-in, twice
    assert card.recordings == 1
    exact = one(batch(4))
    assert torch.equal(exact, layer(batch(4))) and not torch.equal(exact, low) and card.replays == 2


def test_threads_take_turns():
    """Between the copy of the inputs and the replay no other thread's inputs come in."""
    one = Graphed(function, Card(lambda output: time.sleep(0.0005)))
    for seed in range(2):
        one(batch(4, seed))
    wrong = []

    def draw(first):
        for seed in range(first, first + 40):
            if not torch.equal(one(batch(4, seed)), function(batch(4, seed))):
                wrong.append(seed)

    threads = [threading.Thread(target=draw, args=(first,)) for first in (100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_only_on_cards_and_only_if_wanted(monkeypatch):
    monkeypatch.delenv("ANITALKER_GRAPHS", raising=False)
    card = torch.device("cuda")
    assert graphed(function, torch.device("cpu")) is function and graphed(function, torch.device("mps")) is function
    assert isinstance(graphed(function, card), Graphed) and graphed(function, card).record is graphs.record
    monkeypatch.setenv("ANITALKER_GRAPHS", "0")
    assert graphed(function, card) is function
    assert graphs.launching(card) is graphs.LAUNCHING and graphs.launching(torch.device("cpu")) is not graphs.LAUNCHING


@pytest.fixture
def original(original_networks, picture, fixed_finder):
    model = Original(*original_networks())
    return model, model.subject(picture, model.crop(picture, fixed_finder().find(picture)[0]))


@pytest.fixture
def lite(untrained_model, picture, fixed_finder):
    model = Lite(load_model(untrained_model))
    return model, model.subject(picture, model.crop(picture, fixed_finder().find(picture)[0]))


def motions(subject, seed, rows=3):
    noise = torch.randn(rows, 20, generator=torch.Generator().manual_seed(seed))
    return subject.motion + 0.05 * noise


def test_the_original_is_drawn_by_graphs_on_cards(original, monkeypatch):
    model, subject = original
    card, made = Card(), []
    monkeypatch.setattr(graphs, "record", card)
    monkeypatch.setattr(model, "device", torch.device("cuda"))
    ready = model.stage_one.dec.prepare(model.constants, subject.image_code, random_skips(model))
    drawing = model.drawing(ready)
    for seed in range(3):
        made.append(drawing(motions(subject, seed)))
        wanted = model.stage_one.dec.draw(model.constants, ready, motions(subject, seed)).pictures
        torch.testing.assert_close(made[-1], wanted)
    assert (card.recordings, card.replays) == (1, 2) and (made[0] - made[2]).abs().max() > 1e-4


def random_skips(model):
    channels = model.stage_one.config.channels[1:]
    return tuple(torch.randn(1, width, 8 * 2**level, 8 * 2**level) for level, width in enumerate(channels))


def test_lite_is_drawn_by_graphs_of_its_network(lite, monkeypatch):
    model, subject = lite
    assert subject.unet is None or subject.unet == model.decoder._unet  # on a processor it is the network itself
    card = Card()
    drawn = dataclasses.replace(subject, unet=Graphed(model.decoder._unet, card))
    for seed in range(3):
        with torch.inference_mode():
            made, wanted = (model._layers(one, motions(subject, seed)) for one in (drawn, subject))
        for name in ("flow", "masks", "pixels", "marks"):
            torch.testing.assert_close(getattr(made, name), getattr(wanted, name))
    assert (card.recordings, card.replays) == (1, 2)


class OnDevice(TorchDispatchMode):
    """Every tensor stays where it is: a card would have to wait for the host, or the host for it."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        for one in tree_leaves((args, kwargs, made)):
            assert not isinstance(one, torch.Tensor) or one.device.type == "meta", f"{operation} is on the host"
        return made


def elsewhere(thing):
    """The same on a device without content, where a value cannot be read."""
    if isinstance(thing, torch.Tensor):
        return thing.to("meta")
    if isinstance(thing, nn.Module):
        return copy.deepcopy(thing).to("meta")
    if isinstance(thing, tuple):
        return tuple(elsewhere(one) for one in thing)
    if dataclasses.is_dataclass(thing):
        return type(thing)(*(elsewhere(getattr(thing, one.name)) for one in dataclasses.fields(thing)))
    return thing


def test_what_is_recorded_of_the_original_never_waits(original):
    """Once what it keeps is made, which the call before the recording does."""
    model, subject = original
    draw = model.stage_one.dec.draw
    constants = elsewhere(model.constants)
    ready = elsewhere(model.stage_one.dec.prepare(model.constants, subject.image_code, random_skips(model)))
    motion = torch.empty(3, 20, device="meta")
    equalized._doubling.cache_clear()
    with pytest.raises(AssertionError, match="on the host"), OnDevice():
        draw(constants, ready, motion)
    draw(constants, ready, motion)
    with OnDevice():
        assert draw(constants, ready, motion).pictures.shape == (3, 3, 32, 32)


def test_what_is_recorded_of_lite_never_waits(lite):
    model, subject = lite
    decoder, side = elsewhere(model.decoder), model.decoder.side
    x = torch.empty(3, decoder.entry.in_channels - decoder.colours - 4, side, side, device="meta")
    codes, entry = torch.empty(3, decoder.modulate.in_features, device="meta"), elsewhere(subject.prepared.entry)
    with torch.inference_mode(), OnDevice():
        assert decoder._unet(x, entry, codes).shape[2:] == (side, side)


@pytest.mark.cuda
def test_a_card_replays_what_the_function_says(caplog):
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 3, 3)).cuda().eval()
    one, drawn = graphed(network, torch.device("cuda")), []
    for seed in range(5):
        x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed)).cuda()
        with torch.inference_mode():
            drawn.append((one(x), network(x)))
    for made, wanted in drawn:
        torch.testing.assert_close(made, wanted, atol=1e-3, rtol=1e-3)
    assert one.recorded is not None and not caplog.records


@pytest.mark.cuda
def test_a_card_draws_on_where_recording_fails(caplog):
    """.item() makes the host wait, which no recording allows; the thread's stream is what it was."""
    one, before = graphed(lambda x: x * x.sum().item(), torch.device("cuda")), torch.cuda.current_stream()
    for value in (1.0, 2.0, 3.0):
        x = torch.full((2, 2), value, device="cuda")
        torch.testing.assert_close(one(x), x * 4 * value)
    assert len(caplog.records) == 1 and torch.cuda.current_stream() == before
    assert not Graphed.able


@pytest.mark.cuda
@pytest.mark.parametrize("family", ["original", "lite"])
def test_a_card_s_frames_are_those_without_graphs(
    family, original_networks, untrained_model, picture, fixed_finder, monkeypatch, caplog
):
    """Whole renders, batches of two, the last one smaller; twice, so that the second begins with a recording."""
    from anitalker import rendering

    made = []
    for wanted in ("1", "0"):
        monkeypatch.setenv("ANITALKER_GRAPHS", wanted)
        model = (
            Original(*original_networks(), "cuda")
            if family == "original"
            else Lite(load_model(untrained_model), "cuda")
        )
        subject = model.subject(picture, model.crop(picture, fixed_finder().find(picture)[0]))
        motion = subject.motion + 0.05 * torch.randn(13, 20, generator=torch.Generator().manual_seed(0)).cuda()
        frames = [list(rendering.render(model, [subject], [motion], 2, picture)) for _ in range(2)]
        np.testing.assert_array_equal(*frames)
        made.append(np.stack(frames[0]).astype(int))
    assert np.abs(made[0] - made[1]).mean() < 0.1 and made[0].std() > 1 and not caplog.records
