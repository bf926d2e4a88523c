"""What every Python suite shares: the contract with the harness.

A suite reads where to connect from the environment, runs named checks, prints
`ok NAME` or `not ok NAME: reason` for each, and exits non-zero if any failed.
"""

import asyncio
import inspect
import os
import sys
import traceback
from urllib.parse import parse_qs, unquote, urlsplit

URL = os.environ["TWINPORT_TEST_URL"]
SINGLE_URL = os.environ["TWINPORT_TEST_SINGLE_URL"]
DIRECT_URL = os.environ["TWINPORT_TEST_DIRECT_URL"]
CA = os.environ["TWINPORT_TEST_CA"]
ANNOTATED = os.environ.get("TWINPORT_TEST_ANNOTATED") == "1"
WITHOUT = os.environ.get("TWINPORT_TEST_WITHOUT", "").split(",")

_checks = []


def check(function):
    """Registers a check under the function's name."""
    _checks.append(function)
    return function


def annotated(function):
    """Registers a check that makes sense only through the port."""
    if ANNOTATED:
        _checks.append(function)
    return function


def equal(got, expected, what="value"):
    """Fails with both sides when they differ."""
    if got != expected:
        raise AssertionError(f"{what}: expected {expected!r}, got {got!r}")


class Parts:
    """A connection URL taken apart, for drivers that want it in pieces."""

    def __init__(self, url):
        split = urlsplit(url)
        self.host = split.hostname
        self.port = split.port
        self.user = unquote(split.username)
        self.password = unquote(split.password)
        self.database = split.path.lstrip("/")
        self.query = {key: values[-1] for key, values in parse_qs(split.query).items()}


def with_password(url, password):
    """The same URL with another password."""
    split = urlsplit(url)
    netloc = f"{split.username}:{password}@{split.hostname}:{split.port}"
    return split._replace(netloc=netloc).geturl()


def main():
    """Runs what was registered and leaves with the verdict."""
    failed = 0
    for function in _checks:
        name = function.__name__
        if name in WITHOUT:
            continue
        try:
            if inspect.iscoroutinefunction(function):
                asyncio.run(asyncio.wait_for(function(), 60))
            else:
                function()
        except Exception as error:
            failed += 1
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"not ok {name}: {reason}", flush=True)
            traceback.print_exc(file=sys.stderr)
        else:
            print(f"ok {name}", flush=True)
    sys.exit(1 if failed else 0)
