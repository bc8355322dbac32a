use confab_conference::{AccountId, GregorianSeconds};
use serde_json::json;

use super::{Fixture, map};
use crate::document::Expected;
use crate::kind::Kind;
use crate::store::wall_clock;
use crate::{Registration, RegistrationKey, Store};

const KINDS: [Kind; 3] = [Kind::Account, Kind::Device, Kind::User];

fn row(account: &AccountId, device: &str, binding: u64, lasts: i64, body: &str) -> Registration {
    Registration {
        key: RegistrationKey {
            account: account.clone(),
            device: device.to_owned(),
            binding,
        },
        expires: GregorianSeconds(wall_clock::now().0.saturating_add_signed(lasts)),
        body: body.to_owned(),
    }
}

#[tokio::test]
async fn bindings_rest_until_they_are_over_taken_back_or_without_their_device() {
    let fixture = Fixture::new().await;
    let (store, account) = (&fixture.store, &fixture.account);
    let mut devices = Vec::new();
    for name in ["a", "b", "c"] {
        let made = store
            .create(account, Kind::Device, map(json!({ "name": name })))
            .await;
        devices.push(made.unwrap().id);
    }
    devices.sort();
    let first: Vec<Registration> = vec![
        row(account, &devices[0], 1, 100, "{\"a\":\"it's\"}"),
        row(account, &devices[0], 2, 100, "{}"),
        row(account, &devices[1], 3, 100, "{}"),
        row(account, &devices[2], 4, -1, "{}"),
        row(account, "0123456789abcdef0123456789abcdef", 5, 100, "{}"),
    ];
    store.save_registrations(&first, &[]).await.unwrap();
    let changed = row(account, &devices[0], 1, 200, "{\"b\":2}");
    let gone = [first[1].key.clone(), first[3].key.clone()];
    store
        .save_registrations(std::slice::from_ref(&changed), &gone)
        .await
        .unwrap();
    assert_eq!(
        store.registrations().await.unwrap(),
        [changed.clone(), first[2].clone()]
    );
    let deleted = store.delete(account, Kind::Device, &devices[1], &Expected::Anything);
    deleted.await.unwrap();
    assert_eq!(
        store.registrations().await.unwrap(),
        std::slice::from_ref(&changed)
    );
    store.close().await;
    let again = Store::open_with_key(fixture.dir.path(), &fixture.url, None)
        .await
        .unwrap();
    assert_eq!(again.registrations().await.unwrap(), [changed]);
    again.close().await;
}

#[tokio::test]
async fn thousands_of_bindings_are_written_at_once() {
    let fixture = Fixture::new().await;
    let (store, account) = (&fixture.store, &fixture.account);
    let device = store
        .create(account, Kind::Device, map(json!({ "name": "a" })))
        .await
        .unwrap()
        .id;
    let rows: Vec<Registration> = (0..2500).map(|n| row(account, &device, n, 100, "{}")).collect();
    store.save_registrations(&rows, &[]).await.unwrap();
    let keys: Vec<RegistrationKey> = rows[..2000].iter().map(|row| row.key.clone()).collect();
    store.save_registrations(&rows[2000..], &keys).await.unwrap();
    assert_eq!(store.registrations().await.unwrap().len(), 500);
    store.close().await;
}

#[tokio::test]
async fn servers_on_one_database_know_their_own_bindings() {
    let fixture = Fixture::new().await;
    if fixture.url.is_empty() {
        return;
    }
    let key = std::fs::read_to_string(fixture.dir.path().join("confab.key")).unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let other = Store::open_with_key(dir.path(), &fixture.url, Some(key.trim().to_owned()))
        .await
        .unwrap();
    let made = other
        .create(&fixture.account, Kind::Device, map(json!({ "name": "a" })))
        .await;
    let mine = row(&fixture.account, &made.unwrap().id, 1, 100, "{}");
    fixture
        .store
        .save_registrations(std::slice::from_ref(&mine), &[])
        .await
        .unwrap();
    assert_eq!(other.registrations().await.unwrap(), []);
    assert_eq!(fixture.store.registrations().await.unwrap(), [mine]);
}

#[tokio::test]
async fn a_device_is_found_by_what_it_shows() {
    let fixture = Fixture::new().await;
    let (store, account) = (&fixture.store, &fixture.account);
    let realm = store.account(account).await.unwrap().unwrap().realm;
    let owner = map(json!({ "first_name": "A", "last_name": "B" }));
    let owner = store.create(account, Kind::User, owner).await.unwrap().id;
    let body = json!({ "name": "a", "owner_id": owner, "sip": { "username": "Desk", "password": "secret" } });
    let desk = store.create(account, Kind::Device, map(body)).await.unwrap().id;
    let body =
        json!({ "name": "b", "sip": { "username": "desk", "password": "other", "realm": "phones.example" } });
    let own = store.create(account, Kind::Device, map(body)).await.unwrap().id;
    let body = json!({ "name": "c", "sip": { "method": "ip", "ip": "192.0.2.9" } });
    let gateway = store.create(account, Kind::Device, map(body)).await.unwrap().id;

    let found = store
        .device_by_username(&realm.to_uppercase(), "dESK")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.device.id.as_str(), found.realm.as_str(), found.enabled),
        (desk.as_str(), realm.as_str(), true)
    );
    assert_eq!(found.device.body["sip"]["password"], "secret");
    let found = store
        .device_by_username("phones.example", "desk")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.device.id, found.realm.as_str()), (own, "phones.example"));
    assert!(
        store
            .device_by_username("other.example", "desk")
            .await
            .unwrap()
            .is_none()
    );
    let found = store
        .device_by_address("::ffff:192.0.2.9".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.device.id, gateway);
    for (realm, serves) in [
        (realm.as_str(), true),
        ("Phones.example", true),
        ("other.example", false),
    ] {
        assert_eq!(store.serves_realm(realm).await.unwrap(), serves, "{realm}");
    }

    let (_, since) = store.changes_since(wall_clock::now(), &KINDS).await.unwrap();
    let off = map(json!({ "enabled": false }));
    store
        .patch(account, Kind::User, &owner, off, &Expected::Anything)
        .await
        .unwrap();
    let (changes, _) = store.changes_since(since, &KINDS).await.unwrap();
    assert!(
        changes
            .iter()
            .any(|change| change.kind == Kind::User && change.id == owner)
    );
    let found = store.device_by_username(&realm, "desk").await.unwrap().unwrap();
    assert!(!found.enabled, "its owner is switched off");
    store
        .delete(account, Kind::Device, &desk, &Expected::Anything)
        .await
        .unwrap();
    assert!(store.device_login(account, &desk).await.unwrap().is_none());
    assert!(store.device_by_username(&realm, "desk").await.unwrap().is_none());
}
