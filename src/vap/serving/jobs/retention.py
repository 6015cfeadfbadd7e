"""Deletes what has expired or nobody uses, and the oldest videos where the disk is nearly full."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

from vap.serving.jobs.job import FOLDER
from vap.serving.jobs.queue import Jobs
from vap.serving.media_store import MediaStore
from vap.serving.uploads.store import Uploads


def delete_job(jobs: Jobs, media: MediaStore, job_id: str) -> None:
    """Delete a job and its media; a running one stops within a step.

    Raises:
        KeyError: If there is none.
    """
    jobs.cancel(job_id)
    media.delete(f"{FOLDER}/{job_id}")
    jobs.delete(job_id)


def delete_expired(jobs: Jobs, media: MediaStore) -> None:
    """Delete jobs whose time is over, the oldest while videos exceed the quota, unused uploads."""
    for job in jobs.expired():
        _delete(jobs, media, job.id)
    if jobs.settings.upload_hours:
        Uploads(jobs.database, media).delete_unused(jobs.settings.upload_hours)
    quota = jobs.settings.disk_quota
    if not quota:
        return
    sizes: Counter[str] = Counter()
    for key, size in media.sizes(FOLDER).items():
        sizes[key.split("/")[1]] += size
    for lost in sizes.keys() - jobs.ids():  # its worker died after the job was deleted
        media.delete(f"{FOLDER}/{lost}")
        del sizes[lost]
    for job in jobs.oldest_ended():
        if sizes.total() <= quota:
            break
        if sizes.pop(job.id, 0):
            _delete(jobs, media, job.id)


def _delete(jobs: Jobs, media: MediaStore, job_id: str) -> None:
    with suppress(KeyError):  # another worker was faster
        delete_job(jobs, media, job_id)
