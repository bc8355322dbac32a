"""What the generated requests need to get anywhere: ids of what there is, and a token that is still good.

CONFAB_WORLD names a JSON file with the keys url, account_id, api_key, token, accounts (ids of accounts below that one), conferences
(a list of ids), room (the id of a conference with callers in it) and ids (ids by the name of the path parameter).
"""

import json
import os
import random
import struct
import urllib.error
import urllib.request

import schemathesis

WORLD = json.load(open(os.environ["CONFAB_WORLD"]))
# Requests of every kind find what they ask for most of the time, and now and then they do not.
LOST = 0.1


def ask(method, path, token=None, body=None):
    request = urllib.request.Request(
        WORLD["url"] + path, method=method, data=body and json.dumps(body).encode()
    )
    if token:
        request.add_header("X-Auth-Token", token)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def participants():
    path = f"/v2/accounts/{WORLD['account_id']}/conferences/{WORLD['room']}/participants"
    try:
        return [item["participant_id"] for item in ask("GET", path, WORLD["token"])["data"]]
    except OSError:
        return []


def reach(case):
    """Puts ids of what there is into the path."""
    found = case.path_parameters
    about_callers = "/participants" in case.operation.path
    for name in found or {}:
        about_accounts = case.operation.path.endswith(("{account_id}", "/api_key"))
        # Accounts that are changed and deleted are not the one that everything belongs to, whose id stands in many an answer and is tried.
        is_ours = about_accounts and found[name] == WORLD["account_id"]
        if random.random() < LOST and not is_ours:
            continue
        if name == "account_id":
            found[name] = random.choice(WORLD["accounts"]) if about_accounts else WORLD["account_id"]
        elif name == "conference_id":
            found[name] = WORLD["room"] if about_callers else random.choice(WORLD["conferences"])
        elif name == "participant_id":
            found[name] = random.choice(participants() or [1])
        elif WORLD["ids"].get(name):
            found[name] = random.choice(WORLD["ids"][name])


def a_file():
    """A tenth of a second of silence, 8 kHz."""
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 1636, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", 1600)
    return head + bytes(1600)


@schemathesis.serializer(
    "audio/wav", "audio/x-wav", "audio/mpeg", "audio/mp3", "audio/mpeg3", "audio/ogg", "audio/flac", "application/base64"
)
def as_it_is(context, value):
    value = getattr(value, "data", value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def upload(case):
    """Sends something that can be played now and then: nothing that is made up can."""
    if case.media_type in ("audio/wav", "audio/x-wav") and random.random() < 0.5:
        case.body = a_file()


def stay_here(case):
    """Keeps the server from asking machines elsewhere: webhooks that were made up would be called."""
    data = case.body.get("data") if isinstance(case.body, dict) else None
    if "/webhooks" in case.operation.path and isinstance(data, dict) and isinstance(data.get("uri"), str):
        data["uri"] = "http://127.0.0.1:9/"


@schemathesis.hook
def before_call(context, case, kwargs):
    reach(case)
    stay_here(case)
    upload(case)
    token = WORLD["token"]
    if case.operation.path == "/v2/token_auth":
        # A revoked token would be of no use to the others.
        login = {"data": {"api_key": WORLD["api_key"]}}
        try:
            token = ask("PUT", "/v2/api_auth", body=login)["auth_token"]
        except urllib.error.HTTPError:
            # The account may have been switched off by a request before this one: then this is one without a good token.
            token = "none"
    if case.operation.path == "/v2/api_auth" and random.random() < 0.5:
        data = case.body.get("data") if isinstance(case.body, dict) else None
        if isinstance(data, dict) and "api_key" in data:
            data["api_key"] = WORLD["api_key"]
    if random.random() >= 0.05:
        case.headers = dict(case.headers or {})
        case.headers["X-Auth-Token"] = token
