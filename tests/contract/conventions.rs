//! Lines 1 to 43: logins, tokens, paths, bodies, the envelope, entity tags, lists.

use std::collections::BTreeSet;
use std::time::Duration;

use confab_testkit::server::{ACCOUNT_ID, API_KEY, HttpAnswer, HttpClient};
use serde_json::{Value, json};

use crate::fixture::{Room, Site, breaks, is_error, is_success, site, soon};

fn log_in(key: &str) -> HttpAnswer {
    let body = json!({"data": {"api_key": key}}).to_string();
    site().anonymous("PUT", "/v2/api_auth", &[], &body)
}

#[test]
fn line_001_an_api_key_gets_a_token() {
    let answer = log_in(API_KEY);
    let data = is_success(&answer, 201);
    assert_eq!(data["account_id"], ACCOUNT_ID);
    let token = answer.json()["auth_token"].as_str().expect("a token").to_owned();
    let client = HttpClient::anonymous(site().server.http).with_token(ACCOUNT_ID, &token);
    assert_eq!(
        client
            .account("GET", "/conferences", None)
            .expect("answered")
            .status,
        200
    );
}

#[test]
fn line_002_an_unknown_api_key_gets_none() {
    let data = is_error(&log_in(&"0".repeat(64)), 404, "bad identifier");
    assert_eq!(data, json!(["0".repeat(64)]));
}

#[test]
fn line_006_without_a_token_nothing_is_told() {
    let answer = site().anonymous("GET", &site().url("/conferences"), &[], "");
    let data = is_error(&answer, 401, "invalid_credentials");
    assert!(data["message"].is_string());
}

#[test]
fn line_007_garbage_for_a_token_gets_401() {
    for token in ["garbage", "{}", "a.b.c", &"f".repeat(64)] {
        let with = [("X-Auth-Token", token)];
        let answer = site().anonymous("GET", &site().url("/conferences"), &with, "");
        is_error(&answer, 401, "invalid_credentials");
    }
}

#[test]
fn line_008_an_expired_token_gets_401() {
    let short = Site::start(&[("http.token_ttl_s", "1")]);
    assert_eq!(short.get("/conferences").status, 200);
    soon("the end of the token", || {
        (short.get("/conferences").status == 401).then_some(())
    });
    is_error(&short.get("/conferences"), 401, "invalid credentials");
}

fn token() -> &'static str {
    site().api.token().expect("logged in")
}

#[test]
fn line_009_a_token_may_stand_in_the_query() {
    let url = format!("{}?auth_token={}", site().url("/conferences"), token());
    assert_eq!(site().anonymous("GET", &url, &[], "").status, 200);
}

#[test]
fn line_010_a_token_may_stand_in_the_body() {
    let body = json!({"data": {}, "auth_token": token()}).to_string();
    let answer = site().anonymous("PUT", &site().url("/conferences"), &[], &body);
    is_success(&answer, 201);
}

#[test]
fn line_011_a_token_may_be_a_bearer_authorization() {
    let bearer = format!("Bearer {}", token());
    let with = [("Authorization", bearer.as_str())];
    assert_eq!(
        site()
            .anonymous("GET", &site().url("/conferences"), &with, "")
            .status,
        200
    );
}

#[test]
fn line_014_an_account_id_of_the_wrong_shape_is_unknown() {
    for id in ["x", "0123456789abcdef", &"0".repeat(33)] {
        let answer = site()
            .api
            .request("GET", &format!("/v2/accounts/{id}/conferences"), None);
        let data = is_error(&answer.expect("answered"), 404, "bad identifier");
        assert_eq!(data, json!({"message": format!("invalid account_id '{id}'")}));
    }
}

#[test]
fn line_015_an_unknown_collection_is_not_found() {
    let data = is_error(&site().get("/nothings"), 404, "not_found");
    assert_eq!(data, json!({"message": "not found"}));
}

#[test]
fn line_016_a_method_that_is_not_taken_is_told_what_is() {
    let answer = site().ask("PATCH", "/conferences", &json!({"data": {}}));
    is_error(&answer, 405, "invalid_method");
    assert_eq!(answer.header("allow"), Some("GET, PUT, OPTIONS"));
    assert_eq!(
        answer.header("access-control-allow-methods"),
        Some("GET, PUT, OPTIONS")
    );
    let headers = answer.header("access-control-allow-headers").expect("a list");
    for name in ["content-type", "x-auth-token", "if-match"] {
        assert!(headers.contains(name), "{headers}");
    }
}

fn create(headers: &[(&str, &str)], body: &str) -> HttpAnswer {
    let url = site().url("/conferences");
    site()
        .api
        .send("PUT", &url, headers, body.as_bytes())
        .expect("answered")
}

#[test]
fn line_017_broken_json_is_told_so() {
    let data = is_error(&create(&[], "{\"data\":{"), 400, "validation error");
    assert_eq!(breaks(&data, "json", "invalid")["target"], "body");
}

#[test]
fn line_018_json_may_be_labelled_as_a_form() {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let data = is_success(&create(&form, r#"{"data":{"name":"form"}}"#), 201);
    assert_eq!(data["name"], "form");
}

#[test]
fn line_019_json_needs_no_label() {
    let data = is_success(&create(&[], r#"{"data":{"name":"bare"}}"#), 201);
    assert_eq!(data["name"], "bare");
}

#[test]
fn line_020_a_body_without_data_makes_nothing() {
    let data = is_error(&create(&[], r#"{"name":"x"}"#), 400, "validation error");
    assert_eq!(
        breaks(&data, "data", "required")["message"],
        "Field is required but missing"
    );
}

#[test]
fn line_021_top_level_keys_are_read_in_any_case() {
    let data = is_success(&create(&[], r#"{"DATA":{"name":"loud"}}"#), 201);
    assert_eq!(data["name"], "loud");
    let body = json!({"Auth-Token": token(), "Data": {}}).to_string();
    let answer = site().anonymous("PUT", &site().url("/conferences"), &[], &body);
    is_success(&answer, 201);
}

#[test]
fn line_022_the_envelope_is_complete() {
    let path = site().conference(json!({}));
    let envelope = site().get(&path).json();
    assert_eq!(envelope["auth_token"], token());
    assert_eq!(envelope["status"], "success");
    for key in ["request_id", "node", "version", "revision"] {
        assert!(
            envelope[key].as_str().is_some_and(|text| !text.is_empty()),
            "{key}: {envelope}"
        );
    }
    let time = envelope["timestamp"].as_str().expect("a time");
    assert!(
        time.len() == 20 && time.ends_with('Z') && &time[10..11] == "T",
        "{time}"
    );
}

#[test]
fn line_023_a_request_id_comes_back_in_body_and_header() {
    let with = [("X-Request-ID", "line-23")];
    for (path, status) in [("/conferences", 200), ("/nothings", 404)] {
        let answer = site().ask_with("GET", path, &with, &Value::Null);
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["request_id"], "line-23");
        assert_eq!(answer.header("x-request-id"), Some("line-23"));
    }
}

#[test]
fn line_024_an_answer_can_be_indented() {
    let lines = |path: &str| site().get(path).text().lines().count();
    assert_eq!(lines("/conferences?page_size=1"), 1);
    assert!(lines("/conferences?page_size=1&pretty_print=true") > 5);
}

#[test]
fn line_025_options_needs_no_token() {
    let with = [("Origin", "https://example.com")];
    let answer = site().anonymous("OPTIONS", &site().url("/conferences"), &with, "");
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    for (header, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, PUT, OPTIONS"),
        ("access-control-max-age", "86400"),
    ] {
        assert_eq!(answer.header(header), Some(value));
    }
}

#[test]
fn line_026_pages_of_any_origin_may_read() {
    let with = [("Origin", "https://example.com")];
    let answer = site().ask_with("GET", "/conferences", &with, &Value::Null);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let exposed = answer.header("access-control-expose-headers").expect("a list");
    assert!(
        exposed.contains("etag") && exposed.contains("location"),
        "{exposed}"
    );
}

#[test]
fn line_027_post_may_carry_another_method() {
    let path = site().conference(json!({}));
    is_success(
        &site().ask("POST", &format!("{path}?verb=delete"), &Value::Null),
        200,
    );
    is_error(&site().get(&path), 404, "bad_identifier");
    let path = site().conference(json!({"name": "A"}));
    let body = json!({"verb": "patch", "data": {"x": 1}});
    let data = is_success(&site().ask("POST", &path, &body), 200);
    assert_eq!((&data["name"], &data["x"]), (&json!("A"), &json!(1)));
}

#[test]
fn line_028_a_body_has_a_largest_size() {
    let body = format!(r#"{{"data":{{"x":"{}"}}}}"#, "x".repeat(8_000_000));
    let answer = create(&[], &body);
    assert_eq!(answer.status, 413);
    assert_eq!(answer.json()["data"]["file"]["maxSize"]["target"], 8_000_000);
}

#[test]
fn line_032_only_reading_is_answered_with_304() {
    let path = site().conference(json!({}));
    let tag = site().get(&path).header("etag").expect("a tag").to_owned();
    for condition in [tag.as_str(), "*"] {
        let with = [("If-None-Match", condition)];
        let answer = site().ask_with("PUT", &path, &with, &json!({"action": "lock"}));
        is_success(&answer, 202);
        assert_eq!(site().ask_with("GET", &path, &with, &Value::Null).status, 304);
    }
}

#[test]
fn line_033_unknown_parameters_are_ignored() {
    let path = site().conference(json!({}));
    is_success(&site().get(&format!("{path}?random=1")), 200);
    let answer = site().ask("PUT", &format!("{path}?random=1"), &json!({"action": "lock"}));
    is_success(&answer, 202);
}

#[test]
fn line_034_the_tag_of_a_conference_follows_who_is_in_it() {
    let room = Room::new(json!({}));
    let tag = || {
        room.site
            .get(&room.path)
            .header("etag")
            .expect("a tag")
            .to_owned()
    };
    let idle = tag();
    let caller = room.member("one");
    let joined = tag();
    assert_ne!(idle, joined);
    room.act_on(&caller, "mute");
    assert_ne!(joined, tag());
}

/// A server whose account has this many conferences named `room N`, and no others.
fn filled(count: usize) -> Site {
    let site = Site::start(&[("bootstrap.conference_number", "\"\"")]);
    for n in 0..count {
        site.conference(json!({"name": format!("room {n}")}));
    }
    site
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["data"].as_array().expect("a list").iter();
    items
        .map(|item| item["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[test]
fn line_035_a_page_has_fifty_items() {
    let site = filled(51);
    let page = site.get("/conferences").json();
    assert_eq!((&page["page_size"], ids(&page).len()), (&json!(50), 50));
    assert!(page["next_start_key"].is_string());
}

#[test]
fn line_036_the_next_page_begins_where_the_first_one_ends() {
    let site = filled(51);
    let first = site.get("/conferences").json();
    let key = first["next_start_key"].as_str().expect("a key");
    let rest = site.get(&format!("/conferences?start_key={key}")).json();
    assert_eq!(ids(&rest).len(), 1);
    assert!(rest.get("next_start_key").is_none());
    let all: BTreeSet<String> = ids(&first).into_iter().chain(ids(&rest)).collect();
    assert_eq!(all.len(), 51);
}

#[test]
fn line_037_the_size_of_a_page_can_be_chosen() {
    let site = filled(5);
    let page = site.get("/conferences?page_size=2").json();
    assert_eq!((&page["page_size"], ids(&page).len()), (&json!(2), 2));
    assert!(page["next_start_key"].is_string());
}

#[test]
fn line_038_pages_can_be_switched_off() {
    let site = filled(51);
    let all = site.get("/conferences?paginate=false").json();
    assert_eq!(ids(&all).len(), 51);
    for key in ["page_size", "start_key", "next_start_key"] {
        assert!(all.get(key).is_none(), "{key}");
    }
}

/// Makes two conferences and returns how many of them a query finds, beside a mark that only they have.
fn found(query: &str, one: Value, other: Value) -> usize {
    let mark = format!("{:?}", std::time::SystemTime::now());
    for mut document in [one, other] {
        document["mark"] = json!(mark);
        site().conference(document);
    }
    std::thread::sleep(Duration::from_millis(1));
    let mark = mark.replace(' ', "%20").replace('{', "%7B").replace('}', "%7D");
    let list = site().get(&format!("/conferences?filter_mark={mark}&{query}"));
    is_success(&list, 200).as_array().expect("a list").len()
}

#[test]
fn line_039_a_filter_finds_a_name() {
    assert_eq!(
        found("filter_name=A", json!({"name": "A"}), json!({"name": "B"})),
        1
    );
}

#[test]
fn line_040_a_filter_may_find_nothing() {
    let list = site().get("/conferences?filter_name=nobody-is-called-this");
    assert_eq!(is_success(&list, 200), json!([]));
}

#[test]
fn line_041_a_filter_may_leave_out() {
    assert_eq!(
        found("filter_not_name=A", json!({"name": "A"}), json!({"name": "B"})),
        1
    );
}

#[test]
fn line_042_a_filter_asks_for_keys_of_ones_own() {
    let (one, other) = (json!({"custom": {"a": 1}}), json!({}));
    assert_eq!(found("has_key=custom", one.clone(), other.clone()), 1);
    assert_eq!(found("has_key=custom.a", one.clone(), other.clone()), 1);
    assert_eq!(found("key_missing=custom", one, other), 1);
}

#[test]
fn line_043_a_filter_reaches_into_objects() {
    let (one, other) = (json!({}), json!({"member": {"join_muted": false}}));
    assert_eq!(found("filter_member.join_muted=true", one, other), 1);
}
