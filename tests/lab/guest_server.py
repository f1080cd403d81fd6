"""The SIP side of a guest server, by TCP, and the guest's media behind a TURN relay: says what a guest
service says when a browser calls somebody inside."""

import audioop
import math
import re
import secrets
import struct
import threading
import time
import wave

from .rawsip import Message
from .tone import heard

RATE = 8000
FRAME = 160  # samples of 20 ms


class GuestServer:
    """GuestServer(netns, "10.20.0.71").call(("10.20.0.10", 5060), "bob@example.com", ("203.0.113.10", 24000))"""

    def __init__(self, netns, host):
        self.netns = netns
        self.host = host

    def call(self, server, callee, media, tls=None, **more):
        return GuestCall(self, server, callee, media, tls, **more)


class GuestCall:
    """status is the final answer; media the (host, port) that the other side wants RTP at."""

    def __init__(self, guest, server, callee, media, tls=None, direction="sendrecv", deadline_s=15.0):
        self.uri = f"sip:{callee}"
        self.call_id = secrets.token_hex(8)
        self.tag = secrets.token_hex(4)
        self.n = 0
        self.data = b""
        self.direction = direction
        self.sock = guest.netns.socket()
        self.sock.settimeout(deadline_s)
        self.sock.bind((guest.host, 0))
        self.sock.connect(server)
        self.here = "{}:{}".format(*self.sock.getsockname())
        self.transport = "TLS" if tls else "TCP"
        if tls:
            self.sock = tls.wrap_socket(self.sock)
        self.answer = self._invite(media)
        self.status = self.answer.status
        self.media = self.media_of(self.answer.body)

    def _sdp(self, media):
        host, port = media
        return ("v=0\r\n" f"o=guest 1 {self.n + 1} IN IP4 {host}\r\n" "s=-\r\n" f"c=IN IP4 {host}\r\n" "t=0 0\r\n"
                f"m=audio {port} RTP/AVP 0\r\n" "a=rtpmap:0 PCMU/8000\r\n" f"a=rtcp:{port + 1}\r\n"
                f"a={self.direction}\r\n")

    @staticmethod
    def media_of(body):
        host = re.search(r"^c=IN IP4 (\S+)", body, re.M)
        port = re.search(r"^m=audio (\d+)", body, re.M)
        return (host[1], int(port[1])) if host and port else None

    def _invite(self, media):
        self._send("INVITE", ["Content-Type: application/sdp"], self._sdp(media))
        while True:
            answer = self.receive()
            if answer.status and answer.status >= 200 and "INVITE" in answer.get("CSeq"):
                self.to = answer.get("To")
                target = re.search(r"<([^>]*)>", answer.get("Contact") or "")
                if answer.status < 300:
                    self.uri = target[1]
                self._send("ACK", [], "", cseq=self.n, to=self.to)
                return answer

    def again(self, callee, media):
        """Another call on the same connection; its status."""
        self.uri, self.n = f"sip:{callee}", 0
        self.call_id, self.tag = secrets.token_hex(8), secrets.token_hex(4)
        self.answer = self._invite(media)
        self.status = self.answer.status
        return self.status

    def hang_up(self):
        if self.status < 300:
            self._send("BYE", [], "", to=self.to)
            while True:
                answer = self.receive()
                if answer.status and "BYE" in answer.get("CSeq"):
                    break
        self.sock.close()

    def wait_bye(self):
        while True:
            m = self.receive()
            if m.status is None and m.method == "BYE":
                lines = ["SIP/2.0 200 OK"] + [f"{name}: {value}" for name in ("Via", "From", "To", "Call-ID", "CSeq")
                                              for value in m.all(name)]
                self.sock.sendall(("\r\n".join([*lines, "Content-Length: 0"]) + "\r\n\r\n").encode())
                self.sock.close()
                return

    def _send(self, method, headers, body, cseq=None, to=None):
        if cseq is None:
            self.n += 1
            cseq = self.n
        lines = [f"{method} {self.uri} SIP/2.0",
                 f"Via: SIP/2.0/{self.transport} {self.here};rport;branch=z9hG4bK{secrets.token_hex(8)}",
                 "Max-Forwards: 70", f"From: <sip:guest@guests.example.com>;tag={self.tag}",
                 f"To: {to or '<' + self.uri + '>'}", f"Call-ID: {self.call_id}", f"CSeq: {cseq} {method}",
                 f"Contact: <sip:guest@{self.here};transport={self.transport.lower()}>", *headers,
                 f"Content-Length: {len(body)}"]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def receive(self):
        """The next message on the connection."""
        while True:
            self.data = self.data.lstrip(b"\r\n")
            head, end, rest = self.data.partition(b"\r\n\r\n")
            length = re.search(rb"^(?:Content-Length|l)\s*:\s*(\d+)", head, re.M | re.I)
            n = int(length[1]) if length else 0
            if end and len(rest) >= n:
                self.data = rest[n:]
                return Message(head + end + rest[:n])
            piece = self.sock.recv(65536)
            if not piece:
                raise ConnectionError("the connection was closed")
            self.data += piece


class GuestMedia:
    """A guest's audio: send(bytes) and receive() -> bytes are its way through the relay. Speaks a tone
    as soon as speak() was called, and keeps what it hears."""

    def __init__(self, send, receive, hz, path):
        self._send, self._receive = send, receive
        self.hz, self.path = hz, path
        self.n_received = 0
        self._heard = bytearray()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def speak(self):
        thread = threading.Thread(target=self._speak, daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self):
        self._over.set()
        for thread in self._threads:
            thread.join(5)

    def wait_heard(self, hz, deadline_s=12.0):
        give_up = time.monotonic() + deadline_s
        while True:
            with wave.open(str(self.path), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE)
                file.writeframes(audioop.ulaw2lin(bytes(self._heard), 2))
            found = heard(self.path, hz)
            if found or time.monotonic() > give_up:
                return found
            time.sleep(0.2)

    def _speak(self):
        ssrc, seq, stamp = secrets.randbits(32), secrets.randbits(15), secrets.randbits(31)
        due = time.monotonic()
        while not self._over.is_set():
            pcm = b"".join(struct.pack("<h", int(12000 * math.sin(2 * math.pi * self.hz * (stamp + i) / RATE)))
                           for i in range(FRAME))
            try:
                self._send(struct.pack("!BBHII", 0x80, 0, seq & 0xffff, stamp & 0xffffffff, ssrc)
                           + audioop.lin2ulaw(pcm, 2))
            except OSError:
                pass
            seq, stamp, due = seq + 1, stamp + FRAME, due + FRAME / RATE
            time.sleep(max(0.0, due - time.monotonic()))

    def _listen(self):
        while not self._over.is_set():
            try:
                packet = self._receive()
            except (TimeoutError, BlockingIOError):
                continue
            except OSError:
                return
            if packet and len(packet) > 12 and packet[0] >> 6 == 2 and packet[1] & 0x7f == 0:
                self.n_received += 1
                self._heard += packet[12:]


class UdpRelay:
    """Stands for a TURN relay where only its address matters: a UDP port that takes from and sends to
    one peer, the one that permit() names."""

    def __init__(self, netns, host, port):
        self.sock = netns.bound_udp(host, port, timeout=0.2)
        self.address = (host, port)
        self.peer = None
        self.strangers = set()

    def permit(self, peer):
        self.peer = peer

    def send(self, data):
        if self.peer:
            self.sock.sendto(data, self.peer)

    def receive(self):
        data, source = self.sock.recvfrom(2048)
        if source != self.peer:
            if self.peer:
                self.strangers.add(source)
            return b""
        return data

    def close(self):
        self.sock.close()
