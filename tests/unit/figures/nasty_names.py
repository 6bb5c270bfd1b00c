"""Names that try to break out of where they are shown."""

from __future__ import annotations

NASTY_NAMES = (
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "x" * 300,
    "مرحبا بالعالم",
    "🐱 cats",
    "a\nb\r\tc",
    r"$\frac{1}{2}$",
    "$",
    r"\undefined{",
    "\udcff no text",
    "",
    "\x1b[31mred",
)
