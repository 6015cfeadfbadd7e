"""The OpenAPI document: complete, and true."""

import hypothesis
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from schemathesis.specs.openapi.checks import positive_data_acceptance

from vap.serving.api.app import create_app
from vap.serving.settings import Settings


def test_the_document_names_all_routes_and_no_other_host(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert {
        *("/v1/videos", "/v1/videos/{video_id}", "/v1/videos/{video_id}/content"),
        *("/v1/videos/{video_id}/cancel", "/v1/videos/{video_id}/remix"),
        *("/v1/videos/{video_id}/events", "/v1/uploads", "/v1/prompts", "/v1/effects"),
        *("/v1/models", "/v1/experts", "/v1/estimates", "/v1/captions", "/health", "/metrics"),
    } <= document["paths"].keys()
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["description"]
            assert "422" not in operation["responses"]
    schemas = document["components"]["schemas"]
    assert {"start", "end", "upload"} == schemas["Upload"]["properties"].keys()
    assert schemas["ReferenceUse"]["properties"]["verdict"]["enum"] == ["used", "weak", "ignored"]
    asked = document["paths"]["/v1/videos"]["post"]["requestBody"]["content"]["application/json"]
    assert {"group", "check_reference", "expert"} <= asked["schema"]["properties"].keys()
    page = client.get("/docs").text
    assert "/v1/videos/{video_id}/remix" in page
    assert "http://" not in page
    assert "https://" not in page
    assert client.get("/docs.css").headers["content-type"].startswith("text/css")


@pytest.mark.slow
@pytest.mark.usefixtures("predicted")
def test_the_document_is_true(settings: Settings) -> None:
    # The client of schemathesis calls the host so.
    changes = {"allowed_hosts": ("testserver",), "requests_per_minute": 0}
    app = create_app(settings.model_copy(update=changes))
    _, key = app.state.service.keys.create("schemathesis")
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @hypothesis.settings(
            max_examples=8, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case: schemathesis.Case) -> None:
            # Ids of uploads that nobody made are valid by the document, and are refused.
            headers = {"Authorization": f"Bearer {key}"}
            case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])

        ask()
