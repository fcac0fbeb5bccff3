"""Run the steps of the Dockerfile in a clean Debian root, where containers cannot be built, and try the server in it.

    python -m scripts.clean_root FOLDER [--suite trixie] [--mirror URL] [--torch-index URL] [--bind PATH ...] [--keep]

Needs root, debootstrap and Linux' namespaces. Each stage is a copy of a Debian with Python in place of python:slim.
RUN, COPY, ARG, ENV, WORKDIR and USER do what they do in a container. Then the entry point runs as its user on a
read-only root with a tmpfs, as in compose.yaml, until the health check passes and a portrait was prepared. pip's
settings come from the environment (PIP_*); --bind shows files of this machine to every step, such as certificates.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from anitalker.config import InputError

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = "ca-certificates,python3,python3-pip,python3-venv"
KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "ARG", "USER", "ENV", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
# Debian asks for the first; wheels are installed for all users, as in the Python image.
PIP = {"PIP_BREAK_SYSTEM_PACKAGES": "1", "PIP_ROOT_USER_ACTION": "ignore"}
# Starts the server, waits until it is healthy, and lets it prepare a portrait.
TRY = """
import json, os, subprocess, sys, time, urllib.error, urllib.request
from pathlib import Path
import anitalker.files
command, check, token = json.loads(sys.argv[1]), json.loads(sys.argv[2]), os.environ["ANITALKER_TOKEN"]
begin = time.monotonic()
server = subprocess.Popen(command)
try:
    while subprocess.run(check, stderr=subprocess.DEVNULL).returncode:
        assert server.poll() is None and time.monotonic() - begin < 600, "the server does not become healthy"
        time.sleep(1)
    healthy = time.monotonic() - begin
    picture = (anitalker.files.EXAMPLES / "woman.webp").read_bytes()
    head = b'--b\\r\\nContent-Disposition: form-data; name="portrait"; filename="a.webp"\\r\\n\\r\\n'
    headers = {"authorization": "Bearer " + token, "content-type": "multipart/form-data; boundary=b"}
    body = head + picture + b"\\r\\n--b--\\r\\n"
    request = urllib.request.Request("http://127.0.0.1:8080/v1/avatars", body, headers)
    with urllib.request.urlopen(request, timeout=300) as answer:
        avatar = json.load(answer)
    try:
        Path("/probe").write_text("")
        sealed = False
    except OSError:
        sealed = True
    print(json.dumps({"healthy_after_s": round(healthy, 1), "faces": avatar["faces"], "user": os.getuid(),
                      "read_only": sealed, "python": sys.version.split()[0]}))
finally:
    server.terminate()
    server.wait(30)
"""


@dataclass
class Stage:
    """A stage of a Dockerfile: its name, and its instructions with their arguments."""

    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)


def parse(text: str) -> list[Stage]:
    """Read a Dockerfile. InputError for an instruction that is not known here."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        instruction, _, argument = line.strip().partition(" ")
        if instruction not in KNOWN:
            raise InputError(f"the Dockerfile says {instruction}; known are {', '.join(sorted(KNOWN))}")
        if instruction == "FROM":
            words = argument.split()
            stages.append(Stage(words[2] if len(words) == 3 else str(len(stages))))
        else:
            stages[-1].steps.append((instruction, " ".join(argument.split())))
    return stages


class Root:
    """A folder with a Debian in it, in which commands run."""

    def __init__(self, folder: Path, binds: list[Path], variables: dict[str, str]) -> None:
        self.folder, self.binds, self.variables = folder, binds, dict(variables)
        self.workdir, self.user = "/", "root"
        self.settings: dict[str, list[str]] = {}  # HEALTHCHECK, ENTRYPOINT and CMD

    def run(self, command: list[str], sealed: bool = False, capture: bool = False) -> str:
        """Run a command inside. sealed: on a read-only root with a tmpfs, without a network, as the stage's user."""
        home = f"/home/{self.user}" if sealed else "/root"
        variables = {"HOME": home, **self.variables}
        root, inside = shlex.quote(str(self.folder)), ["env", "-i", *(f"{k}={v}" for k, v in variables.items())]
        script = ["set -e", f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc"]
        script.append(f"mount --rbind /dev {root}/dev")
        for path in self.binds:
            target = self.folder / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.mkdir(exist_ok=True) if path.is_dir() else target.touch()
            script.append(f"mount --bind {shlex.quote(str(path))} {shlex.quote(str(target))}")
        if sealed:
            script += [f"mount -o remount,ro,bind {root}", f"mount -t tmpfs tmpfs {root}/tmp", "ip link set lo up"]
        user = ["--userspec", f"{self.user}:{self.user}"] if sealed else []
        enter = ["chroot", *user, str(self.folder), *inside, "sh", "-c", f'cd {self.workdir} && exec "$@"', "sh"]
        script.append(f"exec {shlex.join([*enter, *command])}")
        namespaces = ["unshare", "--mount", *(["--net"] if sealed else [])]
        done = subprocess.run(
            [*namespaces, "sh", "-c", "\n".join(script)],
            check=False,
            text=True,
            stdout=subprocess.PIPE if capture else None,
        )
        if done.returncode:
            raise InputError(f"a step failed with status {done.returncode}: {shlex.join(command)[:200]}")
        return done.stdout or ""

    def take(self, instruction: str, argument: str, roots: dict[str, Root], arguments: dict[str, str]) -> None:
        """Do what an instruction says."""
        if instruction == "RUN":
            self.run(["sh", "-c", argument])
        elif instruction == "COPY":
            self._copy(argument, roots)
        elif instruction == "WORKDIR":
            self.workdir = argument
            (self.folder / argument.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif instruction == "USER":
            self.user = argument
        elif instruction == "ENV":
            self.variables.update(word.split("=", 1) for word in shlex.split(argument))
        elif instruction == "ARG":
            name, _, default = argument.partition("=")
            self.variables[name] = arguments.get(name) or default
        elif instruction in ("HEALTHCHECK", "ENTRYPOINT", "CMD"):
            self.settings[instruction] = json.loads(argument[argument.index("[") :])

    def _copy(self, argument: str, roots: dict[str, Root]) -> None:
        *options, source, target = argument.split()
        place = self.folder / (target if target.startswith("/") else f"{self.workdir}/{target}").lstrip("/")
        if options:
            stage = roots[options[0].removeprefix("--from=")]
            shutil.copytree(stage.folder / source.lstrip("/"), place, dirs_exist_ok=True)
            return
        place.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "archive", "HEAD", source], cwd=CHECKOUT, check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", str(place)], input=archive.stdout, check=True)


def build(options: argparse.Namespace) -> dict:
    """Build all stages below the folder, try the last one, and return what was seen."""
    base = options.folder / "base"
    if not base.exists():
        mirror = [options.mirror] if options.mirror else []
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", options.suite, str(base), *mirror]
        subprocess.run(command, check=True)
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    variables = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", **pip, **PIP}
    roots: dict[str, Root] = {}
    for stage in parse((CHECKOUT / "Dockerfile").read_text(encoding="utf-8")):
        folder = options.folder / stage.name
        subprocess.run(["cp", "-a", str(base), str(folder)], check=True)
        shutil.copyfile("/etc/resolv.conf", folder / "etc/resolv.conf")
        (folder / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        roots[stage.name] = root = Root(folder, options.bind, variables)
        for number, (instruction, argument) in enumerate(stage.steps, 1):
            print(f"[{stage.name} {number}/{len(stage.steps)}] {instruction} {argument}", flush=True)
            root.take(instruction, argument, roots, {"TORCH_INDEX": options.torch_index})
    root.variables = {name: value for name, value in root.variables.items() if not name.startswith("PIP_")}
    root.variables["ANITALKER_TOKEN"] = "0123456789abcdef"
    command = [*root.settings["ENTRYPOINT"], *root.settings["CMD"]]
    tried = ["python", "-c", TRY, json.dumps(command), json.dumps(root.settings["HEALTHCHECK"])]
    facts = json.loads(root.run(tried, sealed=True, capture=True).splitlines()[-1])
    used = subprocess.run(["du", "-sxm", str(root.folder)], check=True, capture_output=True, text=True).stdout
    return {**facts, "suite": options.suite, "size_mb": int(used.split()[0])}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty folder for the roots, with 10 GB")
    parser.add_argument("--suite", default="trixie", help="of Debian (default: %(default)s)")
    parser.add_argument("--mirror", help="of Debian (default: debootstrap's)")
    parser.add_argument("--torch-index", help="the Dockerfile's TORCH_INDEX (default: what it says)")
    parser.add_argument("--bind", type=Path, nargs="*", default=[], metavar="PATH", help="shown to every step")
    parser.add_argument("--keep", action="store_true", help="keep the roots of the stages")
    options = parser.parse_args(arguments)
    options.folder = options.folder.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        facts = build(options)
    except (InputError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        if not options.keep:
            for folder in options.folder.iterdir():
                if folder.name != "base":
                    shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(facts, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
