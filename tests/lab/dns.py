"""Name servers (BIND) with two views of example.com: one on the internet, one inside.

Programs that use the resolver of libc or read /etc/hosts get the names without; baresip and lookups
of SRV records need a server.
"""

import shutil
import socket
import struct
import time

from .netns import end

CONFIG = """
options {{
	directory "{folder}";
	listen-on {{ {v4}; }};
	listen-on-v6 {{ {v6}; }};
	recursion no;
	dnssec-validation no;
	pid-file none;
	session-keyfile none;
}};
controls {{ }};
"""
ZONE_HEAD = """$TTL 5
@ IN SOA ns.example.com. root.example.com. 1 60 60 60 5
@ IN NS ns
ns IN A {v4}
"""
MORE_HEAD = """$TTL 5
@ IN SOA ns.example.com. root.example.com. 1 60 60 60 5
@ IN NS ns.example.com.
"""
ROOT = """$TTL 5
@ IN SOA ns. root. 1 60 60 60 5
@ IN NS ns.
ns. IN A {v4}
"""
OUTSIDE_SERVICES = """
_sips._tcp IN SRV 10 10 5061 edge1
_sip._tls IN SRV 10 10 5061 edge1
_collab-edge._tls IN SRV 10 10 8443 edge1
_xmpp-client._tcp IN SRV 10 10 5222 edge1
_turn._udp IN SRV 10 10 3478 edge1
"""
INSIDE_SERVICES = """
_sip._udp IN SRV 10 10 5060 pbx
_sip._tcp IN SRV 10 10 5060 pbx
_cisco-uds._tcp IN SRV 10 10 8443 cucm1
_cisco-uds._tcp IN SRV 20 10 8443 cucm2
_cuplogin._tcp IN SRV 10 10 8443 imp1
_cisco-phone-tftp._tcp IN SRV 10 10 6970 cucm1
"""


class Dns:
    """Dns(lab).start(); extra = {"inet": "lines", "pbx": "lines"} adds lines to the zones of example.com,
    zones = {"inet": {"partner.org": "lines"}} adds zones, and makes all other names there unknown for sure."""

    def __init__(self, lab, extra=None, zones=None):
        extra, zones = extra or {}, zones or {}
        self.servers = [_Named(lab, place, services + extra.get(place, ""), zones.get(place, {}))
                        for place, services in (("inet", OUTSIDE_SERVICES), ("pbx", INSIDE_SERVICES))]

    def start(self):
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.wait_ready()
        return self

    def stop(self):
        for server in self.servers:
            server.stop()


class _Named:
    def __init__(self, lab, place, services, zones):
        self.netns = lab.netns[place]
        self.folder = lab.work / f"named-{place}"
        lines = [f"{host.removesuffix('.example.com')} IN {'AAAA' if ':' in ip else 'A'} {ip}"
                 for host, ip in lab.names(place)]
        self.zones = {"example.com": ZONE_HEAD.format(v4=self.netns.v4) + "\n".join(lines) + "\n" + services}
        for name, text in zones.items():
            self.zones[name] = MORE_HEAD.format(v4=self.netns.v4) + text + "\n"
        if zones:
            self.zones["."] = ROOT.format(v4=self.netns.v4)
        self.process = None

    def start(self):
        self.folder.mkdir(exist_ok=True)
        config = CONFIG.format(folder=self.folder, v4=self.netns.v4, v6=self.netns.v6)
        for name, text in self.zones.items():
            (self.folder / f"zone-{name}").write_text(text)
            config += f'zone "{name}" {{ type primary; file "zone-{name}"; }};\n'
        (self.folder / "named.conf").write_text(config)
        # AppArmor goes by the path, and lets the original read nothing of ours
        program = shutil.copy("/usr/sbin/named", self.folder / "named")
        self.process = self.netns.popen(
            [program, "-g", "-n", "1", "-c", self.folder / "named.conf"],
            log=f"{self.folder.name}.log")

    def stop(self):
        end(self.process)

    def wait_ready(self, deadline_s=10.0):
        """Ask for ns.example.com until there is an answer."""
        question = struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0) + b"\2ns\7example\3com\0\0\1\0\1"
        give_up = time.monotonic() + deadline_s
        with self.netns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.1)
            sock.connect((self.netns.v4, 53))
            while True:
                try:
                    sock.send(question)
                    sock.recv(512)
                    return
                except OSError:
                    if self.process.poll() is not None or time.monotonic() > give_up:
                        raise RuntimeError(f"named does not answer, see {self.folder}.log") \
                            from None
                    time.sleep(0.02)
