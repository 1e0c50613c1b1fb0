"""A server that speaks enough of Snowflake's protocol for its Node driver: fakesnow (Snowflake's SQL on DuckDB) answering in JSON.

Reads one line of JSON with its settings, says on which port it listens, and ends when its standard input closes.
"""

import asyncio
import gzip
import json
import logging
import os
import re
import secrets
import socket
import sys
import threading
import uuid
from collections import OrderedDict

import uvicorn
from fakesnow.converter import from_binding
from fakesnow.instance import FakeSnow
from fakesnow.rowtype import describe_as_rowtype
from fakesnow.statement_type import statement_type_id
from sqlglot import Expr
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from errors import Refused, refusal
from login import check_login
from rows import rowset
from sessions import DEFAULTS, Session, locks, parse

SETTINGS = json.loads(sys.stdin.readline())
MULTIPLE = 0xA000  # the type of several statements in one request

world = FakeSnow(create_database_on_connect=False, create_schema_on_connect=False)
sessions: dict[str, Session] = {}
running: dict[str, Session] = {}
results: dict[str, dict] = {}
log: list[dict] = []
rules: list[dict] = []  # what is to go wrong, once each: {pattern, lose} or {pattern, code, state, message}
answers: OrderedDict[str, JSONResponse] = OrderedDict()  # by request: a repeated request is answered, not run again
chunks: OrderedDict[str, str] = OrderedDict()
INLINE, CHUNK = 1000, 20_000  # rows in the answer itself, and in each file beside it


async def body_of(request: Request) -> dict:
    body = await request.body()
    if request.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    return json.loads(body) if body else {}


def success(data: object = None) -> JSONResponse:
    return JSONResponse({"data": data, "code": None, "message": None, "success": True})


def failure(it: Refused) -> JSONResponse:
    data = {"errorCode": it.code, "sqlState": it.state, "queryId": str(uuid.uuid4()), "line": it.line, "pos": it.column}
    return JSONResponse({"data": data, "code": it.code, "message": it.message, "success": False})


async def login(request: Request) -> JSONResponse:
    data = (await body_of(request))["data"]
    try:
        check_login(data, SETTINGS)
    except Refused as refused:
        return failure(refused)
    query = request.query_params
    conn = await run_in_threadpool(world.connect, query.get("databaseName"), query.get("schemaName"))
    place = {"user": SETTINGS["user"], "role": query.get("roleName") or "PUBLIC", "warehouse": query.get("warehouse")}
    token = secrets.token_urlsafe(32)
    session = Session(conn, DEFAULTS | data.get("SESSION_PARAMETERS", {}), place)
    sessions[token] = session
    session.logged = data.get("CLIENT_APP_ID") != "test"
    return success(
        {
            "token": token,
            "masterToken": token,
            "validityInSeconds": 3600,
            "masterValidityInSeconds": 14400,
            "sessionId": len(sessions),
            "serverVersion": "9.0.0",
            "parameters": as_list(session.parameters),
            "sessionInfo": where(session),
        }
    )


def where(session: Session) -> dict:
    conn, place = session.conn, session.place
    names = {"databaseName": conn.database, "schemaName": conn.schema, "warehouseName": place["warehouse"], "roleName": place["role"]}
    return names | {f"final{name[0].upper()}{name[1:]}": value for name, value in names.items()}


def as_list(parameters: dict) -> list[dict]:
    return [{"name": name, "value": value} for name, value in parameters.items()]


def token_of(request: Request) -> str:
    return request.headers.get("Authorization", "").removeprefix('Snowflake Token="').removesuffix('"')


async def end_session(request: Request) -> JSONResponse:
    if request.query_params.get("delete") and (session := sessions.pop(token_of(request), None)):
        await run_in_threadpool(session.close)
    return success()


async def query(request: Request) -> Response:
    session = sessions.get(token_of(request))
    if session is None:
        return failure(Refused("390112", "08001", "Your session has expired. Please login again."))
    name = request.query_params.get("requestId", secrets.token_hex())
    body = await body_of(request)
    if name not in answers:
        rule = next((it for it in rules if session.logged and re.search(it["pattern"], body["sqlText"])), None)
        if rule is not None:
            rules.remove(rule)
        if rule is not None and "code" in rule:
            return failure(Refused(rule["code"], rule["state"], rule["message"]))
        running[name] = session
        try:
            answers[name] = await run_in_threadpool(answer, session, body)
        finally:
            running.pop(name, None)
        if len(answers) > 100:
            answers.popitem(last=False)
        if rule is not None:
            return Lost()
    return answers[name]


class Lost(Response):
    """The connection breaks in the middle of the reply."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


async def abort(request: Request) -> JSONResponse:
    name = (await body_of(request)).get("requestId", "")
    session = running.get(name)
    if session is None:
        return failure(Refused("000605", "02000", "Identified SQL statement is not currently executing."))
    while name in running:  # it may not have come as far as DuckDB
        session.cancel(Refused("000604", "57014", "SQL execution canceled"))
        await asyncio.sleep(0.05)
    return success()


async def later(request: Request) -> JSONResponse:
    data = results.get(request.path_params["id"])
    return success(data) if data else failure(Refused("000709", "02000", "Statement not found"))


def answer(session: Session, body: dict) -> JSONResponse:
    sql, given = body["sqlText"], body.get("parameters") or {}
    if session.logged:
        log.append({"sql": sql, "tag": given.get("QUERY_TAG", session.parameters["QUERY_TAG"]), "describe": bool(body.get("describeOnly"))})
    try:
        statements = parse(sql)
        wanted = int(given.get("MULTI_STATEMENT_COUNT", session.parameters["MULTI_STATEMENT_COUNT"]))
        if len(statements) == 0:
            raise Refused("000900", "42601", "SQL compilation error:\nEmpty SQL statement.")
        if wanted not in (0, len(statements)):
            message = f"Actual statement count {len(statements)} did not match the desired statement count {wanted}."
            raise Refused("000008", "0A000", message)
        if len(statements) == 1:
            return success(one(session, sql, statements[0], body))
        done = [one(session, it.sql(dialect="snowflake"), it, {}) for it in statements]
        results.update({it["queryId"]: it for it in done})
        ids, types = (",".join(str(it[key]) for it in done) for key in ("queryId", "statementTypeId"))
        column = describe_as_rowtype([("multiple statement execution", "VARCHAR", "", "", "", "")])
        both = {"statementTypeId": MULTIPLE, "resultIds": ids, "resultTypes": types, "rowtype": column}
        return success(done[-1] | both | {"rowset": [["Multiple statements executed successfully."]], "total": 1, "returned": 1})
    except Exception as error:
        return failure(refusal(sql, error))


def one(session: Session, sql: str, expression: Expr, body: dict) -> dict:
    kind = statement_type_id(expression)
    seconds = float((body.get("parameters") or {}).get("STATEMENT_TIMEOUT_IN_SECONDS", session.parameters["STATEMENT_TIMEOUT_IN_SECONDS"]))
    with session.running(sql, expression, seconds) as cursor:
        if body.get("describeOnly"):
            return result(session, str(uuid.uuid4()), describe_as_rowtype(cursor.describe_only(sql, expression)), [], kind)
        bound = [body["bindings"][str(at)] for at in range(1, len(body["bindings"]) + 1)] if body.get("bindings") else []
        if any(isinstance(it["value"], list) for it in bound):
            cursor.run_batch(sql, expression, [[value_of(it, value) for value in it["value"]] for it in bound])
        else:
            cursor.run(sql, expression, tuple(value_of(it, it["value"]) for it in bound) or None)
        rowtype = describe_as_rowtype(cursor._describe_last_sql())
        table = cursor._arrow_table
        return result(session, cursor.sfqid, rowtype, [] if table is None else rowset(table, rowtype), kind)


def value_of(binding: dict, value: str | None) -> object:
    return None if value is None else from_binding({**binding, "value": value})


def result(session: Session, name: str | None, rowtype: list, rows: list, kind: int) -> dict:
    return {
        "parameters": as_list(session.parameters),
        "rowtype": rowtype,
        "rowset": rows[:INLINE],
        "chunks": [beside(rows[at : at + CHUNK]) for at in range(INLINE, len(rows), CHUNK)],
        "total": len(rows),
        "returned": len(rows),
        "queryId": name,
        "statementTypeId": kind,
        "queryResultFormat": "json",
        "version": 1,
    } | where(session)


def beside(rows: list) -> dict:
    """Rows that the client fetches from another address, as it does the files of a large result."""
    name = secrets.token_hex()
    chunks[name] = json.dumps(rows)[1:-1]
    if len(chunks) > 500:
        chunks.popitem(last=False)
    size = len(chunks[name])
    return {"url": f"http://127.0.0.1:{SETTINGS['port']}/chunks/{name}", "rowCount": len(rows), "uncompressedSize": size, "compressedSize": size}


async def nothing(_: Request) -> JSONResponse:
    return success({})


async def chunk(request: Request) -> Response:
    return PlainTextResponse(chunks[request.path_params["id"]])


async def statements_so_far(_: Request) -> JSONResponse:
    return JSONResponse(log)


async def go_wrong(request: Request) -> JSONResponse:
    rules.append(await body_of(request))
    return success()


def wait_for_end() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    logging.disable(logging.WARNING)
    locks.idle = SETTINGS.get("idleTransaction", locks.idle)
    made = world.connect()
    made.cursor().execute(f"CREATE DATABASE {SETTINGS['database']}")
    for schema in SETTINGS["schemas"]:
        made._duck_conn.execute(f'CREATE SCHEMA "{SETTINGS["database"]}"."{schema}"')
    routes = [
        Route("/session/v1/login-request", login, methods=["POST"]),
        Route("/session", end_session, methods=["POST"]),
        Route("/session/heartbeat", nothing, methods=["POST"]),
        Route("/queries/v1/query-request", query, methods=["POST"]),
        Route("/queries/v1/abort-request", abort, methods=["POST"]),
        Route("/queries/{id}/result", later),
        Route("/telemetry/send", nothing, methods=["POST"]),
        Route("/chunks/{id}", chunk),
        Route("/test/statements", statements_so_far),
        Route("/test/wrong", go_wrong, methods=["POST"]),
    ]
    # asyncio turns off Nagle's algorithm, which would cost 40 ms a statement, only for a socket that says it is TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    threading.Thread(target=wait_for_end, daemon=True).start()
    listener.listen(64)  # before anybody is told the port
    SETTINGS["port"] = listener.getsockname()[1]
    print(SETTINGS["port"], flush=True)
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error"))
    asyncio.run(server.serve(sockets=[listener]))


main()
