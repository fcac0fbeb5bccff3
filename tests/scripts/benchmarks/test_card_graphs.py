"""Graphs against single calls, on a card that is not there."""

import contextlib

import torch

from scripts.benchmarks import card_graphs


def test_capturable_results_are_the_same():
    torch.manual_seed(0)
    points, system = torch.randn(2, 9, 3), torch.randn(2, 3, 3)
    work = lambda: torch.linalg.solve(system, points[:, [4, 0, 8], :2].float()) + points[..., :3, :2]  # noqa: E731
    exact, capturable = work(), card_graphs.Capturable()
    for _ in range(2):
        with capturable:
            result = work()
        assert torch.allclose(result, exact)
    assert [key[:3] for key in capturable.indices] == [(4, 0, 8)]


def test_a_graph_is_recorded_after_it_has_been_warmed_up(monkeypatch):
    events = []

    class Stream:
        def wait_stream(self, other):
            events.append("wait")

    class Graph:
        def replay(self):
            events.append("replay")

    @contextlib.contextmanager
    def recording(graph):
        events.append("begin")
        yield
        events.append("end")

    for name, value in {
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda stream: contextlib.nullcontext(),
        "CUDAGraph": Graph,
        "graph": recording,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(card_graphs, "wait", lambda: events.append("synchronise"))
    row = card_graphs.compare(lambda: events.append("work"), torch.device("cuda"), 2)
    begin = events.index("begin")
    assert events[begin : begin + 3] == ["begin", "work", "end"] and events[begin - 1] == "wait"
    assert events[begin + 3 :].count("replay") == card_graphs.WARM_UP + 2 and "replay" not in events[:begin]
    assert set(row) == {"ms", "ms_graph", "gain", "ms_cudnn_benchmark"}
    assert torch.backends.cudnn.benchmark is False


def test_a_busy_processor():
    x = torch.randn(64, 64)
    assert card_graphs.busy_share(lambda: [x @ x for _ in range(20)], torch.device("cpu")) > 0
