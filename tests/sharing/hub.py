"""A server on this machine that answers the Hub's client as the Hub does."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0" * 39 + "1"
TOKEN = "hf_of_the_tests"  # noqa: S105


@dataclass
class Hub:
    """Repositories by name: whether each is private, and its files."""

    private: dict[str, bool] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    address: str = ""


def _handler(hub):  # noqa: C901 - one small answer for each request
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            allowed = self.headers["Authorization"] == f"Bearer {TOKEN}"
            if not allowed:
                self.answer(401, {"error": "not allowed"})
            elif self.path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                hub.private.setdefault(name, asked["visibility"] == "private")
                hub.files.setdefault(name, {})
                self.answer(200, {"url": f"{hub.address}/{name}"})
            elif self.path == "/api/validate-yaml":
                self.answer(200, {"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                files = json.loads(body)["files"]
                modes = [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for file in files
                ]
                self.answer(200, {"files": modes})
            elif found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
                for line in body.decode().splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        content = base64.b64decode(entry["value"]["content"])
                        hub.files[found[1]][entry["value"]["path"]] = content
                url = f"{hub.address}/{found[1]}/commit/{COMMIT}"
                self.answer(200, {"commitUrl": url, "commitOid": COMMIT})
            else:
                self.answer(404, {"error": "unknown"})

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path = self.path.partition("?")[0]
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/.*", path):
                files = hub.files[found[1]].items()
                self.answer(
                    200,
                    [
                        {"type": "file", "path": file, "size": len(content), "oid": "0" * 40}
                        for file, content in files
                    ],
                )
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/.*)?", path):
                self.describe(found[1])
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
                self.send_file(*found.groups())
            else:
                self.answer(404, {"error": "unknown"})

        def describe(self, name):
            if name not in hub.files:
                self.answer(404, {"error": "none"}, {"X-Error-Code": "RepoNotFound"})
                return
            siblings = [
                {"rfilename": file, "size": len(content)}
                for file, content in hub.files[name].items()
            ]
            self.answer(
                200,
                {"id": name, "private": hub.private[name], "sha": COMMIT, "siblings": siblings},
            )

        def send_file(self, name, file):
            content = hub.files.get(name, {}).get(file)
            if content is None:
                self.answer(404, {"error": "none"}, {"X-Error-Code": "EntryNotFound"})
                return
            tag = hashlib.sha1(content).hexdigest()  # noqa: S324 - as git does
            headers = {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}
            self.respond(200, content, headers)

        def answer(self, status, value, headers=None):
            headers = {"Content-Type": "application/json", **(headers or {})}
            self.respond(status, json.dumps(value).encode(), headers)

        def respond(self, status, content, headers):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Handler


@contextmanager
def serving():
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub)) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
