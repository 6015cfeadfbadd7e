"""Deletes what has expired, and the oldest videos where the disk is nearly full."""

from __future__ import annotations

from contextlib import suppress

from vap.serving.jobs.queue import Jobs
from vap.serving.media_store import MediaStore


def delete_job(jobs: Jobs, media: MediaStore, job_id: str) -> None:
    """Delete a job and its media; a running one stops within a step.

    Raises:
        KeyError: If there is none.
    """
    jobs.cancel(job_id)
    media.delete(f"videos/{job_id}")
    jobs.delete(job_id)


def delete_expired(jobs: Jobs, media: MediaStore) -> None:
    """Delete the jobs whose time is over, and the oldest while media exceed the quota."""
    for job in jobs.expired():
        _delete(jobs, media, job.id)
    quota = jobs.settings.disk_quota
    if not quota:
        return
    sizes: dict[str, int] = {}
    total = 0
    for key, size in media.sizes().items():
        total += size
        kind, _, rest = key.partition("/")
        if kind == "videos":
            job_id = rest.partition("/")[0]
            sizes[job_id] = sizes.get(job_id, 0) + size
    for job in jobs.oldest_ended():
        if total <= quota:
            break
        total -= sizes.get(job.id, 0)
        _delete(jobs, media, job.id)


def _delete(jobs: Jobs, media: MediaStore, job_id: str) -> None:
    with suppress(KeyError):  # another worker was faster
        delete_job(jobs, media, job_id)
