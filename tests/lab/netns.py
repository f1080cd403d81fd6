"""One network namespace: run commands in it, open sockets in it."""

import ctypes
import os
import socket
import subprocess
import threading

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Netns:
    """Handed out by topology.Lab; `v4` and `v6` are the address the others use to reach it."""

    def __init__(self, name, full_name, work, v4=None, v6=None):
        self.name = name
        self.full_name = full_name
        self.work = work
        self.v4 = v4
        self.v6 = v6
        self.processes = []

    def __str__(self):
        return self.full_name

    def argv(self, args):
        """`ip netns exec` ends in an exec, so the pid we start is the pid of the program."""
        return ["ip", "netns", "exec", self.full_name, *map(str, args)]

    def run(self, args, check=True, timeout=30, **kwargs):
        """Run to the end; returns a CompletedProcess with text stdout and stderr."""
        done = subprocess.run(self.argv(args), capture_output=True, text=True, timeout=timeout,
                              check=False, **kwargs)
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(map(str, args))} exited "
                               f"{done.returncode}: {(done.stderr or done.stdout).strip()}")
        return done

    def popen(self, args, log=None, **kwargs):
        """Start in the background; ended by Lab at the latest. Output goes to work/`log`.

        A session of its own keeps Ctrl-C from reaching the peers before the lab has said goodbye.
        """
        if log:
            with open(self.work / log, "ab") as out:
                kwargs.setdefault("stdout", out)
                kwargs.setdefault("stderr", subprocess.STDOUT)
                return self._start(args, kwargs)
        return self._start(args, kwargs)

    def _start(self, args, kwargs):
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(self.argv(args), start_new_session=True, **kwargs)
        self.processes.append(process)
        return process

    def inside(self, work):
        """Call `work()` with this namespace's network and return what it returns.

        A thread of its own enters the namespace, because setns() changes the calling thread only;
        sockets stay where they were made. Only the network changes: names still resolve outside.
        """
        outcome = {}

        def enter():
            try:
                fd = os.open(f"/run/netns/{self.full_name}", os.O_RDONLY)
                try:
                    if _libc.setns(fd, CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns " + self.full_name)
                finally:
                    os.close(fd)
                outcome["value"] = work()
            except BaseException as error:  # handed to the caller below
                outcome["error"] = error

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if "error" in outcome:
            raise outcome["error"]
        return outcome["value"]

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, proto=0):
        return self.inside(lambda: socket.socket(family, kind, proto))

    def connect(self, address, timeout=3.0):
        """A TCP connection to (host, port) with a literal host, IPv4 or IPv6."""
        sock = self.socket(family_of(address[0]))
        try:
            sock.settimeout(timeout)
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock

    def bound_udp(self, host, port=0, timeout=3.0):
        sock = self.socket(family_of(host), socket.SOCK_DGRAM)
        sock.bind((host, port))
        sock.settimeout(timeout)
        return sock


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def end(process, patience_s=3.0):
    """End one process that we started: SIGTERM, and SIGKILL when it takes too long."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode
