"""anitalker app: the web page."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

import anitalker
from anitalker.commands import options
from anitalker.config import InputError

HELP = "the web page on this machine"
CHECKOUT_FOLDER = Path(anitalker.__file__).resolve().parent.parent / "app"


def find_page() -> str | None:
    """Return the name of the page's package: `anitalker.app` where it is installed, `app` in a checkout, or None.

    Somebody else's top-level `app` is neither used nor run.
    """
    if importlib.util.find_spec("anitalker.app"):
        return "anitalker.app"
    spec = importlib.util.find_spec("app")
    if spec and spec.origin and Path(spec.origin).resolve().parent == CHECKOUT_FOLDER:
        return "app"
    return None


def add_arguments(parser: options.Parser) -> None:
    """Add the page's own options."""
    parser.set_defaults(json=False)
    if package := find_page():
        _module(package, "options").add_arguments(parser)
    else:
        parser.prefix_chars = ""  # accept any argument: `run` says what is missing
        parser.add_argument("ignored", nargs="*")


def run(arguments: argparse.Namespace) -> dict:
    """Serve the page until it is interrupted. Raises InputError where the page is not installed."""
    package = find_page()
    if package is None:
        raise InputError("the web page is not installed; reinstall anitalker, or run `python -m app` in a checkout")
    try:
        _module(package, "server").run(arguments)
    except KeyboardInterrupt:
        return {"exit_status": 130}
    return {}


def print_summary(facts: dict) -> None:
    """Print nothing: the page has printed its address."""


def _module(package: str, name: str) -> ModuleType:
    return importlib.import_module(f"{package}.{name}")
