"""A local server that speaks the requests, answers and errors of Kling, Vidu and /v1/videos.

Faults are scripted by the kind of a request; each request takes the next one of its kind.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt

SECRET = "s" * 40
KEY = "a-key-that-nobody-may-see"
KEYS = {"KLING_ACCESS_KEY": "access", "KLING_SECRET_KEY": SECRET, "VIDU_API_KEY": KEY}

FAULTS = {
    "submit": ["busy", "error", "nonsense", "drop", "drop-after", "error-after", "reject"],
    "find": ["busy", "error", "nonsense", "drop"],
    "ask": ["busy", "error", "nonsense", "drop", "wait"],
    "download": ["error", "expired", "cut", "page"],
}
"""What can happen to each kind of request. ``-after``: the task exists nevertheless."""


@dataclass
class Task:
    id: str
    own_id: str
    body: dict
    path: str
    polls: int = 0
    failure: str = ""
    urls: int = 0


@dataclass
class StandIn:
    """The state of the server.

    Attributes:
        video: Bytes of the video that it makes.
        script: Faults to come, by kind of request.
        tasks: What was submitted and taken.
        polls: How often a task says that it is under way.
        knows_own_ids: Whether tasks can be asked for by the client's ids.
        late: Whether own ids and lists tell a task only after a second submission.
        requests: Kind and path of each request.
    """

    video: bytes
    script: dict[str, deque[str]] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    polls: int = 1
    knows_own_ids: bool = True
    late: bool = False
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[dict] = field(default_factory=list)
    failure: str = ""
    retry_after: str = ""
    url: str = ""

    def plan(self, **faults: list[str]) -> None:
        """Script faults by kind."""
        self.script = {kind: deque(names) for kind, names in faults.items()}

    @property
    def known(self) -> list[Task]:
        """What can be found without the service's ids."""
        submissions = sum(kind == "submit" for kind, _ in self.requests)
        return [] if self.late and submissions < 2 else self.tasks

    def fault(self, kind: str) -> str:
        queue = self.script.get(kind)
        return queue.popleft() if queue else ""


@contextmanager
def serving(video: bytes):
    """Serve on a free port of this machine."""
    state = StandIn(video)

    class Serving(Handler):
        service = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Serving)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


_POSTS = {
    "/v1/videos/effects": "kling",
    "/v1/videos/image2video": "kling",
    "/v1/videos/motion-control": "kling",
    "/ent/v2/template": "vidu",
    "/ent/v2/img2video": "vidu",
    "/v1/videos": "openai",
}


class Handler(BaseHTTPRequestHandler):
    service: StandIn

    def log_message(self, *_):
        pass

    def do_POST(self):
        path = urlsplit(self.path).path
        body = self._body()
        self.service.requests.append(("submit", path))
        self.service.bodies.append(body)
        speech = _POSTS[path]
        if not self._allowed(speech):
            return
        fault = self.service.fault("submit")
        own_id = _own_id(speech, body, self.headers)
        task = next((task for task in self.service.tasks if task.own_id == own_id), None)
        if task is not None and speech == "kling":
            # As documented: unique for each user.
            self._error(speech, 400, 1201, "external_task_id exists")
            return
        if task is None and fault in ("", "drop-after", "error-after", "nonsense"):
            task = Task(f"task-{len(self.service.tasks)}", own_id, body, path)
            task.failure = self.service.failure
            self.service.tasks.append(task)
        if not self._failed(speech, fault):
            self._json(_submitted(speech, task))

    def do_GET(self):
        parts = urlsplit(self.path)
        path, query = parts.path, parse_qs(parts.query)
        if path.startswith("/files/"):
            self._file()
        elif path == "/ent/v2/tasks" or "pageNum" in query:
            self._list(query)
        elif found := re.fullmatch(r"(/v1/videos/[a-z0-9-]+)/([^/]+)", path):
            if found[2] == "content":
                self._content(found[1].rsplit("/", 1)[1])
            else:
                self._ask("kling", found[2])
        elif found := re.fullmatch(r"/ent/v2/tasks/([^/]+)/creations", path):
            self._ask("vidu", found[1])
        else:
            self._ask("openai", path.rsplit("/", 1)[1])

    def _ask(self, speech, name):
        tasks = {task.id: task for task in self.service.tasks}
        kind = "ask" if name.startswith("task-") else "find"
        self.service.requests.append((kind, self.path))
        if not self._allowed(speech):
            return
        fault = self.service.fault(kind)
        if self._failed(speech, fault):
            return
        if speech == "kling" and self.service.knows_own_ids:
            tasks |= {task.own_id: task for task in self.service.known}
        task = tasks.get(name)
        if task is None:
            self._error(speech, 404, 1203, "no such task")
            return
        if kind == "ask" and fault != "wait":
            task.polls += 1
        self._json(_state(speech, task, self.service))

    def _list(self, query):
        speech = "kling" if "pageNum" in query else "vidu"
        self.service.requests.append(("find", self.path))
        if not self._allowed(speech) or self._failed(speech, self.service.fault("find")):
            return
        if not self.service.knows_own_ids:
            self._error(speech, 404, 1202, "no such method")
            return
        if speech == "kling":
            data = [_state("kling", task, self.service)["data"] for task in self.service.known]
            self._json({"code": 0, "data": data[::-1][: int(query["pageSize"][0])]})
            return
        size, page = int(query["pager.pagesz"][0]), int(query["pager.page"][0])
        tasks = self.service.known[page * size : (page + 1) * size]
        listed = [_state("vidu", task, self.service) | {"payload": task.own_id} for task in tasks]
        self._json({"tasks": listed})

    def _file(self):
        """The address of a finished video: no key is sent here, and it may expire."""
        self.service.requests.append(("download", self.path))
        assert "Authorization" not in self.headers
        self._video()

    def _content(self, name):
        self.service.requests.append(("download", self.path))
        assert any(task.id == name for task in self.service.tasks)
        self._video()

    def _video(self):
        fault = self.service.fault("download")
        if fault == "expired":
            self._json({"message": "Request has expired"}, 403)
        elif fault == "error":
            self._json({}, 500)
        elif fault == "page":
            self._json({"this is": "no video"})
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.service.video)))
            self.end_headers()
            whole = len(self.service.video)
            self.wfile.write(self.service.video[: whole // 2 if fault == "cut" else whole])

    def _failed(self, speech, fault):
        """Answer a scripted fault, or nothing at all; whether there was one."""
        if fault == "busy":
            headers = {"Retry-After": self.service.retry_after} if self.service.retry_after else {}
            self._error(speech, 429, 1303, "too many tasks", "TooManyRequests", headers)
        elif fault in ("error", "error-after"):
            self._error(speech, 503, 5001, "under repair")
        elif fault == "nonsense":
            self._send(200, b"<html>{]")
        elif fault == "reject":
            self._error(speech, 400, 1301, "against the rules", "TaskPromptPolicyViolation")
        elif fault == "empty":
            self._error(speech, 429, 1102, "no units left", "CreditInsufficient")
        elif fault in ("drop", "drop-after"):
            self.close_connection = True
            self.connection.close()
        else:
            return False
        return True

    def _allowed(self, speech):
        header = self.headers.get("Authorization", "")
        if speech == "kling":
            try:
                claims = jwt.decode(header.removeprefix("Bearer "), SECRET, algorithms=["HS256"])
                allowed = claims["iss"] == "access"
            except jwt.InvalidTokenError:
                allowed = header == f"Bearer {KEY}"
        else:
            allowed = speech == "openai" or header == f"Token {KEY}"
        if not allowed:
            self._error(speech, 401, 1002, f"not allowed: {header}", "Unauthorized")
        return allowed

    def _error(self, speech, status, code, message, reason="", headers=None):
        body = {
            "kling": {"code": code, "message": message, "request_id": "r"},
            "vidu": {"code": status, "reason": reason, "message": message},
            "openai": {"error": {"code": reason, "message": message}},
        }[speech]
        self._json(body, status, headers)

    def _json(self, body, status=200, headers=None):
        self._send(status, json.dumps(body).encode(), headers)

    def _send(self, status, content, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Type"].startswith("application/json"):
            return json.loads(content)
        boundary = self.headers["Content-Type"].split("boundary=")[1].encode()
        fields = {}
        for part in content.split(b"--" + boundary)[1:-1]:
            head, _, value = part.strip(b"\r\n").partition(b"\r\n\r\n")
            name = re.search(rb'name="([^"]+)"', head)[1].decode()
            is_file = b"filename=" in head
            fields[name] = len(value) if is_file else value.decode()
        return fields


def _own_id(speech, body, headers):
    if speech == "openai":
        return headers["Idempotency-Key"]
    return body["external_task_id" if speech == "kling" else "payload"]


def _submitted(speech, task):
    if speech == "kling":
        return {"code": 0, "data": {"task_id": task.id, "task_status": "submitted"}}
    if speech == "vidu":
        return {"task_id": task.id, "state": "created", "credits": 4}
    return {"id": task.id, "object": "video", "status": "queued", "progress": 0}


def _state(speech, task, service):
    done = task.polls > service.polls
    address = f"{service.url}/files/{task.id}?signature={task.polls}"
    if speech == "kling":
        state = "processing" if not done else "failed" if task.failure else "succeed"
        data = {
            "task_id": task.id,
            "task_status": state,
            "task_status_msg": task.failure,
            "task_info": {"external_task_id": task.own_id},
            "created_at": 1_800_000_000_000,
        }
        if state == "succeed":
            data |= {"task_result": {"videos": [{"id": "v", "url": address}]}}
        if state != "processing":
            data |= {"final_unit_deduction": "0" if task.failure else "2"}
        return {"code": 0, "message": "ok", "request_id": "r", "data": data}
    if speech == "vidu":
        state = "processing" if not done else "failed" if task.failure else "success"
        creations = [{"id": "c", "url": address}] if state == "success" else []
        return {
            "id": task.id,
            "state": state,
            "err_code": task.failure,
            "credits": 4,
            "creations": creations,
        }
    state = "in_progress" if not done else "failed" if task.failure else "completed"
    error = {"code": "x", "message": task.failure} if task.failure and done else None
    return {"id": task.id, "object": "video", "status": state, "error": error}


def small_video(path: Path) -> bytes:
    """An MP4 of a few frames."""
    import numpy as np

    from vap.media import write_video

    frames = np.zeros((4, 16, 16, 3), np.uint8)
    frames[:, :8] = np.arange(4, dtype=np.uint8)[:, None, None, None] * 60
    return write_video(frames, path, 8).read_bytes()
