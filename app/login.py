"""Slows the guessing of passwords: after five wrong ones from an address, each further try from it waits longer."""

from __future__ import annotations

from asyncio import Lock, sleep
from collections import OrderedDict
from dataclasses import dataclass, field
from time import monotonic

FREE_TRIES = 5  # wrong passwords before the first wait
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds; doubled with every wrong password
FORGET_SECONDS = 900.0  # after the last wrong password an address starts anew
MAX_WAITING = 3  # tries of one address that wait; more are refused
MAX_ADDRESSES = 10_000


@dataclass
class _Tries:
    wrong: int = 0
    last: float = 0.0
    waiting: int = 0
    lock: Lock = field(default_factory=Lock)


class TooManyTries(Exception):
    """More tries of an address wait than may."""


class LoginThrottle:
    """Counts wrong passwords by address. Use `admit` around a try, and report its end to it."""

    def __init__(self) -> None:
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def wait_seconds(self, address: str) -> float:
        """How long the next try from this address waits."""
        tries = self._tries.get(address)
        if tries is None or tries.wrong < FREE_TRIES or monotonic() - tries.last > FORGET_SECONDS:
            return 0.0
        return min(FIRST_WAIT * 2.0 ** (tries.wrong - FREE_TRIES), LONGEST_WAIT)

    def admit(self, address: str) -> _Admission:
        """Return an asynchronous context for one try. Tries of an address come one after the other, each after its
        wait; entering raises TooManyTries if too many wait already."""
        tries = self._tries.setdefault(address, _Tries())
        self._tries.move_to_end(address)
        while len(self._tries) > MAX_ADDRESSES:
            self._tries.popitem(last=False)
        return _Admission(self, address, tries)


class _Admission:
    """One try. `record(right)` says how it ended."""

    def __init__(self, throttle: LoginThrottle, address: str, tries: _Tries) -> None:
        self._throttle, self._address, self._tries = throttle, address, tries

    async def __aenter__(self) -> _Admission:
        if self._tries.waiting >= MAX_WAITING:
            raise TooManyTries
        self._tries.waiting += 1
        try:
            await self._tries.lock.acquire()
        finally:
            self._tries.waiting -= 1
        try:
            self._tries.waiting += 1
            await sleep(self._throttle.wait_seconds(self._address))
        except BaseException:
            self._tries.lock.release()
            raise
        finally:
            self._tries.waiting -= 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._tries.lock.release()

    def record(self, right: bool) -> None:
        """Note whether the password was right."""
        if right:
            self._tries.wrong = 0
            return
        if monotonic() - self._tries.last > FORGET_SECONDS:
            self._tries.wrong = 0
        self._tries.wrong, self._tries.last = self._tries.wrong + 1, monotonic()
