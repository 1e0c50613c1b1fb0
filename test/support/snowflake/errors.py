"""Errors in Snowflake's words: code, SQLSTATE and text as its drivers get them, with the place where Snowflake names one."""

import re

import duckdb
from snowflake.connector.errors import Error as ConnectorError
from sqlglot.errors import ParseError, TokenError


class Refused(Exception):
    """`line` counts from 1 and `column` from 0; -1 where Snowflake names no place."""

    def __init__(self, code: str, state: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.state = state
        self.message = message
        found = re.search(r"line (\d+) at position (\d+)", message) if code in ("001003", "000904") else None
        self.line, self.column = (int(found[1]), int(found[2])) if found else (-1, -1)


def syntax(sql: str, error: ParseError | TokenError) -> Refused:
    found = error.errors[0] if isinstance(error, ParseError) and error.errors else None
    if found is None:
        lines = sql.split("\n")
        return Refused("001003", "42000", f"SQL compilation error:\nparse error line {len(lines)} at position {len(lines[-1])} near '<EOF>'.")
    word = found["highlight"]
    place = f"line {found['line']} at position {max(0, found['col'] - len(word))}"
    return Refused("001003", "42000", f"SQL compilation error:\nsyntax error {place} unexpected '{word}'.")


def place(sql: str, name: str) -> str:
    """Where a name first stands in a statement. DuckDB's own place is one in the text that fakesnow made of it."""
    found = re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", sql, re.IGNORECASE)
    before = sql[: found.start()] if found else ""
    return f"error line {before.count(chr(10)) + 1} at position {len(before) - before.rfind(chr(10)) - 1}"


def invalid_identifier(sql: str, name: str) -> Refused:
    return Refused("000904", "42000", f"SQL compilation error: {place(sql, name.split('.')[-1])}\ninvalid identifier '{name}'")


def missing(kind: str, name: str) -> Refused:
    return Refused("002003", "02000" if kind == "Schema" else "42S02", f"SQL compilation error:\n{kind} '{name}' does not exist or not authorized.")


PATTERNS = [
    (r'Referenced (?:column|table) "([^"]+)" not found', lambda sql, it: invalid_identifier(sql, it[1])),
    (r'does not have a column named "([^"]+)"', lambda sql, it: invalid_identifier(sql, it[1])),
    (r'column with name "?([^" ]+)"? ', lambda sql, it: invalid_identifier(sql, it[1])),
    (r'(?:Table|View) with name "?([^" ]+)"? does not exist', lambda _, it: missing("Object", it[1])),
    (r'Schema with name "?([^" ]+)"? does not exist', lambda _, it: missing("Schema", it[1])),
    (r'with name "?(.+?)"? already exists', lambda _, it: Refused("002002", "42710", f"SQL compilation error:\nObject '{it[1]}' already exists.")),
    (r"Function with name \"?([^\" ]+)\"? does not exist", lambda _, it: Refused("002140", "42601", f"SQL compilation error:\nUnknown function {it[1].upper()}")),
    (r'column "([^"]+)" must appear in the GROUP BY', lambda _, it: Refused("000979", "42601", f"SQL compilation error:\n[{it[1]}] is not a valid group by expression")),
    (r'Ambiguous reference to column name "([^"]+)"', lambda _, it: Refused("002028", "42601", f"SQL compilation error:\nambiguous column name '{it[1]}'")),
    (r"Could not convert string '(.*?)' to (?:INT|DECIMAL|DOUBLE|HUGEINT)", lambda _, it: Refused("100038", "22018", f"Numeric value '{it[1]}' is not recognized")),
    (r"Could not cast value .* to DECIMAL|out of range for the destination type|Overflow in", lambda _, __: Refused("100132", "22003", "Number out of representable range")),
    (r"invalid timestamp field format: \"(.*?)\"|timestamp field value out of range: \"(.*?)\"", lambda _, it: Refused("100035", "22007", f"Timestamp '{it[1] or it[2]}' is not recognized")),
    (r"invalid date field format: \"(.*?)\"", lambda _, it: Refused("100040", "22007", f"Date '{it[1]}' is not recognized")),
    (r"NOT NULL constraint failed: (\S+)", lambda _, __: Refused("100072", "22000", "NULL result in a non-nullable column")),
    (r"Malformed JSON", lambda _, __: Refused("100069", "22P02", "Error parsing JSON")),
]  # fmt: skip


def refusal(sql: str, error: Exception) -> Refused:
    """What to answer for anything that was thrown."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, (ParseError, TokenError)):
        return syntax(sql, error)
    text = str(error)
    for pattern, made in PATTERNS:
        if found := re.search(pattern, text):
            return made(sql, found)
    if isinstance(error, ConnectorError):
        message = re.sub(r"^\d{6} \([0-9A-Z]+\): ", "", error.msg or text)
        return Refused(f"{error.errno:06d}", error.sqlstate or "", message)
    if isinstance(error, duckdb.TransactionException):
        return Refused("000625", "57014", f"The emulator can't do this: {text}")
    # Something that fakesnow can't do. With a status of 500 the driver would try it again and again.
    return Refused("000603", "XX000", f"The emulator failed: {type(error).__name__}: {text}")
