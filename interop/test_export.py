"""`andon export` in Parquet: DuckDB and pyarrow read back what went over MQTT, to the last bit."""

import csv
import io
import math
import os
import subprocess
import time

import duckdb
import numpy as np
import pyarrow.parquet

import rig

ROWS, STEP_MS = 3000, 20
TAGS = ["pressure", "temperature"]


def sent(begin):
    """{(time in ns, asset, tag): value}, None where the machine has no number."""
    rng = np.random.default_rng(11)
    rows = {}
    for i in range(ROWS):
        for tag in TAGS:
            # Whole range of exponents: nothing survives by being short.
            value = float(rng.normal() * 10.0 ** rng.integers(-9, 9))
            rows[((begin + i * STEP_MS) * 1_000_000, f"press-{i % 3}", tag)] = None if i % 97 == 5 else value
    return rows


def exported(database, file):
    done = subprocess.run([os.environ["ANDON_BIN"], "export", "--buffer", database, "--config", file.parent / "andon.toml",
                           "--out", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return file


def partitions(database, folder):
    done = subprocess.run([os.environ["ANDON_BIN"], "export", "--buffer", database, "--config", folder.parent / "andon.toml",
                           "--partition", "day", "--out", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_duckdb_and_pyarrow_read_the_exported_parquet_as_it_was_sent(start, broker, tmp_path):
    begin = int(time.time() * 1000) - ROWS * STEP_MS
    rows = sent(begin)
    database = tmp_path / "andon.db"
    andon = start(rig.Andon(tmp_path, f"""
[site]
name = "interop"

[store]
path = "{database}"

[http]
listen = "{{http}}"

[broker.plant]
url = "mqtt://127.0.0.1:{broker.port}"
client_id = "andon-interop"

[publish]
broker = "plant"
prefix = "acme/plant7"

[[mqtt]]
broker = "plant"
topic = "plant/{{asset}}/telemetry"
payload = "json"
time = "ts"
values = "values"
"""))
    andon.start()
    publisher = start(rig.Publisher(broker))
    messages = {}
    for (nanos, asset, tag), value in rows.items():
        messages.setdefault((nanos // 1_000_000, asset), {})[tag] = value
    for (millis, asset), values in messages.items():
        publisher.json(f"plant/{asset}/telemetry", {"ts": millis, "values": values})
    publisher.flush()
    rig.wait_for("all samples are stored", lambda: andon.ledger()["stored"] == len(rows))
    andon.stop()

    file = exported(database, tmp_path / "all.parquet")
    table = pyarrow.parquet.read_table(file)
    assert table.column_names == ["time", "asset", "tag", "value", "quality"]
    assert str(table.schema.field("time").type) == "timestamp[ns, tz=UTC]"
    columns = [table["time"].cast("int64").to_pylist(), *(table[c].to_pylist() for c in ("asset", "tag", "value", "quality"))]
    arrow = {(t, a, g): v for t, a, g, v, _ in zip(*columns)}
    assert len(table) == len(rows) and arrow == rows
    assert {q for v, q in zip(columns[3], columns[4]) if v is None} == {"bad"}
    assert {q for v, q in zip(columns[3], columns[4]) if v is not None} == {"good"}

    # Epochs are asked for as numbers: time zones need a package of their own.
    duck = duckdb.sql(f"SELECT epoch_ns(time), asset, tag, value FROM '{file}'").fetchall()
    assert {(t, a, g): v for t, a, g, v in duck} == rows
    ((mean,),) = duckdb.sql(f"SELECT avg(value) FROM '{file}' WHERE tag = 'pressure' AND asset = 'press-1'").fetchall()
    mine = [v for (_, a, g), v in rows.items() if (a, g) == ("press-1", "pressure") and v is not None]
    assert math.isclose(mean, math.fsum(mine) / len(mine), rel_tol=1e-9)

    # Twice: the second export replaces the first, and no row is there twice.
    folder = tmp_path / "history"
    told = [partitions(database, folder) for _ in range(2)]
    days = {(asset, time.strftime("%Y-%m-%d", time.gmtime(t // 10**9))) for t, asset, _ in rows}
    assert told == [f"{len(rows)} samples in {len(days)} files\n"] * 2
    names = {f"asset={asset}/date={day}/part.parquet" for asset, day in days}
    assert {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()} == names
    hive = f"read_parquet('{folder}/*/*/*.parquet', hive_partitioning = true)"
    duck = duckdb.sql(f"SELECT epoch_ns(time), asset, tag, value FROM {hive}").fetchall()
    assert len(duck) == len(rows) and {(t, a, g): v for t, a, g, v in duck} == rows
    found = duckdb.sql(f"SELECT DISTINCT asset, CAST(date AS VARCHAR) FROM {hive}").fetchall()
    assert set(found) == days
    plan = duckdb.sql(f"EXPLAIN ANALYZE SELECT count(*) FROM {hive} WHERE asset = 'press-1'").fetchall()[0][1]
    assert "Scanning Files" in plan or "File Filters" in plan, f"the folders are not pruned:\n{plan}"

    text = exported(database, tmp_path / "all.csv").read_text()
    values = [r["value"] for r in csv.DictReader(io.StringIO(text))]
    assert len(values) == len(rows) and sum(v == "" for v in values) == sum(v is None for v in rows.values())
    print(f"\n{len(rows)} samples, {file.stat().st_size} bytes of Parquet, read by DuckDB {duckdb.__version__} "
          f"and pyarrow {pyarrow.__version__}")
