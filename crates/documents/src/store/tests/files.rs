//! What only a store in files can show: the first start, directories, damage, keys.

use serde_json::json;
use tempfile::TempDir;

use super::super::*;
use super::{Fixture, map, open};
use crate::document::{Expected, is_id};
use crate::kind::Kind;
use crate::settings;

#[tokio::test]
async fn the_first_start_makes_a_ready_conference_and_later_starts_change_nothing() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir).await.unwrap();
    assert_eq!(store.bootstrap_account().await.unwrap(), None);
    let config = BootstrapConfig {
        conference_number: "3000".into(),
        ..Default::default()
    };
    let first = store.bootstrap(config.clone()).await.unwrap().unwrap();
    assert!(is_id(first.account_id.as_str()));
    assert_eq!(
        (first.api_key.len(), first.username.as_str(), first.password.len()),
        (64, "admin", 20)
    );
    let route = store.route(&first.account_id, "3000").await.unwrap().unwrap();
    assert_eq!(route.role, RouteRole::Undecided);
    assert_eq!(
        Some(route.document.id.as_str()),
        first.conference.as_ref().map(|(id, _)| id.as_str())
    );
    assert!(!settings(&route.document).member.join_muted);
    assert_eq!(store.bootstrap(config.clone()).await.unwrap(), None);
    store.close().await;

    let store = open(&dir).await.unwrap();
    assert_eq!(store.bootstrap(config).await.unwrap(), None);
    use std::os::unix::fs::PermissionsExt;
    for name in [DATABASE_FILE, "confab.db-wal", "confab.key"] {
        let mode = dir.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name} is for its owner only");
    }
    let account = store.bootstrap_account().await.unwrap().unwrap();
    assert_eq!(
        (account.id, account.realm.as_str()),
        (first.account_id.clone(), first.realm.as_str())
    );
    assert_eq!(
        store.api_key(&first.account_id).await.unwrap(),
        Some(first.api_key)
    );
    assert_eq!(store.route(&first.account_id, "3000").await.unwrap(), Some(route));
}

#[tokio::test]
async fn the_first_start_takes_what_the_configuration_gives() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir).await.unwrap();
    let config = BootstrapConfig {
        account_id: "ab".repeat(16),
        account_name: "Acme".into(),
        realm: "Sip.Example.COM".into(),
        api_key: "K".repeat(64),
        username: "root@acme".into(),
        password: "geheim".into(),
        conference_number: String::new(),
    };
    let first = store.bootstrap(config).await.unwrap().unwrap();
    assert_eq!(first.conference, None);
    let account = store.account_by_realm("SIP.example.com").await.unwrap().unwrap();
    assert_eq!(
        (account.id.as_str(), account.name.as_str()),
        ("ab".repeat(16).as_str(), "Acme")
    );
    assert_eq!(
        store.account_by_api_key(&"K".repeat(64)).await.unwrap(),
        Some(account.clone())
    );
    assert_eq!(store.account(&account.id).await.unwrap(), Some(account));
    for unknown in ["", "k", &"k".repeat(64), &"K".repeat(65)] {
        assert_eq!(store.account_by_api_key(unknown).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_unusable_bootstrap_value_is_named() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir).await.unwrap();
    let table = [
        (
            BootstrapConfig {
                account_id: "x".into(),
                ..Default::default()
            },
            "bootstrap.account_id",
        ),
        (
            BootstrapConfig {
                account_name: "x".repeat(129),
                ..Default::default()
            },
            "bootstrap.account_name",
        ),
        (
            BootstrapConfig {
                realm: "a b".into(),
                ..Default::default()
            },
            "bootstrap.realm",
        ),
        (
            BootstrapConfig {
                api_key: "x".repeat(63),
                ..Default::default()
            },
            "bootstrap.api_key",
        ),
        (
            BootstrapConfig {
                api_key: " ".repeat(64),
                ..Default::default()
            },
            "bootstrap.api_key",
        ),
        (
            BootstrapConfig {
                username: "a b".into(),
                ..Default::default()
            },
            "bootstrap.username",
        ),
        (
            BootstrapConfig {
                conference_number: "3k".into(),
                ..Default::default()
            },
            "bootstrap.conference_number",
        ),
    ];
    for (config, key) in table {
        let error = store.bootstrap(config).await.unwrap_err().to_string();
        assert!(error.starts_with(key), "{error}");
    }
    assert_eq!(store.bootstrap_account().await.unwrap(), None, "nothing was made");
}

#[tokio::test]
async fn two_first_starts_at_once_make_one_account() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (open(&dir).await.unwrap(), open(&dir).await.unwrap());
    let (a, b) = tokio::join!(
        a.bootstrap(BootstrapConfig::default()),
        b.bootstrap(BootstrapConfig::default())
    );
    assert_eq!([a.unwrap(), b.unwrap()].iter().flatten().count(), 1);
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_used_is_named_with_what_to_do() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = Store::open_with_key(&path, "", None)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(path.to_str().unwrap()) && error.contains("--data-dir"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_with_what_to_do() {
    let dir = TempDir::new().unwrap();
    std::fs::write(
        dir.path().join(DATABASE_FILE),
        "this is no database, by far".repeat(100),
    )
    .unwrap();
    let error = open(&dir).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains(DATABASE_FILE) && text.contains("restore it from a backup"),
        "{text}"
    );
}

#[tokio::test]
async fn a_damaged_database_is_found_when_it_is_read() {
    let Fixture {
        store, account, dir, ..
    } = Fixture::in_files().await;
    for _ in 0..20 {
        store
            .create(&account, Kind::Conference, map(json!({"pad": "x".repeat(5000)})))
            .await
            .unwrap();
    }
    store.close().await;
    let path = dir.path().join(DATABASE_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    // Everything after the first page, which holds the header and the table of tables.
    bytes[4096..].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let found = match open(&dir).await {
        Ok(store) => store.bootstrap_account().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(found, Err(StoreError::Corrupt { .. })), "{found:?}");
}

#[tokio::test]
async fn another_key_and_another_version_are_refused() {
    let fixture = Fixture::in_files().await;
    fixture.store.close().await;
    let error = Store::open_with_key(fixture.dir.path(), "", Some("ab".repeat(32)))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::ForeignKey { .. }), "{error:?}");
    assert!(error.to_string().contains("CONFAB_KEY"), "{error}");

    let key_file = fixture.dir.path().join("confab.key");
    let key = std::fs::read_to_string(&key_file).unwrap();
    std::fs::remove_file(&key_file).unwrap();
    let error = open(&fixture.dir).await.unwrap_err();
    assert!(matches!(error, StoreError::MissingKey { .. }), "{error:?}");
    assert!(!key_file.exists(), "no other key takes its place");
    Store::open_with_key(fixture.dir.path(), "", Some(key.clone()))
        .await
        .unwrap()
        .close()
        .await;
    std::fs::write(&key_file, key).unwrap();

    let store = open(&fixture.dir).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', 1, x'00', 0)",
    )
    .execute(store.pool())
    .await
    .unwrap();
    store.close().await;
    let error = open(&fixture.dir).await.unwrap_err();
    assert!(matches!(error, StoreError::OtherVersion { .. }), "{error:?}");
}

#[tokio::test]
async fn a_closed_store_says_that_it_does_not_answer() {
    let fixture = Fixture::in_files().await;
    fixture.store.close().await;
    fixture.store.close().await;
    let error = fixture.store.bootstrap_account().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(
        !fixture.dir.path().join("confab.db-wal").exists(),
        "the log was written back"
    );
}

#[tokio::test]
async fn a_bridge_password_is_sealed_on_disk_and_clear_in_the_document() {
    let fixture = Fixture::in_files().await;
    let secret = "correct-horse-battery";
    let (id, document) = fixture
        .created(json!({"bridge_password": secret, "name": "findable"}))
        .await;
    assert_eq!(document.body["bridge_password"], secret);
    let read = fixture
        .store
        .conference(&fixture.account, &id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read, document);
    let key = fixture.store.api_key(&fixture.account).await.unwrap().unwrap();
    fixture.store.close().await;
    let bytes = std::fs::read(fixture.dir.path().join(DATABASE_FILE)).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(
        holds("findable"),
        "the checkpoint wrote the document into the file"
    );
    assert!(!holds(secret) && !holds(&key));
}

#[tokio::test]
async fn a_store_of_the_first_version_is_brought_up_to_date() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(DATABASE_FILE);
    let first = Dialect::Sqlite.migrations().iter().next().unwrap();
    let options = Address::file(&path).unwrap().options;
    let mut old = AnyConnection::connect_with(&options).await.unwrap();
    let id = "00112233445566778899aabbccddeeff";
    let (hash, body) = ("1".repeat(32), r#"{"name":"Old","owner_id":"o"}"#);
    for sql in [
        first.sql.as_str().to_owned(),
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
           installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL,
           checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)"
            .into(),
        format!(
            "INSERT INTO _sqlx_migrations VALUES (1, 'x', CURRENT_TIMESTAMP, 1, x'{}', 0)",
            hex::encode(&*first.checksum)
        ),
        format!(
            "INSERT INTO accounts VALUES ('{id}', NULL, 'Acme, Inc', 'a.example', 'en-us', 'x', 'x', 5, 6)"
        ),
        format!(
            "INSERT INTO documents VALUES ('{id}', 'conference', '{id}', 3, '{hash}', 7, 8, 0, '{body}')"
        ),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut old)
            .await
            .unwrap();
    }
    old.close().await.unwrap();
    let store = open(&dir).await.unwrap();
    let account = id.into();
    let described = store
        .document(&account, Kind::Account, id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        json!(described.body),
        json!({"name": "Acme, Inc", "realm": "a.example", "language": "en-us", "enabled": true})
    );
    let change = map(json!({"name": "New"}));
    let changed = store
        .patch(&account, Kind::Account, id, change, &Expected::Anything)
        .await
        .unwrap();
    assert_eq!(
        (changed.revision.saves, changed.body["realm"].as_str()),
        (2, Some("a.example"))
    );
    assert_eq!(store.account(&account).await.unwrap().unwrap().name, "New");
    let page = ListPage {
        owner: Some("o".into()),
        limit: 9,
        ..ListPage::default()
    };
    let owned = store.documents(&account, Kind::Conference, &page).await.unwrap();
    assert_eq!((owned.len(), owned[0].revision.saves), (1, 3));
}

/// A full disk makes SQLite roll back by itself, so that the rollback which the driver then sends finds no transaction.
#[tokio::test]
async fn what_a_full_disk_ended_ends_no_later_write() {
    let fixture = Fixture::in_files().await;
    for round in 0..2 * CONNECTIONS {
        let mut write = fixture.store.write().await.unwrap();
        sqlx::query("ROLLBACK").execute(write.connection()).await.unwrap();
        drop(write);
        fixture.created(json!({"name": format!("after {round}")})).await;
    }
}
