//! What a stolen database tells, and the turns that writers take.

use serde_json::{Value, json};

use super::{Fixture, map};
use crate::document::Expected;
use crate::error::{SaveError, StoreError};
use crate::kind::Kind;
use crate::secret::Credentials;
use crate::store::{AccountName, ListPage, Store};

/// Returns every text of every row of the store.
async fn everything(store: &Store) -> String {
    use sqlx::Row;
    let mut all = String::new();
    let tables = [
        ("server_facts", "name, value"),
        (
            "accounts",
            "id, name, realm, api_key_sha256, api_key_sealed, name_key",
        ),
        ("documents", "id, hash, body, sort_key, COALESCE(owner_id, '')"),
        ("document_keys", "name, scope, value"),
        ("user_passwords", "user_id, username, md5_verifier, sha1_verifier"),
    ];
    for (table, columns) in tables {
        let query = format!("SELECT {columns} FROM {table}");
        for row in sqlx::query(sqlx::AssertSqlSafe(query))
            .fetch_all(store.pool())
            .await
            .unwrap()
        {
            for column in 0..row.len() {
                all.push_str(&row.get::<String, _>(column));
                all.push('\n');
            }
        }
    }
    all
}

#[tokio::test]
async fn a_stolen_database_tells_no_password_and_no_key() {
    let fixture = Fixture::new().await;
    let (store, account) = (&fixture.store, &fixture.account);
    let create = async |kind, body: Value| store.create(account, kind, map(body)).await.unwrap();
    let device = json!({"name": "findable", "sip": {"username": "desk", "password": "swordfish-1"}});
    let device = create(Kind::Device, device).await;
    let trunk =
        json!({"name": "t", "gateways": [{"server": "s"}, {"server": "s", "password": "swordfish-2"}]});
    let trunk = create(Kind::Resource, trunk).await;
    let user = json!({"first_name": "A", "last_name": "B", "username": "ada", "password": "swordfish-3"});
    let user = create(Kind::User, user).await;
    assert_eq!(device.body["sip"]["password"], "swordfish-1");
    for written in [&device, &trunk, &user] {
        let read = store.document(account, written.kind, &written.id).await.unwrap();
        assert_eq!(read.as_ref(), Some(written), "what SIP needs is read back");
    }
    assert!(!user.body.contains_key("password"));
    let key = store.api_key(account).await.unwrap().unwrap();
    let (Credentials::Md5(md5) | Credentials::Sha1(md5)) = Credentials::md5_of("ada", "swordfish-3");
    let (Credentials::Md5(sha) | Credentials::Sha1(sha)) = Credentials::sha1_of("ada", "swordfish-3");
    let all = everything(store).await;
    assert!(all.contains("findable") && all.contains("$argon2id$"));
    for secret in ["swordfish", &key, &md5, &sha] {
        assert!(!all.contains(secret), "{secret}");
    }
    // Nor can a guess at a password be tried on the revision, which is told to everybody.
    let body = Value::Object(device.body.clone()).to_string();
    assert_ne!(crate::Revision::of(&device.id, 1, &body), device.revision);
}

#[tokio::test]
async fn a_login_finds_its_user_among_many_and_after_a_change_of_name() {
    let fixture = Fixture::new().await;
    let (store, account) = (&fixture.store, &fixture.account);
    let mut ids = Vec::new();
    for n in 0..4 {
        let user =
            json!({"first_name": "A", "last_name": "B", "username": format!("u{n}"), "password": "same"});
        ids.push(store.create(account, Kind::User, map(user)).await.unwrap().id);
    }
    let realm = store.account(account).await.unwrap().unwrap().realm;
    let login = async |username: &str, password: &str| {
        let found = store
            .login(
                &AccountName::Realm(realm.to_uppercase()),
                &Credentials::sha1_of(username, password),
            )
            .await
            .unwrap();
        found.map(|login| login.user.id)
    };
    assert_eq!(login("u2", "same").await.as_ref(), Some(&ids[2]));
    assert_eq!(login("u9", "same").await, None);
    let change = map(json!({"username": "new\u{e9}", "password": "other"}));
    store
        .patch(account, Kind::User, &ids[2], change, &Expected::Anything)
        .await
        .unwrap();
    assert_eq!(login("u2", "same").await, None);
    assert_eq!(login("new\u{e9}", "other").await.as_ref(), Some(&ids[2]));
    // A verifier of an older version has no hint and is asked.
    sqlx::query("UPDATE user_passwords SET sha1_hint = NULL")
        .execute(store.pool())
        .await
        .unwrap();
    assert_eq!(login("u1", "same").await.as_ref(), Some(&ids[1]));
    for name in [
        AccountName::Realm("a\0".into()),
        AccountName::PhoneNumber("\0".into()),
        AccountName::Name("\0".into()),
    ] {
        assert!(
            store
                .login(&name, &Credentials::md5_of("u1", "same"))
                .await
                .unwrap()
                .is_none()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_servers_on_one_database_take_turns() {
    let fixture = Fixture::new().await;
    let other = Store::open_with_key(fixture.dir.path(), &fixture.url, None)
        .await
        .unwrap();
    let account = &fixture.account;
    let device = json!({"name": "n"});
    let id = other.create(account, Kind::Device, map(device)).await.unwrap().id;
    let tasks: Vec<_> = (0..20)
        .map(|n: u32| {
            let store = if n.is_multiple_of(2) {
                other.clone()
            } else {
                fixture.store.clone()
            };
            let (account, id) = (account.clone(), id.clone());
            tokio::spawn(async move {
                let change = map(json!({ format!("key{n}"): n }));
                store
                    .patch(&account, Kind::Device, &id, change, &Expected::Anything)
                    .await
                    .unwrap();
                let taken = json!({"name": "n", "sip": {"username": format!("user{}", n % 4)}});
                store.create(&account, Kind::Device, map(taken)).await.is_ok()
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += usize::from(task.await.unwrap());
    }
    assert_eq!(made, 4, "each of four names was given once");
    let device = fixture
        .store
        .document(account, Kind::Device, &id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(device.revision.saves, 21);
    assert!((0..20).all(|n| device.body[&format!("key{n}")] == json!(n)));
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let dir = tempfile::TempDir::new().unwrap();
    // Nobody listens there: the port of the discard service.
    let url = "postgres://confab:swordfish@127.0.0.1:9/confab";
    let error = Store::open_with_key(dir.path(), url, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("postgres://127.0.0.1:9/confab") && !error.contains("swordfish"),
        "{error}"
    );
}

#[tokio::test]
async fn a_writer_of_another_server_who_stalls_is_not_waited_for_without_end() {
    let fixture = Fixture::new().await;
    let other = Store::open_with_key(fixture.dir.path(), &fixture.url, None)
        .await
        .unwrap();
    let stalled = fixture.store.write().await.unwrap();
    let device = map(json!({"name": "n"}));
    let waited = tokio::time::timeout(
        std::time::Duration::from_secs(60),
        other.create(&fixture.account, Kind::Device, device.clone()),
    );
    let refused = waited.await.expect("an answer").unwrap_err();
    assert!(
        matches!(refused, SaveError::Store(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
    let page = ListPage {
        limit: 9,
        ..ListPage::default()
    };
    let read = other
        .documents(&fixture.account, Kind::Device, &page)
        .await
        .unwrap();
    assert_eq!(read, [], "readers go on");
    drop(stalled);
    other
        .create(&fixture.account, Kind::Device, device)
        .await
        .unwrap();
}
