"""`chaoskit check-metadata`, `inspect-metadata`, `inspect-partitions`, `inspect-state`: what workers have on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from chaoskit.cli import completing
from chaoskit.cli.main import app
from chaoskit.cli.output import out
from chaoskit.engine import inspecting
from chaoskit.engine.inspecting import ChunkState, Client, Partition, Place
from chaoskit.engine.inspecting_partitions import ChunkLines
from chaoskit.engine.inspecting_rows import Row
from chaoskit.model.exit_codes import ExitCode
from chaoskit.report.clean import clean

Run = Annotated[
    Path | None,
    typer.Option(
        "--run",
        metavar="RUN_DIR",
        help="This run instead of what is up, or the latest run.",
        autocompletion=completing.run_directory,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Columns = Annotated[
    str, typer.Option(metavar="NAME,NAME,...", help="The columns that the files of the worker ought to have.")
]
All = Annotated[bool, typer.Option("--all", help="Every line; else the first and last 20 of a long file.")]
_COLUMNS = "msg_id,chunk_number,value"
_ENDS = 20
_MARKS = {"duplicate": "yellow", "conflict": "bold red", "torn": "magenta", "bad": "bold red"}


def _as_json(where: Place, found: dict[str, Any]) -> None:
    document = {"run_dir": str(where.run_dir), "up": where.state == "up", **found}
    typer.echo(msgspec.json.format(msgspec.json.encode(document)).decode())


def _code(faults: int) -> int:
    return int(ExitCode.FAILURE if faults else ExitCode.OK)


# --- metadata ---


@app.command("check-metadata")
def check_metadata(run: Run = None, columns: Columns = _COLUMNS, as_json: AsJson = False) -> int:
    """Look through all metadata files: rows, duplicates, torn last lines, sums, and which clients are finished.

    Looks at the pipeline that is up in this directory, else at its latest run. A torn last line is what a crash leaves
    behind and is repaired at the next start; a bad row before the last one, or another header, is corrupt: exit code 1.

    \b
    Examples:
      chaoskit check-metadata
      chaoskit check-metadata --run .chaoskit/latest --json
    """
    where = inspecting.place(run)
    clients = inspecting.check_metadata(where, columns.split(","))
    corrupt = [c for c in clients if c.rows and c.rows.corrupt]
    if as_json:
        summaries = [_summary(client) for client in clients]
        _as_json(where, {"clients": summaries, "corrupt": bool(corrupt)})
        return _code(len(corrupt))
    out.print(f"metadata of {where}: {_count(len(clients), 'client')}", markup=False)
    if clients:
        out.print(_clients_table(clients))
    for client in corrupt:
        _faults(client.path, client.rows.faults if client.rows else [])
    return _code(len(corrupt))


def _summary(client: Client) -> dict[str, Any]:
    """A client without its rows."""
    summary = {"client": client.client, "path": client.path, "finished": client.finished}
    if client.rows is not None:
        rows = msgspec.to_builtins(client.rows)
        del rows["rows"]
        summary |= rows
    return summary


def _clients_table(clients: Sequence[Client]) -> Table:
    table = Table("client", box=None, pad_edge=False, header_style="dim")
    for name in ("rows", "unique", "duplicates", "sum"):
        table.add_column(name, justify="right")
    table.add_column("torn last line")
    table.add_column("state")
    for client in clients:
        table.add_row(client.client, *_client_cells(client), _state_of(client))
    return table


def _client_cells(client: Client) -> list[str]:
    rows = client.rows
    if rows is None:
        return ["", "", "", "", ""]
    total = "" if rows.sum is None else str(rows.sum)
    return [str(rows.count), str(rows.unique), str(rows.duplicates), total, _short(rows.torn)]


def _short(raw: str | None) -> str:
    return "" if raw is None else clean(raw, 60)


def _state_of(client: Client) -> Text:
    if client.rows is not None and client.rows.corrupt:
        return Text("corrupt", style="bold red")
    if client.finished:
        return Text("finished" if client.rows is None else "finished, rows not removed yet", style="green")
    return Text("open")


@app.command("inspect-metadata")
def inspect_metadata(
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="A client id, such as CLI1.")],
    run: Run = None,
    columns: Columns = _COLUMNS,
    show_all: All = False,
    as_json: AsJson = False,
) -> int:
    """Show the metadata rows of one client, with duplicates and a torn last line marked, their count and their sum.

    Works while the worker runs, after it was killed, and after the run. The sum is that of the last column over rows
    with different message ids. A finished client has no rows any more: its result was sent. Exit code 1 when the file
    is corrupt, 2 when there is no such client.

    \b
    Examples:
      chaoskit inspect-metadata CLI1
      chaoskit inspect-metadata CLI2 --run .chaoskit/latest --json
    """
    where = inspecting.place(run)
    found = inspecting.inspect_metadata(where, client, columns.split(","))
    if as_json:
        _as_json(where, {"client": client, "files": found})
    else:
        for one in found:
            _show_client(one, where, show_all)
    return _code(sum(len(one.rows.faults) for one in found if one.rows))


def _show_client(client: Client, where: Place, show_all: bool) -> None:
    up = " (up)" if where.state == "up" else ""
    out.print(f"client {client.client}, {client.path}{up}", markup=False)
    if client.finished:
        left = "its rows were removed" if client.rows is None else "its rows are not removed yet"
        out.print(f"finished: its result was sent, {left} (marker done/{client.client})", style="green", markup=False)
    rows = client.rows
    if rows is None:
        return
    _show_rows(rows.columns, rows.rows, show_all)
    parts = [_count(rows.count, "row"), f"{rows.unique} unique", _count(rows.duplicates, "duplicate")]
    parts += _header_part(rows.header)
    parts += ["torn last line"] if rows.torn is not None and rows.header != "torn" else []
    parts += [f"sum of {clean(rows.columns[-1])} {rows.sum}"] if rows.sum is not None else []
    parts += [f"{rows.not_numeric} not numeric"] if rows.not_numeric else []
    out.print(", ".join(parts), markup=False)
    _faults(client.path, rows.faults)


def _header_part(header: str) -> list[str]:
    return [] if header == "whole" else [f"header {header}"]


def _show_rows(columns: Sequence[str], rows: Sequence[Row], show_all: bool) -> None:
    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("line", justify="right")
    for column in (*columns, ""):
        table.add_column(clean(column, 60))
    cut = len(rows) - 2 * _ENDS if not show_all and len(rows) > 3 * _ENDS else 0
    for i, row in enumerate(rows):
        if not cut or i < _ENDS or i >= len(rows) - _ENDS:
            table.add_row(str(row.line), *_row_cells(row, len(columns)))
        elif i == _ENDS:
            table.add_row("...", f"{cut} lines not shown, --all shows them")
    out.print(table)


def _row_cells(row: Row, width: int) -> list[Text]:
    mark = Text(clean(f"{row.mark}: {row.note}" if row.mark in ("torn", "bad") else row.note), _MARKS.get(row.mark, ""))
    if row.raw:
        return [Text(clean(row.raw, 160)), *[Text()] * (width - 1), mark]
    return [*(Text(clean(field, 160)) for field in row.fields), mark]


def _faults(path: str, faults: Sequence[str]) -> None:
    for fault in faults[:_ENDS]:
        out.print(Text(f"corrupt: {path}, {clean(fault)}", style="bold red"))
    if len(faults) > _ENDS:
        out.print(f"and {len(faults) - _ENDS} more like these", style="bold red")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# --- partitions and state ---


@app.command("inspect-partitions")
def inspect_partitions(
    number: Annotated[int | None, typer.Argument(metavar="[NUMBER]", min=0, help="Only this partition.")] = None,
    client: Annotated[str | None, typer.Option(metavar="ID", help="Only the files of this client.")] = None,
    run: Run = None,
    show_all: All = False,
    as_json: AsJson = False,
) -> int:
    """Show partition files: how many rows each has, whether its header is whole, equal rows, a torn last line.

    With a NUMBER the rows themselves are shown too. Equal rows are marked and are no fault: two chunks may hold the
    same row. A bad row, one of another partition, or another header is corrupt: exit code 1.

    \b
    Examples:
      chaoskit inspect-partitions
      chaoskit inspect-partitions 3 --client TEST
    """
    where = inspecting.place(run)
    found = inspecting.inspect_partitions(where, number, client)
    if as_json:
        _as_json(where, {"partitions": found})
    else:
        out.print(f"partition files of {where}", markup=False)
        out.print(_partitions_table(found))
        for one in found:
            if number is not None:
                out.print(f"\n{one.path}", markup=False)
                _show_rows(one.rows.columns, one.rows.rows, show_all)
            _faults(one.path, one.rows.faults)
    return _code(sum(len(one.rows.faults) for one in found))


def _partitions_table(found: Sequence[Partition]) -> Table:
    table = Table("client", box=None, pad_edge=False, header_style="dim")
    for name in ("partition", "rows", "equal"):
        table.add_column(name, justify="right")
    for name in ("header", "torn last line", ""):
        table.add_column(name)
    for one in found:
        counts = (str(one.number), str(one.rows.count), str(one.rows.duplicates))
        state = Text("corrupt", style="bold red") if one.rows.corrupt else Text()
        table.add_row(one.client, *counts, one.rows.header, _short(one.rows.torn), state)
    return table


@app.command("inspect-state")
def inspect_state(run: Run = None, show_all: All = False, as_json: AsJson = False) -> int:
    """Show the state files of a partition writer: chunks processed, partitions written, and the intent if there is one.

    The intent is the chunk that was being written last; a start undoes what it covers and nothing vouches for. A line
    that is no chunk id, other than a torn last one, is corrupt: exit code 1.

    \b
    Examples:
      chaoskit inspect-state
      chaoskit inspect-state --run .chaoskit/latest --json
    """
    where = inspecting.place(run)
    found = inspecting.inspect_state(where)
    if as_json:
        _as_json(where, {"state": found})
    else:
        for one in found:
            _show_state(one, show_all)
    return _code(sum(len(one.processed.faults) + len(one.written.faults) for one in found))


def _show_state(state: ChunkState, show_all: bool) -> None:
    for name, lines in (("processed-chunks.txt", state.processed), ("written-partition-chunks.txt", state.written)):
        out.print(f"{state.path}/{name}: {_lines_in_words(lines)}", markup=False)
        _show_rows(["chunk" if lines is state.processed else "partition:chunk"], lines.lines, show_all)
        _faults(f"{state.path}/{name}", lines.faults)
    out.print(f"{state.path}/intent: {_intent_in_words(state)}", markup=False)


def _lines_in_words(lines: ChunkLines) -> str:
    torn = "" if lines.torn is None else ", torn last line"
    return f"{_count(lines.count, 'line')}, {_count(lines.duplicates, 'duplicate')}{torn}"


def _intent_in_words(state: ChunkState) -> str:
    intent = state.intent.intent
    if intent is None:
        return "none" if state.intent.state == "none" else f"torn, which means none: {clean(state.intent.raw)}"
    bases = ", ".join(f"{partition}: {size} bytes" for partition, size in sorted(intent.base_bytes.items()))
    done = "not processed yet" if state.pending else "processed, so nothing is to be undone"
    return clean(f"chunk {intent.chunk_id} of client {intent.client_id}, {done}; partitions before it: {bases}", 2000)
