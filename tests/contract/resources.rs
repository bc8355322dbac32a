//! Lines about accounts, users, devices and media: 3 to 5, 12, 13, 29 to 31, 58, 185 to 188, 194 to 196, 200, 201.

use confab_testkit::server::{HttpAnswer, HttpClient};
use serde_json::{Value, json};

use crate::fixture::{breaks, is_error, is_success, number, site};

/// Of `ada:lovelace1`.
const MD5: &str = "a21ffd87c1687e4766259749f3b64639";
const SHA1: &str = "547f14b0bf51466cf8ff8b3db27465c499f3b89f";

/// Returns a name that nothing else has.
fn name(what: &str) -> String {
    format!("{what}{}", number())
}

/// Makes an account below the master's with a client of its own.
fn child() -> (Value, HttpClient) {
    let answer = site().api.request(
        "PUT",
        "/v2/accounts",
        Some(&json!({"data": {"name": name("child")}})),
    );
    let account = is_success(&answer.expect("answered"), 201);
    let id = account["id"].as_str().expect("an id");
    let key = site()
        .api
        .request("GET", &format!("/v2/accounts/{id}/api_key"), None)
        .expect("answered");
    let key = is_success(&key, 200)["api_key"]
        .as_str()
        .expect("a key")
        .to_owned();
    let client = HttpClient::log_in(site().server.http, id, &key).expect("a login");
    (account, client)
}

/// Makes an account with the user Ada in it.
fn ada() -> Value {
    let (account, client) = child();
    let user =
        json!({"data": {"first_name": "Ada", "last_name": "L", "username": "ada", "password": "lovelace1"}});
    is_success(
        &client.account("PUT", "/users", Some(&user)).expect("answered"),
        201,
    );
    account
}

fn log_in(data: Value) -> HttpAnswer {
    let body = json!({ "data": data }).to_string();
    site().anonymous("PUT", "/v2/user_auth", &[], &body)
}

/// Asserts a login and that its token is good.
fn is_login(answer: &HttpAnswer, account: &Value) {
    let data = is_success(answer, 201);
    assert_eq!(data["account_id"], account["id"]);
    assert!(
        data["owner_id"].as_str().is_some_and(|id| id.len() == 32),
        "{data}"
    );
    let token = answer.json()["auth_token"].as_str().expect("a token").to_owned();
    let client =
        HttpClient::anonymous(site().server.http).with_token(account["id"].as_str().expect("an id"), &token);
    assert_eq!(
        client
            .account("GET", "/conferences", None)
            .expect("answered")
            .status,
        200
    );
}

#[test]
fn line_003_a_user_logs_in_by_md5() {
    let account = ada();
    is_login(
        &log_in(json!({"credentials": MD5, "method": "md5", "account_name": account["name"]})),
        &account,
    );
    is_login(
        &log_in(json!({"credentials": MD5, "account_name": account["name"]})),
        &account,
    );
}

#[test]
fn line_004_a_user_logs_in_by_sha1() {
    let account = ada();
    is_login(
        &log_in(json!({"credentials": SHA1, "method": "sha", "account_name": account["name"]})),
        &account,
    );
}

#[test]
fn line_005_a_realm_names_the_account_and_wrong_credentials_get_nothing() {
    let account = ada();
    is_login(
        &log_in(json!({"credentials": MD5, "realm": account["realm"]})),
        &account,
    );
    is_login(
        &log_in(json!({"credentials": MD5, "account_realm": account["realm"]})),
        &account,
    );
    for data in [
        json!({"credentials": "0".repeat(32), "realm": account["realm"]}),
        json!({"credentials": MD5, "realm": "nobody.example.com"}),
        json!({"credentials": SHA1, "method": "md5", "realm": account["realm"]}),
    ] {
        is_error(&log_in(data), 401, "invalid_credentials");
    }
}

fn list(client: &HttpClient, account: &str) -> HttpAnswer {
    let answer = client.request("GET", &format!("/v2/accounts/{account}/conferences"), None);
    answer.expect("answered")
}

#[test]
fn line_012_an_account_beside_ones_own_is_out_of_reach() {
    let ((one, client), (other, _)) = (child(), child());
    is_success(&list(&client, one["id"].as_str().expect("an id")), 200);
    is_error(
        &list(&client, other["id"].as_str().expect("an id")),
        403,
        "forbidden",
    );
    is_error(&list(&client, site().api.account_id()), 403, "forbidden");
}

#[test]
fn line_013_an_account_below_ones_own_is_within_reach() {
    let (below, _) = child();
    is_success(&list(&site().api, below["id"].as_str().expect("an id")), 200);
}

/// Makes a device and returns its path below the account.
fn device(data: Value) -> String {
    let document = site().make("devices", data);
    format!("/devices/{}", document["id"].as_str().expect("an id"))
}

fn tag(answer: &HttpAnswer) -> String {
    answer.header("etag").expect("a tag").to_owned()
}

#[test]
fn line_029_the_entity_tag_of_a_device_is_its_revision() {
    let answer = site().get(&device(json!({"name": "phone"})));
    let revision = answer.json()["revision"].as_str().expect("a revision").to_owned();
    assert_eq!(tag(&answer), format!("\"{revision}\""));
}

#[test]
fn line_030_a_device_that_one_has_is_not_sent_again() {
    let path = device(json!({"name": "phone"}));
    let tag = tag(&site().get(&path));
    let again = site().ask_with("GET", &path, &[("If-None-Match", &tag)], &Value::Null);
    assert_eq!((again.status, again.body.len()), (304, 0));
}

#[test]
fn line_031_a_changed_device_has_another_tag() {
    let path = device(json!({"name": "phone"}));
    let before = tag(&site().get(&path));
    is_success(
        &site().ask("PATCH", &path, &json!({"data": {"name": "other phone"}})),
        200,
    );
    let again = site().ask_with("GET", &path, &[("If-None-Match", &before)], &Value::Null);
    assert_eq!(is_success(&again, 200)["name"], "other phone");
    assert_ne!(tag(&again), before);
}

#[test]
fn line_058_accounts_have_numbers_of_their_own() {
    let (number, (_, client)) = (number(), child());
    site().conference(json!({"conference_numbers": [number]}));
    let body = json!({"data": {"conference_numbers": [number]}});
    is_success(
        &client
            .account("PUT", "/conferences", Some(&body))
            .expect("answered"),
        201,
    );
}

#[test]
fn line_185_a_device_needs_a_name_and_nothing_else() {
    site().make("devices", json!({"name": "phone"}));
    breaks(&site().refuses("devices", json!({})), "name", "required");
}

#[test]
fn line_186_a_sip_username_belongs_to_one_device() {
    let user = name("sip");
    device(json!({"name": "one", "sip": {"username": user, "password": "secret1"}}));
    let refused = site().refuses(
        "devices",
        json!({"name": "two", "sip": {"username": user.to_uppercase()}}),
    );
    let told = breaks(&refused, "sip.username", "unique");
    assert_eq!(told["message"], "SIP credentials already in use");
}

#[test]
fn line_187_a_sip_password_has_five_characters() {
    let document = |password: &str| json!({"name": "phone", "sip": {"password": password}});
    assert_eq!(
        breaks(
            &site().refuses("devices", document("1234")),
            "sip.password",
            "minLength"
        )["target"],
        5
    );
    device(document("12345"));
}

#[test]
fn line_188_an_invite_format_is_one_of_those_there_are() {
    let document =
        |format: &str| json!({"name": "phone", "sip": {"invite_format": format, "route": "sip:a@b.example"}});
    let told = breaks(
        &site().refuses("devices", document("pigeon")),
        "sip.invite_format",
        "enum",
    );
    assert!(
        told["target"]
            .as_array()
            .expect("a list")
            .contains(&json!("route")),
        "{told}"
    );
    for format in [
        "contact",
        "username",
        "npan",
        "1npan",
        "e164",
        "route",
        "strip_plus",
    ] {
        device(document(format));
    }
}

#[test]
fn line_194_a_user_has_two_names_and_a_real_address() {
    breaks(
        &site().refuses("users", json!({"first_name": "Ada"})),
        "last_name",
        "required",
    );
    let data = json!({"first_name": "Ada", "last_name": "L", "email": "nowhere"});
    let told = breaks(&site().refuses("users", data), "email", "wrong_format");
    assert_eq!(told["value"], "nowhere");
}

#[test]
fn line_195_a_password_is_taken_and_never_told() {
    let account = ada();
    let id = account["id"].as_str().expect("an id");
    let users = site()
        .api
        .request("GET", &format!("/v2/accounts/{id}/users"), None)
        .expect("answered");
    let user = &is_success(&users, 200)[0];
    let path = format!("/v2/accounts/{id}/users/{}", user["id"].as_str().expect("an id"));
    let read = site().api.request("GET", &path, None).expect("answered");
    assert_eq!(is_success(&read, 200)["username"], "ada");
    for answer in [&users, &read] {
        for secret in ["password", "lovelace1", MD5, SHA1] {
            assert!(!answer.text().contains(secret), "{}", answer.text());
        }
    }
    is_login(
        &log_in(json!({"credentials": MD5, "realm": account["realm"]})),
        &account,
    );
}

#[test]
fn line_196_a_medium_is_made_and_listed() {
    let title = name("jingle");
    let answer = site().ask("PUT", "/media", &json!({"data": {"name": title}}));
    let id = is_success(&answer, 201)["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        answer.header("location"),
        Some(site().url(&format!("/media/{id}")).as_str())
    );
    let list = is_success(&site().get("/media?paginate=false"), 200);
    let item = list
        .as_array()
        .expect("a list")
        .iter()
        .find(|item| item["id"] == json!(id))
        .expect("listed");
    assert_eq!(
        (&item["name"], &item["media_source"], &item["is_prompt"]),
        (&json!(title), &json!("upload"), &json!(false))
    );
}

#[test]
fn line_200_media_are_found_by_name() {
    let title = name("jingle");
    let made = site().make("media", json!({"name": title}));
    site().make("media", json!({"name": name("other")}));
    let found = is_success(&site().get(&format!("/media?filter_name={title}")), 200);
    assert_eq!(
        (found.as_array().map(Vec::len), &found[0]["id"]),
        (Some(1), &made["id"])
    );
}

#[test]
fn line_201_a_deleted_medium_is_gone() {
    let title = name("jingle");
    let made = site().make("media", json!({"name": title}));
    let id = made["id"].as_str().expect("an id");
    let path = format!("/media/{id}");
    is_success(&site().ask("DELETE", &path, &Value::Null), 200);
    is_error(&site().get(&path), 404, "bad_identifier");
    assert_eq!(
        is_success(&site().get(&format!("/media?filter_name={title}")), 200),
        json!([])
    );
    let conference = site().conference(json!({}));
    let play = json!({"action": "play", "data": {"media_id": id}});
    is_error(&site().ask("PUT", &conference, &play), 404, "bad identifier");
}
