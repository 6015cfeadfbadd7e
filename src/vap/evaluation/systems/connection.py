"""Requests to a service: what an answer means, and no key in what is told of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

_TIMEOUT = httpx2.Timeout(120.0, connect=20.0)
_LONGEST_MESSAGE = 300
_NO_ACCESS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN)


class ServiceError(Exception):
    """A request that did not end well; the subclasses say what that means for a submission."""


class RefusedError(ServiceError):
    """The service refused this request: nothing was started, and asking again changes nothing."""


class ClosedError(RefusedError):
    """The service refuses all requests of this account: a wrong key, an empty account."""


class BusyError(ServiceError):
    """The service takes no more requests now: nothing was started."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnreachedError(ServiceError):
    """No connection was made: nothing was started."""


class UnclearError(ServiceError):
    """The answer was lost or makes no sense: the service may have done what was asked."""


Sort = Callable[[int, Mapping[str, Any]], type[ServiceError] | None]
"""Says what an answer (HTTP status, JSON body) means; None for a good one."""


def sort_by_status(status: int, body: Mapping[str, Any]) -> type[ServiceError] | None:
    """Sort an answer by its HTTP status alone."""
    del body
    if is_good(status):
        return None
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return BusyError
    if status in _NO_ACCESS:
        return ClosedError
    unclear = status == HTTPStatus.REQUEST_TIMEOUT or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return UnclearError if unclear else RefusedError


def is_good(status: int) -> bool:
    """Whether an HTTP status is one of success."""
    return status < HTTPStatus.MULTIPLE_CHOICES


@dataclass(slots=True)
class Connection:
    """A connection to one service.

    Attributes:
        base_url: Where paths start.
        authorization: Makes the value of the header; None sends none.
        sort: What the service's answers mean.
        secrets: What is never repeated in an error.
    """

    base_url: str
    authorization: Callable[[], str | None]
    sort: Sort = sort_by_status
    secrets: tuple[str, ...] = ()
    _http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=_TIMEOUT))
    _last_authorization: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        """Send a request and return its JSON object.

        Args:
            method: ``GET`` or ``POST``.
            path: Of the service.
            content: ``json``, ``data``, ``files``, ``params`` or ``headers`` of httpx.

        Raises:
            ServiceError: If the answer is no good one.
        """
        headers = {**content.pop("headers", {}), **self._authorized()}
        try:
            response = self._http.request(method, self._url(path), headers=headers, **content)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise UnreachedError(
                self._safe(f"no connection to {self.base_url} ({error})")
            ) from None
        except httpx2.RequestError as error:
            reason = str(error) or type(error).__name__
            raise UnclearError(self._safe(f"the connection was lost ({reason})")) from None
        body = _json_object(response)
        self._raise_for(response, body or {})
        if body is None:
            raise UnclearError(f"the answer to {method} {path} is no JSON object")
        return body

    def download(self, url: str, target: Path, *, authorized: bool = False) -> None:
        """Write a file of the service; a URL elsewhere must not see the key.

        Raises:
            ServiceError: If it does not arrive whole; ``RefusedError`` if the URL has expired.
        """
        headers = self._authorized() if authorized else {}
        try:
            with (
                self._http.stream(
                    "GET", self._url(url), headers=headers, follow_redirects=True
                ) as response,
                target.open("wb") as file,
            ):
                if not is_good(response.status_code):
                    response.read()
                    self._raise_for(response, _json_object(response) or {})
                for part in response.iter_bytes():
                    file.write(part)
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise UnclearError(self._safe(f"the download was cut off ({reason})")) from None

    def _authorized(self) -> dict[str, str]:
        self._last_authorization = self.authorization() or ""
        return {"Authorization": self._last_authorization} if self._last_authorization else {}

    def _url(self, path: str) -> str:
        return path if "://" in path else self.base_url.rstrip("/") + path

    def _raise_for(self, response: httpx2.Response, body: Mapping[str, Any]) -> None:
        kind = self.sort(response.status_code, body)
        if kind is None:
            return
        message = self._safe(f"HTTP {response.status_code}: {_message(body) or response.text}")
        if kind is BusyError:
            raise BusyError(message, _retry_after(response))
        raise kind(message)

    def _safe(self, text: str) -> str:
        """A text without anything secret."""
        token = self._last_authorization.partition(" ")[2]
        for secret in filter(None, (token, *self.secrets)):
            text = text.replace(secret, "[secret]")
        return " ".join(text.split())[:_LONGEST_MESSAGE]


def _json_object(response: httpx2.Response) -> dict[str, Any] | None:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _message(body: Mapping[str, Any]) -> str:
    """What the body of an error says: services nest and name it in their own ways."""
    inner = body.get("error", body)
    if not isinstance(inner, dict):
        return str(inner)
    words = [
        inner.get(name)
        for name in ("code", "reason", "err_code", "message", "detail", "request_id")
    ]
    return " ".join(str(word) for word in words if word)


def _retry_after(response: httpx2.Response) -> float:
    """Seconds to wait, of a header that gives them or a date; 0 without one."""
    text = response.headers.get("retry-after", "")
    seconds = 0.0
    with suppress(ValueError, TypeError, OverflowError):
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    with suppress(ValueError):
        seconds = float(text)
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
