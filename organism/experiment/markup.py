"""HTML and SVG as a tree of elements: every text is escaped where it is put in, so that none can be forgotten."""

import re
from collections.abc import Iterable
from html import escape
from typing import TypeAlias

Child: TypeAlias = "str | Iterable[Child] | None"
VOID = frozenset({"br", "hr", "meta"})
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""What no HTML document may hold, halves of surrogate pairs, and the signs that turn the text after them around."""


class Markup(str):
    """Text that is markup already and goes in as it is."""

    __slots__ = ()


def el(tag: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """One element; None among children and attributes is left out.

    `class_` is the attribute class; other underscores are hyphens (`stroke_width`). Numbers have at most two decimals.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in VOID:
        return Markup(f"<{tag}{said}>")
    return Markup(f"<{tag}{said}>{joined(children)}</{tag}>")


def joined(children: Child) -> Markup:
    """Children one after the other: markup as it is, text escaped, lists in their order."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(escape(_CONTROL.sub("\ufffd", children)))
    return Markup("".join(joined(child) for child in children))


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return joined(str(value))
    return f"{value:.2f}".rstrip("0").rstrip(".")
