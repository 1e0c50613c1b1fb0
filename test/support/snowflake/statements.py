"""Statements on fakesnow: a session's transaction and locks, what fakesnow lacks of Snowflake's SQL, and errors in Snowflake's words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from fakesnow.conn import FakeSnowflakeConnection
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.dialect import parse_one
from snowflake.connector.errors import Error as SnowflakeError
from sqlglot import Expr, exp


def parse(sql: str) -> Expr:
    return parse_one(sql)


class Cursor(FakeSnowflakeCursor):
    def execute_batch(self, sql: str, rows: list[tuple]) -> None:
        for row in rows:
            self.execute(sql, binding_params=row, server=True)


class Session:
    def __init__(self, conn: FakeSnowflakeConnection, parameters: dict, client: str) -> None:
        self.conn = conn
        self.parameters = parameters
        self.client = client

    @contextmanager
    def running(self, expression: Expr) -> Iterator[Cursor]:
        yield Cursor(conn=self.conn, duck_conn=self.conn._duck_conn)

    def close(self) -> None:
        self.conn.close()


def compile_error(sql: str, error: SnowflakeError) -> tuple[str, str, str]:
    return f"{error.errno:06d}", error.sqlstate or "", re.sub(r"^\d{6} \([0-9A-Z]+\): ", "", error.msg or str(error))
