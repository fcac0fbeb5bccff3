"""Load a model and serve it until Ctrl-C or SIGTERM."""

from __future__ import annotations

from anitalker.server.listen import listen
from anitalker.server.settings import ServerSettings
from anitalker.server.voices import Voices

SHUTDOWN_SECONDS = 3  # that open requests have to end
MAX_CONNECTIONS = 512  # at once; more are answered with 503


def run(settings: ServerSettings, model: dict, voices: Voices) -> None:
    """Load the model (arguments of `pipeline.load`) and serve it.

    InputError for a port in use, before anything is loaded, and for a model that is not there.
    """
    settings.check_usable()

    from anitalker.pipeline import load

    from .application import build_application
    from .http_protocol import TimedHeaders

    talker = load(**model)
    talker.finder()  # load the face network now, not while the first client waits
    application = build_application(talker, settings, voices)
    application.state.sessions.load()
    listen(
        application,
        settings.host,
        settings.port,
        http=TimedHeaders,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ws_max_size=settings.limits.request_bytes,
    )
