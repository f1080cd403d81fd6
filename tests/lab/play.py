"""A system test is a file of checks that share one stage; this runs them and counts."""

import sys
import time

from .topology import Lab


class Play:
    """play = Play(); @play.check on functions of one argument, the stage; sys.exit(play.run(Stage)).
    A check's docstring is its line. Names on the command line select checks."""

    def __init__(self):
        self.checks = []

    def check(self, function):
        self.checks.append(function)
        return function

    def run(self, make_stage, **lab_options):
        only = sys.argv[1:]
        n_passed = n_failed = 0
        with Lab(**lab_options) as lab:
            stage = make_stage(lab)
            for function in self.checks:
                if only and function.__name__ not in only:
                    continue
                start = time.monotonic()
                try:
                    function(stage)
                    n_passed += 1
                    print(f"ok   {function.__doc__} ({time.monotonic() - start:.1f} s)", flush=True)
                except Exception as error:  # whatever it was: told, counted, and the next one runs
                    n_failed += 1
                    lab.keep = True
                    print(f"FAIL {function.__doc__}\n     {type(error).__name__}: {error}\n"
                          f"     logs: {lab.work}", flush=True)
        print(f"{n_passed} passed, {n_failed} failed")
        return 1 if n_failed else 0


def expect(condition, *details):
    if not condition:
        raise AssertionError(" ".join(str(detail) for detail in details) or "not so")
