"""Who may log in: the one user by password, by a token (programmatic access token or OAuth) or by a key pair."""

import base64
import hashlib

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from errors import Refused

ACCOUNT = "TEST"


def check_login(data: dict, settings: dict) -> None:
    """Throws what Snowflake answers: https://github.com/snowflakedb/snowflake-connector-nodejs/blob/master/lib/constants/gs_errors.js has the codes."""
    kind = data.get("AUTHENTICATOR", "SNOWFLAKE").upper()
    named = data.get("LOGIN_NAME", "").upper() == settings["user"].upper()
    if kind == "SNOWFLAKE_JWT":
        if not named or not signed(data.get("TOKEN", ""), settings):
            raise Refused("390144", "08001", "JWT token is invalid. [00000000-0000-0000-0000-000000000000]")
    elif kind in ("PROGRAMMATIC_ACCESS_TOKEN", "OAUTH"):
        if data.get("TOKEN") != settings["token"]:
            oauth = kind == "OAUTH"
            message = "Invalid OAuth access token. " if oauth else "Programmatic access token is invalid."
            raise Refused("390303" if oauth else "394400", "08001", message)
    elif not named or data.get("PASSWORD") != settings["password"]:
        raise Refused("390100", "08001", "Incorrect username or password was specified.")


def signed(token: str, settings: dict) -> bool:
    """https://docs.snowflake.com/en/developer-guide/sql-api/authenticating has the claims."""
    if not settings.get("publicKey"):
        return False
    key = load_pem_public_key(settings["publicKey"].encode())
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    subject = f"{ACCOUNT}.{settings['user'].upper()}"
    try:
        # The driver's times are milliseconds, which Snowflake takes and PyJWT does not.
        claims = jwt.decode(token, key, algorithms=["RS256"], options={"verify_iat": False, "verify_exp": False})
    except jwt.PyJWTError:
        return False
    return claims.get("sub") == subject and claims.get("iss") == f"{subject}.SHA256:{base64.b64encode(digest).decode()}"
