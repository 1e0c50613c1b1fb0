"""A server that speaks enough of Snowflake's protocol for the Node driver: fakesnow (Snowflake's SQL on DuckDB) answering in JSON.

Usage: server.py (settings as JSON on standard input, which must stay open: the server ends when it closes). Prints its port.
"""

import asyncio
import gzip
import json
import os
import secrets
import socket
import sys
import threading

import uvicorn
from fakesnow.instance import FakeSnow
from fakesnow.rowtype import describe_as_rowtype
from fakesnow.converter import from_binding
from fakesnow.statement_type import statement_type_id
from snowflake.connector.errors import Error as SnowflakeError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from rows import rowset
from statements import Cursor, Session, compile_error, parse

SETTINGS = json.loads(sys.stdin.readline())
FORMATS = {
    "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
    "TIME_OUTPUT_FORMAT": "HH24:MI:SS",
    "TIMESTAMP_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM",
    "TIMESTAMP_NTZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF3",
    "TIMESTAMP_LTZ_OUTPUT_FORMAT": "",
    "TIMESTAMP_TZ_OUTPUT_FORMAT": "",
    "BINARY_OUTPUT_FORMAT": "HEX",
    "TIMEZONE": "UTC",
    "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD": 1_000_000_000,
    "QUERY_TAG": "",
}

world = FakeSnow(create_database_on_connect=False, create_schema_on_connect=False)
sessions: dict[str, Session] = {}
log: list[dict] = []


async def body_of(request: Request) -> dict:
    body = await request.body()
    if request.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    return json.loads(body) if body else {}


def success(data: object = None) -> JSONResponse:
    return JSONResponse({"data": data, "code": None, "message": None, "success": True})


def failure(code: str, message: str, state: str = "") -> JSONResponse:
    return JSONResponse({"data": {"errorCode": code, "sqlState": state}, "code": code, "message": message, "success": False})


async def login(request: Request) -> JSONResponse:
    data = (await body_of(request))["data"]
    if data.get("LOGIN_NAME", "").upper() != SETTINGS["user"].upper() or data.get("PASSWORD") != SETTINGS["password"]:
        return failure("390100", "Incorrect username or password was specified.", "08001")
    query = request.query_params
    names = (query.get("databaseName"), query.get("schemaName"))
    conn = await run_in_threadpool(world.connect, *names)
    token = secrets.token_urlsafe(32)
    parameters = FORMATS | {name: value for name, value in data.get("SESSION_PARAMETERS", {}).items()}
    sessions[token] = Session(conn, parameters, data.get("CLIENT_APP_ID", ""))
    return success(
        {
            "token": token,
            "masterToken": token,
            "validityInSeconds": 3600,
            "masterValidityInSeconds": 14400,
            "sessionId": len(sessions),
            "serverVersion": "9.0.0",
            "parameters": as_list(parameters),
            "sessionInfo": {
                "databaseName": conn.database,
                "schemaName": conn.schema,
                "warehouseName": query.get("warehouse"),
                "roleName": query.get("roleName"),
            },
        }
    )


def as_list(parameters: dict) -> list[dict]:
    return [{"name": name, "value": value} for name, value in parameters.items()]


def session_of(request: Request) -> Session | None:
    return sessions.get(request.headers.get("Authorization", "")[17:-1])


async def end_session(request: Request) -> JSONResponse:
    if request.query_params.get("delete") and (session := session_of(request)):
        sessions.pop(request.headers["Authorization"][17:-1])
        await run_in_threadpool(session.close)
    return success()


async def query(request: Request) -> JSONResponse:
    session = session_of(request)
    if session is None:
        return failure("390112", "Your session has expired. Please login again.")
    body = await body_of(request)
    return await run_in_threadpool(answer, session, body)


def answer(session: Session, body: dict) -> JSONResponse:
    sql = body["sqlText"]
    tag = body.get("parameters", {}).get("QUERY_TAG", session.parameters["QUERY_TAG"])
    if session.client != "test":
        log.append({"sql": sql, "tag": tag, "describe": bool(body.get("describeOnly"))})
    try:
        params, batch = bindings(body.get("bindings"))
        expression = parse(sql)
        kind = statement_type_id(expression)
        with session.running(expression) as cursor:
            if body.get("describeOnly") and (described := cursor._describe_only(sql)) is not None:
                return success(result(session, cursor, describe_as_rowtype(described), [], kind))
            if batch is None:
                cursor.execute(sql, binding_params=params, server=True)
            else:
                cursor.execute_batch(sql, batch)
            rowtype = describe_as_rowtype(cursor._describe_last_sql())
            table = cursor._arrow_table
            rows = rowset(table, rowtype) if table is not None else []
            return success(result(session, cursor, rowtype, rows, kind))
    except SnowflakeError as error:
        code, state, message = compile_error(sql, error)
        return failure(code, message, state)
    except Exception as error:
        # Something fakesnow can't do. A status of 500 would be tried again and again by the driver.
        return failure("000603", f"The emulator failed: {type(error).__name__}: {error}", "XX000")


def bindings(given: dict | None) -> tuple[tuple | None, list[tuple] | None]:
    if not given:
        return None, None
    ordered = [given[str(place)] for place in range(1, len(given) + 1)]
    if not any(isinstance(it["value"], list) for it in ordered):
        return tuple(one_binding(it, it["value"]) for it in ordered), None
    columns = [[one_binding(it, value) for value in it["value"]] for it in ordered]
    return None, list(zip(*columns, strict=True))


def one_binding(binding: dict, value: str | None):
    return None if value is None else from_binding({**binding, "value": value})


def result(session: Session, cursor: Cursor, rowtype: list, rows: list, kind: int) -> dict:
    return {
        "parameters": as_list(session.parameters),
        "rowtype": rowtype,
        "rowset": rows,
        "total": len(rows),
        "returned": len(rows),
        "queryId": cursor.sfqid,
        "statementTypeId": kind,
        "finalDatabaseName": session.conn.database,
        "finalSchemaName": session.conn.schema,
        "finalRoleName": "SYSADMIN",
        "finalWarehouseName": "COMPUTE_WH",
        "queryResultFormat": "json",
        "version": 1,
    }


async def ok(_: Request) -> JSONResponse:
    return success({})


async def statements(_: Request) -> JSONResponse:
    return JSONResponse(log)


def wait_for_end() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    world.connect().cursor().execute(f"CREATE DATABASE {SETTINGS['database']}")
    for schema in SETTINGS["schemas"]:
        world.connect(SETTINGS["database"]).cursor().execute(f"CREATE SCHEMA IF NOT EXISTS {SETTINGS['database']}.{schema}")
    routes = [
        Route("/session/v1/login-request", login, methods=["POST"]),
        Route("/session", end_session, methods=["POST"]),
        Route("/session/heartbeat", ok, methods=["POST"]),
        Route("/queries/v1/query-request", query, methods=["POST"]),
        Route("/queries/v1/abort-request", ok, methods=["POST"]),
        Route("/telemetry/send", ok, methods=["POST"]),
        Route("/test/statements", statements),
    ]
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    threading.Thread(target=wait_for_end, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error"))
    asyncio.run(server.serve(sockets=[listener]))


main()
