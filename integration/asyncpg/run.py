#!/usr/bin/env python3
"""Runs asyncpg's own test suite straight at a server and through the port, and compares.

    run.py --direct postgres://USER:PASSWORD@HOST:PORT/DATABASE --port postgres://…
    run.py --direct postgres://…        only the straight run, with its counts

The tests come from asyncpg's source package, which scripts/setup-drivers.sh puts into the cache
folder; the driver itself is the one installed there. A test whose outcome differs must stand in
differences.toml with the reason, and one that stands there must differ: whatever is not so fails
the run.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tomllib
import unittest
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).parent
LIMIT = 900
TEST_LIMIT = 30


def cache():
    """The folder that scripts/setup-drivers.sh fills."""
    if named := os.environ.get("TWINPORT_CACHE"):
        return Path(named)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "twinport"


class Recorder(unittest.TextTestResult):
    """Writes each test's outcome as a line of JSON: the worst of its parts."""

    out = None
    current = None

    def startTest(self, test):
        super().startTest(test)
        self.current = "passed"
        # A test that waits for ever fails, and the others still run.
        signal.alarm(TEST_LIMIT)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.current = "failed"

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.fail(test)

    def addError(self, test, error):
        super().addError(test, error)
        self.fail(test)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.current = "failed"

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if self.current != "failed":
            self.current = "skipped"

    def fail(self, test):
        if isinstance(test, unittest.TestCase):
            self.current = "failed"
        else:
            # A class or module that could not be set up stands for all of its tests.
            self.write(str(test), "failed")

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)
        self.write(test.id(), self.current)

    def write(self, name, outcome):
        print(json.dumps([name, outcome]), file=self.out, flush=True)


def too_long(_signal, _frame):
    raise TimeoutError(f"not over within {TEST_LIMIT} s")


def inner(folder, out, patterns):
    """In a process of its own: runs the tests and records them."""
    sys.path.insert(0, str(folder))
    signal.signal(signal.SIGALRM, too_long)
    loader = unittest.TestLoader()
    if patterns:
        loader.testNamePatterns = [f"*{pattern}*" for pattern in patterns]
    suite = loader.discover(str(folder / "tests"), pattern="test_*.py", top_level_dir=str(folder))
    with open(out, "w", encoding="utf-8") as Recorder.out:
        unittest.TextTestRunner(resultclass=Recorder, verbosity=2).run(suite)


def outcomes(url, name, patterns):
    """Every test's outcome against this server."""
    folder = cache() / "asyncpg"
    if not (folder / "tests").is_dir():
        sys.exit(f"{folder}/tests is missing: run scripts/setup-drivers.sh")
    work = cache() / "asyncpg-runs"
    work.mkdir(exist_ok=True)
    out, log = work / f"{name}-{os.getpid()}.jsonl", work / f"{name}-{os.getpid()}.log"
    split = urlsplit(url)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    environment |= {
        "PGHOST": split.hostname,
        "PGPORT": str(split.port),
        "PGUSER": unquote(split.username),
        "PGPASSWORD": unquote(split.password),
        "PGDATABASE": split.path.lstrip("/"),
    }
    command = [sys.executable, __file__, "--inner", str(out), *patterns]
    with open(log, "w", encoding="utf-8") as stream:
        try:
            code = subprocess.run(command, env=environment, stdout=stream, stderr=stream, timeout=LIMIT).returncode
        except subprocess.TimeoutExpired:
            sys.exit(f"{name}: not over within {LIMIT} s; see {log}")
    if code != 0:
        sys.exit(f"{name}: the test process ended with {code}; see {log}")
    found = dict(json.loads(line) for line in out.read_text("utf-8").splitlines())
    counts = {kind: list(found.values()).count(kind) for kind in ("passed", "failed", "skipped")}
    print(f"{name}: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped ({log})", flush=True)
    if counts["passed"] == 0 and not patterns:
        sys.exit(f"{name}: no test passed; see {log}")
    return found


def listed():
    """The committed list: reasons by test, and the tests that may come out either way."""
    entries = tomllib.loads((HERE / "differences.toml").read_text("utf-8")).get("difference", [])
    reasons = {each["test"]: each["reason"] for each in entries}
    return reasons, {each["test"] for each in entries if each.get("unsteady")}


def differing_tests(direct, port):
    return {name for name in direct.keys() | port.keys() if direct.get(name) != port.get(name)}


def try_again(options, direct, port):
    """Runs once more, both ways, what came out otherwise than listed: a suite that watches the clock
    fails now and then on a busy machine, and a fault of the port fails again."""
    reasons, unsteady = listed()
    doubtful = sorted((differing_tests(direct, port) ^ reasons.keys()) - unsteady)
    if 0 < len(doubtful) <= 20:
        print("again:", ", ".join(doubtful), flush=True)
        direct.update(outcomes(options.direct, "direct again", doubtful))
        port.update(outcomes(options.port, "port again", doubtful))


def compare(direct, port):
    """The differences, told; how many are not as the list says."""
    reasons, unsteady = listed()
    differing = differing_tests(direct, port)
    wrong = 0
    for name in sorted(differing):
        told = f"{name}: directly {direct.get(name, 'missing')}, through the port {port.get(name, 'missing')}"
        if name in reasons:
            print(f"listed: {told}: {reasons[name]}")
        else:
            wrong += 1
            print(f"not listed: {told}")
    for name in sorted(reasons.keys() - differing - unsteady):
        wrong += 1
        print(f"listed, but the same directly and through the port: {name}: take it off the list")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--direct", help="URL of the server, as superuser")
    parser.add_argument("--port", help="URL of the same server through the port")
    parser.add_argument("--inner", help=argparse.SUPPRESS)
    parser.add_argument("patterns", nargs="*", help="only tests whose names contain one of these")
    options = parser.parse_args()
    if options.inner:
        inner(cache() / "asyncpg", options.inner, options.patterns)
        return
    if not options.direct:
        parser.error("--direct is needed")
    direct = outcomes(options.direct, "direct", options.patterns)
    if options.port:
        port = outcomes(options.port, "port", options.patterns)
        try_again(options, direct, port)
        wrong = compare(direct, port)
        print(f"asyncpg: {wrong} differences that are not as listed")
        sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
