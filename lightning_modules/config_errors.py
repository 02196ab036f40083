"""One readable line about a mistake in a configuration.

jsonargparse answers a typing error in a nested YAML with a tree of all alternatives that it tried. `explain` finds the
reason in that tree that the user can fix, says where it is, and suggests the name that was probably meant.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import itertools
import pkgutil
import re
from collections.abc import Iterable

_KEY = re.compile(r'Parser key "([^"]+)":')
_CLASS = re.compile(r"Problem with given class_path '([^']+)':")
_UNKNOWN_OPTION = re.compile(r"Option '([^']+)' is not accepted")
_UNKNOWN_KEY = re.compile(r"does not accept option '([^']+)'")
_UNKNOWN_FLAG = re.compile(r"[Uu]nrecognized arguments: (--?\S+)")
_NO_ATTRIBUTE = re.compile(r"module '([^']+)' has no attribute '([^']+)'")
_NO_MODULE = re.compile(r"No module named '([^']+)'")
_NOT_SUBCLASS = re.compile(r"Import path (\S+) does not correspond to a subclass of (\S+)")
_MISSING = re.compile(r"the following arguments are required: (.+)")
_NO_FILE = re.compile(r"File does not exist: '([^']+)'")
_INTERPOLATION = re.compile(r"Interpolation key '\.*([^']+)' not found")
_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.+)\)")
_NO_SUBCOMMAND = re.compile(r'expected "subcommand" to be one of')
_OWN_PACKAGES = ("livejam", "lightning_modules", "datamodules", "callbacks", "metrics")
_CLASS_NAME = re.compile(r"(?:a )?<class '([\w.]+)'>")
_LITERAL = re.compile(r"a typing\.Literal\[(.+)\]")
_ALTERNATIVE = re.compile(r"^- (?!Expected |Problem with |Parser key )(.+)")
_LEAF = re.compile(r"^(?:- )?(Expected (?!a path but|a <class 'NoneType'>).+)")


def explain(message: str, known_keys: Iterable[str] = (), limit: int = 400) -> str:
    """The reason in a parser's message that the user can fix, on one line.

    Args:
        message: the parser's message, usually many lines.
        known_keys: dotted names of all options, from which to suggest when one is unknown.
        limit: characters of an unknown message.
    """
    raw = message.strip("\n").splitlines()
    lines = [line.strip() for line in raw]
    keys: list[str] = []
    class_path = ""
    for number, line in enumerate(lines):
        if found := _KEY.search(line):
            keys.append(found[1])
        if found := _CLASS.search(line):
            class_path = found[1]
            continue
        if reason := _reason(line, class_path, list(known_keys)) or _expectation(raw[number:]):
            where = f"{'.'.join(keys)}: " if keys else ""
            return where + reason
    return _last_resort(lines, keys, limit)


def suggestion(wrong: str, candidates: Iterable[str]) -> str:
    """`; did you mean …?` with the nearest of `candidates`, or nothing if none is near."""
    near = difflib.get_close_matches(wrong, list(candidates), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _reason(line: str, class_path: str, known_keys: list[str]) -> str:
    if (found := _UNKNOWN_OPTION.search(line)) and not class_path:
        return f"there is no option {found[1]!r}{suggestion(found[1], known_keys)}"
    if found := _UNKNOWN_OPTION.search(line):
        option, options = found[1].partition(".")[0], _parameters(class_path)
        return f"{class_path} has no option {option!r}{suggestion(option, options) or _choice(options)}"
    if found := _UNKNOWN_KEY.search(line):
        root = found[1].partition(".")[0]
        return f"there is no option {found[1]!r}{suggestion(found[1], known_keys) or suggestion(root, known_keys)}"
    if found := _CHOICE.search(line):
        choices = re.findall(r"[\w-]+", found[2])
        return f"there is no {found[1]!r}{suggestion(found[1], choices)} (there are {', '.join(choices)})"
    if _NO_SUBCOMMAND.search(line):
        return "say what to do: fit, validate, test or predict (see `lightning --help`)"
    if found := _UNKNOWN_FLAG.search(line):
        flag = found[1].partition("=")[0]
        return f"there is no option {flag!r}{suggestion(flag, [f'--{key}' for key in known_keys])}"
    if found := _NO_ATTRIBUTE.search(line):
        return f"there is no {found[2]!r} in {found[1]}{suggestion(found[2], _public_names(found[1]))}"
    if found := _NO_MODULE.search(line):
        return f"there is no Python module {found[1]!r}{suggestion(found[1], _siblings(found[1]))}"
    if found := _NOT_SUBCLASS.search(line):
        return f"{found[1]} is no {found[2]}; name a class_path that is one"
    if found := _MISSING.search(line):
        names = ", ".join(name.strip().partition(".")[2] or name.strip() for name in found[1].split(","))
        return f"{class_path or 'the configuration'} needs {names}; give it in the --config file or on the command line"
    if found := _NO_FILE.search(line):
        return f"there is no file {found[1]}; check the path after --config (shipped ones lie in configs/)"
    if found := _INTERPOLATION.search(line):
        key = found[1].partition(".")[2] or found[1]
        return (
            f"nothing is called {key!r} that an interpolation '${{...}}' could stand for{suggestion(key, known_keys)}"
        )
    return ""


def _expectation(lines: list[str]) -> str:
    """The expectation in the first of some lines, together with the alternatives below it."""
    if not _LEAF.search(lines[0].strip()):
        return ""
    depth = len(lines[0]) - len(lines[0].lstrip())
    alike = itertools.takewhile(lambda line: line[:depth].isspace() and line[depth:].startswith("- Expected "), lines)
    leaves = [found[1] for line in [lines[0], *list(alike)[1:]] if (found := _LEAF.search(line.strip()))]
    kinds = [_CLASS_NAME.sub(r"\1", _LITERAL.sub(r"one of \1", leaf)).removeprefix("Expected ") for leaf in leaves]
    return f"expected {' or '.join(dict.fromkeys(kinds))}"


def _last_resort(lines: list[str], keys: list[str], limit: int) -> str:
    """The first alternative's reason where a class was expected, else the message itself, shortened."""
    reasons = [found[1] for line in lines if (found := _ALTERNATIVE.search(line))]
    return f"{'.'.join(keys)}: {reasons[0]}" if reasons and keys else _shortened(lines, limit)


def _choice(options: list[str]) -> str:
    return f"; it has {', '.join(options)}" if options else ""


def _shortened(lines: list[str], limit: int) -> str:
    text = " ".join(line for line in lines if line)
    return text if len(text) <= limit else text[:limit] + " …"


def _imported(path: str) -> object | None:
    """The module, class or function at a dotted path that the parser has imported already, or None."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name) if module else importlib.import_module(path)
    except (ImportError, AttributeError):
        return None


def _parameters(class_path: str) -> list[str]:
    target = _imported(class_path)
    if not callable(target):
        return []
    return [name for name in inspect.signature(target).parameters if name not in ("self", "args", "kwargs")]


def _public_names(module: str) -> list[str]:
    return [name for name in dir(importlib.import_module(module)) if not name.startswith("_")]


def _siblings(module: str) -> list[str]:
    """Names of the modules next to a module that does not exist."""
    parent, _, _ = module.rpartition(".")
    package = _imported(parent) if parent else None
    if package is None and parent:
        return []
    if package is None:
        # an editable install is on no path that could be listed
        return [*_OWN_PACKAGES, *(found.name for found in pkgutil.iter_modules())]
    return [f"{parent}.{found.name}" for found in pkgutil.iter_modules(getattr(package, "__path__", []))]
