"""python -m app: the web page on this machine."""

from __future__ import annotations

import argparse

from anitalker.config import InputError


def main() -> None:
    """Read the flags, load one model, serve the page until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m app", description="AniTalker as a web page.")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask for this name and password")
    parser.add_argument("--model", default="lite", metavar="NAME|FILE", help="default: %(default)s")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="default: %(default)s")
    arguments = parser.parse_args()
    user, colon, password = (arguments.auth or "").partition(":")
    if arguments.auth is not None and not (user and colon and password):
        parser.exit(2, f"error: --auth is {arguments.auth!r}; give USER:PASSWORD\n")

    from anitalker.pipeline import load
    from app.ui import build_ui

    try:
        talker = load(arguments.model, arguments.device)
    except InputError as error:
        parser.exit(2, f"error: {error}\n")
    auth = (user, password) if arguments.auth else None
    build_ui(talker).queue(default_concurrency_limit=1).launch(
        server_name=arguments.host, server_port=arguments.port, auth=auth, share=False
    )


if __name__ == "__main__":
    main()
