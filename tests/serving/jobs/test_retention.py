import pytest

from vap.serving.jobs import database
from vap.serving.jobs.job import Made
from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.request import VideoRequest
from vap.serving.jobs.retention import delete_expired, delete_job
from vap.serving.media_store import MediaStore


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
