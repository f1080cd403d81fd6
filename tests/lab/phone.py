"""A real baresip as a phone without a head: plays a tone, records what it hears, takes orders.

Orders and events travel as JSON in netstrings over its ctrl_tcp module, on the loopback of the
namespace the phone lives in.
"""

import itertools
import json
import re
import threading
import time

from .netns import end

MODULES = "/usr/lib/baresip/modules"

CONFIG = """
poll_method epoll
module_path {modules}
call_local_timeout 120
call_max_calls 4
audio_source ausine,{hz}
ausrc_srate 48000
ausrc_channels 2
rtp_stats yes
rtp_ports 10000-19999
{tls}
module g711.so
module ausine.so
module sndfile.so
module srtp.so
{nat}module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app debug_cmd.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{port}
snd_path {folder}
menu_bell no
ringback_disabled yes
statmode_default off
"""

OWN_VOICE_BARRED_S = 1800

_ports = itertools.count(4444)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Phone:
    """Phone(lab.home, "alice", "alice-secret", proxy=("203.0.113.10", 5061), transport="tls")

    proxy      (host, port) everything is sent to; a host name needs a name server, see README
    transport  udp, tcp or tls
    mediaenc   None, "srtp" (RTP/AVP with a=crypto), "srtp-mand" (RTP/SAVP), "srtp-mandf" (SAVPF)
    ipv6       IPv6 for SIP and media, instead of IPv4
    regint     seconds between registrations; 0 does not register
    ca         file with CAs; baresip 1.0 loads it and then checks nothing, see README
    hz         the tone this phone plays; distinct, and not a multiple of 50 (see tone.py)
    answer     manual, auto, or early: 183 with SDP, then waits for accept. Only manual reports
               CALL_INCOMING, and early plays its tone after accept only
    outbound   True: RFC 5626 (reg-id, Supported: path, outbound)
    medianat   "ice" or "turn", with turn = (URI such as "turn:203.0.113.10:3478", user, password)
    extra      more account parameters, ";call_transfer=no" or so
    """

    def __init__(self, netns, user, password, proxy, transport="udp", domain="example.com",
                 mediaenc=None, ipv6=False, regint=60, ca=None, hz=440, answer="manual",
                 codecs="pcmu,pcma", outbound=False, extra="", name=None,
                 medianat=None, turn=None):
        self.netns = netns
        self.user = user
        self.uri = f"sip:{user}@{domain}"
        self.hz = hz
        self.ipv6 = ipv6
        self.name = name or user
        self.folder = netns.work / f"phone-{self.name}"
        self.log = f"phone-{self.name}.log"
        self.process = None
        host, port = proxy
        host = f"[{host}]" if ":" in host else host
        # the transport belongs to the proxy: in the account's URI it would end up in every To
        route = f'"sip:{host}:{port};transport={transport}"'
        self._account = (
            f"<sip:{user}@{domain}>;auth_user={user};auth_pass={password};regint={regint}"
            f";answermode={answer};audio_codecs={codecs}"
            + (f";sipnat=outbound;outbound1={route}" if outbound else f";outbound={route}")
            + (f";mediaenc={mediaenc}" if mediaenc else "")
            + (f";medianat={medianat}" if medianat else "")
            + (";stunserver={};stunuser={};stunpass={}".format(*turn) if turn else "") + extra)
        self._port = next(_ports)
        self._config = CONFIG.format(modules=MODULES, hz=hz, port=self._port, folder=self.folder,
                                     tls=f"sip_cafile {ca}" if ca else "",
                                     nat=f"module {medianat}.so\n" if medianat else "")
        self._control = None
        self._news = threading.Condition()
        self._events = []
        self._answers = {}
        self._tokens = itertools.count(1)

    # -- life

    def start(self, deadline_s=10.0):
        self.folder.mkdir(exist_ok=True)
        (self.folder / "config").write_text(self._config)
        (self.folder / "accounts").write_text(self._account + "\n")
        self._bar_own_voice()
        # -s writes every SIP message to the log
        self.process = self.netns.popen(
            ["baresip", "-f", self.folder, "-6" if self.ipv6 else "-4", "-s"], log=self.log)
        give_up = time.monotonic() + deadline_s
        while self._control is None:
            try:
                self._control = self.netns.connect(("127.0.0.1", self._port))
            except OSError:
                if self.process.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError(f"{self.name}: did not start, see "
                                       f"{self.netns.work / self.log}") from None
                time.sleep(0.02)
        self._control.settimeout(None)
        threading.Thread(target=self._listen, args=(self._control,), daemon=True).start()
        return self

    def stop(self):
        """Leave politely: hangs up and removes the registration."""
        if self.process:
            end(self.process)
        self._close()

    def kill(self):
        """Vanish, as with an empty battery."""
        if self.process:
            self.process.kill()
            self.process.wait()
        self._close()

    def _close(self):
        self.process = None
        if self._control:
            self._control.close()
            self._control = None

    # -- registration

    def registered(self):
        # the line of the account says OK, ERR or zzz (nothing yet)
        return re.search(r"\bOK\b", _COLOUR.sub("", self.command("reginfo"))) is not None

    def wait_registered(self, deadline_s=10.0):
        """By asking, because the event may have come before we listened."""
        give_up = time.monotonic() + deadline_s
        while not self.registered():
            if time.monotonic() > give_up:
                raise TimeoutError(f"{self.name}: not registered: {self.history()}")
            time.sleep(0.05)
        return self

    # -- calls

    def wait_refused(self, status, deadline_s=15.0):
        """The registration ended with that status. From the log: a quick answer comes before anybody
        can listen for events."""
        path = self.netns.work / self.log
        give_up = time.monotonic() + deadline_s
        while not re.search(rf"reg: .*: {status} ", path.read_text(errors="replace")):
            if time.monotonic() > give_up:
                raise TimeoutError(f"{self.name}: not refused with {status} in {deadline_s} s")
            time.sleep(0.05)

    def dial(self, uri):
        self.forget()
        self.command("dial", uri)

    def wait_incoming(self, deadline_s=10.0):
        """Ringing here; forgets the events of calls before. With answer=manual only."""
        event = self.wait_for("CALL_INCOMING", deadline_s)
        with self._news:
            self._events = [old for old in self._events
                            if old["at"] >= event["at"] or old.get("id") in (None, event.get("id"))]
        return event

    def accept(self):
        self.command("accept")

    def reject(self):
        """Hanging up what rings sends 486; baresip 1.0 knows no other code."""
        self.command("hangup")

    def hangup(self):
        """BYE, or CANCEL as long as nobody has answered."""
        self.command("hangup")

    def hold(self):
        self.command("hold")

    def resume(self):
        self.command("resume")

    def reinvite(self):
        self.command("reinvite")

    def transfer(self, uri):
        """Blind transfer by REFER."""
        self.command("transfer", uri)

    def dtmf(self, digits):
        self.command("sndcode", digits)

    def set_answer_mode(self, mode):
        self.command("answermode", mode)

    def wait_established(self, deadline_s=10.0):
        return self.wait_for("CALL_ESTABLISHED", deadline_s)

    def wait_closed(self, deadline_s=10.0):
        """Returns the event; its `param` is the reason, such as "486 Busy Here"."""
        return self.wait_for("CALL_CLOSED", deadline_s)

    def in_call(self):
        return "(no active calls)" not in self.command("callstat")

    # -- what was heard

    def recordings(self):
        """WAV files of what came in, oldest first. A call begins one and so does every hold, of
        either side; what got lost is missing, not silent. They are named by the second they begin
        in, so two that begin in the same second are one: the later overwrites the earlier."""
        return sorted(self.folder.glob("dump-*-dec.wav"))

    def recording(self):
        found = self.recordings()
        if not found:
            raise FileNotFoundError(f"{self.name}: nothing recorded")
        return found[-1]

    def stats(self):
        """Packets of the call going on: sent, received and lost (0 until something was received).
        An order in the middle of a call costs nothing; at its end baresip forgets the numbers."""
        text = self.command("audio_debug")
        sent = re.search(r"TX: packets=(\d+)", text)
        came = re.search(r"member \w+: lost=(-?\d+) .*?rcvd=(\d+)", text, re.S)
        return {"sent": int(sent[1]) if sent else 0, "received": int(came[2]) if came else 0,
                "lost": int(came[1]) if came else 0}

    def _bar_own_voice(self):
        """Make baresip fail to record what it sends, so that it goes on recording what it hears.

        The first re-INVITE that changes the direction drops the recorder of the receiving side,
        and it is set up again only if the sending side has none (baresip 1.0, aufilt_setup). Both
        recorders name their files by the second, so for as many seconds as a lab may live the
        name of the sender's file leads nowhere.
        """
        now = int(time.time())
        for second in range(now, now + OWN_VOICE_BARRED_S):
            stamp = time.strftime("%Y-%m-%d-%H-%M-%S", time.localtime(second))
            try:
                (self.folder / f"dump-{stamp}-enc.wav").symlink_to("/dev/null/nowhere")
            except FileExistsError:
                pass  # a phone that was started before

    # -- orders and events

    def command(self, name, params=None, deadline_s=5.0):
        """One order by its long name; returns what baresip prints. Raises when it refuses."""
        token = str(next(self._tokens))
        order = {"command": name, "token": token}
        if params is not None:
            order["params"] = params
        body = json.dumps(order).encode()
        self._control.sendall(b"%d:%s," % (len(body), body))
        with self._news:
            if not self._news.wait_for(lambda: token in self._answers, deadline_s):
                raise TimeoutError(f"{self.name}: no answer to {name}")
            answer = self._answers.pop(token)
        if not answer["ok"]:
            raise RuntimeError(f"{self.name}: {name}: {answer['data']}")
        return answer["data"]

    def wait_for(self, kind, deadline_s=10.0, match=None):
        """Take the first event of this type (for which match(event) holds) and return it."""
        def find():
            for event in self._events:
                if event["type"] == kind and (match is None or match(event)):
                    return event
            return None

        with self._news:
            event = self._news.wait_for(find, deadline_s)
            if not event:
                raise TimeoutError(f"{self.name}: no {kind} in {deadline_s} s: {self.history()}")
            self._events.remove(event)
            return event

    def happened(self, kind):
        """Events of this type that nobody has taken yet."""
        with self._news:
            return [event for event in self._events if event["type"] == kind]

    def forget(self):
        with self._news:
            self._events.clear()

    def history(self):
        """The events nobody took, for messages to people."""
        return ", ".join(f"{event['type']} {event.get('param', '')}".strip()
                         for event in list(self._events)) or "no events"

    def _listen(self, control):
        data = b""
        while True:
            try:
                piece = control.recv(65536)
            except OSError:
                piece = b""
            if not piece:
                return
            data += piece
            while True:
                length, colon, rest = data.partition(b":")
                if not colon or len(rest) < int(length) + 1:
                    break
                self._take(json.loads(rest[:int(length)]))
                data = rest[int(length) + 1:]

    def _take(self, message):
        with self._news:
            if message.get("response"):
                self._answers[message.get("token")] = message
            else:
                message["at"] = time.monotonic()
                self._events.append(message)
            self._news.notify_all()
