"""Visitors and their files: each has a folder that no other visitor reaches, deleted when nobody has asked for long."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from app.jobs import Job
from app.limits import Limits

UNFINISHED = 120.0  # seconds after which what a broken upload left is deleted


@dataclass(frozen=True)
class Result:
    """A finished video: its file, what it was made with, and facts for people."""

    number: int
    file: Path
    kind: str  # speak, say or drive
    settings: dict  # render options
    facts: dict


@dataclass(frozen=True)
class Report:
    """What the motion encoder sees: the folder of its page and pictures, all of it as a ZIP, and facts."""

    folder: Path
    archive: Path
    facts: dict


@dataclass
class Visit:
    """One visitor. folder/uploads: what came; folder/results: finished videos, the last report; folder/work-*: jobs,
    which delete it."""

    folder: Path
    seen: float = field(default_factory=time.monotonic)
    results: list[Result] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)  # session (a tab of the browser) -> its latest job
    count: int = 0
    report: Report | None = None

    def workplace(self) -> tempfile.TemporaryDirectory:
        """A folder for one job, deleted when the job ends."""
        return tempfile.TemporaryDirectory(prefix="work-", dir=self.folder)

    def keep(self, file: Path, kind: str, settings: dict, facts: dict, most: int) -> Result:
        """A finished video joins the results; the oldest go when there are more than `most`."""
        self.count += 1
        place = self.folder / "results" / f"anitalker-{self.count}-{secrets.token_hex(8)}.mp4"
        place.parent.mkdir(exist_ok=True)
        file.replace(place)
        self.results.append(Result(self.count, place, kind, settings, facts))
        while len(self.results) > most:
            self.results.pop(0).file.unlink(missing_ok=True)
        return self.results[-1]

    def keep_report(self, folder: Path, facts: dict) -> Report:
        """A finished report takes the place of the one before."""
        place = self.folder / "results" / f"report-{secrets.token_hex(8)}"
        place.mkdir(parents=True)
        kept = folder.replace(place / "report")
        archive = shutil.make_archive(str(place / "anitalker-report"), "zip", kept)
        if self.report:
            shutil.rmtree(self.report.folder.parent, ignore_errors=True)
        self.report = Report(kept, Path(archive), facts)
        return self.report

    @property
    def busy(self) -> bool:
        """Whether a job waits or works."""
        return any(not job.ended.is_set() for job in self.jobs.values())


class Visits:
    """All visitors of a server, and the signed token by which a browser is known again."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.root = Path(tempfile.mkdtemp(prefix="anitalker-page-")).resolve()
        self.public: frozenset[Path] = frozenset()  # files that every visitor may read
        self._secret = secrets.token_bytes(32)
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()

    def new_token(self) -> str:
        """A token for a new visitor: a random number and its signature."""
        nonce = secrets.token_hex(16)
        return f"{nonce}.{self._sign(nonce)}"

    def known(self, token: str | None) -> bool:
        """Whether a token is one of ours."""
        nonce, _, signature = (token or "").partition(".")
        return bool(nonce) and hmac.compare_digest(signature.encode(), self._sign(nonce).encode())

    def name(self, token: str) -> str:
        """The visitor's name in paths, from which the token cannot be found."""
        return hashlib.sha256(token.encode()).hexdigest()[:32]

    def visit(self, name: str) -> Visit:
        """The visit of that name, begun if need be."""
        with self._lock:
            if name not in self._visits:
                folder = self.root / "visits" / name
                folder.mkdir(parents=True, mode=0o700)
                self._visits[name] = Visit(folder)
            self._visits[name].seen = time.monotonic()
            return self._visits[name]

    def may_read(self, name: str, path: str) -> Path | None:
        """The real path of a file that this visitor may read; None for anything else."""
        try:
            file = Path(path).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return None
        own = file.is_relative_to(self.root / "visits" / name)
        return file if file.is_file() and (own or file in self.public) else None

    def adopt(self, name: str, path: str) -> Path:
        """An upload that Gradio has put into its common folder moves into the visitor's own."""
        file = Path(path)
        folder = self.visit(name).folder / "uploads" / secrets.token_hex(8)
        folder.mkdir(parents=True)
        if file in self.public:  # the bytes of an example: Gradio's place for it is the same
            return Path(shutil.copyfile(file, folder / file.name))
        moved = file.rename(folder / file.name)
        with contextlib.suppress(OSError):  # another upload is in it
            file.parent.rmdir()
        return moved

    def forget(self, name: str) -> None:
        """Delete everything of a visitor; a job ends."""
        with self._lock:
            visit = self._visits.pop(name, None)
        if visit:
            for job in visit.jobs.values():
                job.cancel()
            shutil.rmtree(visit.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Forget visitors who are long gone, and what broken uploads left."""
        now = time.monotonic()
        for name, visit in list(self._visits.items()):
            if now - visit.seen > self.limits.keep and not visit.busy:
                self.forget(name)
        for file in self.root.glob("tmp*"):
            if file.is_file() and file not in self.public and time.time() - file.stat().st_mtime > UNFINISHED:
                file.unlink(missing_ok=True)

    def close(self) -> None:
        """The server ends: everything is deleted."""
        for name in list(self._visits):
            self.forget(name)
        shutil.rmtree(self.root, ignore_errors=True)

    def _sign(self, nonce: str) -> str:
        return hmac.new(self._secret, nonce.encode(), hashlib.sha256).hexdigest()
