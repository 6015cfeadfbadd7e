"""The OpenAPI document, and a page that shows it without files of other hosts."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import jinja2
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, Response

from vap import __version__
from vap.serving.api.errors import ErrorBody
from vap.serving.api.gate import describe_security
from vap.serving.jobs.request import VideoRequest

_FILE = {"type": "string", "format": "binary"}
_ID = {"type": "string", "pattern": "^[a-z]+_[A-Za-z0-9]{8,64}$"}
_REF = "#/components/schemas/{model}"
_REQUEST = VideoRequest.model_json_schema(ref_template=_REF)
_SHARED: dict[str, Any] = _REQUEST.pop("$defs", {})
_DESCRIPTION = (
    "Videos that follow reference videos, in the shape of OpenAI's videos API. Every error has "
    "the body {error: {message, type, code, param}}."
)


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return schema | ({"required": required} if required else {})


def _body(**contents: dict[str, Any]) -> dict[str, Any]:
    kinds = {"json": "application/json", "form": "multipart/form-data"}
    content = {kinds[name]: {"schema": schema} for name, schema in contents.items()}
    return {"requestBody": {"required": True, "content": content}}


_HOOK = {"webhook_url": {"type": "string", "format": "uri", "maxLength": 2000}}
_NAMED_IMAGE = _object({"file_id": _ID, "image_url": {"type": "string"}})
_JSON_FIELDS = {**_REQUEST["properties"], **_HOOK}

CREATE_BODY = _body(
    json=_object(
        {**_JSON_FIELDS, "input_reference": _NAMED_IMAGE, "effect": {"type": "string"}},
    ),
    form=_object(
        {
            "prompt": {"type": "string"},
            "input_reference": _FILE,
            "reference": {"type": "array", "items": _FILE, "maxItems": 16},
            "effect": {"type": "string"},
            "model": {"type": "string"},
            "size": {"type": "string"},
            "seconds": {"type": "string"},
            "seed": {"type": "string"},
            "expert": {"type": "string"},
            "group": {"type": "string"},
            "check_reference": {"type": "string"},
        },
        ["input_reference"],
    ),
)
ESTIMATE_BODY = _body(json=_object({**_JSON_FIELDS, "effect": {"type": "string"}}))
CAPTIONS_BODY = _body(
    json=_object(
        {
            "reference": _REQUEST["properties"]["references"]["items"],
            "reference_prompt": _REQUEST["properties"]["prompt"],
            **{name: _REQUEST["properties"][name] for name in ("image", "prompt", "model")},
        },
        ["reference", "image"],
    )
)
REMIX_BODY = _body(json=_object(_JSON_FIELDS))
UPLOAD_BODY = _body(form=_object({"file": _FILE}, ["file"]))
PROMPT_BODY = _body(
    form=_object({"file": _FILE, "reference_prompt": {"type": "string"}}, ["file"]),
    json=_object({"upload": _ID, "reference_prompt": {"type": "string"}}, ["upload"]),
)


def add_documents(app: FastAPI) -> None:
    """Serve ``/openapi.json`` and ``/docs``."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _schema(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        text = (files("vap.serving.api") / "page" / "docs.html").read_text(encoding="utf-8")
        page = jinja2.Environment(autoescape=True).from_string(text)
        return HTMLResponse(page.render(schema=openapi()))

    @app.get("/docs.css", include_in_schema=False)
    def style() -> Response:
        text = (files("vap.serving.api") / "page" / "docs.css").read_text(encoding="utf-8")
        return Response(text, media_type="text/css")


def _schema(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title="Video-As-Prompt", version=__version__, description=_DESCRIPTION, routes=app.routes
    )
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    error = ErrorBody.model_json_schema(ref_template=_REF)
    schemas |= {**_SHARED, **error.pop("$defs"), "ErrorBody": error}
    answer = {
        "description": "An error.",
        "content": {"application/json": {"schema": {"$ref": _REF.format(model="ErrorBody")}}},
    }
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["responses"] |= {"4XX": answer, "5XX": answer}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    describe_security(schema)
    return schema
