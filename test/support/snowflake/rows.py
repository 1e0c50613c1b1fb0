"""The rows of a result as Snowflake's JSON format has them: every value a text or null, and the columns' types beside them."""

import datetime
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

# https://github.com/snowflakedb/snowflake-connector-nodejs/blob/master/lib/connection/result/column.js reads these.
EPOCH_DAY = datetime.date(1970, 1, 1)
NO_OFFSET = 1440  # minutes east of UTC, plus a day


def rowset(table: pa.Table, rowtype: list[dict]) -> list[list[str | None]]:
    columns = [texts(column, kind["type"]) for column, kind in zip(table.columns, rowtype, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)] if columns else []


def texts(column: pa.ChunkedArray, kind: str) -> list[str | None]:
    if pa.types.is_timestamp(column.type):
        unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
        zone = f" {NO_OFFSET}" if kind == "timestamp_tz" else ""
        return each(pc.cast(column, pa.int64()), lambda it: seconds(it, unit) + zone)
    if pa.types.is_time(column.type):
        unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
        return each(pc.cast(pc.cast(column, pa.time64("us" if unit <= 10**6 else "ns")), pa.int64()), lambda it: seconds(it, max(unit, 10**6)))
    if pa.types.is_date(column.type):
        return each(column, lambda it: str((it - EPOCH_DAY).days))
    if pa.types.is_boolean(column.type):
        return each(column, lambda it: "1" if it else "0")
    if pa.types.is_floating(column.type):
        return each(column, real)
    if pa.types.is_decimal(column.type):
        return each(column, lambda it: format(it, "f"))
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return each(column, lambda it: it.hex().upper())
    if pa.types.is_nested(column.type):
        return each(column, lambda it: json.dumps(it, default=str, separators=(",", ":"), ensure_ascii=False))
    return each(column, str)


def each(column: pa.ChunkedArray, text) -> list[str | None]:
    return [None if it is None else text(it) for it in column.to_pylist()]


def seconds(count: int, unit: int) -> str:
    return format((Decimal(count) / unit).quantize(Decimal("1e-9")), "f")


def real(value: float) -> str:
    if value != value:
        return "NaN"
    return repr(value).removesuffix(".0")
