#!/usr/bin/env python3
"""What a stranger, or somebody with C's key, can do at E's port 2222: nothing but the tunnel."""

import os
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from lab.play import Play, expect
from lab.webcast import WebCast

play = Play()
PORT = 2222


def stage(lab):
    return WebCast(lab, origins=("nginx",), core_tunnel="retry-max = 2s")


def ssh(c, *args, key="core-ssh", user="turnpike-5", seconds=8, **kwargs):
    """The OpenSSH client with that key, in a slot that C does not use itself; (exit code, stdout, stderr); code 124: it was still there."""
    argv = ["ssh", "-F", "none", "-T", "-p", str(PORT), "-i", c.pki.ssh_key(key), "-o", "IdentitiesOnly=yes",
            "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={c.lab.work}/known", "-o", "BatchMode=yes",
            "-o", "LogLevel=VERBOSE", "-o", "ConnectTimeout=5", *args]
    argv.append(f"{user}@edge1.example.com")
    try:
        done = c.lab.lan.run(argv + list(kwargs.pop("command", ())), check=False, timeout=seconds, **kwargs)
        return done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        return 124, (error.stdout or b"").decode(errors="replace"), (error.stderr or b"").decode(errors="replace")


def edge_children(c):
    """Processes that E started."""
    path = pathlib.Path(f"/proc/{c.edge.process.pid}/task/{c.edge.process.pid}/children")
    return path.read_text().split()


def listening(c):
    return {line.split()[3] for line in c.lab.dmz.run(["ss", "-Htln"]).stdout.splitlines()}


@play.check
def key_is_good(c):
    """the stolen key logs in as far as authentication goes: what follows is refused for other reasons"""
    _, _, errors = ssh(c, "-N", seconds=4)
    expect("Authenticated to" in errors, errors)


@play.check
def no_shell(c):
    """shell, exec, terminal, sftp, scp, environment: refused; no process is started"""
    before = edge_children(c)
    for args, command in (((), ()), (("-tt",), ()), ((), ("id",)), ((), ("/bin/sh", "-c", "id")),
                          (("-s",), ("sftp",)), (("-s",), ("shell",)), (("-o", "SetEnv=LD_PRELOAD=/tmp/x"), ("id",)),
                          ((), ("scp", "-t", "/tmp"))):
        code, out, errors = ssh(c, *args, command=command, stdin=subprocess.DEVNULL)
        expect(code not in (0, 124) and "uid=" not in out, args, command, code, out, errors)
    expect(edge_children(c) == before, edge_children(c))
    expect(c.edge.traces("tunnel.refused"), "no trace")


@play.check
def no_forwarding(c):
    """-L, -R, -D, -W, Unix sockets, agent, X11: no listener, no connection"""
    before = listening(c)
    c.lab.dmz.run(["nft", "-f", "-"], input="table inet out { counter local { }\n"
                   "chain o { type filter hook output priority 0;\n"
                   "tcp flags & (syn | ack) == syn oifname \"lo\" counter name local\n}\n}\n")
    for args in (("-N", "-R", "0.0.0.0:9000:127.0.0.1:80"), ("-N", "-R", "9001:127.0.0.1:80"), ("-N", "-R", "[::]:0:127.0.0.1:80"),
                 ("-N", "-R", "/tmp/turnpike-test.sock:127.0.0.1:80"), ("-N", "-R", "9002")):
        code, _, errors = ssh(c, "-o", "ExitOnForwardFailure=yes", *args, seconds=6)
        expect(code not in (0, 124), args, code, errors)
        expect(listening(c) == before, args, listening(c) - before)
    for target in ("127.0.0.1:5060", "127.0.0.1:8443", "203.0.113.10:5061", "198.51.100.10:53", "[::1]:5060"):
        code, out, errors = ssh(c, "-W", target, seconds=6, input="x\n")
        expect(code not in (0, 124) and not out, target, code, out, errors)
    ssh(c, "-N", "-A", "-X", seconds=3)
    text = c.lab.dmz.run(["nft", "list", "counter", "inet", "out", "local"]).stdout
    expect("packets 0 " in text, "E connected to itself:", text)
    expect(not os.path.exists("/tmp/turnpike-test.sock"), "a Unix socket was made")


@play.check
def local_forward(c):
    """-L: the client listens, but nothing answers through it"""
    process = c.lab.lan.popen(["ssh", "-F", "none", "-N", "-p", str(PORT), "-i", c.pki.ssh_key("core-ssh"), "-o",
                               "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-L",
                               "127.0.0.1:9003:127.0.0.1:8443", "turnpike-6@edge1.example.com"], log="ssh.log")

    def answers():
        try:
            with c.lab.lan.connect(("127.0.0.1", 9003)) as sock:
                sock.settimeout(3)
                try:
                    sock.sendall(b"\x16\x03\x01")
                    return "closed" if not sock.recv(10) else "open"
                except ConnectionResetError:
                    return "closed"
        except OSError:
            return None
    said = c.until(lambda: answers() or (process.poll() is not None and "ended"), 10, "the client's listener")
    expect(said in ("closed", "ended"), said)
    process.kill()
    process.wait()


@play.check
def wrong_keys(c):
    """another key, the right key under another user name, no key, password, keyboard: no login, a trace with the fingerprint"""
    for key, user in (("mallory-ssh", "turnpike-0"), ("core-ssh", "root"), ("core-ssh", "turnpike-"), ("core-ssh", "turnpike-99"),
                      ("core-ssh", "core1.example.com"), ("edge-ssh", "turnpike-0")):
        code, out, errors = ssh(c, "-N", key=key, user=user)
        expect(code == 255 and "Authenticated to" not in errors, key, user, code, errors)
    for method in ("password", "keyboard-interactive", "none", "hostbased", "gssapi-with-mic"):
        code, _, errors = ssh(c, "-N", "-o", f"PreferredAuthentications={method}")
        expect(code == 255 and "Authenticated to" not in errors, method, code, errors)
    expect(c.pki.fingerprint("mallory-ssh") in str(c.edge.traces("tunnel.key.unknown")),
           c.edge.traces("tunnel.key"))
    expect(len(c.edge.tunnels()) == 2, c.edge.tunnels())


@play.check
def weak_algorithms(c):
    """ciphers, MACs and key exchanges without a future are not spoken"""
    for option in ("Ciphers=aes128-cbc", "Ciphers=aes128-ctr", "MACs=hmac-sha1", "KexAlgorithms=diffie-hellman-group14-sha1",
                   "KexAlgorithms=diffie-hellman-group-exchange-sha256", "HostKeyAlgorithms=ssh-rsa"):
        extra = ("-o", "Ciphers=aes128-ctr") if option.startswith("MACs") else ()
        code, _, errors = ssh(c, "-N", "-o", option, *extra)
        expect(code == 255 and "no matching" in errors, option, code, errors)


@play.check
def garbage_and_silence(c):
    """300 connections with garbage, half a banner or silence: closed by limit, C's tunnel and users untouched, nothing grows"""
    rss, descriptors = c.edge.rss_kib(), c.edge.n_descriptors()
    data = (b"", b"SSH-2.0-x", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 2000, b"SSH-1.5-x\r\n", b"\xff" * 40000,
            b"SSH-2.0-x\r\n" + b"\x00\x00\x00\x0c\x0a\x14" + b"x" * 20, b"SSH-2.0-x\r\n" + b"\xff\xff\xff\xff",
            b"a" * 300 + b"\r\n")
    held = []
    with c.load("https://web1.example.com/pages/index.html", 2) as load:
        for n in range(300):
            sock = c.lab.inet.socket() if n % 2 else c.lab.lan.socket()
            sock.settimeout(3)
            try:
                sock.connect((c.lab.dmz.v4, PORT))
                sock.sendall(data[n % len(data)])
                held.append(sock)
            except OSError:
                sock.close()
        load.wait_more(100)
        give_up = time.monotonic() + 40
        for sock in held:
            sock.settimeout(max(0.1, give_up - time.monotonic()))
            try:
                while sock.recv(65536):
                    pass
            except ConnectionResetError:
                pass
            except socket.timeout:
                raise AssertionError("a silent connection was not closed in 40 s") from None
            finally:
                sock.close()
    expect(not load.failures, load.failures[:3])
    expect(len(c.edge.tunnels()) == 2, c.edge.tunnels())
    c.edge.wait(lambda: c.edge.n_descriptors() <= descriptors + 4, 10, "descriptors")
    expect(c.edge.rss_kib() < rss + 32 * 1024, rss, c.edge.rss_kib())
    expect(c.edge.traces("tunnel."), "no trace")


@play.check
def underscore_name(c):
    """an E whose name has an underscore is dialled like any other"""
    hosts = pathlib.Path("/etc/netns") / c.lab.lan.full_name / "hosts"
    hosts.write_text(hosts.read_text() + f"{c.lab.dmz.v4} edge_one.example.com\n")
    c.core.rewrite(lambda text: text.replace("[tunnel-peer edge1.example.com]\n",
                                             "[tunnel-peer edge_one.example.com]\n"))
    c.core.wait(lambda: "edge_one" in str(c.core.ctl("tunnels")) and len(c.core.tunnels()) == 2, 20,
                "tunnels to edge_one")
    c.core.rewrite(lambda text: text.replace("[tunnel-peer edge_one.example.com]\n",
                                             "[tunnel-peer edge1.example.com]\n"))
    c.pair.wait_tunnel(20)


@play.check
def takes_over_its_slot(c):
    """who logs in with the same key and slot takes the place of the old connection: no port in use, no growth"""
    ended = len([r for r in c.edge.connections(ended=True) if r["kind"] == "tunnel"])
    ssh(c, "-N", user="turnpike-0", seconds=2)
    c.edge.wait(lambda: len([r for r in c.edge.connections(ended=True) if r["kind"] == "tunnel"]) > ended, 10,
                "end of the old connection")
    c.core.wait(lambda: len(c.core.tunnels()) == 2, 15, "C's own connections again")
    c.edge.wait(lambda: c.client("alice").photo().status == 200, 10, "a page")


@play.check
def nothing_came_in(c):
    """the firewall dropped nothing from E to C: E never tried"""
    c.firewall_is_clean()


if __name__ == "__main__":
    sys.exit(play.run(stage))
