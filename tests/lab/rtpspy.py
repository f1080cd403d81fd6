"""Count the RTP that passes an interface: streams, sequence gaps, and whether it is encrypted."""

import dataclasses
import select
import socket
import struct
import threading
import time

ETH_ALL = 3
SAMPLE_BYTES = 16000


@dataclasses.dataclass
class Stream:
    """One SSRC from one address to another."""
    source: tuple
    target: tuple
    ssrc: int
    payload_type: int
    packets: int = 0
    first_seq: int = 0
    last_seq: int = 0          # extended: goes on counting past 65535
    reordered: int = 0         # came after a higher one
    doubled: int = 0           # came more than once
    longest_pause_ms: float = 0.0
    last_at: float = 0.0
    sizes: set = dataclasses.field(default_factory=set)
    missing: set = dataclasses.field(default_factory=set, repr=False)
    sample: bytearray = dataclasses.field(default_factory=bytearray, repr=False)

    @property
    def lost(self):
        """How many numbers have not come, so far."""
        return len(self.missing)

    @property
    def encrypted(self):
        """True, False, or None as long as too little was seen to tell.

        A tone in G.711 uses few of the 256 byte values, SRTP uses all of them alike: chi-square
        is about 255 there, and ten thousands for a tone.
        """
        if len(self.sample) < 4000:
            return None
        expected = len(self.sample) / 256
        counts = [0] * 256
        for value in self.sample:
            counts[value] += 1
        return sum((count - expected) ** 2 / expected for count in counts) < 500


class RtpSpy:
    """with RtpSpy(lab.dmz) as spy: ...; spy.streams(). `ports` limits it to a (low, high) range
    of UDP ports at either end; STUN, DTLS and RTCP on them are counted in spy.others."""

    def __init__(self, netns, interface="eth0", ports=(10000, 65535)):
        self.netns = netns
        self.interface = interface
        self.low, self.high = ports
        self.others = {"stun": 0, "dtls": 0, "rtcp": 0, "unknown": 0}
        self._streams = {}
        self._lock = threading.Lock()
        self._stopping = False
        self._sock = None
        self._thread = None

    def start(self):
        self._sock = self.netns.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_ALL))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._sock.bind((self.interface, ETH_ALL))
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def stop(self):
        self._stopping = True
        self._thread.join()
        self._sock.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def streams(self, source=None, target=None):
        """A list of Stream; `source` and `target` are addresses to select by."""
        with self._lock:
            found = list(self._streams.values())
        return [item for item in found if (source is None or item.source[0] == source)
                and (target is None or item.target[0] == target)]

    def wait_packets(self, count, deadline_s=10.0, **select_by):
        """Wait until one such stream has `count` packets; returns it."""
        give_up = time.monotonic() + deadline_s
        while True:
            for stream in self.streams(**select_by):
                if stream.packets >= count:
                    return stream
            if time.monotonic() > give_up:
                raise TimeoutError(f"no stream of {count} packets: {self.streams()}")
            time.sleep(0.05)

    def _watch(self):
        while not self._stopping:
            if select.select([self._sock], [], [], 0.1)[0]:
                self._take(self._sock.recv(2048), time.monotonic())

    def _take(self, frame, now):
        packet = _udp(frame)
        if packet is None:
            return
        source, target, payload = packet
        if not any(self.low <= port <= self.high for port in (source[1], target[1])):
            return
        kind = _kind(payload)
        with self._lock:
            if kind == "rtp":
                self._count(source, target, payload, now)
            else:
                self.others[kind] += 1

    def _count(self, source, target, payload, now):
        second, seq, _, ssrc = struct.unpack_from("!xBHII", payload)
        key = (source, target, ssrc)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = Stream(source, target, ssrc, second & 0x7f,
                                                 first_seq=seq, last_seq=seq - 1, last_at=now)
        step = (seq - stream.last_seq) & 0xffff
        if 0 < step < 0x8000:
            stream.missing.update(range(stream.last_seq + 1, stream.last_seq + step))
            stream.last_seq += step
        else:
            late = stream.last_seq - (-step & 0xffff)
            if late in stream.missing:
                stream.missing.remove(late)
                stream.reordered += 1
            else:
                stream.doubled += 1
        stream.packets += 1
        stream.longest_pause_ms = max(stream.longest_pause_ms, (now - stream.last_at) * 1000)
        stream.last_at = now
        body = payload[12 + 4 * (payload[0] & 0x0f):]
        stream.sizes.add(len(body))
        if len(stream.sample) < SAMPLE_BYTES:
            stream.sample += body


def _kind(payload):
    """RFC 7983 tells what shares a port by the first byte."""
    if len(payload) < 12:
        return "unknown"
    first = payload[0]
    if first < 4:
        return "stun"
    if 20 <= first < 64:
        return "dtls"
    if 128 <= first < 192:
        return "rtcp" if 192 <= payload[1] <= 223 else "rtp"
    return "unknown"


def _udp(frame):
    """((host, port), (host, port), payload) of an Ethernet frame with whole UDP, or None."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and len(frame) >= 42 and frame[23] == socket.IPPROTO_UDP:
        if struct.unpack_from("!H", frame, 20)[0] & 0x1fff:
            return None  # a later fragment
        at = 14 + (frame[14] & 0x0f) * 4
        hosts = [socket.inet_ntop(socket.AF_INET, frame[n:n + 4]) for n in (26, 30)]
    elif kind == b"\x86\xdd" and len(frame) >= 62 and frame[20] == socket.IPPROTO_UDP:
        at = 54
        hosts = [socket.inet_ntop(socket.AF_INET6, frame[n:n + 16]) for n in (22, 38)]
    else:
        return None
    source, target, length = struct.unpack_from("!HHH", frame, at)
    return (hosts[0], source), (hosts[1], target), frame[at + 8:at + length]
