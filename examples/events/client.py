# Reads events as long as a file exists, and goes on after the last one over a new connection. Prints how many it has read, how
# many are missing, how many connections ended well and how many did not.
import asyncio
import os
import sys

import aiohttp

running = sys.argv[1]


async def main():
    last, missing, ended, failed = 0, 0, 0, 0
    async with aiohttp.ClientSession() as session:
        while os.path.exists(running):
            headers = {"Host": "events.localhost", "Last-Event-ID": str(last)}
            try:
                async with session.get("http://127.0.0.1/", headers=headers, raise_for_status=True) as stream:
                    async for line in stream.content:
                        if line.startswith(b"id: "):
                            missing += int(line[4:]) - last - 1
                            last = int(line[4:])
                        if not os.path.exists(running):
                            break
                    else:
                        ended += 1
            except aiohttp.ClientError as error:
                print(repr(error), file=sys.stderr)
                failed += 1
    print(last, "read;", missing, "missing;", ended, "ended;", failed, "failed")


asyncio.run(main())
