"""CUDA graphs on a stand-in for the GPU: when a graph is captured, replayed, checked and abandoned, and how."""

import inspect
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from anitalker.runtime import cuda_graphs
from anitalker.runtime.cuda_graphs import RELATIVE_TOLERANCE, GraphedFunction, as_cuda_graph
from anitalker.runtime.transfer import copy_async

pytestmark = pytest.mark.usefixtures("able")


def function(x):
    return torch.stack([x.sum(1) + 1, x.prod(1)])


def batch(rows, seed=0):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed))


def test_captured_at_the_second_call_replayed_from_the_third(new_card):
    card, plain = new_card(), []
    graphed = GraphedFunction(lambda x: plain.append(1) or function(x), card)
    results, counts = [], []
    for seed in range(5):
        results.append(graphed(batch(4, seed)))
        counts.append((card.recordings, card.replays))
    assert counts == [(0, 0), (1, 1), (1, 2), (1, 3), (1, 4)]  # the first replay is the check
    assert len(plain) == 2 + 1 + 4  # the plain function twice, the capture, and the replays
    for seed, result in enumerate(results):  # all kept: they are copies
        assert torch.equal(result, function(batch(4, seed)))


def test_other_shapes_run_the_function_until_they_come_twice(new_card):
    card = new_card()
    graphed, counts = GraphedFunction(function, card), []
    for seed, rows in enumerate([4, 4, 4, 3, 4, 3, 3, 3, 4]):
        assert torch.equal(graphed(batch(rows, seed)), function(batch(rows, seed)))
        counts.append((card.recordings, card.replays))
    assert counts == [(0, 0), (1, 1), (1, 2), (1, 2), (1, 3), (1, 3), (2, 4), (2, 5), (2, 5)]
    assert graphed.graph.inputs[0].shape == (3, 3)  # one graph at a time


def test_single_frames_are_never_captured(new_card):
    card = new_card()
    graphed = GraphedFunction(function, card)
    for seed in range(4):
        assert torch.equal(graphed(batch(1, seed)), function(batch(1, seed)))
    assert card.recordings == 0 and cuda_graphs.MIN_ROWS == 2


@pytest.mark.parametrize(("share", "kept"), [(0.5, True), (2.0, False), (float("nan"), False)])
def test_the_first_replay_is_checked(caplog, share, kept, new_card):
    card = new_card(lambda output: output.add_(share * RELATIVE_TOLERANCE * function(batch(4, 1)).abs().max()))
    graphed = GraphedFunction(function, card)
    for seed in range(4):
        result = graphed(batch(4, seed))
        assert torch.equal(result, function(batch(4, seed))) or (kept and seed > 1)
    assert (graphed.graph is not None) == kept and card.recordings == 1
    assert [record.levelname for record in caplog.records] == ([] if kept else ["WARNING"])


def test_a_graph_that_does_not_read_its_inputs_is_rejected(caplog):
    graphed = GraphedFunction(function, lambda work, device: (lambda: None, work().clone()))
    for seed in range(4):
        assert torch.equal(graphed(batch(4, seed)), function(batch(4, seed)))
    assert "without a CUDA graph" in caplog.text and "differ by" in caplog.text and len(caplog.records) == 1


def test_a_capture_that_fails_is_logged_once(caplog):
    calls = []

    def fails(work, device):
        calls.append(1)
        raise RuntimeError("operation not permitted\nwhen a stream is capturing")

    graphed = GraphedFunction(function, fails)
    for seed in range(5):
        assert torch.equal(graphed(batch(4, seed)), function(batch(4, seed)))
    another = GraphedFunction(torch.square, fails)  # no other function is captured in this process either
    assert torch.equal(another(batch(4)), another(batch(4)))
    assert len(calls) == 1 and len(caplog.records) == 1
    assert caplog.messages[0].endswith("longer: operation not permitted")  # one line


def test_a_replay_that_fails_later_costs_no_frame(caplog, new_card):
    def late(output):
        if card.replays == 3:
            raise RuntimeError("lost")

    card = new_card(late)
    graphed = GraphedFunction(function, card)
    for seed in range(6):
        assert torch.equal(graphed(batch(4, seed)), function(batch(4, seed)))
    assert card.replays == 3 and card.recordings == 1 and graphed.graph is None and caplog.messages[0].endswith("lost")


def test_autocast_caches_nothing_during_a_capture_and_has_its_own_graphs(new_card):
    layer, seen, card = nn.Linear(3, 3), [], new_card()
    graphed = GraphedFunction(lambda x: seen.append(torch.is_autocast_cache_enabled()) or layer(x).float(), card)
    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            low = graphed(batch(4))
    assert seen == [
        True,
        True,
        False,
        True,
        True,
    ]  # the plain function, twice; captured; replayed by the stand-in, twice
    assert card.recordings == 1
    exact = graphed(batch(4))
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
    """What `capture_graph` and `copy_async` use of torch.cuda, by the signatures of the torch that is installed."""

    def __init__(self):
        self.log, self.now = [], Stream(self, "drawing")

    def current_stream(self, device=None):
        return self.now

    def Stream(self, device=None):
        return Stream(self, "side")

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
        yield  # after a fault torch leaves the thread on the capture's stream
        self.log.append("end")
        self.now = Stream(self, "lost")


def test_a_capture_is_warmed_up_on_its_stream():
    cuda = Cuda()

    def work():
        cuda.log.append(f"work on {cuda.now.name}")
        return torch.ones(2)

    replay, output = cuda_graphs.capture_graph(work, torch.device("cuda"), cuda)
    assert cuda.log == [
        "side waits for drawing",
        *["work on side"] * cuda_graphs.WARMUP_RUNS,
        "drawing waits for side",
        "begin",
        "work on side",
        "end",
    ]
    assert cuda.now.name == "drawing" and output.shape == (2,)
    replay()
    assert cuda.log[-1] == "replayed"


def test_an_aborted_capture_restores_the_threads_stream():
    cuda = Cuda()

    def work():
        if cuda.log[-1] == "begin":
            raise RuntimeError("not permitted")
        return torch.ones(2)

    with pytest.raises(RuntimeError, match="not permitted"):
        cuda_graphs.capture_graph(work, torch.device("cuda"), cuda)
    assert cuda.now.name == "drawing" and "end" not in cuda.log


def test_bytes_are_copied_on_a_side_stream_after_rendering():
    cuda, source = Cuda(), torch.arange(12, dtype=torch.uint8).view(1, 2, 2, 3)
    host, wait = copy_async(source, cuda)
    assert cuda.log == ["side waits for drawing", "event on side"] and cuda.now.name == "drawing"
    wait()
    assert cuda.log[-1] == "waited" and torch.equal(host, source) and host.data_ptr() != source.data_ptr()


def test_threads_take_turns(new_card):
    """Between the copy of the inputs and the replay no other thread's inputs come in."""
    graphed = GraphedFunction(function, new_card(lambda output: time.sleep(0.0005)))
    for seed in range(2):
        graphed(batch(4, seed))
    wrong = []

    def draw(first):
        for seed in range(first, first + 40):
            if not torch.equal(graphed(batch(4, seed)), function(batch(4, seed))):
                wrong.append(seed)

    threads = [threading.Thread(target=draw, args=(first,)) for first in (100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_graphs_only_on_gpus_and_only_if_enabled(monkeypatch):
    monkeypatch.delenv("ANITALKER_GRAPHS", raising=False)
    card = torch.device("cuda")
    assert (
        as_cuda_graph(function, torch.device("cpu")) is function
        and as_cuda_graph(function, torch.device("mps")) is function
    )
    assert (
        isinstance(as_cuda_graph(function, card), GraphedFunction)
        and as_cuda_graph(function, card).capture is cuda_graphs.capture_graph
    )
    monkeypatch.setenv("ANITALKER_GRAPHS", "0")
    assert as_cuda_graph(function, card) is function
    assert (
        cuda_graphs.launch_lock(card) is cuda_graphs.LAUNCH_LOCK
        and cuda_graphs.launch_lock(torch.device("cpu")) is not cuda_graphs.LAUNCH_LOCK
    )
