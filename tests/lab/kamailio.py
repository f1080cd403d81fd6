"""A real Kamailio as the PBX: registrar with digest and Path, proxy that forks to all contacts."""

import json
import pathlib
import socket
import time

from .netns import end

DOMAIN = "example.com"
USERS = {"alice": "alice-secret", "bob": "bob-secret", "carol": "carol-secret",
         "dave": "dave-secret"}
TEMPLATE = pathlib.Path(__file__).with_name("kamailio.cfg")

# A file, because Kamailio 5.6 ignores the key given as modparam: every handshake then fails.
TLS_CONFIG = """
[server:default]
method = TLSv1.2+
certificate = {cert}
private_key = {key}
verify_certificate = no
require_certificate = no
[client:default]
method = TLSv1.2+
verify_certificate = no
"""


class Kamailio:
    """Kamailio(lab.pbx).start(). Arguments:

    users      {name: password}; unknown names get 404, known but not registered ones 480
    trunk      where requests for other domains go, such as "sip:10.20.0.10:5060;transport=tcp";
               without it they get 403
    path_mode  registrar's path_mode: 0 keeps Path out of the 200, 1 puts it in when the phone
               supports "path", 2 refuses phones that don't with 420
    algorithm  MD5 or SHA-256 (baresip only knows MD5)
    outbound   registrar's outbound_mode: 1 answers Require: outbound to RFC 5626 registrations
    tls        (certificate, key) opens 5061 too
    """

    def __init__(self, netns, users=None, trunk=None, path_mode=1, algorithm="MD5", outbound=0,
                 tls=None, name="kamailio"):
        self.netns = netns
        self.users = dict(users or USERS)
        self.trunk = trunk
        self.path_mode = path_mode
        self.algorithm = algorithm
        self.outbound = outbound
        self.tls = tls
        self.folder = netns.work / name
        self.log = f"{name}.log"
        self.process = None
        self._n_calls = 0

    def start(self, deadline_s=10.0):
        self.folder.mkdir(exist_ok=True)
        (self.folder / "kamailio.cfg").write_text(self._config())
        (self.folder / "kamailio.rpc").unlink(missing_ok=True)
        # -DD stays in the foreground; memory sizes in MB keep the peer small
        self.process = self.netns.popen(
            ["kamailio", "-DD", "-E", "-m", "32", "-M", "8", "-f", self.folder / "kamailio.cfg",
             "-Y", self.folder, "-P", self.folder / "kamailio.pid"], log=self.log)
        self._wait_ready(deadline_s)
        return self

    def stop(self):
        if self.process:
            end(self.process)
            self.process = None

    def restart(self):
        """Kamailio forgets all registrations."""
        self.stop()
        return self.start()

    def rpc(self, method, *params, timeout=3.0):
        """One JSON-RPC; a Unix socket is reached from any network namespace."""
        self._n_calls += 1
        mine = self.folder / f"rpc-{self._n_calls}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(str(mine))
            try:
                sock.settimeout(timeout)
                sock.connect(str(self.folder / "kamailio.rpc"))
                sock.send(json.dumps({"jsonrpc": "2.0", "method": method, "id": self._n_calls,
                                      "params": list(params)}).encode())
                answer = json.loads(sock.recv(1 << 20))
            finally:
                mine.unlink()
        if "error" in answer:
            raise RuntimeError(f"kamailio: {method}: {answer['error']}")
        return answer["result"]

    def contacts(self, user=None):
        """Registered contacts, as dicts of user, contact, path, received, expires, agent, ..."""
        found = []
        for domain in self.rpc("ul.dump").get("Domains", []):
            for item in domain["Domain"].get("AoRs", []):
                info = item["Info"]
                for entry in info.get("Contacts", []):
                    row = {key.lower().replace("-", "_"): value
                           for key, value in entry["Contact"].items()}
                    row.update(user=info["AoR"], contact=row.pop("address"),
                               agent=row.pop("user_agent"))
                    # Kamailio prints what it doesn't have as [not set]
                    found.append({key: None if value == "[not set]" else value
                                  for key, value in row.items()})
        return [row for row in found if user is None or row["user"] == user]

    def wait_contacts(self, user, count, deadline_s=10.0):
        """Wait until `user` has exactly `count` contacts; returns them."""
        give_up = time.monotonic() + deadline_s
        while True:
            rows = self.contacts(user)
            if len(rows) == count:
                return rows
            if time.monotonic() > give_up:
                raise TimeoutError(f"kamailio: {user} has not {count} contacts but {rows}")
            time.sleep(0.05)

    def log_text(self):
        return (self.netns.work / self.log).read_text(errors="replace")

    def _wait_ready(self, deadline_s):
        give_up = time.monotonic() + deadline_s
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"kamailio: ended at start, see {self.netns.work / self.log}")
            try:
                self.rpc("core.uptime", timeout=0.5)
                # the RPC process answers first; TCP listens when the last process is up
                self.netns.connect((self.netns.v4, 5060), timeout=0.5).close()
                return
            except OSError:
                if time.monotonic() > give_up:
                    raise TimeoutError("kamailio: does not answer") from None
                time.sleep(0.05)

    def _config(self):
        hosts = (self.netns.v4, f"[{self.netns.v6}]")
        listen = [f"listen={proto}:{host}:5060" for host in hosts for proto in ("udp", "tcp")]
        tls = ""
        if self.tls:
            listen += ["enable_tls=yes"] + [f"listen=tls:{host}:5061" for host in hosts]
            (self.folder / "tls.cfg").write_text(
                TLS_CONFIG.format(cert=self.tls[0], key=self.tls[1]))
            tls = (f'loadmodule "tls.so"\nmodparam("tls", "config", "{self.folder}/tls.cfg")')
        away = f'\t$du = "{self.trunk}";\n\tt_relay();' if self.trunk else \
            '\tsl_send_reply("403", "No way out");'
        words = {"DOMAIN": DOMAIN, "WORK": self.folder, "LISTEN": "\n".join(listen), "TLS": tls,
                 "PATH_MODE": self.path_mode, "ALGORITHM": self.algorithm, "AWAY": away,
                 "OUTBOUND": self.outbound,
                 "USERS": "\n".join(f'\t$sht(users=>{user}) = "{secret}";'
                                    for user, secret in self.users.items())}
        text = TEMPLATE.read_text()
        for word, value in words.items():
            text = text.replace(f"@{word}@", str(value))
        return text
