# Sends numbered messages as long as a file exists, and each again over a new connection until it is answered. Prints how many
# were answered, and how often and with which codes the server has closed a connection.
import asyncio
import collections
import os
import sys

import websockets

name, running = sys.argv[1:]


async def main():
    number, codes = 0, collections.Counter()
    while os.path.exists(running):
        try:
            async with websockets.connect("ws://chat.localhost/", host="127.0.0.1", port=80) as server:
                while os.path.exists(running):
                    await server.send(f"{name} {number}")
                    await server.recv()
                    number += 1
                    await asyncio.sleep(0.01)
        except websockets.ConnectionClosed as closed:
            codes[closed.rcvd.code if closed.rcvd else "none"] += 1
    print(number, "answered;", "closed:", dict(codes))


asyncio.run(main())
