"""Statements on fakesnow: a session with its transaction and locks, and what fakesnow lacks of Snowflake's SQL."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from string import Template

import duckdb
import sqlglot
from fakesnow import info_schema, macros
from fakesnow.conn import FakeSnowflakeConnection
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.transforms import SUCCESS_NOP
from fakesnow.transforms.transforms import NUMBER_38_0
from sqlglot import Expr, exp

from errors import Refused
from names import check_names, exact

DDL = (exp.Create, exp.Drop, exp.Alter, exp.Grant, exp.Revoke, exp.Comment, exp.TruncateTable)
LOCKING = (exp.Update, exp.Delete, exp.Merge)
# https://docs.snowflake.com/en/sql-reference/constraints-overview
UNENFORCED = (exp.PrimaryKey, exp.ForeignKey, exp.Constraint, exp.UniqueColumnConstraint)
OF_ACCOUNT = {"ROLE", "USER", "WAREHOUSE"}  # what a GRANT's surroundings may make; here they are nothing
# Arguments that DuckDB has as BIGINT alone, where our NUMBER is wider.
COUNTS = {
    exp.Substring: ("start", "length"),
    exp.Left: ("expression",),
    exp.Right: ("expression",),
    exp.Repeat: ("times",),
    exp.Round: ("decimals",),
    exp.SplitPart: ("part_index",),
    exp.DateAdd: ("expression",),
    exp.TimestampAdd: ("expression",),
}
RESERVED = {it for (it,) in duckdb.sql("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')").fetchall()}
BINARY_FORMATS = {"HEX": "HEX", "BASE64": "BASE64", "UTF-8": "DECODE", "UTF8": "DECODE"}


# As fakesnow has it, but for sessions that are not in UTC: seconds since 1970 are a time in UTC.
macros.FS_TO_TIMESTAMP = Template("""
CREATE OR REPLACE MACRO ${catalog}._fs_to_timestamp(val, scale) AS (
    CASE WHEN try_cast(val AS BIGINT) IS NOT NULL THEN make_timestamp(val::BIGINT * (10 ** (6 - scale))::BIGINT)
    ELSE CAST(val AS TIMESTAMP) END
)""")

# A NUMBER(38, 0) is a HUGEINT here (see `before`); the information schema calls it by its right name.
columns_view = info_schema.SQL_CREATE_GLOBAL_INFORMATION_SCHEMA_COLUMNS_VIEW
info_schema.SQL_CREATE_GLOBAL_INFORMATION_SCHEMA_COLUMNS_VIEW = columns_view.replace("='BIGINT'", " IN ('BIGINT', 'HUGEINT')")

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
    """UPDATE, DELETE and MERGE lock their table until their transaction ends; others that want it wait. (DuckDB refuses instead.)

    https://docs.snowflake.com/en/sql-reference/transactions#resource-locking
    """

    def __init__(self) -> None:
        self.holders: dict[str, object] = {}
        self.changed = threading.Condition()

    def take(self, table: str, session: "Session") -> None:
        deadline = time.monotonic() + float(session.parameters["LOCK_TIMEOUT"])
        with self.changed:
            while self.holders.get(table, session) is not session:
                session.check_cancelled()
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
            late = f"Statement reached its statement or warehouse timeout of {seconds:g} second(s) and was canceled."
            timer = threading.Timer(min(seconds, 10**6), self.cancel, [Refused("000630", "57014", late)])
            timer.daemon = True
            timer.start()
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
                timer.cancel()
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
        if name == "AUTOCOMMIT" and str(value).lower() != "true":
            raise Refused("000603", "XX000", "The emulator has no sessions without AUTOCOMMIT.")
        if name == "TIMEZONE":
            self.duck.execute(f"SET TimeZone = '{value}'")
        self.parameters[name] = value

    def cancel(self, why: Refused | None = None) -> None:
        self.cancelled = why or Refused("000604", "57014", "SQL execution canceled")
        self.duck.interrupt()

    def check_cancelled(self) -> None:
        if self.cancelled is not None:
            raise self.cancelled

    def close(self) -> None:
        self.cancel()
        with self.busy:
            self.conn.close()
            locks.free(self)


class Cursor(FakeSnowflakeCursor):
    def __init__(self, session: Session) -> None:
        super().__init__(conn=session.conn, duck_conn=session.duck)
        self.session = session

    def run(self, sql: str, expression: Expr, params: tuple | None) -> None:
        nothing = self.done_here(expression)
        if nothing is not None:
            return self._execute(nothing)
        self.execute(sql, binding_params=params, server=True)
        self.done(lambda: Cursor(self.session).execute(sql, binding_params=params, server=True))
        kind = str(expression.args.get("kind")).upper()
        if isinstance(expression, (exp.Create, exp.Use)) and kind == "DATABASE":
            self.enter(exact(expression.find(exp.Identifier)))

    def enter(self, database: str) -> None:
        """A new database has the schema PUBLIC, and who makes or uses one is in it."""
        self.session.duck.execute(f'CREATE SCHEMA IF NOT EXISTS "{database}".PUBLIC')
        self.session.duck.execute(f"""SET schema = '"{database}".PUBLIC'""")
        conn = self.session.conn
        conn.database, conn._schema, conn.database_set, conn.schema_set = database, "PUBLIC", True, True

    def run_batch(self, sql: str, expression: Expr, columns: list[list]) -> None:
        """One row for each place in the lists that are bound, as one statement: `VALUES (?, ?)` reads them with UNNEST."""
        source = expression.expression
        if isinstance(source, exp.Values) and len(source.expressions) == 1:
            source = exp.Select(expressions=source.expressions[0].expressions)
        if not isinstance(source, exp.Select) or source.args.get("from_") or not isinstance(expression, exp.Insert):
            raise Refused("000603", "XX000", "The emulator binds arrays to INSERT … VALUES (?, …) and INSERT … SELECT ?, … alone.")
        expression = expression.copy()
        expression.set("expression", source.copy())
        transformed = self._transform(expression, None)
        transformed = transformed.transform(lambda it: exp.Anonymous(this="UNNEST", expressions=[exp.Placeholder()]) if isinstance(it, exp.Placeholder) else it)
        self._execute(transformed, columns)
        self.done(lambda: Cursor(self.session)._execute(transformed, columns))

    def done(self, again: Callable[[], object]) -> None:
        if self.session.wrote:
            self.session.redo.append(again)

    def describe_only(self, sql: str, expression: Expr) -> list:
        if isinstance(expression, exp.Query):
            expression = expression.transform(lambda it: exp.Null() if isinstance(it, exp.Placeholder) else it)
            self.execute(f"DESCRIBE {expression.sql(dialect='snowflake')}")
            return self.fetchall()
        described = self._describe_only(sql) if isinstance(expression, (exp.DML, exp.Create, exp.Drop, exp.Alter)) else None
        if described is None:
            raise Refused("000603", "XX000", "The emulator can't describe this statement without running it.")
        return described

    def _transform(self, expression: Expr, params: object) -> Expr:
        expression = self.without_place(expression)
        # Leaves first: a node that takes another's place may hold some that are replaced too.
        for node in reversed(list(expression.walk())):
            changed = self.before(node)
            if changed is not node:
                expression = changed if node is expression else expression
                node.replace(changed)
        return super()._transform(expression, params)  # type: ignore[arg-type]

    def without_place(self, expression: Expr) -> Expr:
        """DuckDB's temporary tables are in no schema, and so need names of their own among those of a session."""
        made = expression.find(exp.Table) if expression.find(exp.TemporaryProperty) else None
        if made is not None:
            self.session.temporary.add(self.session.full_name(made))
        for table in expression.find_all(exp.Table):
            if isinstance(table.this, exp.Identifier) and self.session.full_name(table) in self.session.temporary:
                table.set("catalog", None)
                table.set("db", None)
                if isinstance(expression, exp.Drop):
                    self.session.temporary.discard(self.session.full_name(table))
        return expression

    def done_here(self, expression: Expr) -> Expr | None:
        """Statements that change the session or the account, and nothing that DuckDB would know of."""
        if isinstance(expression, exp.Alter) and expression.args.get("kind") == "SESSION":
            change = expression.find(exp.AlterSession)
            for item in change.expressions if change else []:
                named = item.this.this if isinstance(item.this, exp.EQ) else item.this
                value = DEFAULTS.get(named.name.upper(), "") if change.args.get("unset") else item.this.expression.this
                self.session.set(named.name.upper(), value)
            return SUCCESS_NOP.copy()
        if isinstance(expression, (exp.Transaction, exp.Grant, exp.Revoke)):
            return SUCCESS_NOP.copy()
        kind = str(expression.args.get("kind") or "").upper()
        if isinstance(expression, (exp.Use, exp.Create, exp.Drop)) and kind.split(" ")[-1].rstrip("S") in OF_ACCOUNT:
            return SUCCESS_NOP.copy()
        if isinstance(expression, exp.Command) and str(expression.this).upper() in ("GRANT", "REVOKE"):
            return SUCCESS_NOP.copy()
        if isinstance(expression, exp.Command) and str(expression.expression).strip().split(" ")[0].upper() in OF_ACCOUNT:
            return SUCCESS_NOP.copy()
        return None

    def before(self, it: Expr) -> Expr:
        """What fakesnow does not translate, or otherwise than Snowflake."""
        name = it.name.upper() if isinstance(it, exp.Anonymous) else it.sql_name() if isinstance(it, exp.Func) else ""
        if name in self.session.constants and not it.expressions:
            return literal(self.session.constants[name])
        if isinstance(it, exp.Identifier) and not it.args.get("quoted") and it.name.lower() in RESERVED:
            return exp.to_identifier(it.name.upper(), quoted=True)  # a column AT is well in Snowflake
        if name == "HASH":  # signed, as in Snowflake; DuckDB's has no sign
            plain = exp.Anonymous(this="hash", expressions=it.expressions)
            return exp.cast(exp.cast(plain, "BIT", dialect="duckdb"), exp.DataType.Type.BIGINT)
        if isinstance(it, exp.ByteLength):  # OCTET_LENGTH of a text
            return exp.Anonymous(this="STRLEN", expressions=[it.this])
        if isinstance(it, exp.ToChar) and isinstance(it.args.get("format"), exp.Literal):
            return formatted(it, it.args["format"].name)
        if isinstance(it, exp.Trim):  # fakesnow forgets which characters, and at which end
            call = {"LEADING": "LTRIM", "TRAILING": "RTRIM"}.get(it.args.get("position") or "", "TRIM")
            characters = [it.expression] if it.expression else []
            return exp.Anonymous(this=call, expressions=[exp.cast(it.this, exp.DataType.Type.TEXT), *characters])
        if isinstance(it, exp.DataType) and it.this == exp.DataType.Type.DECIMAL and (not it.expressions or it.expressions == NUMBER_38_0):
            return exp.DataType(this=exp.DataType.Type.INT128)  # 38 digits; fakesnow's BIGINT has 18
        if isinstance(it, exp.DataType) and it.this in exp.DataType.INTEGER_TYPES:
            return exp.DataType(this=exp.DataType.Type.INT128)
        if isinstance(it, exp.ColumnDef):
            it.set("constraints", [each for each in it.constraints if kept(each)])
        if isinstance(it, exp.Schema):
            it.set("expressions", [each for each in it.expressions if not isinstance(each, UNENFORCED)])
        for place in COUNTS.get(type(it), ()):
            if isinstance(count := it.args.get(place), (exp.Column, exp.Cast)):
                it.set(place, exp.cast(count, exp.DataType.Type.BIGINT))
        return it


def kept(constraint: exp.ColumnConstraint) -> bool:
    """Snowflake enforces NOT NULL alone; and COLLATE '' is how DuckDB compares anyhow."""
    kind = constraint.kind
    plain = isinstance(kind, exp.CollateColumnConstraint) and kind.this.name == ""
    return not plain and not isinstance(kind, (exp.PrimaryKeyColumnConstraint, exp.UniqueColumnConstraint, exp.Reference))


def formatted(it: exp.ToChar, form: str) -> Expr:
    """TO_VARCHAR with a format, which sqlglot drops where it does not know the type of the value."""
    if form.upper() in BINARY_FORMATS:
        return exp.Anonymous(this=BINARY_FORMATS[form.upper()], expressions=[it.this])
    if form.upper() == "TME":
        digits = exp.Anonymous(this="FORMAT", expressions=[literal("{:.16e}"), exp.cast(it.this, exp.DataType.Type.DOUBLE)])
        return exp.Upper(this=digits) if form.isupper() else digits
    if not re.search("YY|HH|MI|SS", form):
        return it
    value = it.this if "YY" in form else exp.Add(this=exp.cast(literal("1970-01-01"), "DATE"), expression=exp.cast(it.this, "TIME"))
    made = sqlglot.parse_one(f"TO_VARCHAR(x::TIMESTAMP, '{form}')", read="snowflake")
    return exp.TimeToStr(this=value, format=made.args["format"])


def literal(value: str | None) -> Expr:
    return exp.Null() if value is None else exp.Literal.string(value)
