"""Collects what a job is warned about, so that the page can tell what the command line prints."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator


class _ThreadHandler(logging.Handler):
    """Appends the warnings that one thread logs to a list, each sentence once."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages, self._thread = messages, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning of this thread."""
        if record.thread == self._thread and record.getMessage() not in self._messages:
            self._messages.append(record.getMessage())


@contextlib.contextmanager
def collect_warnings(messages: list[str]) -> Iterator[None]:
    """Append every warning that the library logs on this thread to `messages`, until the end of the block."""
    handler, logger = _ThreadHandler(messages), logging.getLogger("anitalker")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
