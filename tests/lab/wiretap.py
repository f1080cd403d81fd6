"""Record the UDP datagrams that pass an interface, to look at them or to say them again."""

import dataclasses
import select
import socket
import struct
import threading
import time

from .rtpspy import ETH_ALL, _kind, _udp

MAX_PACKETS = 20000


@dataclasses.dataclass(frozen=True)
class Datagram:
    """One datagram; kind is rtp, rtcp, stun, dtls or unknown."""
    source: tuple
    target: tuple
    payload: bytes
    kind: str

    @property
    def seq(self):
        return struct.unpack_from("!H", self.payload, 2)[0]

    @property
    def ssrc(self):
        return struct.unpack_from("!I", self.payload, 8 if self.kind == "rtp" else 4)[0]


class Wiretap:
    """with Wiretap(lab.inet) as tap: tap.wait(50, "rtp", source=lab.inet.v4). The first MAX_PACKETS
    are kept."""

    def __init__(self, netns, interface="eth0"):
        self.netns = netns
        self.interface = interface
        self._packets = []
        self._stopping = False
        self._sock = None
        self._thread = None

    def __enter__(self):
        self._sock = self.netns.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_ALL))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._sock.bind((self.interface, ETH_ALL))
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping = True
        self._thread.join()
        self._sock.close()

    def packets(self, kind=None, source=None, target=None):
        """In order; `source` and `target` are addresses to select by."""
        return [p for p in list(self._packets) if (kind is None or p.kind == kind)
                and (source is None or p.source[0] == source)
                and (target is None or p.target[0] == target)]

    def wait(self, count, kind=None, source=None, target=None, deadline_s=10.0):
        give_up = time.monotonic() + deadline_s
        while len(found := self.packets(kind, source, target)) < count:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{len(found)} of {count} packets of {kind} from {source}")
            time.sleep(0.02)
        return found

    def _watch(self):
        while not self._stopping:
            if not select.select([self._sock], [], [], 0.1)[0]:
                continue
            packet = _udp(self._sock.recv(2048))
            if packet and len(self._packets) < MAX_PACKETS:
                source, target, payload = packet
                self._packets.append(Datagram(source, target, bytes(payload), _kind(payload)))
