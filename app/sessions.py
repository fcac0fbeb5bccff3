"""Visitors' sessions: each has a private folder, deleted when the visitor asks or sends no request for long."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anitalker.server.job_queue import Job
from anitalker.server.limits import Limits

if TYPE_CHECKING:
    from .live_video import LiveVideo
    from .recordings import Recording

UNFINISHED_UPLOAD_SECONDS = 120.0  # age at which the remains of a broken upload are deleted


@dataclass(frozen=True)
class Result:
    """A finished video: its file, its settings, and facts for people."""

    number: int  # counts from 1 within the session
    file: Path
    kind: str  # speak, say, drive, idle or dub
    settings: dict  # options
    facts: dict
    inputs: dict[str, Any] = field(default_factory=dict)  # what the widgets showed, by name


@dataclass(frozen=True)
class Report:
    """What the motion encoder sees: the folder of the page and its pictures, the same as a ZIP, and facts."""

    folder: Path
    archive: Path
    facts: dict


@dataclass(frozen=True)
class Batch:
    """The videos of several recordings, the same as a ZIP, and facts: what became of each recording."""

    results: tuple[Result, ...]
    archive: Path
    facts: dict

    @property
    def shown(self) -> Result | None:
        """The video that the player shows: the last one."""
        return self.results[-1] if self.results else None


@dataclass(frozen=True)
class Person:
    """An avatar of a visit. file: the person file; picture: its portrait, a PNG; facts: its own; before, after: videos
    of the portrait alone and of the person, who say the same; None where there are none."""

    number: int  # counts from 1 within the session
    file: Path
    picture: Path
    consent: str
    facts: dict
    before: Path | None = None
    after: Path | None = None

    @property
    def name(self) -> str:
        """Of the file, without suffix."""
        return self.file.stem

    @property
    def finished(self) -> bool:
        """Whether the training came to its end; otherwise the same videos go on with it."""
        return self.facts.get("finished") is not False


@dataclass
class Session:
    """One visitor's files, results and jobs.

    In the folder: `uploads` holds what came in, `results` the finished videos, the last report, the last ZIP and the
    last saved still, `people` the avatars, and each `work-*` the files of a running job, which deletes them at its end.
    """

    id: str
    folder: Path
    last_seen: float = field(default_factory=time.monotonic)
    results: list[Result] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)  # Gradio's session_hash (a browser tab) -> the job it shows
    latest_job: Job | None = None  # a tab that is opened shows this one
    inputs: dict[str, Any] = field(default_factory=dict)  # what the widgets show, by name
    still: dict[str, Any] = field(default_factory=dict)  # what the last still shows: options and portrait
    moment: str = "rest"  # what that still shows at its furthest: of `stills.STRENGTHS`, or rest
    saved_still: Path | None = None
    restored_tabs: set[str] = field(default_factory=set)  # which show `inputs`
    report: Report | None = None
    batch: Batch | None = None  # the last one, while all of its videos are there
    recordings: tuple[tuple[str, ...], list[Recording]] = ((), [])  # what was read last: paths of uploads, recordings
    unpacked: list[Path] = field(default_factory=list)  # folders of recordings out of ZIPs
    reading: threading.Lock = field(default_factory=threading.Lock)  # held while recordings are read
    result_count: int = 0  # of all results, also those that have been deleted
    people: list[Person] = field(default_factory=list)  # avatars of this visit
    people_count: int = 0  # of all of them, also those that have been deleted
    tuning: Job | None = None  # the latest that makes an avatar

    def job_folder(self) -> tempfile.TemporaryDirectory:
        """Make a folder for one job; leaving the context deletes it."""
        return tempfile.TemporaryDirectory(prefix="work-", dir=self.folder)

    def upload_folder(self) -> Path:
        """Make a folder for one file that came in."""
        folder = self.folder / "uploads" / secrets.token_hex(8)
        folder.mkdir(parents=True)
        return folder

    def unpack_folder(self) -> Path:
        """Make a folder for recordings out of ZIPs. Earlier ones go if no job runs and no video was made of them."""
        used = str([result.inputs.get("recording") for result in self.results])
        for folder in [folder for folder in self.unpacked if not self.busy and folder.name not in used]:
            shutil.rmtree(folder, ignore_errors=True)
            self.unpacked.remove(folder)
        self.unpacked.append(self.upload_folder())
        return self.unpacked[-1]

    def watch(self, tab: str, job: Job) -> None:
        """Note that a tab shows a job: a new one, or the latest again after a reload."""
        self.jobs = {name: other for name, other in self.jobs.items() if not other.ended.is_set()}
        self.jobs[tab] = self.latest_job = job

    def add_result(
        self,
        file: Path,
        kind: str,
        settings: dict,
        facts: dict,
        max_results: int,
        name: str = "anitalker",
        inputs: dict | None = None,
    ) -> Result:
        """Move a finished video into the results. The oldest are deleted when there are more than `max_results`.

        name: of the file, which visitors get when they save it, without suffix.
        """
        self.result_count += 1
        target = (
            self.folder
            / "results"
            / f"video-{self.result_count}-{secrets.token_hex(8)}"
            / f"{name}{file.suffix or '.mp4'}"
        )
        target.parent.mkdir(parents=True)
        file.replace(target)
        result = Result(self.result_count, target, kind, settings, facts, inputs or {})
        self.results.append(result)
        while len(self.results) > max_results:
            self.delete_result(self.results[0].number)
        return result

    def delete_result(self, number: int) -> Result | None:
        """Delete a finished video and return what it was; None if there is none of this number."""
        for result in self.results:
            if result.number == number:
                self.results.remove(result)
                shutil.rmtree(result.file.parent, ignore_errors=True)
                if self.batch and result in self.batch.results:
                    self._delete_batch()
                return result
        return None

    def set_batch(self, results: list[Result], facts: dict, name: str) -> Batch:
        """Pack finished videos into a ZIP, in place of the previous one. Those deleted meanwhile are left out."""
        self._delete_batch()
        archive = self.folder / "results" / f"batch-{secrets.token_hex(8)}" / f"{name}.zip"
        archive.parent.mkdir(parents=True)
        kept = tuple(result for result in results if result in self.results)
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
            for result in kept:
                with contextlib.suppress(FileNotFoundError):  # deleted at this moment
                    packed.write(result.file, result.file.name)
        self.batch = Batch(kept, archive, facts)
        return self.batch

    def _delete_batch(self) -> None:
        if self.batch:
            shutil.rmtree(self.batch.archive.parent, ignore_errors=True)
            self.batch = None

    def still_file(self, name: str) -> Path:
        """Make room for a still that is saved, in place of the previous one. Returns its path."""
        if self.saved_still:
            shutil.rmtree(self.saved_still.parent, ignore_errors=True)
        self.saved_still = self.folder / "results" / f"still-{secrets.token_hex(8)}" / f"{name}.png"
        self.saved_still.parent.mkdir(parents=True)
        return self.saved_still

    def set_report(self, folder: Path, facts: dict) -> Report:
        """Move a finished report into the results, in place of the previous one."""
        parent = self.folder / "results" / f"report-{secrets.token_hex(8)}"
        parent.mkdir(parents=True)
        target = folder.replace(parent / "report")
        archive = shutil.make_archive(str(parent / "anitalker-report"), "zip", target)
        if self.report:
            shutil.rmtree(self.report.folder.parent, ignore_errors=True)
        self.report = Report(target, Path(archive), facts)
        return self.report

    def live_video(self, token: str) -> LiveVideo | None:
        """Return the video in the making of that name, if a job of this session makes it."""
        for job in (*self.jobs.values(), self.latest_job):
            if job and job.live and token and job.live.token == token:
                return job.live
        return None

    @property
    def busy(self) -> bool:
        """Whether a job of this session waits or runs."""
        return any(not job.ended.is_set() for job in self.jobs.values())


class SessionStore:
    """All sessions of a server, and the signed tokens by which browsers are recognised."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.root = Path(tempfile.mkdtemp(prefix="anitalker-page-")).resolve()
        self.public: frozenset[Path] = frozenset()  # files that every visitor may read
        self.on_delete: list[Callable[[str], None]] = []  # called with the id of a session that is deleted
        self._secret = secrets.token_bytes(32)
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def new_token(self) -> str:
        """Issue a token for a new visitor: a random number and its signature."""
        nonce = secrets.token_hex(16)
        return f"{nonce}.{self._sign(nonce)}"

    def is_valid(self, token: str) -> bool:
        """Whether this server issued the token."""
        nonce, _, signature = token.partition(".")
        return bool(nonce) and hmac.compare_digest(signature.encode(), self._sign(nonce).encode())

    def session_id(self, token: str) -> str:
        """Return the session's name in paths. It does not reveal the token."""
        return hashlib.sha256(token.encode()).hexdigest()[:32]

    def get(self, session_id: str) -> Session:
        """Return the session and mark it as seen; a new one is started if there is none."""
        with self._lock:
            if session_id not in self._sessions:
                folder = self.root / "sessions" / session_id
                folder.mkdir(parents=True, mode=0o700)
                self._sessions[session_id] = Session(session_id, folder)
            session = self._sessions[session_id]
            session.last_seen = time.monotonic()
            return session

    def sessions(self) -> list[Session]:
        """Return all sessions, the oldest first."""
        with self._lock:
            return list(self._sessions.values())

    def resolve_readable(self, session_id: str, path: str) -> Path | None:
        """Return the real path of a file that this visitor may read; None for anything else."""
        try:
            file = Path(path).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return None
        owned = file.is_relative_to(self.root / "sessions" / session_id)
        return file if file.is_file() and (owned or file in self.public) else None

    def claim_upload(self, session_id: str, path: str) -> Path:
        """Move an upload from Gradio's shared folder into the visitor's own. Returns the new path.

        Raises FileNotFoundError if another request with the same bytes moved it first.
        """
        file = Path(path)
        folder = self.get(session_id).upload_folder()
        if file in self.public:  # Gradio names files by their hash: an uploaded example is the example's own file
            return Path(shutil.copyfile(file, folder / file.name))
        moved = file.rename(folder / file.name)
        with contextlib.suppress(OSError):  # not empty: it holds another upload
            file.parent.rmdir()
        return moved

    def delete(self, session_id: str) -> None:
        """Delete a session with its files and cancel its jobs."""
        with self._lock:
            session = self._sessions.pop(session_id, None)
        if session:
            for job in session.jobs.values():
                job.cancel()
            shutil.rmtree(session.folder, ignore_errors=True)
        for forget in self.on_delete:
            forget(session_id)

    def sweep(self) -> None:
        """Delete idle sessions that have expired, and the remains of broken uploads."""
        now = time.monotonic()
        for session in self.sessions():
            if now - session.last_seen > self.limits.keep_seconds and not session.busy:
                self.delete(session.id)
        for file in self.root.glob("tmp*"):
            unclaimed = file.is_file() and file not in self.public
            if unclaimed and time.time() - file.stat().st_mtime > UNFINISHED_UPLOAD_SECONDS:
                file.unlink(missing_ok=True)

    def close(self) -> None:
        """Delete everything; the server has ended."""
        for session in self.sessions():
            self.delete(session.id)
        shutil.rmtree(self.root, ignore_errors=True)

    def _sign(self, nonce: str) -> str:
        return hmac.new(self._secret, nonce.encode(), hashlib.sha256).hexdigest()
