"""The page behind a proxy that serves it below a path, in front of a server that knows the path or is told it."""

from __future__ import annotations

import httpx
import pytest

from anitalker.config import InputError
from app.prefix import HEADER, Prefix, check_root_path
from tests.conftest import served


@pytest.mark.parametrize(("path", "checked"), [("", ""), ("/", ""), ("/talk", "/talk"), ("/a/b-c.d/", "/a/b-c.d")])
def test_root_paths(path, checked):
    assert check_root_path(path) == checked


@pytest.mark.parametrize("path", ["talk", "//x", "/a b", "/<b>", "/a/../b", "/" + 300 * "a", "http://x/y"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(InputError, match=r"--root-path is '.*give the path of the page behind the proxy, like /talk"):
        check_root_path(path)


def proxy(target: str, path: str, strips: bool, headers: dict[str, str]):
    """An ASGI application that passes requests below `path` on to `target`, as nginx does; others are not found."""
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse

    client = httpx.AsyncClient(base_url=target, timeout=60)

    async def forward(scope, receive, send):
        request, place = Request(scope, receive), scope["raw_path"].decode()
        if place != path and not place.startswith(f"{path}/"):
            return await Response("not found", 404)(scope, receive, send)
        place = place.removeprefix(path) if strips else place
        kept = {key: value for key, value in request.headers.items() if key != "host"}
        asked = client.build_request(
            request.method,
            f"{place or '/'}?{request.url.query}",
            headers={**kept, **headers, "x-forwarded-host": request.headers["host"]},
            content=await request.body(),
        )
        answer = await client.send(asked, stream=True)
        passed = StreamingResponse(answer.aiter_raw(), answer.status_code)
        passed.raw_headers = [(key.lower(), value) for key, value in answer.headers.raw]
        await passed(scope, receive, send)

    return forward


WAYS = {  # how the path is made known: option of the server, header and removal by the proxy
    "nginx removes it and sends the header": ("", True, {HEADER: "/talk"}),
    "the server is told it": ("/talk", True, {}),
    "it is passed on": ("/talk", False, {}),
}


@pytest.fixture(params=WAYS)
def behind(request, page):
    """The address of the page behind a proxy."""
    root_path, strips, headers = WAYS[request.param]
    with (
        served(Prefix(page.app, root_path), lifespan="off") as server,
        served(proxy(server, "/talk", strips, headers), lifespan="off") as address,
    ):
        yield f"{address}/talk"


def test_samples_and_config_name_the_path(behind):
    info = httpx.get(f"{behind}/gradio_api/info").text
    assert f"{behind}/examples/portrait.webp" in info
    assert f'"root":"{behind}"' in httpx.get(f"{behind}/").text
    assert httpx.get(f"{behind}/examples/man.webp").headers["content-type"] == "image/webp"


def test_the_path_alone_leads_to_the_page(page):
    with served(Prefix(page.app, "/talk"), lifespan="off") as server:
        answer = httpx.get(f"{server}/talk")
    assert answer.is_redirect and answer.headers["location"] == "/talk/"


def test_a_header_that_is_no_path_changes_nothing(page):
    with served(Prefix(page.app), lifespan="off") as server:
        assert f'"root":"{server}"' in httpx.get(f"{server}/", headers={HEADER: "/<script>"}).text


@pytest.mark.slow
def test_a_video_behind_a_proxy(open_page, behind):
    tab = open_page(f"{behind}/")
    tab.locator("[data-take='example:english']").click()
    tab.wait_for_selector("#boxes rect", state="attached")
    tab.locator("#recording", has_text="1x").wait_for()
    tab.set_steps()
    tab.locator("#still img").wait_for()
    assert tab.evaluate("(i => i.decode().then(() => i.naturalWidth))(document.querySelector('#still img'))") > 0
    tab.locator("#speak").click()
    tab.await_status("Done")
    assert tab.plays() == [512, 512]
    tab.get_by_label("Source beside it").check()
    assert tab.evaluate("document.querySelector('#source img').naturalWidth") == 512
