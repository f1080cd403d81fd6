"""SRTP (RFC 3711) of one stream and one key, AES_CM_128_HMAC_SHA1_80, within the first 65536 packets: what a phone
without a phone needs."""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

TAG = 10


def _stream(key, start, n):
    """n bytes of AES in counter mode, from this counter on."""
    return Cipher(algorithms.AES(key), modes.CTR(start)).encryptor().update(bytes(n))


class Srtp:
    """Srtp(master key and salt, 30 bytes as in a=crypto)."""

    def __init__(self, master):
        key, salt = master[:16], int.from_bytes(master[16:30], "big")

        def derive(label, n):  # section 4.3.1, with a derivation rate of 0
            return _stream(key, ((salt ^ label << 48) << 16).to_bytes(16, "big"), n)
        self._key, self._auth = derive(0, 16), derive(1, 20)
        self._salt = int.from_bytes(derive(2, 14), "big")

    def protect(self, rtp):
        packet = rtp[:12] + self._crypt(rtp, rtp[12:])
        return packet + self._tag(packet)

    def unprotect(self, packet):
        """b"" when the tag is wrong, or for anything but RTP without extensions."""
        if len(packet) < 12 + TAG or packet[0] != 0x80 or 64 <= packet[1] & 0x7f < 96:
            return b""
        body = packet[:-TAG]
        if not hmac.compare_digest(self._tag(body), packet[-TAG:]):
            return b""
        return body[:12] + self._crypt(body, body[12:])

    def _crypt(self, packet, payload):
        seq, ssrc = struct.unpack_from("!H", packet, 2)[0], struct.unpack_from("!I", packet, 8)[0]
        start = (self._salt << 16) ^ (ssrc << 64) ^ (seq << 16)
        return bytes(a ^ b for a, b in zip(payload, _stream(self._key, start.to_bytes(16, "big"), len(payload))))

    def _tag(self, packet):
        return hmac.new(self._auth, packet + bytes(4), hashlib.sha1).digest()[:TAG]
