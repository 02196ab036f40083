"""For the reference pages: a class is shown where it is defined, and not again in the package that exports it."""

from __future__ import annotations

from typing import Any

from griffe import Extension, Module


class EachOnce(Extension):
    """Imported names of a package, which its `__all__` would put on its page, stay off it."""

    def on_package(self, *, pkg: Module, **kwargs: Any) -> None:
        """Called with every package, its modules loaded."""
        _export_nothing(pkg)


def _export_nothing(module: Module) -> None:
    module.exports = None
    for member in module.modules.values():
        if not member.is_alias:
            _export_nothing(member)
