"""Keys, uploads and webhooks in PostgreSQL, and over a restart."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.serving.postgresql import postgresql
from vap.serving.api.service import Service
from vap.serving.jobs.request import VideoRequest
from vap.serving.outbound import Outbound
from vap.serving.settings import Settings
from vap.serving.uploads.probe import Probed
from vap.serving.webhooks import Webhooks

pytestmark = pytest.mark.slow


def test_keys_uploads_and_deliveries_are_kept(tmp_path: Path, samples: SimpleNamespace) -> None:
    with postgresql() as url:
        settings = Settings(data=tmp_path, database=url)
        first = Service.of(settings)
        key, text = first.keys.create("one")
        probed = Probed("image", 48, 32)
        upload = first.uploads.add(samples.image, probed, key.id, "image.png")
        prompt = first.uploads.add_prompt(key.id, ("a \0 caption",), upload=upload.id)
        request = VideoRequest(image=upload.id, prompt="a \0 text", group="a grid")
        job = first.jobs.submit(request, owner=key.id, webhook_url="http://127.0.0.1:1/")
        first.jobs.cancel(job.id)
        first.jobs.database.close()

        second = Service.of(settings)
        assert second.keys.check(text) == key
        assert second.keys.check("vap_\0") is None
        assert second.uploads.get(upload.id, key.id) == upload
        assert second.uploads.add(samples.image, probed, key.id, "again").id == upload.id
        assert second.uploads.bytes_of(key.id) == samples.image.stat().st_size
        assert second.uploads.prompt(prompt.id, key.id) == prompt
        with pytest.raises(KeyError):
            second.uploads.get("\0", key.id)
        sender = Webhooks(second.jobs, second.keys, Outbound(), lambda _: {})
        assert sender.claim() == [job.id]
        sender.deliver(job.id)
        found = sender.get(job.id)
        assert found is not None
        assert found.next_at is not None
        assert [each.id for each in second.jobs.list(key.id, group="a grid")] == [job.id]
        assert not second.jobs.list(key.id, group="another")
        second.uploads.delete_unused(0)
        assert second.uploads.get(upload.id, key.id).id == upload.id
        second.jobs.delete(job.id)
        second.uploads.delete_prompt(prompt.id, key.id)
        second.uploads.delete_unused(0)
        assert not second.uploads.list(key.id)
        second.jobs.database.close()
