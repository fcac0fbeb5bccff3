"""What the server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

DELAY_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 1.0)  # seconds


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("anitalker_requests", "Answers by status", ["status"], registry=registry)
        self.sessions = Gauge("anitalker_sessions", "Live sessions that are open", registry=registry)
        self.opened = Counter("anitalker_sessions_opened", "Live sessions since the start", registry=registry)
        self.refused = Counter("anitalker_sessions_refused", "Offers over --max-sessions", registry=registry)
        self.interrupts = Counter("anitalker_interrupts", "Turns that were interrupted", registry=registry)
        self.frames = Counter("anitalker_frames", "Frames of live sessions that were drawn", registry=registry)
        self.dropped = Counter("anitalker_frames_dropped", "Frames that were not drawn in time", registry=registry)
        self.frame_rate = Gauge("anitalker_frame_rate", "Frames a second, last told", registry=registry)
        self.delay = Histogram(
            "anitalker_frame_delay_seconds",
            "From sound that came in to the frame that shows it",
            buckets=DELAY_BUCKETS,
            registry=registry,
        )
        self.videos = Gauge("anitalker_videos_waiting", "Videos that wait or are rendered", registry=registry)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
