"""Kling: its effects, image-to-video, and motion control by a reference video."""

from __future__ import annotations

import base64
import math
import time
from abc import abstractmethod
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field

from vap.evaluation.case import Case
from vap.evaluation.systems.base import Job
from vap.evaluation.systems.connection import (
    BusyError,
    ClosedError,
    Connection,
    RefusedError,
    ServiceError,
    UnclearError,
    is_good,
    sort_by_status,
)
from vap.evaluation.systems.inputs import ImageRules, checked_text, image_file, public_url
from vap.evaluation.systems.paid_system import (
    Address,
    PaidSystem,
    Request,
    State,
    Task,
    amount,
    key_of,
)
from vap.extras import require
from vap.media import probe_clip

_IMAGES = ImageRules(file_bytes=10_000_000, side=300, aspect=2.5)
_PROMPT = 2500
_REFERENCE_SECONDS = {"image": (3.0, 10.0), "video": (3.0, 30.0)}  # by character_orientation
_REFERENCE_BYTES = 100_000_000
_BUSY = range(1302, 1305)
_INTERNAL = 5000  # and above
_STATES: dict[str, State] = {"succeed": "done", "failed": "failed"}
_PAGE = 500
_CLOCKS = 300.0  # seconds that our clock and the service's may differ
_CLOSED = (*range(1000, 1005), *range(1100, 1104))


class Kling(PaidSystem):
    """What the systems of Kling share.

    Attributes:
        api_key_variable: Environment variable of the API key.
        access_key_variable: Of the access key, where there is no API key.
        secret_key_variable: Of its secret.
        model_name: The model; None for the service's own.
        mode: ``std`` or ``pro``; None for the service's own.
    """

    finds: ClassVar[bool] = True
    path: ClassVar[str]
    asides: ClassVar[frozenset[str]] = PaidSystem.asides | {
        "api_key_variable",
        "access_key_variable",
        "secret_key_variable",
        "media_base_url",
        "media_root",
    }

    base_url: Address = "https://api-singapore.klingai.com"
    api_key_variable: str = "KLING_API_KEY"
    access_key_variable: str = "KLING_ACCESS_KEY"
    secret_key_variable: str = "KLING_SECRET_KEY"  # noqa: S105 - its name
    model_name: str | None = None
    mode: Literal["std", "pro", "4k"] | None = None

    def check(self) -> None:
        """Refuse to start without a key, a price and a budget."""
        super().check()
        if not all(self._keys()):
            raise ValueError(
                f"Kling takes a key: set the environment variable {self.api_key_variable}, or "
                f"{self.access_key_variable} and {self.secret_key_variable}."
            )

    def connect(self) -> Connection:
        """Open a connection with the key."""
        keys = self._keys()
        if len(keys) == 1:
            return Connection(self.base_url, lambda: f"Bearer {keys[0]}", _sorted, keys)
        jwt = require("jwt", extra="eval", purpose="sign requests to Kling")

        def signed() -> str:
            now = int(time.time())
            claims = {"iss": keys[0], "exp": now + 1800, "nbf": now - 5}
            return f"Bearer {jwt.encode(claims, keys[1], algorithm='HS256')}"

        return Connection(self.base_url, signed, _sorted, keys)

    def request(self, job: Job, own_id: str) -> Request:
        """Return the submission, under our own id."""
        body = {"external_task_id": own_id, **self.body(job)}
        return Request(self.path, {"json": body})

    @abstractmethod
    def body(self, job: Job) -> dict[str, Any]:
        """Return what is asked for."""

    def submitted(self, answer: Mapping[str, Any]) -> Task:
        """Read the answer to a submission."""
        return _task(answer)

    def ask(self, connection: Connection, task: str) -> Task:
        """Ask for a task; a finished one has a new address of its video."""
        return _task(connection.call("GET", f"{self.path}/{quote(task, safe='')}"))

    def find(self, connection: Connection, own_id: str, since: float) -> Task | None:
        """Ask for a task by our own id, and look through the list of tasks to be sure."""
        try:
            return _task(connection.call("GET", f"{self.path}/{own_id}"))
        except ClosedError:
            raise
        except RefusedError:  # 1201 or 1203: no such task
            pass
        try:
            query = {"pageNum": 1, "pageSize": _PAGE}
            answer = connection.call("GET", self.path, params=query)
        except ClosedError:
            raise
        except RefusedError as error:
            raise LookupError from error
        return _listed(answer, own_id, since)

    def _keys(self) -> tuple[str, ...]:
        """The API key, or the access key and its secret."""
        if key := key_of(self.api_key_variable):
            return (key,)
        return key_of(self.access_key_variable), key_of(self.secret_key_variable)

    def _chosen(self, **settings: object) -> dict[str, Any]:
        """The settings that have a value."""
        settings = {"model_name": self.model_name, "mode": self.mode, **settings}
        return {name: value for name, value in settings.items() if value not in (None, "")}


class KlingEffects(Kling):
    """Kling's effects: one by name for each condition.

    Attributes:
        effects: ``effect_scene`` by condition; cases of other conditions are not covered.
        duration: Seconds, for effects that take it.
    """

    kind: ClassVar[str] = "kling-effects"
    path: ClassVar[str] = "/v1/videos/effects"
    asides: ClassVar[frozenset[str]] = Kling.asides | {"caption"}

    effects: dict[str, str] = Field(min_length=1)
    duration: Literal[5, 10] | None = None

    def covers(self, case: Case) -> bool:
        """Whether the condition has an effect."""
        return case.condition in self.effects

    def text(self, case: Case) -> str:
        """Effects take no text."""
        del case
        return ""

    def case_identity(self, case: Case) -> Mapping[str, Any]:
        """Return the settings with the effect of this case alone."""
        return {**self.identity(), "effects": self.effects[case.condition]}

    def body(self, job: Job) -> dict[str, Any]:
        """Return what is asked for."""
        image = _image(job.case.image)
        return {
            "effect_scene": self.effects[job.case.condition],
            "input": self._chosen(image=image, duration=str(self.duration or "")),
        }


class KlingImageToVideo(Kling):
    """Kling's image-to-video, with the effect told in words.

    Attributes:
        duration: Seconds.
        negative_prompt: What to avoid.
        cfg_scale: How closely to follow the text, for models that take it.
    """

    kind: ClassVar[str] = "kling-image-to-video"
    path: ClassVar[str] = "/v1/videos/image2video"

    duration: int = Field(default=5, ge=3, le=15)
    negative_prompt: str = Field(default="", max_length=_PROMPT)
    cfg_scale: float | None = Field(default=None, ge=0, le=1)

    def body(self, job: Job) -> dict[str, Any]:
        """Return what is asked for."""
        return self._chosen(
            image=_image(job.case.image),
            prompt=checked_text(self.text(job.case), _PROMPT),
            negative_prompt=self.negative_prompt,
            cfg_scale=self.cfg_scale,
            duration=str(self.duration),
        )


class KlingMotionControl(Kling):
    """Kling's motion control: an image moves as a reference video does.

    ``price`` is for a second of the reference video.

    Attributes:
        media_base_url: Public address of the reference videos: Kling fetches them.
        media_root: The folder here that is published there; None if the videos lie side by side.
        character_orientation: Whether subjects face as in the image (references of 3 to 10
            seconds) or as in the video (3 to 30).
    """

    kind: ClassVar[str] = "kling-motion-control"
    reads_reference: ClassVar[bool] = True
    path: ClassVar[str] = "/v1/videos/motion-control"

    media_base_url: str = ""
    media_root: Path | None = None
    mode: Literal["std", "pro", "4k"] | None = "std"
    character_orientation: Literal["image", "video"] = "image"

    def check(self) -> None:
        """Refuse to start without a key, a price, a budget and a public address."""
        super().check()
        if not self.media_base_url:
            raise ValueError(
                "Kling fetches reference videos by their address: publish them and set "
                "media_base_url (and media_root, the folder here that it shows)."
            )

    def cost(self, job: Job) -> float:
        """Return what a job is expected to cost: by the length of its reference."""
        return (self.price or 0.0) * ceil(probe_clip(_reference(job)).seconds)

    def body(self, job: Job) -> dict[str, Any]:
        """Return what is asked for."""
        reference = _reference(job)
        url = public_url(reference, self.media_base_url, self.media_root)
        info = probe_clip(reference)
        shortest, longest = _REFERENCE_SECONDS[self.character_orientation]
        if not shortest <= info.seconds <= longest:
            raise ValueError(
                f"{reference} lasts {info.seconds:.1f} seconds; with character_orientation: "
                f"{self.character_orientation}, Kling takes {shortest:g} to {longest:g}."
            )
        if info.kind != "mov" or reference.stat().st_size > _REFERENCE_BYTES:
            raise ValueError(f"{reference} must be an MP4 or MOV of at most 100 MB for Kling.")
        return self._chosen(
            image_url=_image(job.case.image),
            video_url=url,
            prompt=checked_text(self.text(job.case), _PROMPT),
            character_orientation=self.character_orientation,
            keep_original_sound="no",
        )


def _reference(job: Job) -> Path:
    if job.reference is None:
        raise ValueError("Motion control needs a reference video; this video is to have none.")
    return job.reference


def _image(path: Path) -> str:
    """An image as Kling takes it: bare base64."""
    content, _ = image_file(path, _IMAGES)
    return base64.b64encode(content).decode()


def _sorted(status: int, body: Mapping[str, Any]) -> type[ServiceError] | None:
    """Kling's own codes say more than the status: 429 is also an empty account."""
    code = body.get("code")
    if not isinstance(code, int) or (code == 0 and not is_good(status)):
        return sort_by_status(status, body)
    if code == 0:
        return None
    if code in _BUSY:
        return BusyError
    if code in _CLOSED:
        return ClosedError
    return UnclearError if code >= _INTERNAL else RefusedError


def _task(answer: Mapping[str, Any]) -> Task:
    data = answer.get("data")
    if not isinstance(data, Mapping) or not data.get("task_id"):
        raise UnclearError("Kling's answer has no task")
    state = _STATES.get(str(data.get("task_status")), "waiting")
    url = ""
    if state == "done":
        try:
            url = str(data["task_result"]["videos"][0]["url"])
        except (KeyError, IndexError, TypeError):
            raise UnclearError("Kling's answer has no video") from None
    return Task(
        id=str(data["task_id"]),
        state=state,
        url=url,
        error=str(data.get("task_status_msg") or ""),
        cost=_deducted(data),
    )


def _listed(answer: Mapping[str, Any], own_id: str, since: float) -> Task | None:
    """Look for our own id in the newest tasks; None if it would be there."""
    tasks = answer.get("data")
    if not isinstance(tasks, list):
        raise LookupError
    oldest = math.inf
    for task in tasks:
        information = task.get("task_info") if isinstance(task, Mapping) else None
        # A list that does not tell our ids cannot say that a task is missing.
        if not isinstance(information, Mapping) or "external_task_id" not in information:
            raise LookupError
        if information["external_task_id"] == own_id:
            return _task({"data": task})
        oldest = min(oldest, amount(task.get("created_at")) / 1000)
    if len(tasks) < _PAGE or oldest < since - _CLOCKS:
        return None
    raise LookupError


def _deducted(data: Mapping[str, Any]) -> float | None:
    """What a task has cost: units of a package, or money of the balance."""
    balance = data.get("final_balance_deduction")
    money = balance.get("quota") if isinstance(balance, Mapping) else None
    cost = max(amount(data.get("final_unit_deduction")), amount(money))
    free = data.get("task_status") == "failed" and cost == 0
    return cost if cost > 0 or free else None
