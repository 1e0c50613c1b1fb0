"""Statements on fakesnow: what it lacks of Snowflake's SQL, or has otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable
from string import Template
from typing import TYPE_CHECKING

import duckdb
import sqlglot
from fakesnow import info_schema, macros
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.transforms import SUCCESS_NOP
from fakesnow.transforms.transforms import NUMBER_38_0
from sqlglot import Expr, exp

from errors import Refused
from names import exact

if TYPE_CHECKING:
    from sessions import Session

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
                value = None if change.args.get("unset") else item.this.expression.this
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
