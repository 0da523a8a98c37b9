#!/usr/bin/python3
"""An application under wsgiref's validator, which fails on what PEP 3333 forbids."""
from wsgiref.handlers import CGIHandler
from wsgiref.util import application_uri, request_uri
from wsgiref.validate import validator


def application(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    lines = [environ["REQUEST_METHOD"], request_uri(environ), application_uri(environ), environ.get("PATH_INFO", "-")]
    return ["\n".join([*lines, str(len(body))]).encode() + b"\n"]


CGIHandler().run(validator(application))
