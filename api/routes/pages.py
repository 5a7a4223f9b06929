"""The pages at `/docs/…`: Markdown of `api/docs`, rendered in the console's style, nothing from another host."""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Response
from starlette.exceptions import HTTPException

from api.routes.console import File, site

FOLDER = Path(__file__).parents[1] / "docs"
TITLES = {
    "concepts": "Concepts",
    "rest": "REST",
    "client": "Python, CLI, MCP",
    "collecting": "Collecting",
    "control": "Control",
    "operations": "Operations",
    "systems": "Six systems",
    "fleets": "Fleets",
    "federation": "Federation",
    "safety": "Safety case",
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plant Twin: {title}</title>
<link rel="stylesheet" href="/console/{digest}/style.css">
<link rel="icon" href="/console/{digest}/icon.svg">
<script type="module" src="/console/{digest}/theme.js"></script>
</head>
<body class="page">
<header>
<h1>Plant Twin</h1>
<nav aria-label="Pages"><a href="/">Console</a> <a href="/docs">Routes</a> {links}</nav>
</header>
<main class="prose">
{body}
</main>
</body>
</html>
"""

router = APIRouter(include_in_schema=False)


@router.get("/docs/{page}")
def page(
    page: str,
    accept_encoding: Annotated[str, Header(alias="accept-encoding")] = "",
    if_none_match: Annotated[str, Header(alias="if-none-match")] = "",
) -> Response:
    """One page; its links to other pages work with `.md` and without."""
    name = page.removesuffix(".md")
    if name not in TITLES:
        raise HTTPException(404)
    return rendered(name).answer(accept_encoding, if_none_match, "no-cache")


@cache
def rendered(name: str) -> File:
    """A page as it is sent."""
    from markdown_it import MarkdownIt  # comes with rich; not worth loading before a page is asked for

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = markdown.render((FOLDER / f"{name}.md").read_text(encoding="utf-8"))
    links = " ".join(_link(other, title, other == name) for other, title in TITLES.items())
    text = PAGE.format(title=escape(TITLES[name]), digest=site.digest, links=links, body=body)
    return File.of(".html", text.encode())


def _link(name: str, title: str, here: bool) -> str:
    current = ' aria-current="page"' if here else ""
    return f'<a href="/docs/{name}"{current}>{escape(title)}</a>'
