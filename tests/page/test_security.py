"""Who may talk to the server, and how much they may send."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from liir.page.security import Guard, is_loopback
from liir.page.server import STATIC, create_app


async def app(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(len(body)).encode()})


@pytest.fixture
def inside():
    return TestClient(Guard(app, upload=100), base_url="http://localhost:8000")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "192.168.0.9"])
def test_other_names_are_refused(inside, host):
    assert inside.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_changes_come_from_the_page_alone(inside, headers):
    assert inside.post("/x", headers=headers).status_code == 403
    assert inside.get("/x", headers=headers).status_code == 200
    own = {"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}
    assert inside.post("/x", headers=own).status_code == 200


def test_what_is_too_large_is_refused(inside):
    place = "/api/projects"
    assert inside.post(place, content=b"x" * 100).text == "100"
    assert inside.post(place, content=b"x" * 101).status_code == 413
    chunks = (b"x" * 60 for _ in range(2))  # without a length
    assert inside.post(place, content=chunks).status_code == 413


def test_a_token_is_asked_for():
    client = TestClient(Guard(app, token="secret"), base_url="http://somewhere:8000")
    assert client.get("/api/x").status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    assert client.get("/api/x", headers={"authorization": "Bearer secret"}).status_code == 200
    answer = client.get("/?token=secret", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert client.get("/api/x").status_code == 200  # by the cookie
    assert "default-src 'self'" in client.get("/").headers["content-security-policy"]


def test_loopback():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "::1", "127.8.9.1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))


def routes(studio):
    """Method and path of every route, so that a new one cannot be forgotten here."""
    described = create_app(studio, "1").openapi()["paths"]
    found = [(method.upper(), path) for path, each in described.items() for method in each]
    files = [f"/{path.name}" for path in STATIC.iterdir()]
    return [*found, *(("GET", path) for path in ("/", "/openapi.json", *files))]


def filled(path):
    """A path with its places filled, so that only a guard would refuse it."""
    for name in ("project", "frame", "number", "kind"):
        path = path.replace(f"{{{name}}}", "masks" if name == "kind" else "1")
    assert "{" not in path
    return path


def test_every_route_is_guarded(studio):
    found = routes(studio)
    assert len(found) > 40
    reached = []

    async def inner(scope, receive, send):
        reached.append(scope["path"])
        await app(scope, receive, send)

    inside = TestClient(Guard(inner), base_url="http://localhost:8000")
    outside = TestClient(Guard(inner, token="secret"), base_url="http://10.0.0.1:8000")
    for method, path in found:
        place = filled(path)
        assert inside.request(method, place, headers={"host": "evil.example"}).status_code == 421
        assert outside.request(method, place).status_code == 401
        wrong = {"cookie": "liir-token=secre", "authorization": "Bearer secrets"}
        assert outside.request(method, place, headers=wrong).status_code == 401
        if method != "GET":
            for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
                assert inside.request(method, place, headers=headers).status_code == 403
                shown = {**headers, "authorization": "Bearer secret"}
                assert outside.request(method, place, headers=shown).status_code == 403
    assert reached == []


def test_nothing_is_changed_by_asking(client, clip):
    """Changes from elsewhere are told by the method: no GET may be one."""
    client.upload(clip)
    project = client.studio.project(client.project)
    before = {path: path.stat().st_mtime_ns for path in project.folder.rglob("*")}
    for method, path in routes(client.studio):
        if method == "GET":
            place = path.replace("{project}", client.project).replace("{frame}", "1")
            client.http.get(filled(place))
    assert {path: path.stat().st_mtime_ns for path in project.folder.rglob("*")} == before
    assert client.studio.tasks() == []


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer s\xe9cret", "Bearer secretsecret", "x"])
def test_a_wrong_token_is_none(given):
    client = TestClient(Guard(app, token="secret"), base_url="http://10.0.0.1:8000")
    headers = {"authorization": given.encode("latin-1")}
    assert client.get("/api/x", headers=headers).status_code == 401


def test_tokens_are_compared_in_constant_time(monkeypatch):
    seen = []

    def compare(given, token):
        seen.append((given, token))
        return False

    monkeypatch.setattr("liir.page.security.hmac.compare_digest", compare)
    client = TestClient(Guard(app, token="secret"), base_url="http://10.0.0.1:8000")
    assert client.get("/x", headers={"authorization": "Bearer secret"}).status_code == 401
    assert (b"secret", b"secret") in seen


def ask_raw(guard, scope, chunks=()):
    """What an application is answered to a request that no client would make."""
    waiting = [{"type": "http.request", "body": c, "more_body": True} for c in chunks]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})
    sent = []

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    # In a thread of its own: Playwright leaves a loop running in that of the tests.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(guard(scope, receive, send))).result()
    return sent


@pytest.mark.parametrize("said", [b"5", b"-1", b"99999999999999999999", b"1e3", b""])
def test_a_length_is_not_believed(said):
    """More than was said, or no number at all."""
    headers = [(b"host", b"localhost"), (b"content-length", said)]
    scope = {"type": "http", "method": "POST", "path": "/api/projects", "headers": headers}
    sent = ask_raw(Guard(app, upload=100), scope, [b"x" * 60] * 2)
    assert sent[0]["status"] == 413


def test_other_protocols_are_not_passed_on():
    scope = {"type": "websocket", "path": "/api/x", "headers": []}
    assert ask_raw(Guard(app), scope) == []


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "/static/../../server.py", "/%5c..",
     "//etc/passwd", "/%00"],
)  # fmt: skip
def test_static_files_do_not_lead_out(client, path):
    answer = client.http.get(path)
    assert answer.status_code in (404, 405), answer.text
    assert "import" not in answer.text
