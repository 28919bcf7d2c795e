"""Who may talk to the server, and how much they may send.

Before any route: the name that the server is called by (DNS rebinding), where a change comes from
(cross-site requests), the token where the server is open to others, and the size of what is sent.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "liir-token"
SMALL = 32_000_000
"""Bytes of a request that uploads no file."""

_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' "
    "blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_SAFE = ("GET", "HEAD", "OPTIONS")


class TooLargeError(Exception):
    """More was sent than may be."""


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach a server that is bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """An ASGI application around another, which sees only what passes.

    Args:
        app: The other.
        token: What everybody must show; None where only this computer can connect.
        upload: Bytes of a request that uploads files, at most.
    """

    def __init__(self, app: App, *, token: str | None = None, upload: int = 2 << 30) -> None:
        self.app, self.token, self.upload = app, token, upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it with a refusal."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        begun = False
        over: list[int] = []  # how much was sent, once that is too much

        async def answer(message: Message) -> None:
            nonlocal begun
            if over and not begun:
                return  # some other words for it
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", []), *self._headers(scope)]
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is None:
            query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
            if self.token and self._same(query.get("token", [""])[0]) and scope["path"] == "/":
                await _welcome(answer, self.token)  # the token goes out of the address bar
                return
            limit = self.upload if _uploads(scope["path"]) else SMALL
            with suppress(TooLargeError):
                await self.app(scope, _limited(receive, headers, limit, over), answer)
            if begun or not over:
                return
            over.clear()
            refusal = 413, f"more than {limit // 1_000_000} MB were sent"
        status, text = refusal
        body = b'{"detail":"%s"}' % text.encode()
        kind = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await answer({"type": "http.response.start", "status": status, "headers": kind})
        await answer({"type": "http.response.body", "body": body})

    def _headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        told = [(key.encode(), value.encode()) for key, value in _HEADERS.items()]
        if scope["path"].startswith("/api"):
            told.append((b"cache-control", b"no-store"))
        else:
            told.append((b"cache-control", b"no-cache"))
        return told

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and words of a refusal; None where there is none."""
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if self.token is None and not is_loopback(name):
            return 421, "call this server by localhost or 127.0.0.1"
        if scope["method"] not in _SAFE:
            origin = headers.get("origin")
            site = headers.get("sec-fetch-site", "same-origin")
            if site not in ("same-origin", "none"):
                return 403, "changes are taken from the page of this server alone"
            if origin is not None and urlsplit_netloc(origin) != host:
                return 403, "changes are taken from the page of this server alone"
        if self.token is not None and not self._shown(scope, headers):
            return 401, "open the address that liir serve printed, token and all"
        return None

    def _shown(self, scope: Scope, headers: dict[str, str]) -> bool:
        """Whether a request shows the token: in the address, a cookie, or a header."""
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        given = [*query.get("token", [])[:1], headers.get("authorization", "")[7:]]
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
            given.append(cookie.value if cookie else "")
        except CookieError:
            pass
        return any(map(self._same, given))

    def _same(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), (self.token or "").encode())


def urlsplit_netloc(origin: str) -> str:
    """Host and port of an origin; empty for "null" and what is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _uploads(path: str) -> bool:
    return path == "/api/projects" or path.endswith("/import")


def _limited(receive: Receive, headers: dict[str, str], limit: int, over: list[int]) -> Receive:
    """The body of a request, until it is too large."""
    told = headers.get("content-length", "0")
    seen = int(told) if told.isdigit() and len(told) < 16 else limit + 1
    if seen > limit:

        async def refuse() -> Message:
            over.append(seen)
            raise TooLargeError

        return refuse
    got = 0

    async def take() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > limit:
            over.append(got)
            raise TooLargeError
        return message

    return take


async def _welcome(send: Send, token: str) -> None:
    cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict"
    headers = [(b"location", b"/"), (b"set-cookie", cookie.encode())]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
