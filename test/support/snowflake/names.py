"""Names as exact as Snowflake has them: DuckDB takes "people" for PEOPLE, Snowflake does not."""

from duckdb import DuckDBPyConnection
from sqlglot import Expr, exp

from errors import invalid_identifier, missing


def exact(identifier: Expr) -> str:
    return identifier.name if identifier.args.get("quoted") else identifier.name.upper()


def check_names(sql: str, expression: Expr, duck: DuckDBPyConnection, database: str | None, schema: str | None) -> None:
    """Refuses a table or column that DuckDB would find by a name that differs in upper and lower case."""
    columns = duck.execute("SELECT database_name, schema_name, table_name, column_name FROM duckdb_columns() WHERE NOT internal").fetchall()
    ctes = {exact(it.args["alias"].this) for it in expression.find_all(exp.CTE) if it.args.get("alias")}
    known = {"SEQ", "KEY", "PATH", "INDEX", "VALUE", "THIS"} | aliases(expression)
    named = {exact(it.this) for it in expression.find_all(exp.Table) if isinstance(it.this, exp.Identifier)}
    known |= {it[3] for it in columns if it[0] == "temp" and it[2] in named}
    for table in expression.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier) or (exact(table.this) in ctes and not table.args.get("db")):
            continue
        parts = [exact(it) for it in (table.args.get("catalog"), table.args.get("db"), table.this) if it]
        asked = ([database or "", schema or ""][: 3 - len(parts)] + parts)[-3:]
        of_it = [it for it in columns if [part.upper() for part in it[:3]] == [part.upper() for part in asked]]
        if of_it and not any(list(it[:3]) == asked for it in of_it):
            raise missing("Object", ".".join(parts))
        known |= {it[3] for it in of_it}
    folded = {it.upper() for it in known}
    for name in used(expression):
        if name not in known and name.upper() in folded:
            raise invalid_identifier(sql, name)


def aliases(expression: Expr) -> set[str]:
    """Every name that the statement itself gives."""
    given = {exact(it.args["alias"]) for it in expression.find_all(exp.Alias) if isinstance(it.args.get("alias"), exp.Identifier)}
    for alias in expression.find_all(exp.TableAlias):
        given |= {exact(it) for it in alias.args.get("columns") or [] if isinstance(it, exp.Identifier)}
    given |= {exact(it.this) for it in expression.find_all(exp.ColumnDef) if isinstance(it.this, exp.Identifier)}
    return given


def used(expression: Expr) -> list[str]:
    found = [exact(it.this) for it in expression.find_all(exp.Column) if isinstance(it.this, exp.Identifier)]
    if isinstance(expression, exp.Insert) and isinstance(expression.this, exp.Schema):
        found += [exact(it) for it in expression.this.expressions if isinstance(it, exp.Identifier)]
    return found
