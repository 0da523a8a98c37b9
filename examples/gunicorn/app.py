"""A WSGI application: says its version, sends back what is posted."""

import os

VERSION = os.environ.get("VERSION", "?")


def application(environ, start_response):
    body = answer(environ)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def answer(environ):
    if environ["REQUEST_METHOD"] == "POST":
        return environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if environ["PATH_INFO"] == "/healthz":
        return b"ok\n"
    return f"wsgi, version {VERSION}, worker {os.getpid()}\n".encode()
