"""What the library warns about during a job is collected, and nothing else."""

import logging
import threading

from app.notices import collect_warnings


def test_warnings_of_this_thread_once_each():
    log, messages = logging.getLogger("anitalker.pipeline"), []
    with collect_warnings(messages):
        for _ in range(2):
            log.warning("face %d: %s", 0, "covered")
        log.info("not a warning")
        other = threading.Thread(target=log.warning, args=("another job",))
        other.start()
        other.join()
    log.warning("after the end")
    assert messages == ["face 0: covered"]
