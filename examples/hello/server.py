#!/usr/bin/env python3
"""Answers HTTP on the socket that systemd passes as file descriptor 3."""

import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer

LISTEN_FDS_START = 3


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/healthz":
            return self.answer(b"ok\n")
        version = os.environ.get("VERSION", "?")
        deployment = os.environ.get("CONDUCTOR_DEPLOYMENT", "?")
        self.answer(f"hello, version {version}, deployment {deployment}\n".encode())

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):  # peers of a unix socket have no address
        return "proxy"

    def log_message(self, *_):  # the proxy keeps the access log
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, listener):
        BaseServer.__init__(self, None, Handler)  # TCPServer would make a socket of its own
        self.socket = listener

    def get_request(self):
        connection, _ = self.socket.accept()
        return connection, ("proxy", 0)


if __name__ == "__main__":
    if os.environ.get("LISTEN_FDS") != "1":
        raise SystemExit("expected one socket from systemd (LISTEN_FDS=1)")
    Server(socket.socket(fileno=LISTEN_FDS_START)).serve_forever()
