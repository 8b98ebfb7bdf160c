#!/usr/bin/env python3
"""A receiver of callbacks: verifies each and prints it. Needs `pip install standardwebhooks`.

Usage: callback-receiver.py PORT SECRET
"""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

SEEN: set[str] = set()


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is genuine, 400 to the rest."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            # Names of headers in lower case, as the library looks for them.
            headers = {name.lower(): value for name, value in self.headers.items()}
            event = Webhook(sys.argv[2]).verify(body, headers)
        except WebhookVerificationError as error:
            print("refused:", error, flush=True)
            self.answer(400)
            return
        # The same callback may come twice; its id tells.
        word = "again" if event["id"] in SEEN else "new"
        SEEN.add(event["id"])
        print(word, event["type"], event["subject"], event["data"].get("output"), flush=True)
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Prints nothing for each request."""


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
