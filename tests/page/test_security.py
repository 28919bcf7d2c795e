"""Who may talk to the server, and how much they may send."""

import pytest
from starlette.testclient import TestClient

from liir.page.security import Guard, is_loopback


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
