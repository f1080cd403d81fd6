"""Lab: the network between phones outside and the PBX inside, in namespaces that vanish again.

        inet ---+--- nat --- home         internet 198.51.100.0/24, home 192.168.1.0/24
                |
                fw --- dmz                DMZ 203.0.113.0/24, E on .10
                |
                +--- lan, pbx, desk       LAN 10.20.0.0/24, C on .10
                     uc, web              call managers and friends, web servers

One more namespace, `wire`, holds the switches (bridges) and has no address itself.
"""

import atexit
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from .firewall import Firewall
from .netns import Netns, end

# namespace, interface, switch, IPv4, IPv6: all the cables there are
CABLES = (
    ("inet", "eth0", "inet", "198.51.100.10/24", "2001:db8:1::10/64"),
    ("nat", "wan", "inet", "198.51.100.20/24", "2001:db8:1::20/64"),
    ("nat", "home", "home", "192.168.1.1/24", "2001:db8:2::1/64"),
    ("home", "eth0", "home", "192.168.1.10/24", "2001:db8:2::10/64"),
    ("fw", "inet", "inet", "198.51.100.1/24", "2001:db8:1::1/64"),
    ("fw", "dmz", "dmz", "203.0.113.1/24", "2001:db8:3::1/64"),
    ("dmz", "eth0", "dmz", "203.0.113.10/24", "2001:db8:3::10/64"),
    ("fw", "lan", "lan", "10.20.0.1/24", "fd00:20::1/64"),
    ("lan", "eth0", "lan", "10.20.0.10/24", "fd00:20::10/64"),
    ("pbx", "eth0", "lan", "10.20.0.20/24", "fd00:20::20/64"),
    ("desk", "eth0", "lan", "10.20.0.30/24", "fd00:20::30/64"),
    ("uc", "eth0", "lan", "10.20.0.41/24", "fd00:20::41/64"),
    ("web", "eth0", "lan", "10.20.0.61/24", "fd00:20::61/64"),
)
# namespace, name, IPv4: servers inside, several of which live in one namespace
SERVERS = (
    ("uc", "cucm1.example.com", "10.20.0.41"),
    ("uc", "cucm2.example.com", "10.20.0.42"),
    ("uc", "cucm3.example.com", "10.20.0.43"),
    ("uc", "imp1.example.com", "10.20.0.44"),
    ("uc", "cuc1.example.com", "10.20.0.45"),
    ("uc", "imp2.example.com", "10.20.0.46"),
    ("uc", "imp3.example.com", "10.20.0.47"),
    ("uc", "imp4.example.com", "10.20.0.48"),
    ("web", "web1.example.com", "10.20.0.61"),
    ("web", "web2.example.com", "10.20.0.62"),
    ("web", "web3.example.com", "10.20.0.63"),
    ("web", "photos.example.com", "10.20.0.64"),
    ("web", "origin.example.com", "10.20.0.65"),
    ("web", "guest1.example.com", "10.20.0.71"),
    ("web", "guest2.example.com", "10.20.0.72"),
    ("web", "guest3.example.com", "10.20.0.73"),
)
# the same for servers of others, outside; only the name servers of tests that need them know them
PARTNERS = (
    ("inet", "xmpp.partner.org", "198.51.100.31"),
    ("inet", "xmpp.other.org", "198.51.100.32"),
    ("inet", "xmpp.double.org", "198.51.100.33"),
)
SECOND_NIC = (  # with two_nics, E meets C here
    ("fw", "dmz2", "dmz2", "172.30.0.1/24", "fd00:30::1/64"),
    ("dmz", "eth1", "dmz2", "172.30.0.10/24", "fd00:30::10/64"),
)
# namespace, destination, gateway; nobody outside `nat` knows 192.168.1.0/24
ROUTES = (
    ("inet", "default", "198.51.100.1"), ("inet", "default", "2001:db8:1::1"),
    ("inet", "2001:db8:2::/64", "2001:db8:1::20"),
    ("nat", "default", "198.51.100.1"), ("nat", "default", "2001:db8:1::1"),
    ("home", "default", "192.168.1.1"), ("home", "default", "2001:db8:2::1"),
    ("fw", "2001:db8:2::/64", "2001:db8:1::20"),
    ("dmz", "default", "203.0.113.1"), ("dmz", "default", "2001:db8:3::1"),
    ("lan", "default", "10.20.0.1"), ("lan", "default", "fd00:20::1"),
    ("pbx", "default", "10.20.0.1"), ("pbx", "default", "fd00:20::1"),
    ("desk", "default", "10.20.0.1"), ("desk", "default", "fd00:20::1"),
    ("uc", "default", "10.20.0.1"), ("uc", "default", "fd00:20::1"),
    ("web", "default", "10.20.0.1"), ("web", "default", "fd00:20::1"),
)
SECOND_NIC_ROUTES = (
    ("dmz", "10.20.0.0/24", "172.30.0.1"), ("dmz", "fd00:20::/64", "fd00:30::1"),
)
ROUTERS = ("nat", "fw")
OUTSIDE = ("inet", "nat", "home")
INSIDE = ("lan", "pbx", "desk", "uc", "web")

# The worst kind of home router: a new random port for every destination, answers only.
NAT_RULES = """
table ip nat {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "wan" meta l4proto { tcp, udp } masquerade to :20000-60000 fully-random
    oifname "wan" masquerade
  }
}
table inet filter {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "home" oifname "wan" accept
  }
}
"""

# Who made which namespaces, so that the next lab can sweep up after one that was SIGKILLed.
REGISTRY = pathlib.Path("/run/turnpike-lab")

_numbers = itertools.count()  # one process may build several labs


class Lab:
    """Use as `with Lab() as lab:`. Namespaces are lab.inet, lab.home, lab.nat, lab.dmz, lab.fw,
    lab.lan, lab.pbx, lab.desk, lab.uc and lab.web; lab.firewall is the Firewall; lab.work the folder
    for logs.

    two_nics: E has a second interface, and its name resolves to that one inside.
    keep: leave the work folder behind; it stays anyway when an exception ends the lab.
    """

    def __init__(self, two_nics=False, keep=False):
        number = next(_numbers)
        self.prefix = f"tp{os.getpid()}" + (f"n{number}" if number else "")
        self.keep = keep or bool(os.environ.get("TURNPIKE_LAB_KEEP"))
        self.two_nics = two_nics
        self.cables = CABLES + (SECOND_NIC if two_nics else ())
        self.routes = ROUTES + (SECOND_NIC_ROUTES if two_nics else ())
        self.work = None
        self.netns = {}
        self.firewall = None
        self._old_handlers = {}

    def __getattr__(self, name):
        try:
            return self.__dict__["netns"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __enter__(self):
        _sweep()
        self._catch_signals()
        atexit.register(self.close)
        try:
            self._build()
        except BaseException:
            self.keep = True
            self.close()
            raise
        return self

    def __exit__(self, kind, error, trace):
        # an end by signal or sys.exit() is no failure
        if kind is not None and issubclass(kind, Exception):
            self.keep = True
        self.close()

    def edge_address(self, viewer, version=4):
        """The address of E that a namespace uses."""
        edge = self.netns["dmz"]
        if self.two_nics and viewer in INSIDE:
            return "172.30.0.10" if version == 4 else "fd00:30::10"
        return edge.v4 if version == 4 else edge.v6

    def names(self, viewer):
        """(name, address) pairs that a namespace may know."""
        known = [("edge1.example.com", self.edge_address(viewer, 4)),
                 ("edge1.example.com", self.edge_address(viewer, 6))]
        if viewer not in OUTSIDE:
            known += [("core1.example.com", self.netns["lan"].v4),
                      ("core1.example.com", self.netns["lan"].v6)]
        if viewer in INSIDE:
            known += [("pbx.example.com", self.netns["pbx"].v4),
                      ("pbx.example.com", self.netns["pbx"].v6)]
            known += [(name, address) for _, name, address in SERVERS]
        return known

    # -- building

    def _build(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix=self.prefix + "-"))
        # C and E may run under users of their own and read their files here
        self.work.chmod(0o755)
        for ns, _, _, ipv4, ipv6 in self.cables:
            if ns not in self.netns:
                self.netns[ns] = Netns(ns, f"{self.prefix}-{ns}", self.work,
                                       ipv4.split("/")[0], ipv6.split("/")[0])
        self.netns["wire"] = Netns("wire", f"{self.prefix}-wire", self.work)
        self._register()
        self._write_names()
        _ip("".join(f"netns add {ns}\n" for ns in self.netns.values()))
        self._set_kernel()
        self._plug_in()
        self.netns["nat"].run(["nft", "-f", "-"], input=NAT_RULES)
        self.firewall = Firewall(self.netns["fw"], "dmz2" if self.two_nics else "dmz")
        self.firewall.load()

    def _set_kernel(self):
        quiet = ["net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.accept_ra=0",
                 "net.ipv6.conf.default.autoconf=0"]
        for name, ns in self.netns.items():
            settings = list(quiet)
            if name in ROUTERS:
                settings += ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
            if name == "wire" and os.path.exists("/proc/sys/net/bridge"):
                # a switch has no opinion; without this, conntrack would see frames too
                settings += ["net.bridge.bridge-nf-call-iptables=0",
                             "net.bridge.bridge-nf-call-ip6tables=0",
                             "net.bridge.bridge-nf-call-arptables=0"]
            ns.run(["sysctl", "-qw", *settings])

    def _plug_in(self):
        wire = self.netns["wire"]
        switches = dict.fromkeys(switch for _, _, switch, _, _ in self.cables)
        _ip("".join(f"link add sw-{switch} type bridge\nlink set sw-{switch} up\n"
                    for switch in switches), wire)
        batches = {ns: ["link set lo up"] for ns in self.netns}
        for ns, interface, switch, ipv4, ipv6 in self.cables:
            port = f"{ns}-{interface}"
            _ip(f"link add {interface} netns {self.netns[ns]} type veth peer name {port}\n"
                f"link set {port} master sw-{switch} up\n", wire)
            batches[ns] += [f"addr add {ipv4} dev {interface}",
                            f"addr add {ipv6} dev {interface} nodad",
                            f"link set {interface} up"]
        for ns, _, address in SERVERS + PARTNERS:
            if address != self.netns[ns].v4:
                batches[ns].append(f"addr add {address}/24 dev eth0")
        for ns, destination, gateway in self.routes:
            batches[ns].append(f"route add {destination} via {gateway}")
        for ns, lines in batches.items():
            _ip("\n".join(lines) + "\n", self.netns[ns])
        # Runs are cut into packets before the cable, as a network card would: a spy sees what a peer would see.
        for ns, interface, *_ in self.cables:
            self.netns[ns].run(["ethtool", "-K", interface, "tx-udp-segmentation", "off"])

    def _write_names(self):
        """/etc/netns/NAME/* appear as /etc/* to what `ip netns exec` starts."""
        for name, ns in self.netns.items():
            folder = pathlib.Path("/etc/netns") / ns.full_name
            folder.mkdir(parents=True)
            lines = ["127.0.0.1 localhost", "::1 localhost"]
            for host, address in self.names(name):
                lines.append(f"{address} {host}")
            (folder / "hosts").write_text("\n".join(lines) + "\n")
            server = self.netns["pbx" if name in INSIDE else "inet"]
            (folder / "resolv.conf").write_text(
                f"nameserver {server.v4}\noptions timeout:1 attempts:1\n")

    # -- taking down

    def close(self):
        """End every process and remove every trace; may be called twice."""
        atexit.unregister(self.close)
        # a second Ctrl-C must not leave half of it standing
        with _deaf():
            self._end_processes()
            _remove(self.prefix)
            if self.work and self.work.exists():
                if self.keep:
                    print(f"lab: logs are in {self.work}", file=sys.stderr)
                else:
                    shutil.rmtree(self.work, ignore_errors=True)
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        self._old_handlers = {}

    def _end_processes(self):
        running = [process for ns in self.netns.values() for process in ns.processes
                   if process.poll() is None]
        for process in reversed(running):
            process.terminate()
        for process in running:
            end(process)

    def _catch_signals(self):
        """Turn polite ends into exceptions, so that `with` blocks and `finally` run."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._old_handlers[number] = signal.signal(number, _leave)

    def _register(self):
        REGISTRY.mkdir(exist_ok=True)
        (REGISTRY / self.prefix).write_text(json.dumps(
            {"pid": os.getpid(), "start": _start_time(os.getpid()), "work": str(self.work)}))


def _leave(number, _frame):
    raise SystemExit(128 + number)


class _deaf:
    """Signals wait for nobody here: they are ignored inside the block."""

    def __enter__(self):
        self.main = threading.current_thread() is threading.main_thread()
        if self.main:
            self.old = {number: signal.signal(number, signal.SIG_IGN)
                        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}

    def __exit__(self, *_):
        if self.main:
            for number, handler in self.old.items():
                signal.signal(number, handler)


def _ip(batch, ns=None):
    args = ["ip"] + (["-n", str(ns)] if ns else []) + ["-batch", "-"]
    done = subprocess.run(args, input=batch, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {ns or ''}: {done.stderr.strip()}\nin:\n{batch}")


def _start_time(pid):
    """Field 22 of /proc/PID/stat; tells a process from a later one with the same pid."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]


def _remove(prefix):
    """Remove the namespaces of one lab, and whatever still runs inside them."""
    listed = [line.split()[0] for line in subprocess.run(
        ["ip", "netns", "list"], text=True, capture_output=True, check=False).stdout.splitlines()]
    for name in listed:
        if not name.startswith(prefix + "-"):
            continue
        # only children of our programs can be in here: nobody else knows the namespace
        inside = subprocess.run(["ip", "netns", "pids", name], text=True, capture_output=True,
                                check=False).stdout.split()
        for pid in inside:
            if int(pid) != os.getpid():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    for folder in pathlib.Path("/etc/netns").glob(prefix + "-*"):
        shutil.rmtree(folder, ignore_errors=True)
    (REGISTRY / prefix).unlink(missing_ok=True)


def _sweep():
    """Remove labs whose process was killed without a chance to clean up."""
    if not REGISTRY.is_dir():
        return
    for entry in REGISTRY.iterdir():
        try:
            owner = json.loads(entry.read_text())
        except (OSError, ValueError):
            continue
        if _start_time(owner["pid"]) != owner["start"]:
            _remove(entry.name)
