"""Time and memory before a video is made."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serving.api.test_videos import create, error, upload
from tests.serving.conftest import PREDICTED, finish
from vap.acceleration.plan import WantedVideo
from vap.serving.api.estimates import work_of
from vap.serving.jobs import database
from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.request import VideoRequest
from vap.serving.settings import Settings


def estimate(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/estimates", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_request_needs_no_image_to_be_estimated(
    client: TestClient, predicted: list[dict[str, Any]]
) -> None:
    found = estimate(client, effect="burn", size="96x64", num_frames=5, num_inference_steps=2)
    assert found == {"object": "estimate", **PREDICTED, "basis": "predicted"}
    assert (predicted[0]["video"], predicted[0]["steps"]) == (WantedVideo(64, 96, 5, 1), 2)


def test_what_cannot_be_made_is_not_estimated(
    client: TestClient, predicted: list[dict[str, Any]]
) -> None:
    for fields in ({"size": "1x1"}, {"effect": "nothing"}, {"model": "x"}, {"promt": "x"}):
        assert error(client.post("/v1/estimates", json=fields))["status"] == 400
    assert not predicted


@pytest.mark.usefixtures("predicted")
def test_videos_of_the_same_kind_give_the_time(
    client: TestClient, samples: SimpleNamespace, settings: Settings
) -> None:
    image = upload(client, samples.image)
    for seconds in (50.0, 10.0, 20.0):
        create(client, image, effect="burn", prompt=f"{seconds}")
        job = finish(settings, samples.video)
        assert job.started_at is not None
        queue = Jobs(settings)
        with queue.database.write() as connection:
            row = database.jobs.update().where(database.jobs.c.id == job.id)
            connection.execute(row.values(completed_at=job.started_at + seconds))
        queue.database.close()
    found = estimate(client, effect="burn")
    assert (found["seconds"], found["basis"]) == (pytest.approx(20.0, abs=0.01), "measured")
    assert found["memory_bytes"] == PREDICTED["memory_bytes"]
    # The model's own size is the same work, and fewer steps are not.
    assert estimate(client, effect="burn", size="96x64")["basis"] == "measured"
    assert estimate(client, effect="burn", num_inference_steps=1)["basis"] == "predicted"


def test_an_effect_brings_its_settings_and_what_is_asked_wins(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    image = "upload_00000000"
    gone = VideoRequest(image=image, references=({"effect": "gone"},))  # type: ignore[arg-type]
    assert work_of(gone, settings)["guidance"] is None
    given = VideoRequest(image=image, guidance_scale=1.0, reference_guidance_scale=2.0)
    work = work_of(given, settings)
    assert (work["guidance"], work["reference_guidance"]) == (False, True)


@pytest.mark.slow
def test_a_process_of_its_own_predicts(client: TestClient) -> None:
    one, two = (
        estimate(client, effect="burn"),
        estimate(client, effect="burn", check_reference=True),
    )
    assert one["basis"] == "predicted"
    assert 0 < one["seconds"] < two["seconds"]
    assert 0 < one["memory_bytes"] < one["memory_available_bytes"]
    assert one["fits"]
