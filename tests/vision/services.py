"""A server on this machine that answers as Gemini and as OpenAI do."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GOOD = json.dumps({"reason": "It melts.", "score": 1})


class Service:
    """What the server has been asked, and what it will answer.

    Each planned answer is a text of the model, or a pair of a status and a JSON body; after the
    last one every answer is ``GOOD``.
    """

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"
        self.plan, self.asked = [], []

    def reply(self, path, headers, body):
        self.asked.append((path, headers, body))
        if path.endswith("/models"):
            return 200, {"data": [{"id": "served"}]}
        planned = self.plan.pop(0) if self.plan else GOOD
        if not isinstance(planned, str):
            return planned
        if path.endswith(":generateContent"):
            content = {"role": "model", "parts": [{"text": planned}]}
            return 200, {"candidates": [{"content": content, "finishReason": "STOP"}]}
        return 200, {"choices": [{"message": {"role": "assistant", "content": planned}}]}


@contextmanager
def service():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.do_POST()

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
            status, answer = served.reply(
                self.path, {k.lower(): v for k, v in self.headers.items()}, body
            )
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            if status == 429:
                self.send_header("retry-after", "7")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Service(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
