"""From a template to one self-contained page: nothing is loaded, and only our own script runs."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from classifier_training.pages import wording
from classifier_training.pages.charts.bars import share_bar
from classifier_training.pages.charts.svg import one_line

SCRIPTS = ("charts.js", "tables.js", "images.js", "matrix.js")
STYLE = "page.css"
_UNWRITABLE = re.compile("[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f]")


def render_page(template: str, values: Mapping[str, Any]) -> str:
    """The whole HTML file of a template that extends ``base.html.j2``; text is escaped.

    Characters that UTF-8 or HTML do not allow are replaced by �.
    """
    style, script = _static(STYLE), "\n".join(_static(name) for name in SCRIPTS)
    ours = {"style": Markup(style), "script": Markup(script)}  # noqa: S704 - files of this package
    policy = (  # images out of the file itself, this script, this style, and nothing else
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}';"
        " base-uri 'none'; form-action 'none'"
    )
    page = environment().get_template(template).render(**values, **ours, policy=policy)
    return _UNWRITABLE.sub("�", page)


@cache
def environment() -> Environment:
    """Jinja with escaping, an error for an unknown name, and our number formats."""
    jinja = Environment(
        loader=PackageLoader("classifier_training.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,  # a package that is updated while a training runs must not mix its versions
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    jinja.filters |= {
        "percentage": wording.percentage,
        "decimal": wording.decimal,
        "count": wording.count,
        "byte_size": wording.byte_size,
        "large_number": wording.large_number,
        "one_line": one_line,
    }
    jinja.globals |= {"share_bar": share_bar, "dash": wording.DASH}
    return jinja


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _static(name: str) -> str:
    return resources.files("classifier_training.pages").joinpath("static", name).read_text(encoding="utf-8")
