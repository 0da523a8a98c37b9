"""A Flask application: says its version."""

import os

from flask import Flask

app = Flask(__name__)


@app.get("/")
def version():
    return f"flask, version {os.environ['VERSION']}\n"
