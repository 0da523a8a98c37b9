# Counts from what the client has seen last, `Last-Event-ID`; on SIGUSR2 ends all streams, and clients connect again.
import asyncio
import os
import signal
import socket

from aiohttp import web


async def events(request):
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await stream.prepare(request)
    number = int(request.headers.get("Last-Event-ID", 0))
    while not request.app["closing"].is_set():
        number += 1
        await stream.write(f"id: {number}\ndata: {os.environ['VERSION']}\n\n".encode())
        await asyncio.sleep(0.02)
    await stream.write_eof()
    return stream


async def healthz(request):
    return web.Response(text="ok\n")


async def start(app):
    app["closing"] = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, app["closing"].set)


app = web.Application()
app.on_startup.append(start)
app.add_routes([web.get("/", events), web.get("/healthz", healthz)])
web.run_app(app, sock=socket.socket(fileno=3), print=None)
