import json

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.evaluation.systems.connection import (
    BusyError,
    ClosedError,
    Connection,
    RefusedError,
    ServiceError,
    UnclearError,
    UnreachedError,
)
from vap.evaluation.systems.kling import KlingEffects
from vap.evaluation.systems.videos_api import VideosApi
from vap.evaluation.systems.vidu import ViduTemplate

PRIVATE = "the-secret-key"
SYSTEMS = (
    KlingEffects(name="k", effects={"melt": "melt_it"}),
    ViduTemplate(name="v", templates={"melt": "melting"}),
    VideosApi(name="s", base_url="http://localhost:1"),
)
WORDS = """code data task_id task_status task_result videos url task_info external_task_id id state
    status creations credits error message payload tasks final_unit_deduction quota reason
    final_balance_deduction"""
NAMES = st.sampled_from(WORDS.split())
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)


def connect(answer, sort=None):
    """A connection to what answers each request."""
    connection = Connection(
        "http://service.example", lambda: f"Bearer {PRIVATE}", secrets=(PRIVATE,)
    )
    if sort is not None:
        connection.sort = sort
    transport = httpx2.MockTransport(answer)
    connection._http = httpx2.Client(transport=transport)
    return connection


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (302, RefusedError),
        (401, ClosedError),
        (402, ClosedError),
        (408, UnclearError),
        (429, BusyError),
        (500, UnclearError),
        (503, UnclearError),
    ],
)
def test_a_status_says_what_has_happened(status, kind):
    connection = connect(lambda _: httpx2.Response(status, json={"message": "why"}))
    with pytest.raises(ServiceError, match="why") as raised:
        connection.call("POST", "/x")
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx2.ConnectError, UnreachedError),
        (httpx2.ConnectTimeout, UnreachedError),
        (httpx2.ReadTimeout, UnclearError),
        (httpx2.ReadError, UnclearError),
        (httpx2.RemoteProtocolError, UnclearError),
    ],
)
def test_only_a_connection_that_was_not_made_starts_nothing(error, kind):
    def answer(request):
        raise error("no", request=request)

    with pytest.raises(kind):
        connect(answer).call("POST", "/x")


@given(st.binary(max_size=40), st.integers(200, 599), st.text(st.characters(codec="ascii")))
def test_any_answer_is_an_object_or_a_service_error(content, status, header):
    headers = {"Retry-After": header.replace("\r", "").replace("\n", "")}
    connection = connect(lambda _: httpx2.Response(status, content=content, headers=headers))
    try:
        found = connection.call("GET", "/x")
    except ServiceError as error:
        found = {"wait": getattr(error, "retry_after", 0.0)}
    assert isinstance(found, dict)
    assert status < 300 or found["wait"] >= 0


@given(st.text(max_size=20), st.text(max_size=20))
def test_secrets_are_not_repeated(before, after):
    message = {"message": before + PRIVATE + after}
    connection = connect(lambda _: httpx2.Response(400, json=message))
    with pytest.raises(RefusedError) as raised:
        connection.call("POST", "/x")
    assert PRIVATE not in str(raised.value)


def test_a_redirect_does_not_carry_the_key(tmp_path):
    seen = []

    def answer(request):
        seen.append((request.url.host, "Authorization" in request.headers))
        if request.url.host == "service.example":
            return httpx2.Response(302, headers={"Location": "http://elsewhere.example/v"})
        return httpx2.Response(200, content=b"video")

    connect(answer).download("/v", tmp_path / "v", authorized=True)
    assert seen == [("service.example", True), ("elsewhere.example", False)]
    connect(answer).download("http://elsewhere.example/v", tmp_path / "v")
    assert seen[-1] == ("elsewhere.example", False)


@pytest.mark.parametrize("url", ["http://[", "ftp://x.example/v", "http://x.example:99999/", ""])
def test_an_address_that_is_none_is_a_failed_download(url, tmp_path):
    def answer(request):
        return httpx2.Response(404)

    with pytest.raises(ServiceError):
        connect(answer).download(url, tmp_path / "v")


READS = (
    lambda system, connection: system.submitted(connection.call("POST", "/x")),
    lambda system, connection: system.ask(connection, "1"),
    lambda system, connection: system.find(connection, "ours", 0.0),
)


@given(st.dictionaries(NAMES, json_values, max_size=8), st.integers(200, 599))
def test_any_object_is_a_task_or_a_service_error(body, status):
    text = json.dumps(body)
    for system in SYSTEMS:
        connection = connect(lambda _: httpx2.Response(status, text=text), system.connect().sort)
        for read in READS:
            try:
                task = read(system, connection)
            except (ServiceError, LookupError):
                continue
            assert task is None or (task.id and task.cost != -1)
