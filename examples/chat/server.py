# Keeps each message, then answers with its version; on SIGUSR2 closes all connections with code 1012, service restart.
import asyncio
import os
import signal
import socket

import websockets

clients = set()
messages = open(os.environ["STATE_DIRECTORY"] + "/messages", "a", buffering=1)


async def serve(client, *_):
    clients.add(client)
    try:
        async for message in client:
            messages.write(message + "\n")
            await client.send(os.environ["VERSION"])
    except websockets.ConnectionClosed:
        pass
    finally:
        clients.discard(client)


def close():
    for client in clients:
        asyncio.ensure_future(client.close(1012))


async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, close)
    async with websockets.unix_serve(serve, path=None, sock=socket.socket(fileno=3)):
        await asyncio.Future()


asyncio.run(main())
