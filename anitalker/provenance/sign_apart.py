"""Sign a large file in a process of its own: c2pa holds pieces of 256 MiB of what it hashes, two at a time.

    python -m anitalker.provenance.sign_apart < job.json

The job names source, target, title and generator; the identity is that of `identity.signing_identity`, as in the
process that asks.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from anitalker.config import InputError
from anitalker.provenance.credentials import Generator, sign_file
from anitalker.provenance.identity import signing_identity

LARGE_BYTES = 2**25  # of a video and its ingredients, from which on it pays to start a process


def is_large(written: Path, generator: Generator) -> bool:
    """Whether signing a file takes much memory: the file itself, or what it was made of, is large."""
    files = (written, *generator.ingredients, *generator.inputs)
    return max(file.stat().st_size for file in files) > LARGE_BYTES


def sign_apart(source: Path, target: Path, generator: Generator, title: str) -> None:
    """As `credentials.sign_file`, in another process."""
    facts = asdict(generator)
    for name in ("ingredients", "inputs"):
        facts[name] = [str(file.absolute()) for file in facts[name]]
    job = {"source": str(source.absolute()), "target": str(target.absolute()), "title": title, "generator": facts}
    command = [sys.executable, "-m", "anitalker.provenance.sign_apart"]
    root = str(Path(__file__).resolve().parents[2])  # the package may not be installed
    done = subprocess.run(command, input=json.dumps(job), text=True, capture_output=True, check=False, cwd=root)
    message = " ".join(done.stderr.split())
    if done.returncode == 2:
        raise InputError(message)
    if done.returncode:
        raise RuntimeError(f"the credentials could not be signed: {message[-300:]}")
    if message:
        logging.getLogger(__name__).warning("%s", message)


def main() -> int:
    """Sign what the job on stdin names; returns the exit status."""
    job = json.load(sys.stdin)
    facts = job["generator"]
    for name in ("ingredients", "inputs"):
        facts[name] = tuple(map(Path, facts[name]))
    identity = signing_identity()
    assert identity is not None  # whoever asks has one
    try:
        sign_file(Path(job["source"]), Path(job["target"]), Generator(**facts), identity, job["title"])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
