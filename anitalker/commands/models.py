"""anitalker models: the known weights."""

from __future__ import annotations

import argparse
import sys

from anitalker.commands import flags
from anitalker.config import InputError

HELP = "the known weights: list, fetch NAME..., convert IN OUT.safetensors"


def add(parser: flags.Parser) -> None:
    """The arguments."""
    parser.add_argument("action", nargs="?", choices=("list", "fetch", "convert"), default="list")
    parser.add_argument("names", nargs="*", metavar="NAME | IN OUT.safetensors", help="what to fetch or convert")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def run(arguments: argparse.Namespace) -> dict:
    """List, fetch or convert -> facts for --json."""
    from anitalker import fetch, registry, weights
    from anitalker.video import check_output

    action, names = arguments.action, arguments.names
    if action == "list" and not names:
        return {"models": registry.listing()}
    if action == "fetch" and names:
        try:
            with flags.Progress() as progress:
                return {"fetched": [fetch.fetch(name, progress) for name in names]}
        except KeyboardInterrupt:
            print("what has arrived is kept; the same command continues", file=sys.stderr)
            raise
    if action == "convert" and len(names) == 2:
        return weights.convert(names[0], check_output(names[1], ".safetensors"))
    wanted = {"list": "nothing more", "fetch": "one name or more", "convert": "IN and OUT.safetensors"}[action]
    raise InputError(f"models {action} got {len(names)} arguments; it takes {wanted}; see `anitalker models --help`")


def say(result: dict) -> None:
    """What is known, came or was made."""
    for model in result.get("models", ()):
        size = f"{model['bytes'] / 1e6:.1f} MB" if model["bytes"] else ""
        print(f"{model['name']:20} {size:>9}  {model['licence']:10}  {model['about']}")
        way = f": anitalker models fetch {model['name']}" if model["repository"] or model["url"] else ""
        print(f"{'':20} {model['file'] or 'not here' + way}")
    for one in result.get("fetched", ()):
        done = f"{one['bytes']} bytes, SHA-256 {one['sha256']}" if one["fetched"] else "was here, and is whole"
        print(f"{one['file']}: {done}")
    if "output" in result:
        before, after = (f"{result[key] / 1e6:.1f} MB" for key in ("bytes_before", "bytes_after"))
        what = result.get("variant") or result["kind"]
        print(f"{result['output']}: {what}, {result['tensors']} tensors; {before} -> {after}")
