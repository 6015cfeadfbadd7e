"""Captions over HTTP."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import anyio.to_thread
import pytest
from fastapi.testclient import TestClient

from tests.captioning.conftest import nobody, server  # noqa: F401 - fixtures
from tests.serving.api.test_videos import error, upload
from tests.serving.conftest import LOCAL
from tests.vision.conftest import no_certificates  # noqa: F401 - the same client
from vap.serving.api import captions
from vap.serving.api.app import create_app
from vap.serving.settings import Settings


@pytest.fixture
def writer(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    server: Any,  # noqa: F811
) -> Iterator[TestClient]:
    """A client of a service with a writer, which is asked in a thread."""

    async def in_thread(_: Any, work: Any, *given: Any) -> Any:
        return await anyio.to_thread.run_sync(work, *given)

    monkeypatch.setattr(captions, "in_helper", in_thread)
    with_writer = settings.model_copy(update={"captioner": f"openai:{server.url}#m"})
    with TestClient(create_app(with_writer), base_url=LOCAL) as client:
        yield client


def ask(client: TestClient, samples: SimpleNamespace, **fields: Any) -> Any:
    image = upload(client, samples.image)
    reference = {"upload": upload(client, samples.video)}
    return client.post("/v1/captions", json={"image": image, "reference": reference, **fields})


def test_both_captions_are_written_once(
    writer: TestClient,
    samples: SimpleNamespace,
    server: Any,  # noqa: F811
) -> None:
    for _ in range(2):
        written = ask(writer, samples).json()
        assert (written["reference_prompt"], written["prompt"]) == ("caption 1", "caption 2")
        assert written["writer"].startswith("openai:m")
    assert len(server.asked) == 2


def test_what_is_given_stays(writer: TestClient, samples: SimpleNamespace) -> None:
    written = ask(writer, samples, reference_prompt="it melts").json()
    assert (written["reference_prompt"], written["prompt"]) == ("it melts", "caption 1")


def test_a_part_of_a_reference_is_described_by_itself(
    writer: TestClient,
    samples: SimpleNamespace,
    server: Any,  # noqa: F811
) -> None:
    ask(writer, samples, prompt="x")
    part = {"upload": upload(writer, samples.video), "start": 0.1, "end": 0.4}
    assert (
        ask(writer, samples, prompt="x", reference=part).json()["reference_prompt"] == "caption 2"
    )
    assert len(server.asked) == 2


def test_an_effect_gets_the_caption_of_the_image(
    writer: TestClient, samples: SimpleNamespace
) -> None:
    written = ask(writer, samples, reference={"effect": "burn"}).json()
    assert "caption 1" in written["prompt"]


def test_a_writer_that_fails_is_told_without_its_words(
    writer: TestClient,
    samples: SimpleNamespace,
    server: Any,  # noqa: F811
) -> None:
    server.plan = [(403, {"error": {"message": "no such key: secret"}})]
    found = error(ask(writer, samples))
    assert (found["status"], found["code"]) == (502, "captions_failed")
    assert "secret" not in found["message"]


@pytest.mark.usefixtures("nobody")
def test_without_a_writer_the_answer_says_how_to_have_one(
    client: TestClient, samples: SimpleNamespace
) -> None:
    found = error(ask(client, samples))
    assert (found["status"], found["code"]) == (409, "no_captioner")
    assert "VAP_CAPTIONER" in found["message"]


@pytest.mark.parametrize(
    "fields",
    [
        {"reference": {"upload": "upload_00000000"}},
        {"reference": None},
        {"reference": {"effect": "../x"}},
        {"image": "x"},
        {"promt": "x"},
        {"reference_prompt": 5},
        {"model": "x"},
    ],
)
def test_what_cannot_be_described_is_refused(
    writer: TestClient, samples: SimpleNamespace, fields: dict[str, Any]
) -> None:
    assert error(ask(writer, samples, **fields))["status"] == 400


@pytest.mark.slow
def test_a_process_of_its_own_asks_the_writer(
    settings: Settings,
    samples: SimpleNamespace,
    server: Any,  # noqa: F811
) -> None:
    with_writer = settings.model_copy(update={"captioner": f"openai:{server.url}#m"})
    with TestClient(create_app(with_writer), base_url=LOCAL) as client:
        assert ask(client, samples).json()["prompt"] == "caption 2"
    assert len(server.asked) == 2
