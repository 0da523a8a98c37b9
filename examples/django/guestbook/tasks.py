"""What the worker does."""

import os
import socket

import django
from celery import Celery
from celery.signals import worker_ready

django.setup()
app = Celery("guestbook", broker=os.environ["BROKER"])


@app.task
def sign(name):
    from guestbook.models import Entry

    Entry.objects.create(name=name)


@worker_ready.connect
def tell_systemd(**_):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
