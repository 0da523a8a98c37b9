#!/usr/bin/python3
"""A server of HTTP/2 with prior knowledge alone, as gRPC's are (RFC 9113): each request is answered with `h2 ok`."""
import socket
import threading

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, ACK, END_HEADERS = 1, 1, 4
STATUS_200 = b"\x88"  # entry 8 of HPACK's static table


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def serve(connection):
    with connection, connection.makefile("rb") as stream:
        if stream.read(len(PREFACE)) != PREFACE:
            return
        connection.sendall(frame(SETTINGS, 0, 0))
        while head := stream.read(9):
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            number, payload = int.from_bytes(head[5:9], "big"), stream.read(size)
            if kind in (SETTINGS, PING) and not flags & ACK:
                connection.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind in (HEADERS, DATA) and flags & END_STREAM:
                answer = frame(HEADERS, END_HEADERS, number, STATUS_200)
                connection.sendall(answer + frame(DATA, END_STREAM, number, b"h2 ok"))


listener = socket.socket(fileno=3)
while True:
    threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
