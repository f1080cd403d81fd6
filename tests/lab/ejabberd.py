"""A real ejabberd: the IM server inside, or a partner's outside. Same shape as prosody.py."""

import os
import time

from .netns import end
from .prosody import USERS

CONFIG = """
loglevel: debug
log_rotate_count: 0
hosts: [{hosts}]
certfiles: ["{pem}"]
ca_file: "{ca}"
{s2s}
listen:
  -
    port: 5222
    ip: "{address}"
    module: ejabberd_c2s
    starttls: true
    starttls_required: {c2s_encrypted}
    use_proxy_protocol: {proxy}
    max_stanza_size: 262144
    shaper: none
    access: all
  -
    port: 5223
    ip: "{address}"
    module: ejabberd_c2s
    tls: true
    use_proxy_protocol: {proxy}
    shaper: none
    access: all
  -
    port: 5225
    ip: "{address}"
    module: ejabberd_c2s
    starttls: true
    shaper: none
    access: all
{listeners}
auth_method: internal
auth_password_format: plain
disable_sasl_mechanisms: {no_mechanisms}
acl: {{}}
access_rules: {{}}
shaper: {{}}
shaper_rules: {{max_user_offline_messages: 100}}
modules:
  mod_carboncopy: {{}}
  mod_disco: {{}}
  mod_muc:
    hosts: ["conference.@HOST@"]
    access: all
    access_create: all
    history_size: 0
  mod_offline: {{}}
  mod_ping: {{}}
  mod_roster: {{versioning: true}}
  mod_stream_mgmt:
    resend_on_timeout: if_offline
    resume_timeout: 300
  mod_s2s_dialback: {{}}
  mod_version: {{}}
"""
S2S = """
s2s_use_starttls: {tls}
s2s_dns_timeout: 5
s2s_timeout: 120
s2s_cafile: "{ca}"
"""
S2S_LISTENER = """
  -
    port: 5269
    ip: "{address}"
    module: ejabberd_s2s_in
"""
COMPONENTS_LISTENER = """
  -
    port: 5347
    ip: "{address}"
    module: ejabberd_service
    hosts:
{hosts}
"""


class Ejabberd:
    """Ejabberd(netns, "imp2", "10.20.0.46", ["example.net"], (certificate, key), ca).start(). As Prosody; other:

    proxy_protocol  every client's connection begins with a PROXY header, but on 5225
    s2s_tls         off is for servers only
    """

    kind = "ejabberd"

    def __init__(self, netns, name, address, domains, cert, ca, federation=None, s2s_tls="required",
                 plain=False, components=None, proxy_protocol=False, users=USERS):
        self.netns = netns
        self.name = name
        self.address = address
        self.domains = list(domains)
        self.users = users
        self.folder = netns.work / f"ejabberd-{name}"
        self.process = None
        self.place = (address, 5225, False)  # of its users; no direct TLS
        self._cert = cert
        listeners = ""
        if federation:
            listeners += S2S_LISTENER.format(address=address)
        if components:
            hosts = "".join(f'      "{domain}":\n        password: "{secret}"\n'
                            for domain, secret in components.items())
            listeners += COMPONENTS_LISTENER.format(address=address, hosts=hosts)
        tls = {"off": "false", "optional": "optional", "required": "required"}[s2s_tls]
        modules = CONFIG
        if federation == "certificate":
            modules = modules.replace("  mod_s2s_dialback: {{}}\n", "")
        yes = {True: "true", False: "false"}
        self._config = modules.format(
            hosts=", ".join(f'"{domain}"' for domain in self.domains), pem=self.folder / "pem", ca=ca,
            address=address, s2s=S2S.format(tls=tls, ca=ca), listeners=listeners, proxy=yes[proxy_protocol],
            c2s_encrypted=yes[not plain],
            # an ejabberd that knows no EXTERNAL neither offers nor tries it
            no_mechanisms='["EXTERNAL"]' if federation == "dialback" else "[]")

    def start(self, deadline_s=30.0):
        self.launch()
        self.wait_ready(deadline_s)
        return self

    def launch(self):
        """start() without waiting."""
        self.folder.mkdir(exist_ok=True)
        pem = self.folder / "pem"
        pem.touch(0o600)
        pem.write_text(self._cert[0].read_text() + self._cert[1].read_text())
        (self.folder / "ejabberd.yml").write_text(self._config)
        register = "".join(f'ejabberd_auth:try_register(<<"{user}">>,<<"{domain}">>,<<"{user}-secret">>),'
                           for domain in self.domains for user in self.users)
        done = f'file:write_file("{self.folder}/ready", <<"yes">>)'
        (self.folder / "ready").unlink(missing_ok=True)
        # no -sname: then there is no Erlang port mapper, which would outlive the lab
        self.process = self.netns.popen(
            ["erl", "-noinput", "+K", "true", "+S", "1:1", "-mnesia", "dir", f'"{self.folder}/mnesia"', "-eval",
             f"{{ok,_}}=application:ensure_all_started(ejabberd),{register}{done}."],
            log=f"ejabberd-{self.name}.log", cwd=self.folder,
            env={**os.environ, "EJABBERD_CONFIG_PATH": str(self.folder / "ejabberd.yml"),
                 "EJABBERD_LOG_PATH": str(self.folder / "log"), "HOME": str(self.folder),
                 "ERL_CRASH_DUMP": str(self.folder / "erl_crash.dump"),
                 "ERL_LIBS": "/usr/lib/x86_64-linux-gnu", "ERL_EPMD_ADDRESS": "127.0.0.1"})
        return self

    def wait_ready(self, deadline_s=30.0):
        give_up = time.monotonic() + deadline_s
        while not (self.folder / "ready").exists():
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"ejabberd {self.name} did not start, see {self.folder}/log")
            time.sleep(0.05)

    def stop(self):
        if self.process:
            end(self.process, 5.0)
            self.process = None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def log_text(self):
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""
