"""anitalker models: the known weights."""

from __future__ import annotations

import argparse
import sys

from anitalker.commands import options as flags
from anitalker.config import InputError

HELP = "the known weights: list, fetch NAME..., convert IN OUT.safetensors"


def add(parser: flags.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("action", nargs="?", choices=("list", "fetch", "convert"), default="list")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME | IN OUT.safetensors",
        help="names to fetch, or a file to convert and its output",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def run(arguments: argparse.Namespace) -> dict:
    """List, fetch or convert; returns the facts for --json."""
    from anitalker.weights import registry

    action, names = arguments.action, arguments.names
    if action == "list" and not names:
        return {"models": registry.listing()}
    if action == "fetch" and names:
        from anitalker.weights.download import download

        try:
            with flags.Progress() as progress:
                return {"fetched": [download(name, progress) for name in names]}
        except KeyboardInterrupt:
            print("what has arrived is kept; run the same command to continue", file=sys.stderr)
            raise
    if action == "convert" and len(names) == 2:
        from anitalker.files import check_output
        from anitalker.models import loading

        return loading.convert(names[0], check_output(names[1], ".safetensors"))
    expected = {"list": "nothing more", "fetch": "one name or more", "convert": "IN and OUT.safetensors"}[action]
    raise InputError(f"models {action} got {len(names)} arguments; it takes {expected}; see `anitalker models --help`")


def say(result: dict) -> None:
    """Print the known weights, what was fetched, or what was converted."""
    for model in result.get("models", ()):
        size = f"{model['bytes'] / 1e6:.1f} MB" if model["bytes"] else ""
        print(f"{model['name']:20} {size:>9}  {model['licence']:10}  {model['about']}")
        command = f": anitalker models fetch {model['name']}" if model["repository"] or model["url"] else ""
        print(f"{'':20} {model['file'] or 'not here' + command}")
    for file in result.get("fetched", ()):
        outcome = f"{file['bytes']} bytes, SHA-256 {file['sha256']}" if file["fetched"] else "was here, and is whole"
        print(f"{file['file']}: {outcome}")
    if "output" in result:
        before, after = (f"{result[key] / 1e6:.1f} MB" for key in ("bytes_before", "bytes_after"))
        kind = result.get("variant") or result["kind"]
        print(f"{result['output']}: {kind}, {result['tensors']} tensors; {before} -> {after}")
