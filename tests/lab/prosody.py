"""A real Prosody: the IM server inside, or a partner's outside."""

import time

from .netns import end

USERS = ("alice", "bob", "carol", "dave")

CONFIG = """
run_as_root = true
daemonize = false
pidfile = "{folder}/pid"
data_path = "{folder}/data"
plugin_paths = {{ }}
log = {{ {{ levels = {{ min = "debug" }}, to = "file", filename = "{folder}/log" }} }}
interfaces = {{ "{address}" }}
c2s_ports = {{ {c2s_ports} }}
c2s_direct_tls_ports = {{ 5223 }}
s2s_ports = {{ {s2s_ports} }}
s2s_direct_tls_ports = {{ {s2s_direct_ports} }}
http_ports = {{ }}
https_ports = {{ }}
component_interfaces = {{ "{address}" }}
component_ports = {{ {component_ports} }}
modules_enabled = {{
  "roster", "saslauth", "tls", "disco", "carbons", "pep", "private", "blocklist", "vcard4", "version",
  "time", "ping", "smacks", "csi", "offline", {modules}
}}
modules_disabled = {{ {disabled} }}
authentication = "internal_plain"
allow_unencrypted_plain_auth = {plain}
c2s_require_encryption = {c2s_encrypted}
s2s_require_encryption = {s2s_encrypted}
s2s_secure_auth = {s2s_secure}
s2s_timeout = 20
smacks_hibernation_time = 300
muc_room_locking = false
muc_room_default_history_length = 0
dialback_secret = "{name}-dialback"
ssl = {{ certificate = "{certificate}"; key = "{key}"; cafile = "{ca}"; }}
{more}
"""


class Prosody:
    """Prosody(netns, "imp1", "10.20.0.44", ["example.com"], (certificate, key), ca).start(). More:

    federation   None, "certificate" (EXTERNAL alone), "dialback" (EXTERNAL neither offered nor tried) or
                 "any"; with conference.DOMAIN
    s2s_tls      "required", "optional", or "off": no STARTTLS at all, not for users either
    s2s_direct   direct TLS for servers, on 5270
    plain        chat clients need no TLS
    bidi         XEP-0288
    components   {domain: secret} on 5347
    more         lines of configuration
    c2s_ports    5222

    Users of each domain are alice, bob, carol and dave, with the password NAME-secret.
    """

    kind = "prosody"

    def __init__(self, netns, name, address, domains, cert, ca, federation=None, s2s_tls="required",
                 s2s_direct=False, plain=False, bidi=False, components=None, more="", c2s_ports=(5222,),
                 users=USERS):
        self.netns = netns
        self.name = name
        self.address = address
        self.domains = list(domains)
        self.users = users
        self.folder = netns.work / f"prosody-{name}"
        self.process = None
        modules, disabled = [], []
        if federation in ("dialback", "any"):
            modules.append("dialback")
        if federation == "dialback":
            # no certificate is looked at, and so EXTERNAL is not offered
            disabled.append("s2s_auth_certs")
        if bidi:
            modules.append("s2s_bidi")
        if s2s_tls == "off":
            disabled.append("tls")
        blocks = [more]
        for domain in self.domains:
            blocks.append(f'VirtualHost "{domain}"')
            blocks.append(f'Component "conference.{domain}" "muc"')
        for domain, secret in (components or {}).items():
            blocks.append(f'Component "{domain}"\n  component_secret = "{secret}"')
        yes = {True: "true", False: "false"}
        self._words = {
            "folder": self.folder, "address": address, "name": name,
            "c2s_ports": ", ".join(map(str, c2s_ports)),
            "s2s_ports": "5269" if federation else "",
            "s2s_direct_ports": "5270" if federation and s2s_direct else "",
            "component_ports": "5347" if components else "",
            "modules": ", ".join(f'"{module}"' for module in modules),
            "disabled": ", ".join(f'"{module}"' for module in disabled),
            "plain": yes[plain], "c2s_encrypted": yes[not plain],
            "s2s_encrypted": yes[s2s_tls == "required"], "s2s_secure": yes[federation == "certificate"],
            "certificate": cert[0], "key": cert[1], "ca": ca, "more": "\n".join(blocks)}
        # of its users: address, port, direct TLS
        self.place = (address, 5223, True) if s2s_tls == "off" else (address, c2s_ports[0], False)
        self._ports = [c2s_ports[0]] + ([5269] if federation else [])

    def start(self, deadline_s=15.0):
        self.launch()
        self.wait_ready(deadline_s)
        return self

    def launch(self):
        """start() without waiting."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "data").mkdir(exist_ok=True)
        for domain in self.domains:
            accounts = self.folder / "data" / _encoded(domain) / "accounts"
            accounts.mkdir(parents=True, exist_ok=True)
            for user in self.users:
                (accounts / f"{user}.dat").write_text(f'return {{ ["password"] = "{user}-secret"; }};\n')
        (self.folder / "prosody.cfg.lua").write_text(self._config())
        self.process = self.netns.popen(["prosody", "-F", "--config", self.folder / "prosody.cfg.lua"],
                                        log=f"prosody-{self.name}.log")
        return self

    def wait_ready(self, deadline_s=15.0):
        give_up = time.monotonic() + deadline_s
        for port in self._ports:
            while True:
                try:
                    self.netns.connect((self.address, port), timeout=1).close()
                    break
                except OSError:
                    if self.process.poll() is not None or time.monotonic() > give_up:
                        raise RuntimeError(f"Prosody {self.name} did not start, see {self.folder}/log") \
                            from None
                    time.sleep(0.02)

    def _config(self):
        return CONFIG.format(**self._words)

    def stop(self):
        if self.process:
            end(self.process)
            self.process = None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def log_text(self):
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""


def _encoded(text):
    """Prosody's names of files."""
    return "".join(c if c.isalnum() else f"%{ord(c):02x}" for c in text)
