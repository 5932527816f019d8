"""HTML that stands alone: one file, no script, nothing fetched; for light and dark and for narrow screens."""

from __future__ import annotations

#: Colours are those of the reader's own scheme; what a page draws is translucent or one of these two, which
#: can be told from either background.
BAR, SOLID = "rgba(70, 130, 200, 0.35)", "rgb(60, 125, 200)"

#: What every page of ours holds near its beginning.
GENERATOR = '<meta name="generator" content="rnnrt">'
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{GENERATOR}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ background: Canvas; color: CanvasText; font: 16px/1.4 system-ui, sans-serif;
        max-width: 60rem; margin: 0 auto; padding: 1rem }}
h1 {{ font-size: 1.3rem; overflow-wrap: anywhere }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(title: str, body: str) -> str:
    """A whole page around ``body``, which is HTML; ``title`` is text."""
    from html import escape  # not needed to tell such a page

    return _PAGE.format(title=escape(title), body=body, GENERATOR=GENERATOR)
