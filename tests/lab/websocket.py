"""WebSocket (RFC 6455) over a stream that somebody else switched: the echo of the recorder and the
client of the tests. No extensions."""

import base64
import hashlib
import os
import struct

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def new_key():
    return base64.b64encode(os.urandom(16)).decode()


def accept_of(key):
    """What Sec-WebSocket-Accept must say."""
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


class WebSocket:
    """take(n) returns exactly n bytes or raises, send(bytes) sends; client: masks what it sends."""

    def __init__(self, take, send, client):
        self._take = take
        self._send = send
        self.client = client

    def send(self, payload, opcode=TEXT):
        payload = payload.encode() if isinstance(payload, str) else payload
        mask_bit = 0x80 if self.client else 0
        if len(payload) < 126:
            head = struct.pack("!BB", 0x80 | opcode, mask_bit | len(payload))
        elif len(payload) < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, mask_bit | 126, len(payload))
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, mask_bit | 127, len(payload))
        if self.client:
            mask = os.urandom(4)
            head, payload = head + mask, _masked(payload, mask)
        self._send(head + payload)

    def receive(self):
        """(opcode, payload) of the next whole message; pings are answered on the way."""
        whole, kind = b"", None
        while True:
            first, second = self._take(2)
            opcode, length = first & 0x0f, second & 0x7f
            if length == 126:
                length = struct.unpack("!H", self._take(2))[0]
            elif length == 127:
                length = struct.unpack("!Q", self._take(8))[0]
            mask = self._take(4) if second & 0x80 else None
            payload = self._take(length)
            if mask:
                payload = _masked(payload, mask)
            if opcode == PING:
                self.send(payload, PONG)
            elif opcode == PONG:
                continue
            elif opcode == CLOSE:
                return CLOSE, payload
            else:
                kind = opcode or kind
                whole += payload
                if first & 0x80:
                    return kind, whole

    def echo(self):
        """Until the other side closes."""
        while True:
            kind, payload = self.receive()
            self.send(payload, kind)
            if kind == CLOSE:
                return


def _masked(payload, mask):
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
