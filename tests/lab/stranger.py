"""Somebody nobody invited: sends what he likes, under his own address or another's, and counts what
comes back."""

import random
import socket
import struct
import time

from .netns import family_of

RTP, RTCP = "rtp", "rtcp"
SPRAY_PPS = 5000  # what a receiver under a sanitizer keeps up with


class Stranger:
    """Stranger(lab.inet, "198.51.100.66", ssrc=0xbadcafe). An address the namespace does not have
    yet is added to its eth0."""

    def __init__(self, netns, host=None, ssrc=0xbadcafe):
        self.host = host or netns.v4
        self.ssrc = ssrc
        self.seq = 1
        if self.host not in (netns.v4, netns.v6):
            netns.run(["ip", "addr", "replace", f"{self.host}/24", "dev", "eth0"])
        self.sock = netns.bound_udp(self.host)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.setblocking(False)
        self.raw = None
        if family_of(self.host) == socket.AF_INET:
            self.raw = netns.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.came = []  # (source, payload)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()
        if self.raw:
            self.raw.close()

    def send(self, target, payload):
        self.sock.sendto(payload, target)

    def forge(self, source, target, payload):
        """IPv4, as if sent by `source`."""
        length = 28 + len(payload)
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, socket.IPPROTO_UDP, 0,
                           socket.inet_aton(source[0]), socket.inet_aton(target[0]))
        udp = struct.pack("!HHHH", source[1], target[1], 8 + len(payload), 0)
        self.raw.sendto(head + udp + payload, (target[0], 0))

    def spray(self, host, ports, rounds=8):
        """To every port a run of RTP in order, longer than any run that proves a source, then RTCP.
        Returns how many packets went out."""
        ports = list(ports)
        start, n = time.monotonic(), 0
        for _ in range(rounds):
            for port in ports:
                self.send((host, port), self.rtp())
                n += 1
            self.seq += 1
            time.sleep(max(0.0, start + n / SPRAY_PPS - time.monotonic()))
        for port in ports:
            self.send((host, port), self.rtcp())
            n += 1
        return n

    def rtp(self):
        return struct.pack("!BBHII", 0x80, 0, self.seq & 0xffff, self.seq * 160,
                           self.ssrc) + b"\xff" * 160

    def rtcp(self):
        """An empty receiver report; with room for an SRTCP trailer, which is noise."""
        return struct.pack("!BBHI", 0x80, 201, 1, self.ssrc) + random.Random(self.seq).randbytes(14)

    def received(self):
        """How many datagrams came to his own socket, ever."""
        while True:
            try:
                data, source = self.sock.recvfrom(4096)
            except BlockingIOError:
                return len(self.came)
            except ConnectionRefusedError:
                continue
            self.came.append((source, data))
