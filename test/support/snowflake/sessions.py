"""A session: its transaction as Snowflake has them, the locks it waits for, and its parameters."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb
import sqlglot
from fakesnow.conn import FakeSnowflakeConnection
from sqlglot import Expr, exp

from cursor import Cursor
from errors import Refused
from names import check_names

DDL = (exp.Create, exp.Drop, exp.Alter, exp.Grant, exp.Revoke, exp.Comment)
LOCKING = (exp.Update, exp.Delete, exp.Merge, exp.TruncateTable)
# Values of a new account: https://docs.snowflake.com/en/sql-reference/parameters
DEFAULTS = {
    "BINARY_OUTPUT_FORMAT": "HEX",
    "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD": 1_000_000_000,  # 65280 there; above it the driver would bind by a file on a stage
    "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
    "LOCK_TIMEOUT": 43200,
    "MULTI_STATEMENT_COUNT": 1,
    "QUERY_TAG": "",
    "STATEMENT_TIMEOUT_IN_SECONDS": 172800,
    "TIMESTAMP_LTZ_OUTPUT_FORMAT": "",
    "TIMESTAMP_NTZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF3",
    "TIMESTAMP_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM",
    "TIMESTAMP_TZ_OUTPUT_FORMAT": "",
    "TIMEZONE": "America/Los_Angeles",
    "TIME_OUTPUT_FORMAT": "HH24:MI:SS",
}


def parse(sql: str) -> list[Expr]:
    return [it for it in sqlglot.parse(sql, read="snowflake") if it is not None and not isinstance(it, exp.Semicolon)]


class Locks:
    """UPDATE, DELETE, MERGE and TRUNCATE lock their table until their transaction ends; others wait. (DuckDB refuses instead.)

    https://docs.snowflake.com/en/sql-reference/transactions#resource-locking
    A transaction that others wait for and that has been idle for 5 minutes is rolled back; of a client that died, say:
    https://docs.snowflake.com/en/sql-reference/transactions#aborting-transactions
    """

    idle = 300.0  # seconds

    def __init__(self) -> None:
        self.holders: dict[str, Session] = {}
        self.changed = threading.Condition()

    def take(self, table: str, session: "Session") -> None:
        deadline = time.monotonic() + float(session.parameters["LOCK_TIMEOUT"])
        with self.changed:
            while self.holders.get(table, session) is not session:
                session.check_cancelled()
                if self.holders[table].abandoned(self.idle):
                    continue
                if not self.changed.wait(max(0, min(0.05, deadline - time.monotonic()))) and time.monotonic() >= deadline:
                    message = f"SQL execution error: Statement has waited for the lock on table {table} longer than LOCK_TIMEOUT."
                    raise Refused("000625", "57014", message)
            self.holders[table] = session

    def free(self, session: "Session") -> None:
        with self.changed:
            self.holders = {table: holder for table, holder in self.holders.items() if holder is not session}
            self.changed.notify_all()


locks = Locks()


class Session:
    def __init__(self, conn: FakeSnowflakeConnection, parameters: dict, place: dict) -> None:
        self.conn = conn
        self.parameters = parameters
        self.place = place
        self.last_query = ""
        self.logged = True
        self.cancelled: Refused | None = None
        self.busy = threading.Lock()
        self.answered = time.monotonic()
        self.in_transaction = False
        self.begun = False  # in DuckDB, too
        self.wrote = False
        self.redo: list[Callable[[], object]] = []  # what the open transaction has written
        self.temporary: set[str] = set()  # full names of this session's temporary tables
        self.duck = conn._duck_conn
        self.duck.execute(f"SET TimeZone = '{parameters['TIMEZONE']}'")

    @contextmanager
    def running(self, sql: str, expression: Expr, seconds: float) -> Iterator["Cursor"]:
        """A cursor for one statement, which may take so many seconds."""
        with self.busy:
            self.cancelled = None
            late = Refused("000630", "57014", f"Statement reached its statement or warehouse timeout of {seconds:g} second(s) and was canceled.")
            answered = threading.Event()
            threading.Thread(target=self.watch, args=[answered, seconds, late], daemon=True).start()
            try:
                if isinstance(expression, DDL) and expression.args.get("kind") != "SESSION":
                    self.end()
                if isinstance(expression, LOCKING) and (table := expression.find(exp.Table)):
                    locks.take(self.full_name(table), self)
                self.refresh(expression)
                if not isinstance(expression, (exp.Transaction, exp.Commit, exp.Rollback)):
                    check_names(sql, expression, self.duck, self.conn.database, self.conn.schema)
                cursor = Cursor(self)
                yield cursor
                self.last_query = cursor.sfqid or ""
            except Exception as error:
                if self.begun:
                    self.forget_last()
                if isinstance(error, duckdb.InterruptException):
                    self.check_cancelled()
                raise
            finally:
                answered.set()
                self.answered = time.monotonic()
                if isinstance(expression, exp.Transaction):
                    self.in_transaction = True
                elif isinstance(expression, (exp.Commit, exp.Rollback)):
                    self.ended()
                if not self.in_transaction:
                    locks.free(self)

    def refresh(self, expression: Expr) -> None:
        """Each statement of a transaction sees what is committed when it begins: a new one of DuckDB's for each, until one writes.

        https://docs.snowflake.com/en/sql-reference/transactions#read-committed-isolation
        """
        if not self.in_transaction or self.wrote or isinstance(expression, (exp.Transaction, exp.Commit, exp.Rollback)):
            return
        if self.begun:
            self.duck.rollback()
        self.duck.begin()
        self.begun = True
        self.wrote = isinstance(expression, (exp.Insert, *LOCKING))

    def abandoned(self, seconds: float) -> bool:
        """Rolls back a transaction that has been idle for so long.

        What its session finds then is nowhere said. Here its next statements run alone, the worst that could be.
        """
        if time.monotonic() - self.answered < seconds or not self.busy.acquire(blocking=False):
            return False
        self.duck.rollback()
        self.ended()
        locks.free(self)
        self.busy.release()
        return True

    def end(self) -> None:
        """DDL commits what is open: https://docs.snowflake.com/en/sql-reference/transactions#ddl"""
        if self.begun:
            self.duck.commit()
        self.ended()
        locks.free(self)

    def ended(self) -> None:
        self.in_transaction = self.begun = self.wrote = False
        self.redo = []

    def forget_last(self) -> None:
        """A statement that fails takes itself back, not the transaction that it is in, which DuckDB gives up."""
        self.duck.rollback()
        self.duck.begin()
        for again in self.redo:
            again()

    @property
    def constants(self) -> dict[str, str | None]:
        """Functions without arguments that fakesnow lacks or can't know."""
        return {
            "CURRENT_ACCOUNT": "TEST",
            "CURRENT_ACCOUNT_NAME": "TEST",
            "CURRENT_DATABASE": self.conn.database if self.conn.database_set else None,
            "CURRENT_ORGANIZATION_NAME": "TESTERS",
            "CURRENT_REGION": "LOOPBACK",
            "CURRENT_ROLE": self.place["role"],
            "CURRENT_SCHEMA": self.conn.schema if self.conn.schema_set else None,
            "CURRENT_SESSION": str(id(self)),
            "CURRENT_USER": self.place["user"],
            "CURRENT_WAREHOUSE": self.place["warehouse"],
            "LAST_QUERY_ID": self.last_query,
        }

    def full_name(self, table: exp.Table) -> str:
        parts = (table.catalog or self.conn.database, table.db or self.conn.schema, table.name)
        return ".".join(str(it).upper() for it in parts)

    def set(self, name: str, value: object) -> None:
        """None is the value of a new account."""
        value = DEFAULTS.get(name, "") if value is None else value
        if name == "AUTOCOMMIT" and str(value).lower() != "true":
            raise Refused("000603", "XX000", "The emulator has no sessions without AUTOCOMMIT.")
        if name == "TIMEZONE":
            self.duck.execute(f"SET TimeZone = '{value}'")
        self.parameters[name] = value

    def watch(self, answered: threading.Event, seconds: float, late: Refused) -> None:
        if not answered.wait(min(seconds, 10**6)):
            while not answered.wait(0.05):
                self.cancel(late)

    def cancel(self, why: Refused) -> None:
        self.cancelled = why
        self.duck.interrupt()

    def check_cancelled(self) -> None:
        if self.cancelled is not None:
            raise self.cancelled

    def close(self) -> None:
        self.cancel(Refused("000604", "57014", "SQL execution canceled"))
        with self.busy:
            self.conn.close()
            locks.free(self)
