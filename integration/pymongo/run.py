#!/usr/bin/env python3
"""Runs PyMongo's own test suite, with the drivers' unified specs that it carries, through the port.

    run.py --url mongodb://USER:PASSWORD@HOST:PORT [--report FILE] [--all] [PATTERN…]

The tests come from PyMongo's source package, which scripts/setup-drivers.sh puts into the cache
folder; the driver itself is the one installed there. The port must understand configureFailPoint
(mongo.test_commands). A second one on the next port number is the cluster's other mongos.

A test that fails must stand in expected.toml with the reason, and one that stands there must fail:
whatever is not so fails the run. Only what expected.toml names under `modules` is run, or with
--all every module. --report writes the results as a table.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import tomllib
import traceback
import unittest
from pathlib import Path
from urllib.parse import unquote, urlsplit

import report

HERE = Path(__file__).parent
TITLE = """# MongoDB's specs and PyMongo's tests through the port

PyMongo's own test suite, with the drivers' unified specs that it carries, through two proxies on one
Postgres with DocumentDB, posing as two mongos. `integration/pymongo/expected.toml` says which test
fails for which reason; every build runs the modules that it names, and `make specs` runs all and
writes this page. *offline* are tests that send nothing to the port; *skipped* are those that the
suite leaves out by itself, for the reasons at the end."""
LIMIT = 3600
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
    sent = False
    current = None

    def startTest(self, test):
        super().startTest(test)
        self.current = {"test": test.id(), "outcome": "passed", "spec": spec_of(test)}
        Recorder.sent = False
        # A test that waits for ever fails, and the others still run.
        signal.alarm(TEST_LIMIT)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.fail(test, error)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.fail(test, error)

    def addError(self, test, error):
        super().addError(test, error)
        self.fail(test, error)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.current |= {"outcome": "failed", "why": "unexpected success"}

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if self.current is None:
            # A class that is skipped as a whole.
            self.write({"test": test.id(), "outcome": "skipped", "why": reason, "spec": None})
        elif self.current["outcome"] != "failed":
            self.current |= {"outcome": "skipped", "why": reason}

    def fail(self, test, error):
        why = traceback.format_exception_only(error[0], error[1])[-1].strip()[:2000]
        if self.current is not None:
            if self.current["outcome"] != "failed":
                self.current |= {"outcome": "failed", "why": why}
        else:
            # A class or module that could not be set up stands for all of its tests.
            self.write({"test": str(test), "outcome": "failed", "why": why, "spec": None})

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)
        self.write(self.current | {"sent": Recorder.sent})
        self.current = None

    def write(self, line):
        print(json.dumps(line), file=self.out, flush=True)


def spec_of(test):
    """The folder of specs that a test comes from; none for PyMongo's own."""
    path = getattr(test, "TEST_PATH", "")
    path = path or getattr(getattr(type(test), "RUN_SPEC", None), "path", "")
    match = re.search(r"/test/(.+?)/*$", str(path))
    return match.group(1) if match else None


def too_long(_signal, _frame):
    raise TimeoutError(f"not over within {TEST_LIMIT} s")


def watch_sending():
    """Notes which tests send something; what the driver does beside them doesn't count."""
    from pymongo.synchronous import pool

    send = pool.sendall

    def sendall(*arguments):
        if not threading.current_thread().name.startswith("pymongo_"):
            Recorder.sent = True
        return send(*arguments)

    pool.sendall = sendall


def inner(folder, out, modules, patterns):
    """In a process of its own: runs the tests and records them."""
    sys.path[0:0] = [str(folder), str(folder / "packages")]
    signal.signal(signal.SIGALRM, too_long)
    watch_sending()
    import pytest
    import test as suite

    # The users of the port are those of its settings.
    suite.ClientContext._check_user_provided = lambda _: True
    suite.setup()
    if not suite.client_context.connected:
        sys.exit(f"no connection: {suite.client_context.connection_attempt_info()}")
    loader = unittest.TestLoader()
    if patterns:
        loader.testNamePatterns = [f"*{pattern}*" for pattern in patterns]
    tests, left = unittest.TestSuite(), {}
    for module in modules:
        try:
            tests.addTest(loader.loadTestsFromName(f"test.{module}"))
        except pytest.skip.Exception as error:
            left[module] = str(error)
    with open(out, "w", encoding="utf-8") as Recorder.out:
        for module, why in left.items():
            line = {"test": f"test.{module}", "outcome": "skipped", "why": why, "spec": None}
            print(json.dumps(line), file=Recorder.out)
        unittest.TextTestRunner(resultclass=Recorder, verbosity=2).run(tests)
    # Threads that a failed test has left behind would be waited for.
    sys.stderr.flush()
    os._exit(0)


def outcomes(url, modules, patterns):
    """Every test's outcome."""
    folder = cache() / "pymongo"
    if not (folder / "test").is_dir():
        sys.exit(f"{folder}/test is missing: run scripts/setup-drivers.sh")
    work = cache() / "pymongo-runs"
    work.mkdir(exist_ok=True)
    name = f"{os.getpid()}-again" if patterns else f"{os.getpid()}"
    out, log = work / f"{name}.jsonl", work / f"{name}.log"
    split = urlsplit(url)
    environment = os.environ | {
        "DB_IP": split.hostname,
        "DB_PORT": str(split.port),
        "DB_USER": unquote(split.username),
        "DB_PASSWORD": unquote(split.password),
    }
    command = [sys.executable, __file__, "--inner", str(out), "--modules", ",".join(modules), *patterns]
    with open(log, "w", encoding="utf-8") as stream:
        try:
            code = subprocess.run(
                command, cwd=folder, env=environment, stdout=stream, stderr=stream, timeout=LIMIT
            ).returncode
        except subprocess.TimeoutExpired:
            sys.exit(f"not over within {LIMIT} s; see {log}")
    if code != 0:
        sys.exit(f"the test process ended with {code}; see {log}")
    found = {}
    for line in out.read_text("utf-8").splitlines():
        result = json.loads(line)
        found[result["test"]] = result
    print(f"{report.counted(found.values())} ({out})", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="URL of the port, with user and password")
    parser.add_argument("--report", help="the file to write the results into")
    parser.add_argument("--all", action="store_true", help="every module, not only the chosen ones")
    parser.add_argument("--inner", help=argparse.SUPPRESS)
    parser.add_argument("--modules", help="these modules only, with commas between")
    parser.add_argument("patterns", nargs="*", help="only tests whose names contain one of these")
    options = parser.parse_args()
    if options.inner:
        inner(cache() / "pymongo", options.inner, options.modules.split(","), options.patterns)
        return
    if not options.url:
        parser.error("--url is needed")
    listed = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))
    modules = listed["modules"]
    if options.all:
        modules = sorted(each.stem for each in (cache() / "pymongo" / "test").glob("test_*.py"))
    if options.modules:
        modules = options.modules.split(",")
    expected = report.Expected(listed)
    found = outcomes(options.url, modules, options.patterns)
    if again := try_again(options, modules, expected, found):
        found.update(again)
    wrong = report.unexpected(found.values(), expected, options.all)
    print(*wrong, sep="\n", flush=True)
    print(f"PyMongo: {len(wrong)} results that are not as listed")
    if options.report:
        Path(options.report).write_text(report.markdown(found.values(), expected, TITLE), "utf-8")
    sys.exit(1 if wrong or not found else 0)


def try_again(options, modules, expected, found):
    """Runs once more what came out otherwise than listed: a suite that watches the clock fails now and
    then on a busy machine, and a fault of the port fails again."""
    doubtful = [each for each in found.values() if report.is_unexpected(each, expected)]
    if not 0 < len(doubtful) <= 40:
        return {}
    names = sorted(each["test"] for each in doubtful)
    print("again:", ", ".join(names), flush=True)
    wanted = {name.split(".")[1] for name in names if name.count(".") >= 3}
    return outcomes(options.url, [module for module in modules if module in wanted], names)


if __name__ == "__main__":
    main()
