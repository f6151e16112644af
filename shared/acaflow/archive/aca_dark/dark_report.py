"""The report of one dark calibration and the page that lists all: HTML that stands alone.

Files go into a folder of the caller, who publishes it: nothing is read from the archive and no
clock is asked, so the same calibration and history make the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from acaflow import times
from acaflow.archive.aca_dark.dark_files import PROPERTIES, QUALITY, write_json
from acaflow.archive.aca_dark.dark_plots import PLOTS, write_plots
from acaflow.archive.aca_dark.dark_tables import HOT_ROWS, TABLES, report_tables
from acaflow.archive.aca_dark.dark_text import (
    Column,
    count_of,
    number,
    percent,
    write_cell,
    write_fact,
)
from acaflow.archive.aca_dark.dark_trend import LISTED, TREND_PLOTS, history_rows, write_trend
from acaflow.archive.aca_dark.zodi import ZODI_E_PER_S

if TYPE_CHECKING:
    from acaflow.archive.aca_dark.dark_drawing import Plot
    from acaflow.archive.aca_dark.dark_files import Calibration

__all__ = ["INDEX", "INDEX_JSON", "STYLE", "SUMMARY", "write_index", "write_report"]

INDEX, INDEX_JSON, SUMMARY = "index.html", "index.json", "summary.json"

STYLE = """
:root{color-scheme:light}
*{box-sizing:border-box}
body{margin:0 auto;max-width:88rem;padding:1rem 1.5rem 2.5rem;background:#fdfdfb;color:#1b1d1f;
font:.875rem/1.4286 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",Cantarell,
"Liberation Sans",Arial,sans-serif;font-variant-numeric:tabular-nums}
h1,h2,p,ul,dl,dd,figure{margin:0;padding:0}
h1{font-size:1.375rem;line-height:1.75rem;font-weight:600}
h2{font-size:.875rem;line-height:1.25rem;font-weight:600}
a{color:#0a559f;text-decoration:none}
a:hover,p a{text-decoration:underline}
img{display:block;max-width:100%;height:auto}
.head{display:flex;flex-wrap:wrap;align-items:baseline;gap:0 .75rem}
.sub,.note,figcaption,thead,dt,footer{color:#63676b}
.sub{margin-bottom:.75rem}
section{margin-top:1.5rem}
.sec{display:flex;flex-wrap:wrap;gap:0 .75rem;border-bottom:1px solid #85857a;
padding-bottom:.25rem;margin-bottom:.25rem}
.note,table,dl{font-size:.8125rem}
.cols{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,36rem),1fr));gap:0 2.5rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.2rem .5rem;border-bottom:1px solid #dcdcd2;vertical-align:baseline;
white-space:nowrap;font-weight:400}
thead th{font-size:.75rem;vertical-align:bottom;border-bottom-color:#85857a}
small{display:block;font-size:inherit}
.n{text-align:right}
.this>*{font-weight:600}
.say{white-space:normal;min-width:20rem}
code{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;
font-size:.92em;overflow-wrap:anywhere}
.st{white-space:nowrap}
.st svg{width:.95em;height:.95em;vertical-align:-.1em;margin-right:.35em;fill:none;
stroke:currentColor;stroke-width:1.6}
.PASS svg{color:#1d6b45}
.WARN{color:#855200;font-weight:600}
.FAIL{color:#b01c12;font-weight:600}
.because{padding:.5rem .75rem;border-left:3px solid}
.because *{color:#1b1d1f}
div.WARN{background:#fbf1dc;font-weight:400}
div.FAIL{background:#fbe9e6;font-weight:400}
.because ul{padding-left:1.25rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}
.text{max-width:48rem}
figure{margin:1.5rem 0 0}
figcaption{font-size:.75rem}
footer{margin-top:2.5rem;font-size:.75rem}
@media print{body{background:#fff;max-width:none;padding:0}section,figure,tr{break-inside:avoid}
.scroll{overflow:visible}a{color:inherit}
.cols{grid-template-columns:1fr 1fr;gap:0 1rem}th,td{padding:.1rem .2rem}
table,dl,thead th,.note,figcaption{font-size:.625rem}}
"""
"""Style sheet of the pages, inlined: they are made to be saved and printed."""

_SHAPES = {
    "PASS": '<path stroke-width="2.2" d="M2.4 8.6l3.6 3.6 7.6-8.4"/>',
    "WARN": '<path d="M8 2L14.6 14H1.4zM8 6.4v3.8M8 11.4v1.4"/>',
    "FAIL": '<path fill="currentColor" d="M5 1h6l4 4v6l-4 4H5l-4-4V5z"/>'
    '<path stroke="#fff" stroke-width="2" d="M5.3 5.3l5.4 5.4m0-5.4l-5.4 5.4"/>',
}


def write_report(
    folder: Path,
    calibration: Calibration,
    history: Iterable[Mapping[str, Any]],
    previous: Calibration | None = None,
    first: Calibration | None = None,
    config: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write the report of a calibration.

    Parameters
    ----------
    folder : Path
        Made if absent; gets the page, its plots, the content as ``summary.json``, and copies of
        ``properties.json`` and ``quality.json``.
    calibration : Calibration
        The subject.
    history : iterable of mappings
        Properties of the archive.
    previous, first : Calibration, optional
        The one before, and the first of the mission, to compare with.
    config : mapping, optional
        As for `report_tables`.

    Returns
    -------
    list of str
        Names of the files written.

    Notes
    -----
    Source: dark-cal D3.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reasons = write_plots(folder, calibration, previous, first)
    tables = report_tables(calibration, history, previous, config)
    write_json(folder / PROPERTIES, calibration.properties)
    write_json(folder / QUALITY, calibration.quality)
    write_json(folder / SUMMARY, tables)
    (folder / INDEX).write_text(_report(tables, reasons), encoding="utf-8")
    return [INDEX, SUMMARY, PROPERTIES, QUALITY, *_drawn(reasons)]


def write_index(
    folder: Path, history: Iterable[Mapping[str, Any]], links: Mapping[str, str] | None = None
) -> list[str]:
    """Write the list of all calibrations, with the plots over the mission.

    Parameters
    ----------
    folder : Path
        Made if absent; gets the page, ``index.json`` and the plots.
    history : iterable of mappings
        Properties of the archive; may be empty.
    links : mapping, optional
        Address of the report of each id, relative to the page; default that in its properties.

    Returns
    -------
    list of str
        Names of the files written.

    Notes
    -----
    Source: dark-cal D4.
    """
    folder.mkdir(parents=True, exist_ok=True)
    properties = list(history)
    reasons = write_trend(folder, properties) if properties else dict.fromkeys(TREND_PLOTS, "none")
    rows = history_rows(properties)[::-1]
    for row in rows:
        report = f"{row['report']}/{INDEX}" if row["report"] else None
        row["link"] = (links or {}).get(row["id"], report)
        row["date"] = f"{row['id'][:4]}:{row['id'][4:]}"
    keys = [*(column.key for column in LISTED), "link"]
    listed = [{key: row[key] for key in keys} for row in rows]
    write_json(folder / INDEX_JSON, {"calibrations": listed})
    (folder / INDEX).write_text(_index(listed, reasons), encoding="utf-8")
    return [INDEX, INDEX_JSON, *_drawn(reasons)]


def _drawn(reasons: Mapping[str, str]) -> list[str]:
    return [name for name, reason in reasons.items() if not reason]


# --- The report ----------------------------------------------------------------------------------


def _report(tables: Mapping[str, Any], reasons: Mapping[str, str]) -> str:
    links = {
        row["id"]: f"../{row['report']}/{INDEX}"
        for row in tables["mission"]
        if row["report"] and row["id"] != tables["id"]
    }
    return _page(
        f"Dark calibration {tables['id']}",
        _head(tables),
        _summary(tables, links),
        _cols(*_figures(PLOTS, reasons)),
        _left_out(reasons),
        _table_of("Replicas", tables, "replicas", _used(tables)),
        _table_of("Quality rules", tables, "rules", _verdict(tables["rules"])),
        _cols(
            _hot(tables, "newly_hot", "Newly hot pixels", "above 3000 e⁻/s, not in"),
            _hot(tables, "recovered", "Recovered pixels", "above 3000 e⁻/s only in"),
        ),
        _cols(
            _background(tables),
            "<div>",
            _procedure(tables),
            _table_of("CCD temperature", tables, "setpoints", "setpoints over the mission"),
            "</div>",
        ),
        _table_of("Statistics", tables, "statistics", "all measured pixels, unclipped"),
        _cols(
            _table_of("Percentiles", tables, "percentiles"),
            _table_of("Quadrants", tables, "quadrants", "as measured"),
        ),
        _table_of(
            "Over the mission",
            tables,
            "mission",
            "at the temperature of each calibration; warm: above 100 e⁻/s",
            links,
            more=[(f"../{name}", plot.title) for name, plot in TREND_PLOTS.items()],
        ),
        _provenance(tables),
    )


def _head(tables: Mapping[str, Any]) -> str:
    words = [tables["date"]]
    if tables["n_replicas"]:
        words.append(count_of(tables["n_replicas"], "replica"))
    if tables["ccd_temp"] is not None:
        words.append(f"CCD at {number(tables['ccd_temp'], 1)} °C")
    if tables["revision"] is not None:
        words.append(f"revision {tables['revision']}")
    complete = tables["complete"]
    share = "" if complete is None else f", telemetry {percent(complete)} complete"
    files = ((SUMMARY, "summary.json"), (PROPERTIES, "properties.json"), (QUALITY, "quality.json"))
    return (
        f'<div class="head"><h1>Dark calibration {escape(tables["id"])}</h1>'
        f"{_state(tables['level'], share)}</div>"
        f'<p class="sub">{escape(", ".join(words))}. {_links(files)}</p>{_because(tables)}'
    )


def _because(tables: Mapping[str, Any]) -> str:
    """Return what is wrong, nothing if all is well."""
    if tables["level"] not in ("WARN", "FAIL"):
        return ""
    bad = [row for row in tables["rules"] if row["level"] != "PASS"]
    items = [f"{row['title']}: {text}" for row in bad for text in row["texts"]]
    forced = tables["forced"]
    if forced:
        items.insert(0, f"Published on request of {forced['user']}: {forced['reason']}")
    return (
        f'<div class="because {tables["level"]}"><b>{_verdict(tables["rules"])}.</b>'
        f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul></div>"
    )


def _verdict(rules: Sequence[Mapping[str, Any]]) -> str:
    words = []
    for level, one, many in (("FAIL", "fails", "fail"), ("WARN", "warns", "warn")):
        count = sum(row["level"] == level for row in rules)
        if count:
            words.append(f"{count_of(count, 'rule')} {one if count == 1 else many}")
    return ", ".join(words) or ("all rules pass" if rules else "not judged")


def _summary(tables: Mapping[str, Any], links: Mapping[str, str]) -> str:
    columns, rows = TABLES["summary"], tables["summary"]
    last = ""
    if tables["change"]:
        change = {"id": f"Change since {rows[1]['id']}", **tables["change"]}
        signed = [
            Column(column.key, column.title, "", column.decimals, "number", True)
            if column.kind == "number"
            else Column(column.key, column.title, kind="text")
            for column in columns
        ]
        last = f"<tfoot>{_row(change, signed, {})}</tfoot>"
    return _section(
        "Summary",
        _table("Summary", columns, rows, links, tables["id"], last),
        "all measured pixels, unclipped, at the temperature of the calibration; warm: above"
        " 100 e⁻/s",
        [(f"../{INDEX}", "All calibrations")],
    )


def _used(tables: Mapping[str, Any]) -> str:
    count, used = tables["n_replicas"], tables["n_used"]
    return f"all {count} used" if used == count else f"{used} of {count} used"


def _hot(tables: Mapping[str, Any], key: str, title: str, note: str) -> str:
    count, rows = tables[f"n_{key}"], tables[key]
    if count is None:
        return _section(title, '<p class="note">There is no previous calibration.</p>')
    note = f"{note} {tables['previous']}: {count_of(count, 'pixel')}"
    if count > HOT_ROWS:
        note += f", the {HOT_ROWS} brightest"
    return _section(title, _table(title, TABLES["hot"], rows) if rows else "", note)


def _background(tables: Mapping[str, Any]) -> str:
    if not tables["background"]:
        return _section(
            "Background brightness",
            '<p class="note">The attitude of this calibration is unknown.</p>',
        )
    caveat = (
        "Zodiacal light does not move with the pointing and stays in the image. Its level follows"
        " from the brightness at this place of the sky; the factor,"
        f" {ZODI_E_PER_S} e⁻/s per S10, is inferred from the sensitivity to stars."
    )
    return _section(
        "Background brightness and intrinsic dark current",
        f'{_facts(tables["background"])}<p class="note text">{caveat}</p>',
    )


def _procedure(tables: Mapping[str, Any]) -> str:
    integ = tables["integ"]
    seconds = " and ".join(number(value, 3) for value in integ) if integ else "nominally 5 and 10"
    how = (
        "the mean of the differences of the pointings, without those more than 4 sigma off,"
        if tables["combine"] == "clipmean"
        else "the median of the frames of each integration time, and the difference of the two,"
    )
    where = count_of(tables["n_replicas"] or 5, "pointing")
    text = (
        f"{where} about 2 arcmin apart, at each two full frames, of {seconds} s. Stars move from"
        f" pointing to pointing and cosmic rays hit once, so {how} is free of them; the difference"
        " also cancels the charge gathered during readout. Divided by the difference of the"
        " integration times and multiplied by the gain it is the dark current."
    )
    return _section("Procedure", f'<p class="text">{escape(text)}</p>')


def _provenance(tables: Mapping[str, Any]) -> str:
    inputs = tables["inputs"]
    files = _table("Files read", TABLES["inputs"], inputs) if inputs else ""
    return _section("Provenance", files + _facts(tables["provenance"]))


def _left_out(reasons: Mapping[str, str]) -> str:
    items = (
        f'<p class="note">{escape(PLOTS[name].title)}: not drawn. {escape(reason)}</p>'
        for name, reason in reasons.items()
        if reason
    )
    return f"<section>{''.join(items)}</section>" if any(reasons.values()) else ""


# --- The list ------------------------------------------------------------------------------------


def _index(rows: Sequence[Mapping[str, Any]], reasons: Mapping[str, str]) -> str:
    head = '<div class="head"><h1>Dark calibrations</h1></div>'
    if not rows:
        empty = "None yet. A report appears here when the files of a calibration have arrived."
        return _page("Dark calibrations", head, f"<p>{empty}</p>")
    links = {row["id"]: row["link"] for row in rows if row["link"]}
    said = (
        f"{count_of(len(rows), 'calibration')}, newest first. {_links([(INDEX_JSON, INDEX_JSON)])}"
    )
    return _page(
        "Dark calibrations",
        head,
        f'<p class="sub">{said}</p>',
        _table("Dark calibrations", LISTED, rows, links),
        _cols(*_figures(TREND_PLOTS, reasons)),
    )


# --- HTML ----------------------------------------------------------------------------------------


def _page(title: str, *parts: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · acaflow</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(["<main>", *(part for part in parts if part)])
        + "\n</main>\n<footer>All times UTC. Made by acaflow.</footer>\n</body>\n</html>\n"
    )


def _cols(*parts: str) -> str:
    return f'<div class="cols">{"".join(parts)}</div>'


def _section(title: str, body: str, note: str = "", more: Sequence[tuple[str, str]] = ()) -> str:
    said = f'<span class="note">{escape(note)}</span>' if note else ""
    links = f'<span class="note">{_links(more)}</span>' if more else ""
    return f'<section><div class="sec"><h2>{escape(title)}</h2>{said}{links}</div>{body}</section>'


def _table_of(
    title: str,
    tables: Mapping[str, Any],
    name: str,
    note: str = "",
    links: Mapping[str, str] | None = None,
    more: Sequence[tuple[str, str]] = (),
) -> str:
    """Return a section that is one table; empty without rows."""
    rows = tables[name]
    if not rows:
        return ""
    return _section(title, _table(title, TABLES[name], rows, links, tables["id"]), note, more)


def _table(
    title: str,
    columns: Sequence[Column],
    rows: Iterable[Mapping[str, Any]],
    links: Mapping[str, str] | None = None,
    current: str = "",
    last: str = "",
) -> str:
    heads = "".join(
        f'<th scope="col"{_class(column)}>{escape(column.title)}'
        f"{f'<small>{escape(column.unit)}</small>' if column.unit else ''}</th>"
        for column in columns
    )
    body = "".join(_row(row, columns, links or {}, current) for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}, table">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody>{last}"
        "</table></div>"
    )


def _row(
    row: Mapping[str, Any],
    columns: Sequence[Column],
    links: Mapping[str, str],
    current: str = "",
) -> str:
    first, *rest = (f"{_class(column)}>{_cell(row, column, links)}" for column in columns)
    this = ' class="this"' if current and row.get("id") == current else ""
    cells = "".join(f"<td{cell}</td>" for cell in rest)
    return f'<tr{this}><th scope="row"{first}</th>{cells}</tr>'


def _class(column: Column) -> str:
    name = "n" if column.kind == "number" else "say" if column.key == "text" else ""
    return f' class="{name}"' if name else ""


def _cell(row: Mapping[str, Any], column: Column, links: Mapping[str, str]) -> str:
    text = escape(write_cell(row, column))
    value = row.get(column.key)
    match column.kind:
        case "level" if value:
            return _state(value)
        case "calibration" if str(value) in links:
            return _links([(links[str(value)], str(value))])
        case "code" if value:
            return f"<code>{text}</code>"
        case "time" if value:
            iso = str(times.convert(value, "isot"))[:19]
            return f'<time datetime="{iso}Z" title="{iso.replace("T", " ")} UTC">{text}</time>'
    return text


def _state(level: str | None, more: str = "") -> str:
    """Return a verdict: shape, word, colour."""
    if level not in _SHAPES:
        return f'<span class="st">not judged{escape(more)}</span>'
    return (
        f'<span class="st {level}"><svg viewBox="0 0 16 16" aria-hidden="true">{_SHAPES[level]}'
        f"</svg>{level.lower()}{escape(more)}</span>"
    )


def _facts(facts: Iterable[Mapping[str, Any]]) -> str:
    items = (
        f"<dt>{escape(fact['name'])}</dt><dd>{escape(write_fact(fact))}</dd>" for fact in facts
    )
    return f"<dl>{''.join(items)}</dl>"


def _figures(plots: Mapping[str, Plot], reasons: Mapping[str, str]) -> list[str]:
    return [_figure(name, plot) for name, plot in plots.items() if not reasons[name]]


def _figure(name: str, plot: Plot) -> str:
    return (
        f'<figure><h2>{escape(plot.title)}</h2><a href="{name}"><img src="{name}"'
        f' width="{plot.width}" height="{plot.height}" alt="{escape(plot.title)}"></a>'
        f"<figcaption>{escape(plot.caption)}</figcaption></figure>"
    )


def _links(links: Iterable[tuple[str, str]]) -> str:
    """Return links; addresses are quoted, so none of them can name a scheme."""
    return " · ".join(
        f'<a href="{quote(address, safe="/")}">{escape(text)}</a>' for address, text in links
    )
