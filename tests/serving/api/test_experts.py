"""Experts that a request may choose."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from safetensors.numpy import save_file

from tests.serving.api.test_videos import create, error, upload
from tests.serving.conftest import LOCAL
from vap.serving.api.app import create_app
from vap.serving.settings import ExpertFile, Settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with the header of an expert."""
    place = tmp_path / "data" / "melt.safetensors"
    place.parent.mkdir()
    save_file({"x": np.zeros(1, np.float32)}, place, {"format": "vap-expert", "depths": "[1, 2]"})
    return place


def offering(settings: Settings, file: Path) -> Settings:
    return settings.model_copy(update={"experts": {"melt": ExpertFile(file=file)}})


@pytest.fixture
def client(settings: Settings, file: Path) -> Iterator[TestClient]:
    """A client of a service with an expert."""
    with TestClient(create_app(offering(settings, file)), base_url=LOCAL) as client:
        yield client


def test_experts_are_listed_after_the_model_s_own(client: TestClient) -> None:
    own, melt = client.get("/v1/experts").json()["data"]
    assert (own["id"], own["model"]) == ("vap-mini", "vap-mini")
    assert own["blocks"]
    assert (melt["id"], melt["model"], melt["blocks"]) == ("melt", "vap-mini", [1, 2])


def test_a_request_names_its_expert(client: TestClient, samples: SimpleNamespace) -> None:
    image = upload(client, samples.image)
    for name in ("melt", "vap-mini"):
        assert create(client, image, expert=name)["request"]["expert"] == name
    for name in ("burn", "../melt", "wan"):
        refused = client.post("/v1/videos", json={"image": image, "expert": name})
        assert (error(refused)["status"], error(refused)["param"]) == (400, "expert")


def test_a_service_does_not_start_with_a_file_that_is_no_expert(
    settings: Settings, file: Path
) -> None:
    file.write_bytes(b"x")
    with pytest.raises(ValueError, match="melt"):
        create_app(offering(settings, file))
    file.unlink()
    with pytest.raises(FileNotFoundError, match="melt"):
        create_app(offering(settings, file))
