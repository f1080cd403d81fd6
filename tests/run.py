#!/usr/bin/env python3
"""Builds turnpike and runs every test; scripts/test installs what is missing and starts this.
Last line: N passed, N failed, N skipped.

    scripts/test              everything: unit, scenario, fuzz replay, sanitizers, short fuzzing, system
    scripts/test NAME...      only tests whose name is or begins with NAME
    scripts/test --list       the names
"""
import os
import subprocess
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FUZZ_SECONDS = int(os.environ.get("FUZZ_SECONDS", "3"))
# These mostly wait for the network to be silent: they run beside the other system tests, each in
# namespaces of its own.
PATIENT = {"system_faults", "system_tunnel_paths", "system_two_edges", "system_link_refusals", "system_requests",
           "system_turn_clients", "system_xmpp_component", "system_xmpp_edges", "system_xmpp_federation",
           "system_xmpp_parking", "system_xmpp_partners", "system_systemd_units", "system_turnpiked_command"}
LIMIT = {"fuzz": FUZZ_SECONDS + 60, "system": 420}


def run(argv, limit, env=None):
    """(exit code, output); 124 when it took too long. Ends the whole process group then."""
    p = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=TOP,
                         env={**os.environ, **(env or {})}, start_new_session=True, text=True,
                         errors="replace", stdin=subprocess.DEVNULL)
    try:
        out, _ = p.communicate(timeout=limit)
        return p.returncode, out
    except subprocess.TimeoutExpired:
        # Tests clean up on SIGTERM; what then still lives is killed.
        for sig, grace in ((15, 30), (9, 10)):
            try:
                os.killpg(p.pid, sig)
                out, _ = p.communicate(timeout=grace)
                break
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        return 124, (out or "") + f"\n(no end after {limit} s)"


def build(preset):
    for argv in (["cmake", "--preset", preset], ["cmake", "--build", "--preset", preset]):
        code, out = run(argv, 1200)
        if code:
            print(out)
            sys.exit(f"scripts/test: {' '.join(argv)} failed")


def names_in(folder, suffix):
    path = os.path.join(TOP, "tests", folder)
    return sorted(os.path.splitext(f)[0] for f in os.listdir(path)
                  if f.endswith(suffix) and f != "replay.c") if os.path.isdir(path) else []


def all_tests():
    """name -> (preset it needs or None, argv)"""
    tests = {}
    for preset in ("release", "asan"):
        mark = "" if preset == "release" else "asan:"
        for tier in ("unit", "scenario"):
            for noun in names_in(tier, ".c"):
                tests[f"{mark}{tier}_{noun}"] = (preset, [f"build/{preset}/tests/{tier}_{noun}"])
        for noun in names_in("fuzz", ".c"):
            tests[f"{mark}replay_{noun}"] = (preset, [f"build/{preset}/tests/fuzz_{noun}",
                                                      f"tests/fuzz/corpus/{noun}"])
    for noun in names_in("fuzz", ".c"):
        tests[f"fuzz_{noun}"] = ("fuzz", [f"build/fuzz/tests/fuzz_{noun}", "-max_total_time=%d" % FUZZ_SECONDS,
                                          "-max_len=8192", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=0",
                                          "-artifact_prefix=build/fuzz/", "-verbosity=0",
                                          f"build/fuzz/found_{noun}", f"tests/fuzz/corpus/{noun}"])
    tests["lint"] = (None, ["scripts/lint"])
    for noun in names_in("system", ".py") + names_in("system", ".sh"):
        file = next(f for f in (f"tests/system/{noun}.py", f"tests/system/{noun}.sh")
                    if os.path.exists(os.path.join(TOP, f)))
        shell = sys.executable if file.endswith(".py") else "sh"
        tests[f"system_{noun}"] = ("release", [shell, file])
    return tests


def run_one(name, test):
    """(exit code, output, seconds)"""
    _, argv = test
    tier = name.split(":")[-1].split("_")[0]
    if tier == "fuzz":
        os.makedirs(os.path.join(TOP, argv[-2]), exist_ok=True)
    t0 = time.monotonic()
    code, out = run(argv, LIMIT.get(tier, 300), {"TURNPIKE_BUILD": f"{TOP}/build/release"})
    return code, out, time.monotonic() - t0


class Results:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], 0
        self.lock = threading.Lock()

    def take(self, name, code, out, took):
        with self.lock:
            if code == 0:
                self.passed += 1
                print(f"ok      {name} ({took:.1f} s)", flush=True)
            elif code == 77:
                self.skipped += 1
                reason = out.strip().splitlines()[-1] if out.strip() else "no reason given"
                print(f"skipped {name}: {reason}", flush=True)
            else:
                self.failed.append(name)
                print(f"FAILED  {name} (exit {code}, {took:.1f} s)\n{out[-12000:]}", flush=True)


def in_two_lanes(results, tests, *queues):
    """Two at a time. Each lane has a queue of its own and helps with the other's when that is done."""
    lock = threading.Lock()

    def lane(mine, other):
        while True:
            with lock:
                queue = mine or other
                if not queue:
                    return
                name = queue.pop(0)
            results.take(name, *run_one(name, tests[name]))

    queues = [list(queue) for queue in queues]
    threads = [threading.Thread(target=lane, args=pair) for pair in (queues, queues[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    args = sys.argv[1:]
    tests = all_tests()
    if args == ["--list"]:
        print("\n".join(tests))
        return 0
    if any(a.startswith("-") for a in args):
        sys.exit(__doc__)
    if args:
        tests = {n: t for n, t in tests.items() if any(n == a or n.startswith(a) for a in args)}
        if not tests:
            sys.exit(f"scripts/test: no test is named {' '.join(args)}; see --list")
    for preset in sorted({t[0] for t in tests.values() if t[0]}):
        t0 = time.monotonic()
        build(preset)
        print(f"built   {preset} ({time.monotonic() - t0:.0f} s)", flush=True)
    results = Results()
    system = [name for name in tests if name.startswith("system_")]
    rest = [name for name in tests if name not in system]
    in_two_lanes(results, tests, rest, [])
    in_two_lanes(results, tests, [n for n in system if n not in PATIENT], [n for n in system if n in PATIENT])
    passed, failed, skipped = results.passed, results.failed, results.skipped
    if failed:
        print("failed: " + " ".join(failed))
    print(f"{passed} passed, {len(failed)} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
