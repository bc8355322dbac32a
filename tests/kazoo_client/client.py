"""Makes, reads, changes and deletes every kind of document with the KAZOO Python SDK, and prints what it did."""

import sys

from kazoo.client import Client
from kazoo.exceptions import KazooApiAuthenticationError, KazooApiBadDataError, KazooApiError


def refused(error, call, *arguments):
    """The call must fail as the SDK tells it."""
    try:
        call(*arguments)
    except error as what:
        return what
    raise AssertionError(f"{call.__name__} was not refused")


def holds(whole, part):
    """Whether all of part is in whole; defaults may be there besides."""
    if isinstance(part, dict):
        return all(key in whole and holds(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(holds, whole, part))
    return whole == part


def round_trip(client, account, kind, document, change, list_name=None):
    """Create, read, list, change, delete, and gone."""
    made = getattr(client, f"create_{kind}")(account, document)
    assert made["status"] == "success", made
    id = made["data"]["id"]
    shown = {key: value for key, value in document.items() if key != "password"}
    assert holds(made["data"], shown), (kind, made["data"])
    assert "password" not in made["data"], kind
    read = getattr(client, f"get_{kind}")(account, id)
    assert read["data"]["id"] == id and read["revision"], read
    listed = getattr(client, list_name or f"get_{kind}s")(account)["data"]
    assert id in [item["id"] for item in listed], (kind, listed)
    changed = getattr(client, f"update_{kind}")(account, id, {**read["data"], **change})
    for key, value in change.items():
        assert changed["data"][key] == value, (kind, key, changed["data"])
    gone = getattr(client, f"delete_{kind}")(account, id)
    assert gone["status"] == "success", gone
    refused(KazooApiError, getattr(client, f"get_{kind}"), account, id)
    print(kind, "made, read, listed, changed, deleted")


def main(url, api_key, account, account_name, username, password):
    client = Client(api_key=api_key, base_url=url)
    client.authenticate()
    print("logged in by API key")
    refused(KazooApiError, Client(api_key="0" * 64, base_url=url).authenticate)
    by_name = Client(username=username, password=password, account_name=account_name, base_url=url)
    by_name.authenticate()
    print("logged in by user name")
    wrong = Client(username=username, password="wrong", account_name=account_name, base_url=url)
    refused(KazooApiAuthenticationError, wrong.authenticate)

    assert client.get_account(account)["data"]["name"] == account_name
    child = client.create_account({"name": "child"})["data"]
    assert child["id"] in [item["id"] for item in client.get_account_children(account)["data"]]
    assert child["id"] in [item["id"] for item in client.get_account_descendants(account)["data"]]
    print("account made below the first")

    for where in (account, child["id"]):
        round_trip(client, where, "conference", {"name": "room", "member": {"pins": ["1234"]}}, {"name": "other room"})
        person = {"first_name": "Ada", "last_name": "Byron", "username": "ada", "password": "engine12"}
        round_trip(client, where, "user", person, {"first_name": "Augusta"})
        phone = {"name": "desk", "sip": {"username": "desk1", "password": "secret12"}}
        made = client.create_device(where, phone)["data"]
        assert made["sip"]["username"] == "desk1"
        client.delete_device(where, made["id"])
        round_trip(client, where, "device", {"name": "desk"}, {"name": "other desk"})
        round_trip(client, where, "media", {"name": "greeting"}, {"name": "other"}, "get_all_media")
        trunk = {"name": "carrier", "weight_cost": 30, "rules": ["^\\+?1\\d{10}$"], "gateways": [{"server": "127.0.0.1", "ping_seconds": 0}]}
        hook = {"name": "told", "uri": "https://hooks.example.com/", "http_verb": "post", "hook": "conference", "retries": 2}
        round_trip(client, where, "webhook", hook, {"name": "told more", "retries": 3})
        round_trip(client, where, "local_resource", trunk, {"name": "other carrier"})
    assert client.get_all_devices_status(account)["data"] == []

    told = refused(KazooApiBadDataError, client.create_conference, account, {"name": ""})
    assert "name" in str(told.field_errors if hasattr(told, "field_errors") else told), told
    client.delete_account(child["id"])
    refused(KazooApiError, client.get_account, child["id"])
    print("account deleted")


main(*sys.argv[1:])
print("all done")
