"""Passwords: five wrong ones slow the next tries; logging out deletes the visitor's files."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from anitalker.server.limits import Limits
from app import login
from app.login import FREE_TRIES, LoginThrottle, TooManyTries


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The waits of all tries, in seconds; nobody really waits."""
    seconds = []

    async def note(wait):
        seconds.append(wait)

    monkeypatch.setattr(login, "sleep", note)
    return seconds


def in_a_loop(coroutine):
    """Run a coroutine in a thread of its own: this one may have the browser's loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def record(throttle, address, *results):
    async def tries():
        for right in results:
            async with throttle.admit(address) as attempt:
                attempt.record(right)

    in_a_loop(tries())


def test_the_wait_grows_after_five_wrong_passwords_and_ends_with_a_right_one():
    throttle = LoginThrottle()
    record(throttle, "a", *[False] * (FREE_TRIES - 1))
    assert throttle.wait_seconds("a") == 0
    record(throttle, "a", False)
    assert throttle.wait_seconds("a") == 1 and throttle.wait_seconds("b") == 0
    record(throttle, "a", False, False)
    assert throttle.wait_seconds("a") == 4
    record(throttle, "a", *[False] * 30)
    assert throttle.wait_seconds("a") <= login.LONGEST_WAIT
    record(throttle, "a", True)
    assert throttle.wait_seconds("a") == 0


def test_wrong_passwords_are_forgotten(monkeypatch):
    throttle = LoginThrottle()
    record(throttle, "a", *[False] * 6)
    now = login.monotonic()
    monkeypatch.setattr(login, "monotonic", lambda: now + login.FORGET_SECONDS + 1)
    assert throttle.wait_seconds("a") == 0
    record(throttle, "a", False)
    assert throttle.wait_seconds("a") == 0, "the old ones still count"


def test_tries_wait_for_each_other_and_too_many_are_refused():
    throttle = LoginThrottle()

    async def crowd():
        running = 0

        async def attempt():
            nonlocal running
            async with throttle.admit("a"):
                running += 1
                assert running == 1, "two tries at once"
                await asyncio.sleep(0.001)
                running -= 1

        return await asyncio.gather(*[attempt() for _ in range(6)], return_exceptions=True)

    results = in_a_loop(crowd())
    assert any(isinstance(result, TooManyTries) for result in results) and results.count(None) >= login.MAX_WAITING


@pytest.fixture(scope="module")
def locked(found_talker, serve):
    """A page that asks for a password."""
    with serve(found_talker, Limits(), ("ann", "secret")) as served:
        yield served


def test_the_server_slows_wrong_passwords(locked, waits):
    with httpx.Client(base_url=locked.url, timeout=20) as client:
        for _ in range(FREE_TRIES + 2):
            assert client.post("/login", data={"username": "ann", "password": "x"}).status_code == 400
        assert client.post("/login", data={"username": "ann", "password": "secret"}).status_code == 200
    assert waits == [0.0] * FREE_TRIES + [1.0, 2.0, 4.0]


def test_logging_out_deletes_the_files_and_asks_again(locked, root):
    with httpx.Client(base_url=locked.url, timeout=20) as client:
        client.post("/login", data={"username": "ann", "password": "secret"})
        with open(root / "app/examples/man.webp", "rb") as file:
            path = client.post("/gradio_api/upload", files={"files": ("man.webp", file)}).json()[0]
        assert client.get(f"/gradio_api/file={path}").status_code == 200
        refused = client.get("/logout", headers={"sec-fetch-site": "cross-site"})
        assert refused.status_code == 405 and client.get(f"/gradio_api/file={path}").status_code == 200
        visitor = client.cookies["anitalker-visitor"]
        assert client.get("/logout").status_code in (302, 307)
        assert client.cookies["anitalker-visitor"] != visitor
        assert client.get("/gradio_api/info").status_code == 401
        assert list(locked.sessions.root.glob("sessions/*/uploads/*/*")) == []
