"""A TCP relay between the daemon and its broker: it makes the wire a bad one, or takes it away."""

import asyncio
import random
import threading
import time

import rig


class Relay:
    """`foul`: delays, single bytes, stalls, and links that break in mid-packet. `cut` ends all links, and new ones are refused
    until `mend`."""

    def __init__(self, broker, seed=0):
        self.broker, self.random, self.foul, self.broken = broker, random.Random(seed), False, 0
        # Of the first link since the relay listens; none yet.
        self.linked = None
        self.port, self.server, self.links = None, None, set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.mend()

    def mend(self):
        self._do(self._listen())

    def cut(self):
        self._do(self._refuse())

    def _do(self, work):
        asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def _listen(self):
        # The same port again.
        self.server = await asyncio.start_server(self._link, "127.0.0.1", self.port or 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _refuse(self):
        self.server.close()
        for end in self.links:
            end.transport.abort()
        self.linked = None

    async def _link(self, reader, writer):
        self.linked = self.linked or time.time()
        there, here = await asyncio.open_connection("127.0.0.1", self.broker.port)
        self.links |= {writer, here}
        ways = [asyncio.ensure_future(self._carry(reader, here)), asyncio.ensure_future(self._carry(there, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (writer, here):
            end.transport.abort()
        self.links -= {writer, here}

    async def _carry(self, reader, writer):
        life = self.random.randrange(2_000, 60_000)
        try:
            while data := await reader.read(4096):
                while data:
                    part = len(data)
                    if self.foul:
                        dice = self.random.random()
                        if dice < 0.02:
                            await asyncio.sleep(0.15)
                        elif dice < 0.2:
                            part = self.random.randrange(1, len(data) + 1)
                            await asyncio.sleep(0.002)
                        part = min(part, life)
                        life -= part
                    writer.write(data[:part])
                    await writer.drain()
                    data = data[part:]
                    if self.foul and not life:
                        self.broken += 1
                        return
        except ConnectionError:
            pass

    def close(self):
        self.cut()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
