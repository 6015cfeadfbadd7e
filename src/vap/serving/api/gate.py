"""Stands before all routes: who may send what, how often and how much."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vap.serving.api.errors import ApiError, error_response
from vap.serving.api.service import Service
from vap.serving.keys import Key

Observe = Callable[[Scope, int, float], None]

HEADERS = {
    # Pages load nothing from other hosts, and no other page shows them.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none';"
        " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_LOCAL = {"localhost", "127.0.0.1", "::1"}
_SAFE = {"GET", "HEAD", "OPTIONS"}
_IDLE = 60.0  # seconds without a byte of a body
_JSON_BYTES = 16 * 1024**2  # images may be inside
_FORM_BYTES = 1024**2  # of a form beside its files


class Gate:
    """Checks host, origin, key, rate and size of requests, and sets headers of answers."""

    def __init__(self, app: ASGIApp, service: Service, observe: Observe) -> None:
        self._app = app
        self._service = service
        self._settings = service.settings
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            key = await self._admit(scope)
        except ApiError as error:
            await error_response(error)(scope, receive, answer)
        else:
            scope.setdefault("state", {})["key"] = key
            await self._app(scope, self._limited(scope, receive), answer)
        finally:
            self._observe(scope, status, time.perf_counter() - start)

    async def _admit(self, scope: Scope) -> Key | None:
        """Return the key of a request that may go on."""
        headers, path = Headers(scope=scope), scope["path"]
        needs_key = path.startswith("/v1/") or path in {"/v1", "/metrics"}
        if self._settings.loopback:
            _check_host(headers, self._settings.allowed_hosts)
        key = None
        if needs_key:
            given = _bearer(headers)
            if self._service.keys.in_memory(given):
                key = self._key(given)
            else:
                key = await anyio.to_thread.run_sync(self._key, given)
        if key is None and scope["method"] not in _SAFE:
            # Without a key, a page of another site could act through the browser of a user.
            _check_origin(headers, self._settings.cors_origins)
        if needs_key:
            self._check_rate(key)
        _check_length(headers, self._most_bytes(headers))
        return key

    def _key(self, given: str) -> Key | None:
        keys = self._service.keys
        key = keys.check(given)
        if key is not None:
            return key
        # Revoked ones count: the last of them must not open the service to all.
        needed = not self._settings.loopback or self._settings.require_key
        if needed or keys.any(revoked=True):
            message = "The API key is missing, wrong or revoked. Send 'Authorization: Bearer KEY'."
            challenge = {"WWW-Authenticate": "Bearer"}
            raise ApiError(401, message, code="invalid_api_key", headers=challenge)
        return None  # clients such as openai's send a key even where none is needed

    def _check_rate(self, key: Key | None) -> None:
        most = (
            None if key is None else key.requests_per_minute or self._settings.requests_per_minute
        )
        if not most or key is None:
            return
        wait = self._service.rates.take(key.id, most)
        if wait:
            message = f"More than {most} requests a minute. Try again in {wait:.1f} seconds."
            retry = {"Retry-After": str(int(wait) + 1)}
            raise ApiError(429, message, code="rate_limit_exceeded", headers=retry)

    def _most_bytes(self, headers: Headers) -> int:
        if headers.get("content-type", "").lower().startswith("multipart/"):
            return self._settings.upload_bytes + _FORM_BYTES
        return _JSON_BYTES

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Receive a body of limited size, without long pauses."""
        most = self._most_bytes(Headers(scope=scope))
        count, whole = 0, False

        async def limited() -> Message:
            nonlocal count, whole
            if whole:  # what comes now is the end of the connection, whenever it is
                return await receive()
            message = await _soon(receive())
            whole = not message.get("more_body", False)
            count += len(message.get("body", b""))
            if count > most:
                raise _too_large(most)
            return message

        return limited


def _bearer(headers: Headers) -> str:
    """The key that a request sends; empty if there is none."""
    scheme, _, text = headers.get("authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


async def _soon(receiving: Awaitable[Message]) -> Message:
    try:
        return await asyncio.wait_for(receiving, _IDLE)
    except TimeoutError:
        raise ApiError(408, "The body of the request did not arrive.", code="timeout") from None


def _check_host(headers: Headers, allowed: tuple[str, ...]) -> None:
    """Refuse other names for this machine: a page could have its own name point here."""
    name = _hostname(headers.get("host", ""))
    if name not in _LOCAL and name not in allowed:
        message = "This service answers only as localhost. Add the host to allowed_hosts."
        raise ApiError(403, message, code="host_not_allowed")


def _check_origin(headers: Headers, allowed: tuple[str, ...]) -> None:
    origin = headers.get("origin")
    foreign = headers.get("sec-fetch-site") == "cross-site"
    if origin is not None and origin not in allowed:
        foreign = urlsplit(origin).netloc != headers.get("host") if _is_url(origin) else True
    if foreign and origin not in allowed:
        raise ApiError(403, "Pages of other sites may not do this.", code="origin_not_allowed")


def _is_url(text: str) -> bool:
    try:
        return bool(urlsplit(text).netloc)
    except ValueError:
        return False


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _check_length(headers: Headers, most: int) -> None:
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > most:
        raise _too_large(most)


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"The body has more than {most:,} bytes.", code="too_large")


def describe_security(schema: dict[str, Any]) -> None:
    """Say in an OpenAPI document that routes take a key."""
    schemes = schema.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["key"] = {"type": "http", "scheme": "bearer"}
    schema["security"] = [{"key": []}]
    schema["paths"]["/health"]["get"]["security"] = []
