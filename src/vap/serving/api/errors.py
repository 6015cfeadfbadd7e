"""Errors as clients of OpenAI's API know them: ``{"error": {message, type, code, param}}``."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

_logger = logging.getLogger(__name__)

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class ErrorInfo(BaseModel):
    """What went wrong."""

    message: str
    type: str
    code: str | None = None
    param: str | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorInfo


class ApiError(HTTPException):
    """An error that a client is told of."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, headers)
        self.code, self.param = code, param


def error_response(error: HTTPException) -> JSONResponse:
    """Return the answer of an error."""
    server = error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = "server_error" if server else _TYPES.get(error.status_code, "invalid_request_error")
    code, param = getattr(error, "code", None), getattr(error, "param", None)
    body = {"message": str(error.detail), "type": kind, "code": code, "param": param}
    return JSONResponse({"error": body}, error.status_code, dict(error.headers or {}))


def from_validation(errors: ValidationError | RequestValidationError) -> ApiError:
    """Return the error of values that are not allowed, by the first of them."""
    first: dict[str, Any] = dict(errors.errors()[0])
    where = [str(part) for part in first["loc"] if part not in {"body", "query", "path", "header"}]
    param = ".".join(where) or None
    message = str(first["msg"]).removeprefix("Value error, ")
    return ApiError(
        400, f"{param}: {message}" if param else message, code="invalid_value", param=param
    )


def add_handlers(app: FastAPI) -> None:
    """Answer every error of an application in this shape."""

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(from_validation(error))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        _logger.error("%s %s failed.", request.method, request.url.path, exc_info=error)
        return error_response(ApiError(500, "The service failed. Try again.", code="internal"))
