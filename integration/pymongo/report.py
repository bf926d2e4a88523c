"""Results of a run: counted, compared with what is expected, and as a table."""

import re
from collections import Counter, defaultdict
from fnmatch import fnmatchcase

OUTCOMES = ("passed", "failed", "skipped")

# Why a test fails, in the order of the table's columns; expected.toml says which.
KINDS = {
    "refused": "the backend refuses it, or does it otherwise",
    "topology": "it needs what only a replica set or several shards have",
    "absent": "not built",
    "unsteady": "comes out either way",
}


def counted(results):
    counts = Counter(each["outcome"] for each in results)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES)


class Expected:
    """expected.toml: the tests that fail, with the kind and the reason."""

    def __init__(self, listed):
        self.entries = listed.get("expected", [])
        for entry in self.entries:
            if entry["kind"] not in KINDS or not entry["reason"]:
                raise ValueError(f"expected.toml: {entry}")
        self.found = Counter()

    def entry(self, test):
        """The entry that a test stands in, or none."""
        short = name_of(test)
        for entry in self.entries:
            for pattern in entry["tests"]:
                if fnmatchcase(short, pattern):
                    self.found[pattern] += 1
                    return entry
        return None


def name_of(test):
    """A test's name without the package."""
    return test.replace("(test.", "(", 1).removeprefix("test.")


def is_unexpected(result, expected):
    """Whether a test came out otherwise than listed."""
    entry = expected.entry(result["test"])
    if entry is None:
        return result["outcome"] == "failed"
    return result["outcome"] != "failed" and entry["kind"] != "unsteady"


def unexpected(results, expected, whole):
    """What is not as listed, a line each."""
    lines = []
    for each in sorted(results, key=lambda each: each["test"]):
        if not is_unexpected(each, expected):
            continue
        if each["outcome"] == "failed":
            lines.append(f"failed: {name_of(each['test'])}: {each['why']}")
        else:
            lines.append(f"{each['outcome']}, though listed as failing: {name_of(each['test'])}")
    if whole:
        for entry in expected.entries:
            for pattern in entry["tests"]:
                if expected.found[pattern] == 0:
                    lines.append(f"listed, but there is no such test: {pattern}")
    return lines


def folder_of(result):
    """The row of a test: its folder of specs, or PyMongo's own module."""
    if result["spec"]:
        return "specs", result["spec"].removesuffix("/unified").split("/")[0]
    module = name_of(result["test"]).split("(")[-1].split(".")[0]
    return "own", module


def table(results, expected):
    """The results as Markdown."""
    rows = {"specs": defaultdict(Counter), "own": defaultdict(Counter)}
    reasons = defaultdict(Counter)
    skipped = Counter()
    for each in results:
        group, row = folder_of(each)
        counts = rows[group][row]
        if each["outcome"] == "failed":
            entry = expected.entry(each["test"])
            kind = entry["kind"] if entry else "unlisted"
            counts[kind] += 1
            if entry:
                reasons[kind][entry["reason"]] += 1
        elif each["outcome"] == "skipped":
            counts["skipped"] += 1
            # A class says it of all its tests, by its name.
            skipped[re.sub(r"^Test\w+ (?=runOn)", "", each["why"])] += 1
        elif each["sent"]:
            counts["passed"] += 1
        else:
            counts["offline"] += 1
    return rows, reasons, skipped


def markdown(results, expected, title):
    rows, reasons, skipped = table(results, expected)
    lines = [title, ""]
    for group, head in (("specs", "The drivers' specs"), ("own", "PyMongo's own tests")):
        lines += [f"## {head}", "", *grid(rows[group], group), ""]
    lines += ["## Why tests fail", ""]
    for kind, meaning in KINDS.items():
        if reasons[kind]:
            lines += [f"**{kind}** ({meaning})", ""]
            lines += [f"- {count}: {reason}" for reason, count in reasons[kind].most_common()]
            lines.append("")
    lines += ["## Why tests are skipped", "", "What PyMongo's suite itself says, where more than one test has it:", ""]
    lines += [f"- {count}: {reason}" for reason, count in sorted(skipped.items(), key=lambda item: (-item[1], item[0])) if count > 1]
    return "\n".join(lines) + "\n"


def grid(rows, group):
    kinds = [kind for kind in [*KINDS, "unlisted"] if any(counts[kind] for counts in rows.values())]
    columns = ["passed", *kinds, "skipped", "offline"]
    first = "folder" if group == "specs" else "module"
    yield f"| {first} | " + " | ".join(columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    for row, counts in sorted(rows.items()):
        # Modules that say nothing to the port are not what this table is about.
        if any(counts[column] for column in columns if column not in ("offline", "skipped")):
            yield f"| {row} | " + " | ".join(str(counts[column]) for column in columns) + " |"
    total = sum(rows.values(), Counter())
    yield "| **all** | " + " | ".join(f"**{total[column]}**" for column in columns) + " |"
