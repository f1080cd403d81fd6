"""Throw-away keys and certificates, made with the openssl command; nothing here is ever committed.

    public-ca -> edge-public                  what clients outside see and trust
    pair-ca   -> edge-pair, core-pair         what C and E show each other on 7001 and 7400
    uc-ca     -> uc                           every server inside, by name
    bad ones:    *-wrong-name, *-expired (both from the right CA), *-foreign (from foreign-ca)

SSH keys (ed25519) of the tunnel: edge-ssh, core-ssh, and mallory-ssh that nobody trusts.
"""

import os
import pathlib
import subprocess

EDGE = "edge1.example.com"
CORE = "core1.example.com"
WRONG = "mallory.example.net"
INSIDE = tuple(f"{host}.example.com" for host in (
    "cucm1", "cucm2", "cucm3", "imp1", "cuc1", "web1", "web2", "web3", "photos", "origin"))
PAST = ("20200101000000Z", "20200201000000Z")

# name, issuing CA, names in the SAN, validity or None for now
CERTIFICATES = (
    ("edge-public", "public-ca", (EDGE,), None),
    ("edge-public-wrong-name", "public-ca", (WRONG,), None),
    ("edge-public-expired", "public-ca", (EDGE,), PAST),
    ("edge-public-foreign", "foreign-ca", (EDGE,), None),
    ("edge-pair", "pair-ca", (EDGE,), None),
    ("edge-pair-wrong-name", "pair-ca", (WRONG,), None),
    ("edge-pair-expired", "pair-ca", (EDGE,), PAST),
    ("edge-pair-foreign", "foreign-ca", (EDGE,), None),
    ("core-pair", "pair-ca", (CORE,), None),
    ("core-pair-wrong-name", "pair-ca", (WRONG,), None),
    ("core-pair-expired", "pair-ca", (CORE,), PAST),
    ("core-pair-foreign", "foreign-ca", (CORE,), None),
    ("uc", "uc-ca", INSIDE, None),
    ("uc-wrong-name", "uc-ca", (WRONG,), None),
    ("uc-expired", "uc-ca", INSIDE, PAST),
    ("uc-foreign", "foreign-ca", INSIDE, None),
)
CAS = ("public-ca", "pair-ca", "uc-ca", "foreign-ca")
SSH_KEYS = ("edge-ssh", "core-ssh", "mallory-ssh")

CA_CONFIG = """
[ca]
default_ca = lab
[lab]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
default_days = 30
policy = any
copy_extensions = copy
x509_extensions = leaf
[any]
commonName = supplied
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = {usage}
[both]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
[client]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
[mail]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = emailProtection
"""


class Pki:
    """Pki(folder) makes everything at once. `pki.cert(name)` and `pki.key(name)` are paths of the
    names above and of the CAs; `pki.ssh_key(name)` and `pki.fingerprint(name)` are of the tunnel."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(mode=0o755, exist_ok=True)
        for ca in CAS:
            self._make_ca(ca)
        for name, ca, hosts, validity in CERTIFICATES:
            self.issue(name, ca, hosts, validity)
        for name in SSH_KEYS:
            self.make_ssh_key(name)

    def cert(self, name):
        return self.folder / f"{name}.crt"

    def key(self, name):
        return self.folder / f"{name}.key"

    def ssh_key(self, name):
        return self.folder / name

    def fingerprint(self, name):
        """As `ssh-keygen -l` prints it: SHA256:..."""
        line = self._run("ssh-keygen", "-l", "-E", "sha256", "-f", self.folder / f"{name}.pub")
        return line.split()[1]

    def make_ssh_key(self, name):
        """An existing one is replaced, for tests of changed keys."""
        for path in (self.folder / name, self.folder / f"{name}.pub"):
            path.unlink(missing_ok=True)
        self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f",
                  self.folder / name)

    def issue(self, name, ca, hosts, validity=None, usage=None):
        """One more certificate; `hosts` are DNS names, the first one is the CN too, or names of another kind
        as openssl writes them (with a colon); `validity` is a pair of openssl dates, `usage` both, client
        or mail, if not as the CA does. An existing one is replaced, for tests of certificate swaps."""
        names = ",".join(host if ":" in host else "DNS:" + host for host in hosts)
        request = self.folder / f"{name}.csr"
        self._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-keyout", self.key(name), "-out", request,
                      "-subj", f"/CN={hosts[0].rpartition(':')[2]}", "-addext", f"subjectAltName={names}")
        more = ("-startdate", validity[0], "-enddate", validity[1]) if validity else ()
        more += ("-extensions", usage) if usage else ()
        self._openssl("ca", "-batch", "-notext", "-config", self.folder / f"{ca}.d" / "cnf",
                      "-cert", self.cert(ca), "-keyfile", self.key(ca),
                      "-in", request, "-out", self.cert(name), *more)
        request.unlink()

    def _make_ca(self, ca):
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                      "-nodes", "-days", "30", "-keyout", self.key(ca), "-out", self.cert(ca),
                      "-subj", f"/CN=lab {ca}",
                      "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        books = self.folder / f"{ca}.d"
        books.mkdir(mode=0o700)
        # public CAs no longer issue clientAuth, so the public certificates do without
        usage = "serverAuth" if ca == "public-ca" else "serverAuth,clientAuth"
        (books / "cnf").write_text(CA_CONFIG.format(folder=books, usage=usage))
        (books / "index").touch()

    def _openssl(self, *args):
        self._run("openssl", *args)
        for path in self.folder.glob("*.crt"):
            os.chmod(path, 0o644)

    def _run(self, *args):
        # the private keys are born 0600, the certificates are for everybody
        done = subprocess.run([*map(str, args)], capture_output=True, text=True, check=False,
                              umask=0o077)
        if done.returncode != 0:
            raise RuntimeError(f"{args[0]} {args[1]}: {done.stderr.strip()}")
        return done.stdout
