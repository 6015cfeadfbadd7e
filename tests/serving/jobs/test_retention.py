import pytest

from vap.serving.jobs import database
from vap.serving.jobs.job import Made
from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.request import VideoRequest
from vap.serving.jobs.retention import delete_expired, delete_job
from vap.serving.media_store import MediaStore
from vap.serving.uploads.probe import Probed
from vap.serving.uploads.store import Uploads


@pytest.fixture
def media(settings) -> MediaStore:
    return MediaStore(settings.media_url)


def completed(queue, media, tmp_path, size: int = 100) -> str:
    job = queue.submit(VideoRequest(image="file_00000000"))
    claim = queue.claim("A")
    file = tmp_path / "video.mp4"
    file.write_bytes(bytes(size))
    media.put(f"{claim.folder}/video.mp4", file)
    assert queue.complete(claim, Made(f"{claim.folder}/video.mp4", None, 1.0, "4x4"))
    return job.id


def test_what_has_expired_is_deleted_with_its_media(queue, media, tmp_path):
    old, new = (completed(queue, media, tmp_path) for _ in range(2))
    waiting = queue.submit(VideoRequest(image="file_00000000")).id
    delete_expired(queue, media)
    assert len(queue.list()) == 3
    with queue.database.write() as connection:
        of_old = database.jobs.update().where(database.jobs.c.id == old)
        connection.execute(of_old.values(expires_at=0))
    delete_expired(queue, media)
    assert {job.id for job in queue.list()} == {new, waiting}
    assert list(media.sizes()) == [queue.get(new).video]


def test_nothing_expires_without_a_retention_time(settings, media, tmp_path):
    queue = Jobs(settings.model_copy(update={"retention_hours": 0}))
    assert queue.get(completed(queue, media, tmp_path)).expires_at is None


def test_the_oldest_videos_make_room_within_the_quota(settings, media, tmp_path):
    queue = Jobs(settings.model_copy(update={"disk_quota": 250}))
    ids = [completed(queue, media, tmp_path) for _ in range(4)]
    failed = queue.submit(VideoRequest(image="file_00000000")).id
    queue.cancel(failed)
    file = tmp_path / "upload"
    file.write_bytes(bytes(1000))
    media.put("uploads/file_00000000", file)
    media.put("videos/video_lost/1/video.mp4", file)
    delete_expired(queue, media)
    assert sorted(job.id for job in queue.list()) == sorted([*ids[2:], failed])
    assert sum(media.sizes("videos").values()) == 200
    assert media.exists("uploads/file_00000000")


def test_a_running_job_that_is_deleted_is_no_longer_its_worker_s(queue, media):
    job = queue.submit(VideoRequest(image="file_00000000"))
    claim = queue.claim("A")
    delete_job(queue, media, job.id)
    assert not queue.still_mine(claim)
    assert not queue.complete(claim, Made("x", None, 1.0, "4x4"))
    with pytest.raises(KeyError):
        delete_job(queue, media, job.id)


def stored(queue, media, tmp_path, name: str) -> str:
    file = tmp_path / name
    file.write_text(name)
    return Uploads(queue.database, media).add(file, Probed("video"), "", name).id


def test_uploads_that_nobody_uses_are_deleted_by_age(queue, media, tmp_path):
    names = ("unused", "image", "reference", "stored", "again")
    ids = {name: stored(queue, media, tmp_path, name) for name in names}
    references = [{"upload": ids["reference"], "start": 1}]
    job = queue.submit(VideoRequest(image=ids["image"], references=references))
    uploads = Uploads(queue.database, media)
    prompt = uploads.add_prompt("", ("x",), upload=ids["stored"])
    delete_expired(queue, media)
    assert len(uploads.list("")) == 5
    with queue.database.write() as connection:
        connection.execute(database.metadata.tables["uploads"].update().values(created_at=0))
    assert stored(queue, media, tmp_path, "again") == ids["again"]
    delete_expired(queue, media)
    left = {upload.name for upload in uploads.list("")}
    assert left == {"image", "reference", "stored", "again"}
    assert len(media.sizes("uploads")) == 4
    delete_job(queue, media, job.id)
    uploads.delete_prompt(prompt.id, "")
    delete_expired(queue, media)
    assert [upload.name for upload in uploads.list("")] == ["again"]


def test_uploads_stay_without_an_age(settings, media, tmp_path):
    queue = Jobs(settings.model_copy(update={"upload_hours": 0}))
    stored(queue, media, tmp_path, "old")
    with queue.database.write() as connection:
        connection.execute(database.metadata.tables["uploads"].update().values(created_at=0))
    delete_expired(queue, media)
    assert len(Uploads(queue.database, media).list("")) == 1
