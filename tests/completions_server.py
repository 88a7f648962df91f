"""A small OpenAI-compatible server, run as a process of its own: `python -m tests.completions_server [options]`.

Its completions depend on the request's prompt and seed only. It prints its port, and tells under `/stats` what it saw.
"""

from __future__ import annotations

import argparse
import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SEEN = {"requests": 0, "failed": 0, "at_once": 0, "running": 0, "authorization": None, "keys": []}
LOCK = threading.Lock()


def completion(body, end):
    """The text or ids that a prompt and a seed give: letters, or ids from 10 on."""
    rng = random.Random(f"{body['prompt']}:{body['seed']}")
    length = rng.randrange(1, 12)
    finished = length <= body["max_tokens"]
    letters = [rng.randrange(26) for _ in range(min(length, body["max_tokens"]))]
    choice = {"index": 0, "finish_reason": "stop" if finished else "length"}
    choice["text"] = "".join(chr(97 + letter) for letter in letters)
    if body.get("return_token_ids"):
        choice["token_ids"] = [10 + letter for letter in letters] + [end] * finished
    return choice


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, content):
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer(200, SEEN)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with LOCK:
            SEEN["requests"] += 1
            SEEN["running"] += 1
            SEEN["at_once"] = max(SEEN["at_once"], SEEN["running"])
            SEEN["authorization"] = self.headers["Authorization"]
            SEEN["keys"] = sorted(body)
            number = SEEN["requests"]
        time.sleep(OPTIONS.seconds)
        with LOCK:
            SEEN["running"] -= 1
        if OPTIONS.fail_every and number % OPTIONS.fail_every == 0:
            with LOCK:
                SEEN["failed"] += 1
            if number % (2 * OPTIONS.fail_every) == 0:
                self.close_connection = True  # an answer that breaks off
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
                return
            self.answer(503, {"error": "busy"})
        elif self.path != "/v1/completions":
            self.answer(404, {"error": self.path})
        elif body["model"] != "served":
            self.answer(400, {"error": f"no model {body['model']}"})
        else:
            self.answer(200, {"choices": [completion(body, OPTIONS.end)]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--fail-every", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--end", type=int, required=True)
    OPTIONS = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.request_queue_size = 256
    print(server.server_port, flush=True)
    server.serve_forever()
