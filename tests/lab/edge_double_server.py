"""The program behind edge_double.EdgeDouble: an SSH server with E's key that C takes for E, and that then
asks C for whatever a test wants. Needs python3-asyncssh, and so Debian's own python3.

    /usr/bin/python3 -m lab.edge_double_server ADDRESS PORT HOST-KEY SOCKET
"""

import asyncio
import json
import pathlib
import struct
import sys
import time
import warnings

warnings.simplefilter("ignore")  # asyncssh 2.10 imports ciphers that its library calls old
import asyncssh  # pylint: disable=wrong-import-position

SUBSYSTEM = "turnpike-control"
PATIENCE_S = 10.0


class Double:
    def __init__(self):
        self.agreed = []  # Control, newest last
        self.n_logins = 0
        self.calls = {}
        self.next_call = 1
        self.tables = {}

    async def control(self):
        """A connection on which C has said hello; C dials again when it has hung up."""
        give_up = time.monotonic() + PATIENCE_S
        while not self.agreed:
            if time.monotonic() > give_up:
                raise TimeoutError("C is not connected")
            await asyncio.sleep(0.02)
        return self.agreed[-1]


class Control(asyncssh.SSHServerSession):
    """The control channel of one connection."""

    def __init__(self, double, conn):
        self.double = double
        self.conn = conn
        self.chan = None
        self.data = b""

    def connection_made(self, chan):
        self.chan = chan

    def subsystem_requested(self, subsystem):
        return subsystem == SUBSYSTEM

    def session_started(self):
        self.say({"type": "hello", "version": 1, "name": "edge1.example.com", "software": "double",
                  "boot": "d0b1e", "time": int(time.time() * 1000)})

    def say(self, message):
        text = json.dumps(message).encode()
        self.chan.write(struct.pack("!I", len(text)) + text)

    def data_received(self, data, datatype):
        self.data += data
        while len(self.data) >= 4:
            length = struct.unpack_from("!I", self.data)[0]
            if len(self.data) < 4 + length:
                return
            message = json.loads(self.data[4:4 + length])
            self.data = self.data[4 + length:]
            self.take(message)

    def take(self, message):
        kind = message["type"]
        if kind == "hello":
            self.double.agreed.append(self)
        elif kind == "ping":
            self.say({"type": "pong", "n": message["n"], "time": int(time.time() * 1000)})
        elif kind == "put":
            self.double.tables.setdefault(message["table"], {})[message["key"]] = message["item"]
        elif kind == "del":
            self.double.tables.get(message["table"], {}).pop(message["key"], None)
        elif kind == "reset":
            self.double.tables[message["table"]] = {}
        elif kind == "call":
            self.say({"type": "result", "id": message["id"], "status": -38})
        elif kind == "result":
            waiting = self.double.calls.pop(message["id"], None)
            if waiting and not waiting.done():
                waiting.set_result(message)

    def eof_received(self):
        return False

    def connection_lost(self, exc):
        if self in self.double.agreed:
            self.double.agreed.remove(self)


class Server(asyncssh.SSHServer):
    def __init__(self, double):
        self.double = double
        self.conn = None

    def connection_made(self, conn):
        self.conn = conn

    def public_key_auth_supported(self):
        return True

    def validate_public_key(self, username, key):
        self.double.n_logins += 1
        return True

    def session_requested(self):
        return Control(self.double, self.conn)


class Stream(asyncssh.SSHTCPSession):
    def __init__(self):
        self.data = b""
        self.closed = asyncio.get_event_loop().create_future()

    def data_received(self, data, datatype):
        self.data += data

    def eof_received(self):
        if not self.closed.done():
            self.closed.set_result(True)
        return False

    def connection_lost(self, exc):
        if not self.closed.done():
            self.closed.set_result(True)


class Orders:
    """What a test may order; each answers with a dict."""

    def __init__(self, double):
        self.double = double

    async def state(self, _order):
        return {"connections": len(self.double.agreed), "logins": self.double.n_logins,
                "tables": self.double.tables}

    async def exchange(self, order):
        """A stream: what is sent on it, and what comes until it is closed or the time is over."""
        control = await self.double.control()
        try:
            chan, stream = await asyncio.wait_for(control.conn.create_connection(
                Stream, order["purpose"], order.get("port", 0), order.get("from", "turnpike"), 0,
                encoding=None), PATIENCE_S)
        except (asyncssh.Error, OSError) as error:
            return {"opened": False, "error": str(error)}
        chan.write(bytes.fromhex(order.get("send", "")))
        try:
            await asyncio.wait_for(asyncio.shield(stream.closed), order.get("seconds", 5))
        except asyncio.TimeoutError:
            pass
        closed = stream.closed.done()
        chan.close()
        return {"opened": True, "closed": closed, "received": stream.data.hex()}

    async def channel(self, order):
        """A channel of another kind."""
        control = await self.double.control()
        chan = asyncssh.channel.SSHTCPChannel(control.conn, asyncio.get_event_loop(), None, "strict",
                                              2097152, 32768)
        try:
            await asyncio.wait_for(chan._open(order["kind"].encode(),  # pylint: disable=W0212
                                              bytes.fromhex(order.get("more", ""))), PATIENCE_S)
        except (asyncssh.Error, OSError, asyncio.TimeoutError) as error:
            return {"opened": False, "error": str(error)}
        return {"opened": True}

    async def request(self, order):
        """A global request, such as tcpip-forward."""
        control = await self.double.control()
        try:
            kind, _ = await asyncio.wait_for(control.conn._make_global_request(  # pylint: disable=W0212
                order["name"].encode(), bytes.fromhex(order.get("more", ""))), PATIENCE_S)
        except (asyncssh.Error, OSError, asyncio.TimeoutError) as error:
            return {"granted": False, "error": str(error)}
        return {"granted": kind == 81}

    async def call(self, order):
        control = await self.double.control()
        number = self.double.next_call
        self.double.next_call += 1
        waiting = self.double.calls[number] = asyncio.get_event_loop().create_future()
        control.say({"type": "call", "id": number, "method": order["method"],
                     "params": order["params"]})
        try:
            return await asyncio.wait_for(waiting, order.get("seconds", PATIENCE_S))
        except asyncio.TimeoutError:
            return {"error": "no result"}

    async def control(self, order):
        """Raw bytes on the control channel, so often; says whether C then hung up, and what it did not take."""
        control = await self.double.control()
        data = bytes.fromhex(order["send"])
        try:
            for _ in range(order.get("times", 1)):
                control.chan.write(data)
        except (asyncssh.Error, OSError, BrokenPipeError):
            pass
        give_up = time.monotonic() + order.get("seconds", 5)
        while control in self.double.agreed and time.monotonic() < give_up:
            await asyncio.sleep(0.05)
            if order.get("times") and not control.chan.get_write_buffer_size():
                break
        return {"hung_up": control not in self.double.agreed, "left": control.chan.get_write_buffer_size()}

    async def serve(self, reader, writer):
        while line := await reader.readline():
            order = json.loads(line)
            try:
                answer = await getattr(self, order["do"])(order)
            except Exception as error:  # pylint: disable=broad-except
                answer = {"error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()


async def main():
    address, port, key, path = sys.argv[1:]
    double = Double()
    await asyncssh.listen(address, int(port), server_host_keys=[key], encoding=None,
                          server_factory=lambda: Server(double), keepalive_interval=0,
                          authorized_client_keys=None)
    pathlib.Path(path).unlink(missing_ok=True)
    server = await asyncio.start_unix_server(Orders(double).serve, path, limit=1 << 24)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
