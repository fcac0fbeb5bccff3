"""One-off studies: python -m scripts.study lists them, python -m scripts.study NAME ... runs one.

A study is a module of scripts/studies with `add_arguments(parser)` and `run(arguments)`, which gives the exit status.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence

from anitalker.config import InputError
from scripts import studies

STUDIES = tuple(sorted(module.name for module in pkgutil.iter_modules(studies.__path__)))


def main(argv: Sequence[str] | None = None) -> int:
    """List the studies, or run the one that is named; the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="python -m scripts.study", description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", choices=STUDIES, help="NAME --help tells its options")
    name = parser.parse_args(argv[:1]).study
    if name is None:
        width = max(map(len, STUDIES)) + 2
        for study in STUDIES:
            print(f"{study:{width}}{importlib.import_module(f'scripts.studies.{study}').__doc__.splitlines()[0]}")
        return 0
    module = importlib.import_module(f"scripts.studies.{name}")
    parser = argparse.ArgumentParser(
        prog=f"python -m scripts.study {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    try:
        return module.run(parser.parse_args(argv[1:]))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
