"""anitalker models: the known weights."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, TypedDict, cast

from anitalker.commands import options
from anitalker.config import InputError

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from anitalker.weights.download import DownloadFacts
    from anitalker.weights.registry import WeightFacts

HELP = "the known weights: list, fetch NAME..., convert IN OUT.safetensors"


class ListFacts(TypedDict):
    """What `list --json` prints."""

    models: list[WeightFacts]


class FetchFacts(TypedDict):
    """What `fetch --json` prints."""

    fetched: list[DownloadFacts]


class ConvertFacts(TypedDict):
    """What `convert --json` prints.

    kind: ours, original_stage1 or original_stage2; variant: of an original_stage2; tensors: kept ones; dropped: those
    that the model does not need; bytes_before, bytes_after: sizes of the two files.
    """

    output: str
    kind: str
    variant: NotRequired[str]
    tensors: int
    dropped: int
    bytes_before: int
    bytes_after: int


def add_arguments(parser: options.Parser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("action", nargs="?", choices=("list", "fetch", "convert"), default="list")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME | IN OUT.safetensors",
        help="names to fetch, or a file to convert and its output",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def run(arguments: argparse.Namespace) -> ListFacts | FetchFacts | ConvertFacts:
    """List, fetch or convert; returns the facts for --json."""
    from anitalker.weights import registry

    action, names = arguments.action, arguments.names
    if action == "list" and not names:
        return {"models": registry.list_weights()}
    if action == "fetch" and names:
        from anitalker.weights.download import download

        try:
            with options.ProgressBar() as progress:
                return {"fetched": [download(name, progress) for name in names]}
        except KeyboardInterrupt:
            print("what has arrived is kept; run the same command to continue", file=sys.stderr)
            raise
    if action == "convert" and len(names) == 2:
        from anitalker.files import check_output
        from anitalker.models import loading

        return cast("ConvertFacts", loading.convert(names[0], check_output(names[1], ".safetensors")))
    expected = {"list": "nothing more", "fetch": "one name or more", "convert": "IN and OUT.safetensors"}[action]
    raise InputError(f"models {action} got {len(names)} arguments; it takes {expected}; see `anitalker models --help`")


def print_summary(facts: ListFacts | FetchFacts | ConvertFacts) -> None:
    """Print the known weights, what was fetched, or what was converted."""
    if "models" in facts:
        for model in facts["models"]:
            size = f"{model['bytes'] / 1e6:.1f} MB" if model["bytes"] else ""
            print(f"{model['name']:20} {size:>9}  {model['licence']:10}  {model['about']}")
            command = f": anitalker models fetch {model['name']}" if model["repository"] or model["url"] else ""
            print(f"{'':20} {model['file'] or 'not here' + command}")
    elif "fetched" in facts:
        for file in facts["fetched"]:
            outcome = (
                f"{file['bytes']} bytes, SHA-256 {file['sha256']}" if file["fetched"] else "was here, and is whole"
            )
            print(f"{file['file']}: {outcome}")
    else:
        before, after = facts["bytes_before"] / 1e6, facts["bytes_after"] / 1e6
        kind = facts.get("variant") or facts["kind"]
        print(f"{facts['output']}: {kind}, {facts['tensors']} tensors; {before:.1f} MB -> {after:.1f} MB")
