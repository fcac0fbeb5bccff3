"""Live routes behind the page: what is offered, whose it is, who is logged in, and what leaves with the visitor."""

import httpx
import pytest

pytest.importorskip("aiortc", reason='the tab Live needs the extra: pip install "anitalker[serve]"')

from anitalker.server.limits import MB, Limits
from anitalker.server.settings import ServerSettings
from app.live_tab import LiveFaces


@pytest.fixture
def visitor(page):
    """Makes new visitors: httpx clients that have opened the page."""
    clients = []

    def new(url=page.url):
        client = httpx.Client(base_url=url, timeout=60)
        client.get("/config")
        clients.append(client)
        return client

    yield new
    for client in clients:
        client.close()


def add_avatar(client, portrait):
    with portrait.open("rb") as file:
        answer = client.post("/live/v1/avatars", files={"portrait": ("face.webp", file)})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_the_live_page_and_what_it_needs(visitor):
    client = visitor()
    page = client.get("/live/")
    assert page.status_code == 200 and "live.js" in page.text and page.headers["x-content-type-options"] == "nosniff"
    for path in ("live.js", "live.css", "examples/man.webp", "v1/voices", "v1/sessions/ice-servers"):
        assert client.get(f"/live/{path}").status_code == 200, path


@pytest.mark.parametrize(
    "path",
    [
        "v1/sessions",
        "v1/videos",
        "metrics",
        "healthz",
        "openapi.json",
        "v1/sessions/x",
        "v1/avatars/" + "0" * 32,
    ],
)
def test_nothing_else_is_offered(visitor, path):
    """No list of others' sessions, no videos beside the page's queue."""
    assert visitor().get(f"/live/{path}").status_code == 404


def test_a_portrait_belongs_to_its_visitor(visitor, example_portrait):
    owner, other = visitor(), visitor()
    avatar = add_avatar(owner, example_portrait)
    assert owner.get(f"/live/v1/avatars/{avatar}").json()["id"] == avatar
    assert other.get(f"/live/v1/avatars/{avatar}").status_code == 404
    assert other.delete(f"/live/v1/avatars/{avatar}").status_code == 404
    assert owner.delete(f"/live/v1/avatars/{avatar}").status_code == 204


def test_a_portrait_leaves_with_the_visitors_files(page, visitor, example_portrait):
    client = visitor()
    avatar = add_avatar(client, example_portrait)
    (session,) = [name for name, ids in page.app.live._ids.items() if avatar in ids]
    page.sessions.delete(session)
    assert client.get(f"/live/v1/avatars/{avatar}").status_code == 404
    assert avatar not in page.app.live.app.state.avatars._avatars


def test_other_web_sites_and_large_bodies_are_refused(visitor):
    client = visitor()
    foreign = {"sec-fetch-site": "cross-site", "origin": "https://foe.example"}
    assert client.post("/live/v1/avatars", headers=foreign, files={"portrait": b"x"}).status_code == 403
    large = client.post("/live/v1/sessions", content=b"x" * 300_000, headers={"content-type": "application/json"})
    assert large.status_code == 413


@pytest.mark.slow
def test_a_bad_offer_is_one_line(visitor, example_portrait):
    client = visitor()
    offer = {"sdp": "nonsense", "avatar": add_avatar(client, example_portrait)}
    answer = client.post("/live/v1/sessions", json=offer)
    assert answer.status_code == 400 and "\n" not in answer.json()["detail"]


def test_speech_by_websocket_is_for_voice_agents_of_serve(page):
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{page.port}/live/v1/sessions/{'0' * 32}/speech")


def test_without_a_login_there_is_nothing(serve, found_talker):
    limits = Limits(upload_bytes=2 * MB, media_seconds=20, waiting_jobs=3)
    with serve(found_talker, limits, credentials=("ann", "secret")) as page, httpx.Client(base_url=page.url) as client:
        assert client.get("/live/").status_code == 401
        assert client.get("/live/v1/voices").status_code == 401
        client.post("/login", data={"username": "ann", "password": "secret"})
        assert client.get("/live/v1/voices").status_code == 200


def test_as_many_sessions_as_the_options_say():
    from app.__main__ import build_parser
    from app.options import live_from

    assert live_from(build_parser().parse_args([])) == ServerSettings()
    assert live_from(build_parser().parse_args(["--max-sessions", "5"])).max_sessions == 5


def test_a_missing_package_is_told_in_a_sentence(monkeypatch):
    """Where the extra is not installed the tab says what to install, and there are no routes."""
    import gradio as gr

    from app import live_tab

    monkeypatch.setattr(live_tab, "missing_package", lambda: "aiortc")
    with gr.Blocks() as blocks:
        portrait, face = gr.Image(), gr.Radio()
        with gr.Tabs():
            live_tab.build(None, portrait, face)
    shown = [block.value for block in blocks.blocks.values() if isinstance(block, gr.HTML)]
    assert any("aiortc is not installed" in text and "anitalker[serve]" in text for text in shown)
    assert not any(isinstance(block, gr.Button) for block in blocks.blocks.values())


def test_a_visitor_without_a_portrait_is_told(page):
    from types import SimpleNamespace

    from app.guard import SESSION_HEADER

    faces = LiveFaces(page.models, page.sessions, page.app.live)
    request = SimpleNamespace(headers={SESSION_HEADER: "0" * 32})
    assert "there is no portrait yet" in faces.wake(None, "largest", request).lower()
