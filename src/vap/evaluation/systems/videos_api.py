"""Any server that speaks ``/v1/videos``, the form of OpenAI's Videos API."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, JsonValue, NonNegativeFloat, PositiveFloat

from vap.evaluation.systems.base import Job
from vap.evaluation.systems.connection import Connection, UnclearError
from vap.evaluation.systems.inputs import ImageRules, image_file, public_url
from vap.evaluation.systems.paid_system import PaidSystem, Request, Task, key_of
from vap.media import read_clip, write_video
from vap.media.preview import data_url

_IMAGES = ImageRules(file_bytes=50_000_000, aspect=100.0)
_FAILED = {"failed", "cancelled", "canceled", "expired", "deleted"}


class VideosApi(PaidSystem):
    """Image-to-video by a server that speaks ``/v1/videos``; free unless there is a price.

    Attributes:
        base_url: Address of the server, with or without ``/v1``.
        model: The model, where the server has several.
        seconds: Length.
        size: Such as ``832x480``.
        fields: Further fields of the request, such as ``num_frames`` and ``fps``.
        api_key_variable: Environment variable of the key, for servers that take one.
        idempotent: Whether the server makes one video of requests with the same
            ``Idempotency-Key``; a lost answer is then asked for with the same request.
    """

    kind: ClassVar[str] = "videos-api"
    asides: ClassVar[frozenset[str]] = (
        PaidSystem.asides | {"api_key_variable", "idempotent", "media_base_url", "media_root"}
    ) - {"base_url"}

    price: NonNegativeFloat | None = 0.0
    model: str = ""
    seconds: PositiveFloat | None = None
    size: str = Field(default="", pattern=r"^(\d+x\d+)?$")
    fields: dict[str, JsonValue] = Field(default_factory=dict)
    api_key_variable: str = "VIDEOS_API_KEY"
    idempotent: bool = False

    def check(self) -> None:
        """Refuse to start without a budget and a key, if videos have a price."""
        super().check()
        if self.price and not key_of(self.api_key_variable):
            raise ValueError(
                f"A server with a price takes a key: set the environment variable "
                f"{self.api_key_variable}."
            )

    def connect(self) -> Connection:
        """Open a connection with the key, if there is one."""
        key = key_of(self.api_key_variable)
        base_url = self.base_url.rstrip("/").removesuffix("/v1") + "/v1"
        return Connection(base_url, lambda: f"Bearer {key}" if key else None, secrets=(key,))

    def request(self, job: Job, own_id: str) -> Request:
        """Return the submission: a form with the image as a file."""
        content, media_type = image_file(job.case.image, _IMAGES)
        files = {"input_reference": (f"image.{media_type[6:]}", content, media_type)}
        return Request(
            "/videos",
            {"data": _form(self.settings(job)), "files": files, "headers": _headers(own_id)},
        )

    def settings(self, job: Job) -> dict[str, JsonValue]:
        """Return the fields that have a value."""
        seconds = f"{self.seconds:g}" if self.seconds else ""
        named = {"model": self.model, "seconds": seconds, "size": self.size}
        chosen: dict[str, JsonValue] = {k: value for k, value in named.items() if value}
        return {"prompt": self.text(job.case), "seed": job.seed, **chosen, **self.fields}

    def submitted(self, answer: Mapping[str, Any]) -> Task:
        """Read the answer to a submission."""
        return _task(answer)

    def ask(self, connection: Connection, task: str) -> Task:
        """Ask for a task."""
        return _task(connection.call("GET", f"/videos/{quote(task, safe='')}"))

    def find(self, connection: Connection, own_id: str, since: float) -> Task | None:
        """Have the same request sent again, where the server then makes no second video."""
        del connection, own_id, since
        if self.idempotent:
            return None
        raise LookupError

    def download(self, connection: Connection, task: Task, target: Path) -> None:
        """Write the video: of the server, or where the server has put it."""
        if task.url:
            connection.download(task.url, target)
        else:
            path = f"/videos/{quote(task.id, safe='')}/content"
            connection.download(path, target, authorized=True)


class VideosApiReference(VideosApi):
    """A server that takes a reference video beside the image, such as Video-As-Prompt.

    Attributes:
        reference_field: How the video is sent: in ``conditions`` (SGLang, a JSON request), as the
            file ``control_reference`` (vLLM-Omni), or as ``video_reference`` (vLLM-Omni, which
            then takes no image).
        media_base_url: Public address of the reference videos; empty sends the videos themselves.
        media_root: The folder here that is published there; None if the videos lie side by side.
    """

    kind: ClassVar[str] = "videos-api-reference"
    reads_reference: ClassVar[bool] = True

    reference_field: Literal["conditions", "control_reference", "video_reference"] = "conditions"
    media_base_url: str = ""
    media_root: Path | None = None

    def request(self, job: Job, own_id: str) -> Request:
        """Return the submission; without a reference, that of image-to-video."""
        if job.reference is None:
            return super().request(job, own_id)
        headers, settings = _headers(own_id), self.settings(job)
        content, media_type = image_file(job.case.image, _IMAGES)
        match self.reference_field:
            case "conditions":
                uri = self._uri(job.reference)
                body: dict[str, Any] = {
                    **settings,
                    "input_reference": data_url(content, media_type),
                    "conditions": [{"type": "video", "uri": uri, "role": "reference"}],
                }
                return Request("/videos", {"json": body, "headers": headers})
            case "video_reference":
                field = json.dumps({"video_url": self._uri(job.reference)})
                form = {**_form(settings), "video_reference": field}
                # Files make it a form of several parts, which the server expects.
                files: dict[str, Any] = {name: (None, value) for name, value in form.items()}
                return Request("/videos", {"files": files, "headers": headers})
            case "control_reference":
                video = job.reference
                files = {
                    "input_reference": (f"image.{media_type[6:]}", content, media_type),
                    "control_reference": (video.name, *_video(video)),
                }
                form = _form(settings)
                return Request("/videos", {"data": form, "files": files, "headers": headers})

    def _uri(self, reference: Path) -> str:
        if self.media_base_url:
            return public_url(reference, self.media_base_url, self.media_root)
        return data_url(*_video(reference))


def _video(path: Path) -> tuple[bytes, str]:
    """The bytes and media type of a video; a folder of frames is sent as MP4."""
    if path.is_dir():
        import tempfile

        clip = read_clip(path)
        with tempfile.TemporaryDirectory() as folder:
            file = write_video(clip.frames, Path(folder) / "reference.mp4", clip.fps)
            return file.read_bytes(), "video/mp4"
    return path.read_bytes(), mimetypes.guess_type(path.name)[0] or "video/mp4"


def _headers(own_id: str) -> dict[str, str]:
    return {"Idempotency-Key": own_id}


def _form(settings: Mapping[str, JsonValue]) -> dict[str, str]:
    """The fields of a form: texts as they are, all else as JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.items()
    }


def _task(answer: Mapping[str, Any]) -> Task:
    if not answer.get("id"):
        raise UnclearError("the server's answer has no id")
    status, url = str(answer.get("status")), str(answer.get("url") or "")
    error = answer.get("error")
    if isinstance(error, Mapping):
        error = error.get("message") or error.get("code")
    return Task(
        id=str(answer["id"]),
        state="done" if status == "completed" else "failed" if status in _FAILED else "waiting",
        url=url if "://" in url else "",
        error=str(error or (status if status in _FAILED else "")),
    )
