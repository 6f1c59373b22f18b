"""The report's page: one HTML file that needs nothing beside it, readable on light and on dark screens."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

from deploy.demo.curves import Picture

_STYLE = """
:root { color-scheme: light dark; --ink: #22262b; --soft: #5c6570; --page: #fbfbfa; --card: #ffffff; --rule: #e3e6ea;
  --key: #0064c8; --warn: #a85300; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4b0; --page: #14171b; --card: #1b2026;
  --rule: #333a43; --key: #5aa9ff; --warn: #f0a858; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.6 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
header p.kind { margin: 0; color: var(--soft); letter-spacing: .04em; }
h1 { margin: .2rem 0 1.2rem; font-size: 2rem; line-height: 1.25; font-weight: 650; text-wrap: balance; }
h2 { margin: 3.2rem 0 .4rem; font-size: 1.3rem; font-weight: 650; }
p { max-width: 46rem; } p.lead { font-size: 1.12rem; } .soft, figcaption, td small { color: var(--soft); }
dl.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.8rem, 1fr)); gap: .7rem; margin: 2rem 0 0; }
dl.figures div { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: .8rem .9rem; }
dl.figures dt { color: var(--soft); font-size: .86rem; line-height: 1.35; }
dl.figures dd { margin: 0; font-size: 1.3rem; font-weight: 650; white-space: nowrap; font-variant-numeric: tabular-nums; }
dl.figures div.key dd { color: var(--key); }
figure { margin: 1.2rem 0; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 1rem; }
figure img { display: block; width: 100%; height: auto; } figure.paper { background: #ffffff; }
figure.paper figcaption { color: #5c6570; } figcaption { font-size: .9rem; margin-top: .6rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; color: var(--soft); } th, td { padding: .38rem .9rem .38rem 0;
  border-bottom: 1px solid var(--rule); vertical-align: top; } td.n, th.n { text-align: right; }
td.n, td:first-child { white-space: nowrap; }
td.key { color: var(--key); font-weight: 600; }
ul.notes { color: var(--warn); } details { margin: .8rem 0; } summary { cursor: pointer; color: var(--soft); }
pre { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 1rem; overflow-x: auto;
  font-size: .82rem; line-height: 1.45; }
""".strip()


def page(title: str, body: str) -> str:
    """Put a body into a whole document."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Put parts under a heading; nothing where there are none."""
    filled = [part for part in parts if part]
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(filled) + "\n</section>" if filled else ""


def paragraph(text: str, *, kind: str = "") -> str:
    """Write one paragraph of plain text."""
    return f"<p{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{escape(text)}</p>"


def figures(entries: Iterable[tuple[str, str, bool]]) -> str:
    """Set key figures side by side: value, what it is, whether it is the one that matters most."""
    cells = "".join(
        f"<div{' class=' + chr(34) + 'key' + chr(34) if key else ''}><dd>{escape(value)}</dd><dt>{escape(what)}</dt></div>"
        for value, what, key in entries
    )
    return f'<dl class="figures">{cells}</dl>'


def picture(drawn: Picture | None, *, caption: str, alt: str) -> str:
    """Show a picture in the ink of the page."""
    if drawn is None:
        return ""
    return (
        f'<figure><picture><source srcset="{_data(drawn.dark)}" media="(prefers-color-scheme: dark)">'
        f'<img src="{_data(drawn.light)}" alt="{escape(alt)}"></picture>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def photograph(png: bytes | None, *, caption: str, alt: str) -> str:
    """Show a picture that has one ink alone, on white."""
    if png is None:
        return ""
    return (
        f'<figure class="paper"><img src="{_data(png)}" alt="{escape(alt)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, words: int = 1, key: int | None = None) -> str:
    """Set a table: the first `words` columns are words, the rest are numbers, `key` is the one that matters."""
    head = "".join(f"<th{'' if i < words else ' class=n'}>{escape(column)}</th>" for i, column in enumerate(columns))
    lines = []
    for row in rows:
        cells = []
        for i, value in enumerate(row):
            kinds = " ".join((["n"] if i >= words else []) + (["key"] if i == key else []))
            cells.append(f'<td class="{kinds}">{escape("" if value is None else str(value))}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def folded_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, words: int = 1) -> str:
    """Keep a long table behind a line that opens it."""
    return f"<details><summary>{escape(title)}</summary>{table(columns, rows, words=words)}</details>"


def notes(texts: Iterable[str]) -> str:
    """List what went wrong."""
    return f'<ul class="notes">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>'


def folded(title: str, text: str) -> str:
    """Keep a long plain text behind a line that opens it."""
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
