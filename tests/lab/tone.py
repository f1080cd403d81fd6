"""Was the tone of the other side heard? Goertzel over a recording, 20 ms at a time.

Recordings hold 8 kHz mono without the parts that got lost, so a loss does not show as silence but
as a jump of the phase. Tones must not be multiples of 50 Hz, or 20 ms are whole periods and a lost
packet leaves no trace.
"""

import array
import cmath
import dataclasses
import math
import struct
import time

BLOCK_MS = 20
PURE = 0.9       # share of the power of a block that the tone must have; G.711 noise takes 0.001
SILENT = 100.0   # RMS; a phone plays at about 11500


@dataclasses.dataclass
class Tone:
    """What heard() found."""
    hz: int
    ratio: float         # share of the tone in all that was heard, 0 to 1
    tone_ms: int         # blocks in which it dominated, added up
    total_ms: int        # length of the part looked at
    longest_gap_ms: int  # longest time without the tone between its first and last block
    jumps: int           # breaks of the phase: lost, doubled or reordered packets, or a hold
    ok: bool             # dominated, and for at least min_seconds

    def __bool__(self):
        return self.ok


def heard(path, hz, since=0.0, min_seconds=1.0, until=None):
    """Look for `hz` in the recording from `since` to `until` (seconds of recording)."""
    rate, samples = read_wav(path)
    first = int(since * rate)
    last = len(samples) if until is None else int(until * rate)
    samples = samples[first:last]
    size = rate * BLOCK_MS // 1000
    good, jumps, power, tone_power = [], 0, 0.0, 0.0
    previous = None
    for start in range(0, len(samples) - size + 1, size):
        block = samples[start:start + size]
        energy = sum(value * value for value in block)
        amount = _goertzel(block, hz, rate)
        share = 2 * abs(amount) ** 2 / (size * energy) if energy else 0.0
        power += energy
        tone_power += share * energy
        dominated = share >= PURE and energy > SILENT * SILENT * size
        good.append(dominated)
        phase = cmath.phase(amount)
        if dominated and previous is not None:
            step = (phase - previous - 2 * math.pi * hz * BLOCK_MS / 1000) % (2 * math.pi)
            jumps += min(step, 2 * math.pi - step) > 0.5
        previous = phase if dominated else None
    tone_ms = sum(good) * BLOCK_MS
    ratio = min(1.0, tone_power / power) if power else 0.0
    return Tone(hz, ratio, tone_ms, len(samples) * 1000 // rate, _longest_gap(good) * BLOCK_MS,
                jumps, ratio >= PURE and tone_ms >= min_seconds * 1000)


def wait_heard(phone, hz, min_seconds=1.0, deadline_s=10.0, since=0.0):
    """Poll the newest recording of a phone during the call until the tone is there. Returns what
    was found at last, for `assert wait_heard(...)`."""
    give_up = time.monotonic() + deadline_s
    while True:
        try:
            found = heard(phone.recording(), hz, since, min_seconds)
        except (FileNotFoundError, ValueError):
            found = Tone(hz, 0.0, 0, 0, 0, 0, False)
        if found or time.monotonic() > give_up:
            return found
        time.sleep(0.2)


def read_wav(path):
    """(rate, samples) of a 16 bit mono WAV. Its sizes are not believed: they are written at the
    end of the call, and we also look before."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError(f"{path}: not a WAV file")
    at, rate = 12, None
    while at + 8 <= len(data):
        name, size = data[at:at + 4], struct.unpack_from("<I", data, at + 4)[0]
        if name == b"fmt ":
            _, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, at + 8)
            if channels != 1 or bits != 16:
                raise ValueError(f"{path}: {channels} channels of {bits} bits")
        elif name == b"data":
            body = data[at + 8:]
            samples = array.array("h", body[:len(body) & ~1])
            return rate, samples
        at += 8 + size + (size & 1)
    raise ValueError(f"{path}: no samples yet")


def _goertzel(block, hz, rate):
    """Amplitude and phase of one frequency, as a complex number."""
    turn = 2 * math.pi * hz / rate
    factor = 2 * math.cos(turn)
    before = last = 0.0
    for value in block:
        before, last = last, value + factor * last - before
    return (last - before * cmath.exp(-1j * turn)) * cmath.exp(-1j * turn * (len(block) - 1))


def _longest_gap(good):
    """Only between blocks with the tone: before the first and after the last is no gap."""
    at = [index for index, flag in enumerate(good) if flag]
    return max((after - before - 1 for before, after in zip(at, at[1:])), default=0)
