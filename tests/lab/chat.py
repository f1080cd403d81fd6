"""Chat clients: slixmpp (any number in one process of a namespace), profanity in a pty, go-sendxmpp."""

import itertools
import json
import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import threading
import time
import fcntl
import termios

from .netns import end
from .play import expect

TESTS = pathlib.Path(__file__).resolve().parents[1]


class ChatHost:
    """The process of the slixmpp clients of a namespace: ChatHost(lab.inet, ca).client("alice@example.com",
    address)."""

    def __init__(self, netns, ca):
        self.netns = netns
        self.ca = str(ca)
        self.numbers = itertools.count(1)
        self._news = threading.Condition()
        self._answers = {}
        self._events = {}
        self.process = netns.popen(
            ["/usr/bin/python3", "-m", "lab.chat_client"], cwd=TESTS, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
            stderr=open(netns.work / f"chat-{netns.name}.log", "ab"))
        threading.Thread(target=self._listen, daemon=True).start()

    def client(self, jid, address, name=None, ready=True, **more):
        return ChatClient(self, name or jid, jid, address, **more).open(ready)

    def order(self, client, do, deadline_s=15.0, **what):
        number = next(self.numbers)
        line = json.dumps({"id": number, "client": client, "do": do, **what})
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        with self._news:
            if not self._news.wait_for(lambda: number in self._answers, deadline_s):
                raise TimeoutError(f"{client} {do}: no answer in {deadline_s} s")
            answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{client} {do}: {answer['error']}")
        return answer["value"]

    def events(self, client):
        with self._news:
            return list(self._events.get(client, []))

    def wait(self, client, found, since, deadline_s, what):
        """The first event after `since` that found() likes, and where it stands."""
        def look():
            events = self._events.get(client, [])
            for i in range(since, len(events)):
                if found(events[i]):
                    return i, events[i]
            return None
        with self._news:
            hit = self._news.wait_for(look, deadline_s)
            if not hit:
                raise TimeoutError(f"{client}: no {what} in {deadline_s} s; since then: "
                                   f"{self._events.get(client, [])[since:][-6:]}")
            return hit

    def _listen(self):
        for line in self.process.stdout:
            what = json.loads(line)
            with self._news:
                if "answer" in what:
                    self._answers[what["answer"]] = what
                else:
                    self._events.setdefault(what["client"], []).append(what)
                self._news.notify_all()


class ChatClient:
    """One slixmpp client. Options: password, mechanism (as SASL names it), direct (direct TLS), sm (XEP-0198),
    carbons."""

    def __init__(self, host, name, jid, address, password=None, **options):
        self.host = host
        self.name = f"{name}#{next(host.numbers)}"
        self.jid = jid
        self.options = {"jid": jid, "password": password or jid.partition("@")[0] + "-secret", "host": address[0],
                        "port": address[1], "ca": host.ca, **options}
        self.at = 0  # events before this were looked at

    def open(self, ready=True):
        self.do("open", **self.options)
        if ready:
            self.wait("ready")
        return self

    def do(self, what, **more):
        return self.host.order(self.name, what, **more)

    def wait(self, event, deadline_s=20.0, keep=False, **fields):
        """The next event of a kind with these values; those before it count as seen, unless keep."""
        def found(e):
            return e["event"] == event and all(e.get(key) == value for key, value in fields.items())
        at, hit = self.host.wait(self.name, found, self.at, deadline_s, f"{event} {fields}")
        if not keep:
            self.at = at + 1
        return hit

    def has(self, event, **fields):
        """Was there ever such an event?"""
        return any(e["event"] == event and all(e.get(key) == value for key, value in fields.items())
                   for e in self.host.events(self.name))

    def say(self, to, body, **more):
        self.do("message", to=to, body=body, **more)

    def hears(self, body, deadline_s=10.0, **more):
        return self.wait("message", deadline_s, keep=True, body=body, **more)

    def cut_and_resume(self):
        """Cuts the socket and comes back."""
        mark = len(self.host.events(self.name))
        self.do("cut")
        self.at = mark
        self.wait("disconnected")
        self.do("reopen")
        return self.came_back()

    def came_back(self, deadline_s=20.0):
        """True when the session was resumed, False when it began anew."""
        at, event = self.host.wait(self.name, lambda e: e["event"] in ("session_resumed", "session_start"),
                                   self.at, deadline_s, "session")
        self.at = at + 1
        return event["event"] == "session_resumed"

    def quit(self):
        self.do("quit")


def chat_both_ways(a, b, tag, deadline_s=15.0):
    """a and b (ChatClients) hear each other."""
    serial = next(a.host.numbers)  # a tag may be used again
    for one, other, way in ((a, b, "there"), (b, a, "back")):
        one.say(other.jid, f"{tag} {way} {serial}")
        heard = other.hears(f"{tag} {way} {serial}", deadline_s)
        expect(heard["from"].startswith(one.jid), "from", heard)


class GoSendxmpp:
    """go-sendxmpp, one run for each message, or one that listens."""

    def __init__(self, netns, jid, ca, address=None, direct=False, password=None):
        self.netns = netns
        self.ca = ca
        self.args = ["go-sendxmpp", "-u", jid, "-p", password or jid.partition("@")[0] + "-secret"]
        if address:
            host, port = address
            self.args += ["-j", f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
        if direct:
            self.args.append("-t")
        self.process = None
        self.heard = netns.work / f"go-sendxmpp-{jid}-{time.monotonic_ns()}.log"

    def _env(self):
        return {**os.environ, "SSL_CERT_FILE": str(self.ca), "HOME": str(self.netns.work)}

    def send(self, to, body, room=False):
        done = self.netns.run([*self.args, *(["-c"] if room else []), to], input=body + "\n", check=False,
                              env=self._env(), timeout=30)
        expect(done.returncode == 0, "go-sendxmpp", done.returncode, done.stdout, done.stderr)

    def listen(self):
        self.process = self.netns.popen([*self.args, "-l"], log=self.heard.name, env=self._env())
        return self

    def hears(self, body, deadline_s=10.0):
        give_up = time.monotonic() + deadline_s
        while body not in self.heard.read_text():
            expect(time.monotonic() < give_up and self.process.poll() is None, "go-sendxmpp does not hear", body,
                   self.heard.read_text())
            time.sleep(0.05)

    def stop(self):
        end(self.process)


class Profanity:
    """profanity in a pty of its own; type() is a person at the keyboard."""

    def __init__(self, netns, jid, ca, address=None, tls="force", password=None):
        self.netns = netns
        self.jid = jid
        self.home = netns.work / f"profanity-{jid}-{time.monotonic_ns()}"
        config = self.home / "config" / "profanity"
        data = self.home / "data" / "profanity"
        for folder in (config, data):
            folder.mkdir(parents=True)
        (config / "profrc").write_text(
            "[connection]\ntls.certpath=none\n[ui]\nsplash=false\n[notifications]\nmessage=false\n"
            "[logging]\nchlog=true\n")
        server = f"server={address[0]}\nport={address[1]}\n" if address else ""
        (data / "accounts").write_text(
            f"[{jid}]\nenabled=true\njid={jid}\nresource=profanity\n{server}tls.policy={tls}\n"
            f"password={password or jid.partition('@')[0] + '-secret'}\npresence.last=online\n"
            "presence.login=online\npriority.online=0\n")
        self.ca = ca
        self.text = ""
        self.fd = None
        self.process = None

    def start(self):
        self.fd, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        self.process = self.netns.popen(
            ["profanity", "-l", "DEBUG", "-a", self.jid], stdin=slave, stdout=slave, stderr=slave,
            env={**os.environ, "XDG_CONFIG_HOME": str(self.home / "config"),
                 "XDG_DATA_HOME": str(self.home / "data"), "HOME": str(self.home), "TERM": "xterm",
                 "SSL_CERT_FILE": str(self.ca), "LANG": "C.UTF-8"})
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self):
        while True:
            ready, _, _ = select.select([self.fd], [], [], 1.0)
            try:
                if ready:
                    data = os.read(self.fd, 65536)
                    if not data:
                        return
                    self.text += re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|[()].|[=>78])", "",
                                        data.decode(errors="replace"))
            except OSError:
                return

    def type(self, line):
        os.write(self.fd, line.encode() + b"\r")

    def log_text(self):
        folder = self.home / "data" / "profanity" / "logs"
        return "".join(path.read_text(errors="replace") for path in sorted(folder.glob("*.log")))

    def sees(self, text, deadline_s=15.0):
        self._until(lambda: text in self.text, deadline_s, text)

    def logs(self, text, deadline_s=15.0):
        self._until(lambda: text in self.log_text(), deadline_s, text)

    def chats(self):
        """Everything in its chat logs."""
        folder = self.home / "data" / "profanity" / "chatlogs"
        return "".join(path.read_text(errors="replace") for path in folder.rglob("*.log"))

    def hears(self, body, deadline_s=15.0):
        self._until(lambda: body in self.chats(), deadline_s, body)

    def _until(self, condition, deadline_s, what):
        give_up = time.monotonic() + deadline_s
        while not condition():
            expect(time.monotonic() < give_up and self.process.poll() is None, f"profanity: no {what!r}:",
                   self.text[-600:], self.log_text()[-800:])
            time.sleep(0.05)

    def stop(self):
        if self.process.poll() is None:
            try:
                self.type("/quit")
                self.process.wait(3)
            except (OSError, subprocess.TimeoutExpired):
                end(self.process)
        os.close(self.fd)
