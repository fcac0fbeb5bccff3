"""CUDA graphs with a stand-in for the card: when one is recorded, replayed, checked, given up; how it is recorded."""

import inspect
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from anitalker.runtime import cuda_graphs
from anitalker.runtime.cuda_graphs import TOLERANCE, GraphedFunction, as_cuda_graph
from anitalker.runtime.transfer import copy_async

pytestmark = pytest.mark.usefixtures("able")


def function(x):
    return torch.stack([x.sum(1) + 1, x.prod(1)])


def batch(rows, seed=0):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed))


def test_recorded_at_the_second_call_replayed_from_the_third(new_card):
    card, plain = new_card(), []
    one = GraphedFunction(lambda x: plain.append(1) or function(x), card)
    made, seen = [], []
    for seed in range(5):
        made.append(one(batch(4, seed)))
        seen.append((card.recordings, card.replays))
    assert seen == [(0, 0), (1, 1), (1, 2), (1, 3), (1, 4)]  # the first replay is the check
    assert len(plain) == 2 + 1 + 4  # twice as it is, once to record, and in the replays
    for seed, result in enumerate(made):  # all kept: they are copies
        assert torch.equal(result, function(batch(4, seed)))


def test_other_shapes_run_the_function_until_they_come_twice(new_card):
    card = new_card()
    one, counts = GraphedFunction(function, card), []
    for seed, rows in enumerate([4, 4, 4, 3, 4, 3, 3, 3, 4]):
        assert torch.equal(one(batch(rows, seed)), function(batch(rows, seed)))
        counts.append((card.recordings, card.replays))
    assert counts == [(0, 0), (1, 1), (1, 2), (1, 2), (1, 3), (1, 3), (2, 4), (2, 5), (2, 5)]
    assert one.recorded.inputs[0].shape == (3, 3)  # one recording at a time


def test_single_frames_are_never_recorded(new_card):
    card = new_card()
    one = GraphedFunction(function, card)
    for seed in range(4):
        assert torch.equal(one(batch(1, seed)), function(batch(1, seed)))
    assert card.recordings == 0 and cuda_graphs.LEAST == 2


@pytest.mark.parametrize(("share", "kept"), [(0.5, True), (2.0, False), (float("nan"), False)])
def test_the_first_replay_is_checked(caplog, share, kept, new_card):
    card = new_card(lambda output: output.add_(share * TOLERANCE * function(batch(4, 1)).abs().max()))
    one = GraphedFunction(function, card)
    for seed in range(4):
        made = one(batch(4, seed))
        assert torch.equal(made, function(batch(4, seed))) or (kept and seed > 1)
    assert (one.recorded is not None) == kept and card.recordings == 1
    assert [record.levelname for record in caplog.records] == ([] if kept else ["WARNING"])


def test_a_recording_that_keeps_its_inputs_is_found_out(caplog):
    one = GraphedFunction(function, lambda work, device: (lambda: None, work().clone()))
    for seed in range(4):
        assert torch.equal(one(batch(4, seed)), function(batch(4, seed)))
    assert "without a CUDA graph" in caplog.text and "differ by" in caplog.text and len(caplog.records) == 1


def test_recording_that_fails_is_told_once(caplog):
    calls = []

    def fails(work, device):
        calls.append(1)
        raise RuntimeError("operation not permitted\nwhen a stream is capturing")

    one = GraphedFunction(function, fails)
    for seed in range(5):
        assert torch.equal(one(batch(4, seed)), function(batch(4, seed)))
    another = GraphedFunction(torch.square, fails)  # neither does any other in this process
    assert torch.equal(another(batch(4)), another(batch(4)))
    assert len(calls) == 1 and len(caplog.records) == 1
    assert caplog.messages[0].endswith("longer: operation not permitted")  # one line


def test_a_replay_that_fails_later_costs_no_frame(caplog, new_card):
    def late(output):
        if card.replays == 3:
            raise RuntimeError("lost")

    card = new_card(late)
    one = GraphedFunction(function, card)
    for seed in range(6):
        assert torch.equal(one(batch(4, seed)), function(batch(4, seed)))
    assert card.replays == 3 and card.recordings == 1 and one.recorded is None and caplog.messages[0].endswith("lost")


def test_autocast_keeps_nothing_while_recording_and_has_recordings_of_its_own(new_card):
    layer, seen, card = nn.Linear(3, 3), [], new_card()
    one = GraphedFunction(lambda x: seen.append(torch.is_autocast_cache_enabled()) or layer(x).float(), card)
    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            low = one(batch(4))
    assert seen == [True, True, False, True, True]  # as it is, twice; recorded; replayed by the stand-in, twice
    assert card.recordings == 1
    exact = one(batch(4))
    assert torch.equal(exact, layer(batch(4))) and not torch.equal(exact, low) and card.replays == 2


class Stream:
    def __init__(self, cuda, name):
        self.cuda, self.name = cuda, name

    def wait_stream(self, other):
        self.cuda.log.append(f"{self.name} waits for {other.name}")

    def record_event(self, event):
        self.cuda.log.append(f"event on {self.name}")
        return event


class Cuda:
    """What `record` and `send_aside` use of torch.cuda, by the signatures of the torch that is installed."""

    def __init__(self):
        self.log, self.now = [], Stream(self, "drawing")

    def current_stream(self, device=None):
        return self.now

    def Stream(self, device=None):
        return Stream(self, "aside")

    def set_stream(self, stream):
        self.now = stream

    def CUDAGraph(self):
        return SimpleNamespace(replay=lambda: self.log.append("replayed"))

    def Event(self, **options):
        inspect.signature(torch.cuda.Event.__new__).bind(torch.cuda.Event, **options)
        return SimpleNamespace(synchronize=lambda: self.log.append("waited"))

    @contextmanager
    def device(self, device):
        yield

    @contextmanager
    def stream(self, stream):
        before, self.now = self.now, stream
        yield
        self.now = before

    @contextmanager
    def graph(self, graph, **options):
        known = inspect.signature(torch.cuda.graph.__init__).bind(None, graph, **options).arguments
        assert known["capture_error_mode"] == "thread_local"
        self.now = known["stream"]
        self.log.append("begin")
        yield  # after a fault torch leaves the thread on the recording's stream
        self.log.append("end")
        self.now = Stream(self, "lost")


def test_a_recording_is_warmed_up_on_its_stream():
    cuda = Cuda()

    def work():
        cuda.log.append(f"work on {cuda.now.name}")
        return torch.ones(2)

    replay, output = cuda_graphs.record(work, torch.device("cuda"), cuda)
    assert cuda.log == [
        "aside waits for drawing",
        *["work on aside"] * cuda_graphs.ROUNDS,
        "drawing waits for aside",
        "begin",
        "work on aside",
        "end",
    ]
    assert cuda.now.name == "drawing" and output.shape == (2,)
    replay()
    assert cuda.log[-1] == "replayed"


def test_a_recording_that_breaks_off_leaves_the_thread_where_it_was():
    cuda = Cuda()

    def work():
        if cuda.log[-1] == "begin":
            raise RuntimeError("not permitted")
        return torch.ones(2)

    with pytest.raises(RuntimeError, match="not permitted"):
        cuda_graphs.record(work, torch.device("cuda"), cuda)
    assert cuda.now.name == "drawing" and "end" not in cuda.log


def test_bytes_are_copied_aside_after_they_are_drawn():
    cuda, whole = Cuda(), torch.arange(12, dtype=torch.uint8).view(1, 2, 2, 3)
    host, wait = copy_async(whole, cuda)
    assert cuda.log == ["aside waits for drawing", "event on aside"] and cuda.now.name == "drawing"
    wait()
    assert cuda.log[-1] == "waited" and torch.equal(host, whole) and host.data_ptr() != whole.data_ptr()


def test_threads_take_turns(new_card):
    """Between the copy of the inputs and the replay no other thread's inputs come in."""
    one = GraphedFunction(function, new_card(lambda output: time.sleep(0.0005)))
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
    assert (
        as_cuda_graph(function, torch.device("cpu")) is function
        and as_cuda_graph(function, torch.device("mps")) is function
    )
    assert (
        isinstance(as_cuda_graph(function, card), GraphedFunction)
        and as_cuda_graph(function, card).record is cuda_graphs.record
    )
    monkeypatch.setenv("ANITALKER_GRAPHS", "0")
    assert as_cuda_graph(function, card) is function
    assert (
        cuda_graphs.launch_lock(card) is cuda_graphs.LAUNCHING
        and cuda_graphs.launch_lock(torch.device("cpu")) is not cuda_graphs.LAUNCHING
    )
