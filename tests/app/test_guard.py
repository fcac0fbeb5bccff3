"""Security of the page: private files, no paths or addresses, no more bytes than allowed, login everywhere."""

import json
import os
import secrets
import socket

import httpx
import pytest

from app.guard import COOKIE, SESSION_HEADER

PICTURE = "app/examples/man.webp"


@pytest.fixture
def visitor(page):
    """Makes new visitors: httpx clients that have opened the page."""
    clients = []

    def new(url=page.url):
        client = httpx.Client(base_url=url, timeout=20)
        client.get("/config")
        clients.append(client)
        return client

    yield new
    for client in clients:
        client.close()


def upload(client, path, name=None):
    """Upload a file -> the server's path."""
    with open(path, "rb") as file:
        answer = client.post("/gradio_api/upload", files={"files": (name or path.name, file)})
    assert answer.status_code == 200, answer.text
    return answer.json()[0]


def faces(client, path, session_hash=None):
    """Ask for the faces of a file on the server."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    return client.post(
        "/gradio_api/run/faces", json={"data": [file, "largest"], "session_hash": session_hash or secrets.token_hex(8)}
    )


@pytest.mark.slow
def test_a_visitor_reads_an_own_file(page, visitor, root):
    client = visitor()
    path = upload(client, root / PICTURE)
    answer = client.get(f"/gradio_api/file={path}")
    assert answer.status_code == 200 and answer.content == (root / PICTURE).read_bytes()
    assert faces(client, path).status_code == 200


def test_a_visitor_cannot_read_or_use_anothers_file(page, visitor, root):
    owner, other = visitor(), visitor()
    path = upload(owner, root / PICTURE)
    assert os.path.exists(path)
    for client in (other, httpx.Client(base_url=page.url)):
        assert client.get(f"/gradio_api/file={path}").status_code == 403
        assert client.head(f"/gradio_api/file={path}").status_code == 403
        assert faces(client, path).status_code == 403
    assert owner.get(f"/gradio_api/file={path}").status_code == 200


def test_equal_bytes_are_two_files(visitor, root):
    """Gradio names uploads by their hash: two visitors with the same picture must not share one file."""
    owner, other = visitor(), visitor()
    first, second = upload(owner, root / PICTURE), upload(other, root / PICTURE)
    assert first != second
    assert owner.get(f"/gradio_api/file={second}").status_code == 403
    assert other.get(f"/gradio_api/file={first}").status_code == 403


def test_an_example_stays_when_somebody_uploads_it(page, visitor, root):
    example = next(file for file in page.sessions.public if file.name == "man.webp")
    upload(visitor(), root / PICTURE)
    assert visitor().get(f"/gradio_api/file={example}").content == (root / PICTURE).read_bytes()


def test_forged_cookies_and_headers(page, visitor, root):
    """Neither a forged cookie nor the guard's own header opens a session."""
    owner = visitor()
    path = upload(owner, root / PICTURE)
    session_id = path.split("/sessions/")[1].split("/")[0]
    token = owner.cookies[COOKIE]
    assert session_id not in token and token not in path
    for forged in (session_id, f"{session_id}.{'0' * 64}", f"{token[:-1]}x", "." + token.split(".")[1]):
        answer = httpx.get(f"{page.url}/gradio_api/file={path}", headers={"cookie": f"{COOKIE}={forged}"})
        assert answer.status_code == 403 and COOKIE in answer.headers["set-cookie"]
    answer = httpx.get(f"{page.url}/gradio_api/file={path}", headers={SESSION_HEADER: session_id})
    assert answer.status_code == 403


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "{folder}/../../../../../../etc/passwd",
        "{folder}/..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "{root}/README.md",
        "{root}/checkpoints/lite.safetensors",
        "http://127.0.0.1:9/x",
        "file:///etc/passwd",
        "{folder}",
        "",
        "%00",
    ],
)
def test_paths_outside_are_refused(page, visitor, root, path):
    client = visitor()
    folder = os.path.dirname(upload(client, root / PICTURE))
    for prefix in ("/gradio_api/file=", "/gradio_api/file/", "/file=", "/file/"):
        answer = client.get(prefix + path.format(folder=folder, root=root))
        assert answer.status_code in (400, 403, 404), (prefix, answer.status_code)
        assert b"root:" not in answer.content and b"AniTalker](" not in answer.content


def test_a_link_does_not_lead_out(page, visitor, root):
    client = visitor()
    link = os.path.join(os.path.dirname(upload(client, root / PICTURE)), "link.webp")
    os.symlink("/etc/passwd", link)
    assert client.get(f"/gradio_api/file={link}").status_code == 403


@pytest.mark.parametrize("path", ["http://127.0.0.1:9/face.png", "https://example.com/x.png", "/etc/passwd", 5])
def test_calls_with_addresses_and_foreign_paths_are_refused(visitor, path):
    answer = faces(visitor(), path)
    assert answer.status_code == 403 and "addresses" in answer.text


def test_an_address_beside_an_own_path_is_refused(visitor, root):
    client = visitor()
    file = {"path": upload(client, root / PICTURE), "url": "http://127.0.0.1:9/", "meta": {"_type": "gradio.FileData"}}
    answer = client.post("/gradio_api/run/faces", json={"data": [file, "largest"], "session_hash": "s"})
    assert answer.status_code == 403


def test_uploaded_names_stay_in_the_folder(page, visitor, root):
    client = visitor()
    path = upload(client, root / PICTURE, "../../../evil<b>.webp")
    assert "/uploads/" in path and ".." not in path
    assert os.path.realpath(path).startswith(str(page.sessions.root / "sessions"))


def sent_until_answered(page, head, block, most):
    """Send a request piece by piece until an answer comes -> bytes of the body that were sent, status."""
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as connection:
        connection.sendall(head)
        connection.setblocking(False)
        sent = 0
        while sent < most:
            try:
                if answer := connection.recv(100):
                    return sent, int(answer.split()[1])
            except BlockingIOError:
                pass
            try:
                sent += connection.send(block)
            except BlockingIOError:
                continue
            except OSError:
                break
        connection.settimeout(5)
        return sent, int(connection.recv(100).split()[1])


def test_large_uploads_are_refused_before_they_are_read(page):
    head = (
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 1000000000\r\n\r\n"
    )
    sent, status = sent_until_answered(page, head, b"", 1)  # not one byte of the body is needed
    assert (sent, status) == (0, 413)


def test_large_uploads_that_do_not_say_so_are_cut(page):
    """Chunked, without a length: refused soon after the limit of 2 MB, and nothing stays."""
    before = set(page.sessions.root.rglob("*"))
    head_of_file = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n'
    head = (
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + f"{len(head_of_file):x}\r\n".encode() + head_of_file + b"\r\n"
    )
    block = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", page.port), timeout=20) as connection:
        connection.sendall(head)
        cut = False
        try:
            for _ in range(400):  # 26 MB, if they were taken
                connection.sendall(block)
            answer = connection.recv(100)
        except OSError:
            cut = True  # while we were sending: the server reads no more
    assert cut or answer.split()[1] == b"413"
    left = [file for file in set(page.sessions.root.rglob("*")) - before if file.is_file()]
    assert sum(file.stat().st_size for file in left) <= 2.3e6
    for file in left:
        os.utime(file, (0, 0))
    page.sessions.sweep()
    assert not [file for file in left if file.exists()]


def test_large_calls_are_refused(page, visitor):
    answer = visitor().post("/gradio_api/run/faces", content=b"[" * 300_000)
    assert answer.status_code == 413
    deep = visitor().post("/gradio_api/run/faces", content=b"[" * 50_000 + b"]" * 50_000)
    assert deep.status_code == 400


@pytest.mark.parametrize("path", ["proxy=http://127.0.0.1:9/", "vibe-code/", "stream/x/1/2/playlist.m3u8", "deep_link"])
def test_what_the_page_does_not_need_is_not_there(visitor, path):
    assert visitor().get(f"/gradio_api/{path}").status_code == 404
    assert visitor().post(f"/gradio_api/{path}", json={}).status_code in (403, 404)


@pytest.mark.slow
def test_a_session_belongs_to_its_first_visitor(visitor, root):
    owner, other = visitor(), visitor()
    assert faces(owner, upload(owner, root / PICTURE), "mine").status_code == 200
    assert faces(other, upload(other, root / PICTURE), "mine").status_code == 403
    assert other.get("/gradio_api/queue/data", params={"session_hash": "mine"}).status_code == 403
    twice = other.get("/gradio_api/queue/data", params={"session_hash": ["free", "mine"]})
    assert twice.status_code == 403, "Gradio reads the last of two values"
    assert other.get("/gradio_api/heartbeat/mine").status_code == 403
    body = {"session_hash": "mine", "fn_index": 0, "event_id": "x"}
    assert other.post("/gradio_api/cancel", json=body).status_code == 403


def test_headers(visitor):
    answer = visitor().get("/")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    cookie = httpx.get(answer.url).headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie


@pytest.mark.slow
def test_login_is_asked_for_on_page_and_api(found_talker, serve, root):
    from anitalker.server.limits import Limits

    with (
        serve(found_talker, Limits(), credentials=("ann", "secret")) as closed,
        httpx.Client(base_url=closed.url) as client,
    ):
        assert "auth_required" in client.get("/").text and "tab-drive" not in client.get("/").text
        call = {"data": [None, "largest"], "session_hash": "s"}
        example = next(iter(closed.sessions.public))
        for answer in (
            client.get("/config"),
            client.get("/gradio_api/info"),
            client.get(f"/gradio_api/file={example}"),
            client.post("/gradio_api/run/faces", json=call),
            client.post("/gradio_api/queue/join", json={**call, "fn_index": 0}),
            client.get("/gradio_api/queue/data", params={"session_hash": "s"}),
            client.post("/gradio_api/upload", files={"files": (root / PICTURE).read_bytes()}),
        ):
            assert answer.status_code == 401, answer.url
        assert client.post("/login", data={"username": "ann", "password": "wrong"}).status_code == 400
        assert client.post("/login", data={"username": "ann", "password": "secret"}).status_code == 200
        assert "tab-drive" in json.dumps(client.get("/config").json())
        assert client.get(f"/gradio_api/file={example}").status_code == 200
        assert client.post("/gradio_api/run/faces", json=call).status_code == 200
