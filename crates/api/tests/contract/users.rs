//! Checklist 3-5, 194, 195: users, and logins with their credentials.

use confab_documents::Credentials;
use serde_json::{Value, json};

use crate::support::{Reply, Server};

fn person(more: Value) -> Value {
    let mut person = json!({"first_name": "Ada", "last_name": "Lovelace"});
    person
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    person
}

fn md5(username: &str, password: &str) -> String {
    digest(Credentials::md5_of(username, password))
}

fn sha(username: &str, password: &str) -> String {
    digest(Credentials::sha1_of(username, password))
}

fn digest(credentials: Credentials) -> String {
    match credentials {
        Credentials::Md5(digest) | Credentials::Sha1(digest) => digest,
    }
}

impl Server {
    async fn log_in(&self, data: Value) -> Reply {
        self.send("PUT", "/v2/user_auth", &[], &json!({ "data": data }).to_string())
            .await
    }

    async fn ada(&self) -> String {
        self.made("/users", person(json!({"username": "ada", "password": "engine"})))
            .await
    }
}

#[tokio::test]
async fn line_003_004_005_credentials_are_taken_in_both_hashes_and_by_every_name_of_the_account() {
    let server = Server::start().await;
    let user = server.ada().await;
    let realm = server.get("").await.data()["realm"].clone();
    server
        .conference(json!({"conference_numbers": ["5551234"]}))
        .await;
    let good = md5("ada", "engine");
    for login in [
        json!({"credentials": good, "account_name": "ACME, inc"}),
        json!({"credentials": good, "method": "md5", "account_name": "acmeinc"}),
        json!({"credentials": sha("ada", "engine"), "method": "sha", "account_name": "Acme Inc"}),
        json!({"credentials": good, "realm": realm}),
        json!({"credentials": good, "account_realm": realm}),
        json!({"credentials": good.to_uppercase(), "phone_number": "+5551234"}),
    ] {
        let reply = server.log_in(login.clone()).await;
        assert_eq!(reply.status, 201, "{login}: {}", reply.text);
        assert_eq!(reply.data()["account_id"], server.account.as_str());
        assert_eq!(reply.data()["account_name"], "Acme Inc");
        assert_eq!(reply.data()["owner_id"], user.as_str());
        let token = reply.json["auth_token"].as_str().unwrap();
        assert!(reply.data().get("auth_token").is_none());
        let uri = format!("/v2/user_auth/{token}");
        let shown = server.send("GET", &uri, &[("x-auth-token", token)], "").await;
        assert_eq!(
            (shown.status.as_u16(), &shown.data()["owner_id"]),
            (200, &json!(user))
        );
        assert_eq!(shown.data()["method"], "cb_user_auth");
    }
    for wrong in [
        json!({"credentials": md5("ada", "Engine"), "realm": realm}),
        json!({"credentials": good, "method": "sha", "realm": realm}),
        json!({"credentials": good, "realm": "elsewhere.example"}),
        json!({"credentials": good, "account_name": "nobody"}),
        json!({"credentials": good, "account_name": ""}),
        json!({"credentials": good}),
        json!({"credentials": good, "realm": realm, "action": "x"}),
    ] {
        server.log_in(wrong).await.is_error(401, "invalid_credentials");
    }
    let uri = format!("/v2/user_auth/{}", "0".repeat(64));
    let other = server
        .send("GET", &uri, &[("x-auth-token", server.token.as_str())], "")
        .await;
    other.is_error(404, "bad_identifier");
}

#[tokio::test]
async fn what_is_wrong_with_a_login_is_told() {
    let server = Server::start().await;
    let name = "Acme Inc";
    server
        .log_in(json!({"account_name": name}))
        .await
        .breaks("credentials", "required");
    for (credentials, rule) in [
        (json!(""), "minLength"),
        (json!("x".repeat(65)), "maxLength"),
        (json!(5), "type"),
    ] {
        let login = json!({"account_name": name, "credentials": credentials});
        server.log_in(login).await.breaks("credentials", rule);
    }
    let login = json!({"account_name": name, "credentials": "x", "method": "rot13"});
    server.log_in(login).await.breaks("method", "enum");
    let login = json!({"account_name": 5, "credentials": "x"});
    server.log_in(login).await.breaks("account_name", "type");
}

#[tokio::test]
async fn line_194_a_user_needs_both_names_and_a_mail_address_that_is_one() {
    let server = Server::start().await;
    let create = |data: Value| json!({ "data": data });
    let reply = server
        .ask("PUT", "/users", create(json!({"first_name": "Ada"})))
        .await;
    reply.breaks("last_name", "required");
    let reply = server
        .ask("PUT", "/users", create(person(json!({"email": "nowhere"}))))
        .await;
    reply.breaks("email", "wrong_format");
    assert_eq!(reply.data()["email"]["wrong_format"]["value"], "nowhere");
}

#[tokio::test]
async fn line_195_a_password_is_taken_and_never_told() {
    let server = Server::start().await;
    let secret = "correct-horse";
    let made = server
        .ask(
            "PUT",
            "/users",
            json!({"data": person(json!({"username": "ada", "password": secret}))}),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.data()["id"].as_str().unwrap();
    let path = format!("/users/{id}");
    let shown = server.get(&path).await;
    let listed = server.get("/users").await;
    // What was read may be written back: the password stays.
    let posted = server.ask("POST", &path, json!({"data": shown.data()})).await;
    assert_eq!(posted.status, 200, "{}", posted.text);
    let renamed = server
        .ask("PATCH", &path, json!({"data": {"first_name": "Countess"}}))
        .await;
    for reply in [&made, &shown, &listed, &posted, &renamed] {
        assert!(
            !reply.text.contains(secret) && !reply.text.contains("password"),
            "{}",
            reply.text
        );
    }
    let login = |password: &str| json!({"credentials": md5("ada", password), "account_name": "Acme Inc"});
    assert_eq!(server.log_in(login(secret)).await.status, 201);
    // A new password takes the place of the old one and ends the tokens made with it.
    let token = server.log_in(login(secret)).await.json["auth_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let changed = server
        .ask("PATCH", &path, json!({"data": {"password": "battery-staple"}}))
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let ended = server
        .send("GET", "/v2/token_auth", &[("x-auth-token", token.as_str())], "")
        .await;
    assert_eq!(ended.status, 401);
    server
        .log_in(login(secret))
        .await
        .is_error(401, "invalid_credentials");
    assert_eq!(server.log_in(login("battery-staple")).await.status, 201);
}

#[tokio::test]
async fn a_username_is_unique_and_goes_with_a_password() {
    let server = Server::start().await;
    let id = server.ada().await;
    let path = format!("/users/{id}");
    let twice = json!({"data": person(json!({"username": "ADA", "password": "other"}))});
    let twice = server.ask("PUT", "/users", twice).await;
    twice.breaks("username", "unique");
    let detail = &twice.data()["username"]["unique"];
    assert_eq!(detail["message"], "Username must be unique within account");
    let create = |more: Value| json!({ "data": person(more) });
    let reply = server
        .ask("PUT", "/users", create(json!({"username": "eve"})))
        .await;
    reply.breaks("password", "required");
    let reply = server
        .ask("PUT", "/users", create(json!({"password": "secret"})))
        .await;
    reply.breaks("username", "required");
    let reply = server
        .ask("PATCH", &path, json!({"data": {"username": "augusta"}}))
        .await;
    reply.breaks("password", "required");
    let both = json!({"data": {"username": "augusta", "password": "engine"}});
    assert_eq!(server.ask("PATCH", &path, both).await.status, 200);
    let login = |name: &str| json!({"credentials": md5(name, "engine"), "account_name": "Acme Inc"});
    assert_eq!(server.log_in(login("augusta")).await.status, 201);
    server
        .log_in(login("ada"))
        .await
        .is_error(401, "invalid_credentials");
    // Without a name there is no login, and the name is free again.
    assert_eq!(
        server
            .ask("PATCH", &path, json!({"data": {"username": null}}))
            .await
            .status,
        200
    );
    server
        .log_in(login("augusta"))
        .await
        .is_error(401, "invalid_credentials");
    server
        .made("/users", person(json!({"username": "augusta", "password": "x"})))
        .await;
    let (child, token) = server.child(&server.account).await;
    let body = create(json!({"username": "augusta", "password": "x"})).to_string();
    let uri = format!("/v2/accounts/{child}/users");
    let elsewhere = server
        .send("PUT", &uri, &[("x-auth-token", token.as_str())], &body)
        .await;
    assert_eq!(elsewhere.status, 201, "{}", elsewhere.text);
}

#[tokio::test]
async fn who_is_disabled_or_deleted_is_out_at_once() {
    let server = Server::start().await;
    let id = server.ada().await;
    let path = format!("/users/{id}");
    let login = json!({"credentials": md5("ada", "engine"), "account_name": "Acme Inc"});
    for (verb, body) in [
        ("PATCH", json!({"data": {"enabled": false}})),
        ("DELETE", Value::Null),
    ] {
        let token = server.log_in(login.clone()).await.json["auth_token"]
            .as_str()
            .unwrap()
            .to_owned();
        let uri = server.uri("/users");
        let headers = [("x-auth-token", token.as_str())];
        assert_eq!(server.send("GET", &uri, &headers, "").await.status, 200);
        assert_eq!(server.ask(verb, &path, body).await.status, 200);
        assert_eq!(server.send("GET", &uri, &headers, "").await.status, 401);
        server
            .log_in(login.clone())
            .await
            .is_error(401, "invalid_credentials");
        server
            .ask("PATCH", &path, json!({"data": {"enabled": true}}))
            .await;
    }
}

#[tokio::test]
async fn users_are_listed_by_last_and_first_name() {
    let server = Server::start().await;
    for (first, last) in [
        ("Charles", "Babbage"),
        ("ada", "lovelace"),
        ("Byron", "Lovelace"),
        ("Alan", "Turing"),
    ] {
        server
            .made(
                "/users",
                json!({"first_name": first, "last_name": last, "custom": "x"}),
            )
            .await;
    }
    let names = |reply: &Reply| -> Vec<String> {
        let items = reply.data().as_array().unwrap();
        items
            .iter()
            .map(|item| item["first_name"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = server.get("/users?filter_custom=x").await;
    assert_eq!(names(&all), ["Charles", "ada", "Byron", "Alan"]);
    let back = server.get("/users?filter_custom=x&descending=true").await;
    assert_eq!(names(&back), ["Alan", "Byron", "ada", "Charles"]);
    let (mut seen, mut key) = (Vec::new(), String::new());
    loop {
        let page = server
            .get(&format!("/users?filter_custom=x&page_size=1&start_key={key}"))
            .await;
        seen.extend(names(&page));
        match page.json["next_start_key"].as_str() {
            Some(next) => key = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, names(&all));
    let item = &all.data()[1];
    assert_eq!(item["features"], json!(["vm_to_email"]));
    assert_eq!(
        (item["priv_level"].as_str(), &item["flags"]),
        (Some("user"), &json!([]))
    );
}
