"""Reads a JSON array of statements on standard input and says of each, in the same order, what sqlglot's Snowflake dialect has against it."""

import json
import logging
import sys

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

# What sqlglot keeps as mere text because it has no grammar for it, and Snowflake knows.
TEXT_ALONE = {"CREATE ROLE", "CREATE USER", "CREATE WAREHOUSE", "ALTER WAREHOUSE", "ALTER USER", "EXPLAIN", "CALL", "GRANT SELECT"}


def problem(sql: str) -> str | None:
    try:
        parsed = [it for it in sqlglot.parse(sql, read="snowflake") if it is not None]
    except SqlglotError as error:
        return str(error).replace("\x1b[4m", "»").replace("\x1b[0m", "«")
    if not parsed:
        return "no statement"
    for tree in parsed:
        for command in tree.find_all(exp.Command):
            words = f"{command.this} {command.expression or ''}".upper().split()
            if " ".join(words[:2]) not in TEXT_ALONE and words[0] not in TEXT_ALONE:
                return f"not understood: {' '.join(words[:6])}"
    return None


logging.disable(logging.WARNING)
print(json.dumps([problem(it) for it in json.load(sys.stdin)]))
