mod files;
mod lists;
mod media;
mod registrations;
mod secrets;

use confab_conference::ConferenceId;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::document::{Body, Document, Expected, Revision};
use crate::error::SaveError;
use crate::kind::Kind;

struct Fixture {
    store: Store,
    account: confab_conference::AccountId,
    dir: TempDir,
    url: String,
}

impl Fixture {
    /// On the database that the run is for.
    async fn new() -> Fixture {
        Fixture::at(confab_testkit::database::fresh()).await
    }

    /// On SQLite.
    async fn in_files() -> Fixture {
        Fixture::at(String::new()).await
    }

    async fn at(url: String) -> Fixture {
        let dir = TempDir::new().unwrap();
        let store = Store::open_with_key(dir.path(), &url, None).await.unwrap();
        let first = store
            .bootstrap(BootstrapConfig::default())
            .await
            .unwrap()
            .unwrap();
        Fixture {
            store,
            account: first.account_id,
            dir,
            url,
        }
    }

    async fn create(&self, body: Value) -> Result<Document, SaveError> {
        self.store
            .create(&self.account, Kind::Conference, map(body))
            .await
    }

    async fn created(&self, body: Value) -> (ConferenceId, Document) {
        let document = self.create(body).await.unwrap();
        (ConferenceId::from(document.id.as_str()), document)
    }
}

async fn open(dir: &TempDir) -> Result<Store, StoreError> {
    Store::open_with_key(dir.path(), "", None).await
}

fn map(body: Value) -> Body {
    body.as_object().unwrap().clone()
}

fn violations(result: Result<Document, SaveError>) -> Value {
    match result {
        Err(SaveError::Invalid(violations)) => Value::Object(violations.to_json()),
        other => panic!("expected violations, got {other:?}"),
    }
}

fn page(order: ListOrder, start: Option<&str>, limit: u32) -> ListPage {
    ListPage {
        order,
        start: start.map(str::to_owned),
        limit,
        owner: None,
    }
}

#[tokio::test]
async fn a_document_lives_through_its_revisions() {
    let fixture = Fixture::new().await;
    let (store, account) = (&fixture.store, &fixture.account);
    let (id, one) = fixture
        .created(json!({"name": "A", "custom": {"x": 1, "y": 2}}))
        .await;
    assert_eq!(one.revision.saves, 1);
    assert_eq!(store.conference(account, &id).await.unwrap().as_ref(), Some(&one));

    // c068: PATCH merges, null deletes, lists are replaced.
    let change = json!({"custom": {"x": null, "z": 3}, "member": {"pins": ["1"]}, "flags": ["a"]});
    let two = store
        .patch(
            account,
            Kind::Conference,
            id.as_str(),
            map(change),
            &Expected::Anything,
        )
        .await
        .unwrap();
    assert_eq!(two.revision.saves, 2);
    assert_eq!(two.body["custom"], json!({"y": 2, "z": 3}));
    assert_eq!(
        two.body["member"],
        json!({"join_deaf": false, "join_muted": true, "numbers": [], "pins": ["1"]})
    );
    assert_eq!(two.created, one.created);

    // c069: a change that breaks a rule changes nothing.
    let change = map(json!({"member": {"pins": ["x"]}}));
    let refused = store
        .patch(
            account,
            Kind::Conference,
            id.as_str(),
            change,
            &Expected::Anything,
        )
        .await;
    assert_eq!(violations(refused)["member.pins.0"]["pattern"]["value"], "x");
    assert_eq!(store.conference(account, &id).await.unwrap(), Some(two.clone()));

    // c067: POST replaces.
    let body = map(json!({"name": "B"}));
    let three = store
        .replace(account, Kind::Conference, id.as_str(), body, &Expected::Anything)
        .await
        .unwrap();
    assert_eq!(three.body.get("custom"), None);
    assert_eq!(three.body["member"]["pins"], json!([]));

    // A writer who expects an older revision is refused, one who knows the present one is not.
    let stale = Expected::OneOf(vec![two.revision]);
    let refused = store
        .patch(account, Kind::Conference, id.as_str(), Body::new(), &stale)
        .await;
    assert!(matches!(refused, Err(SaveError::Conflict)));
    assert!(matches!(
        store.delete(account, Kind::Conference, id.as_str(), &stale).await,
        Err(SaveError::Conflict)
    ));
    let refused = store
        .delete(
            account,
            Kind::Conference,
            id.as_str(),
            &Expected::OneOf(Vec::new()),
        )
        .await;
    assert!(matches!(refused, Err(SaveError::Conflict)));
    let current = Expected::OneOf(vec![three.revision]);
    let gone = store
        .delete(account, Kind::Conference, id.as_str(), &current)
        .await
        .unwrap();
    assert_eq!((gone.body["name"].as_str(), gone.revision.saves), (Some("B"), 4));

    // c070, c072: deleted is gone for every verb.
    assert_eq!(store.conference(account, &id).await.unwrap(), None);
    let anything = &Expected::Anything;
    assert!(matches!(
        store
            .delete(account, Kind::Conference, id.as_str(), anything)
            .await,
        Err(SaveError::NotFound)
    ));
    let refused = store
        .replace(account, Kind::Conference, id.as_str(), Body::new(), anything)
        .await;
    assert!(matches!(refused, Err(SaveError::NotFound)));
    assert_eq!(
        store
            .documents(account, Kind::Conference, &page(ListOrder::Ascending, None, 9))
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn an_id_may_be_chosen_when_it_is_free() {
    let fixture = Fixture::new().await;
    let wanted = "0f".repeat(16);
    let (id, _) = fixture.created(json!({"id": wanted})).await;
    assert_eq!(id.as_str(), wanted);
    assert!(matches!(
        fixture.create(json!({"id": wanted})).await,
        Err(SaveError::Conflict)
    ));
    assert!(violations(fixture.create(json!({"id": "Team"})).await)["id"]["pattern"].is_object());
    fixture
        .store
        .delete(
            &fixture.account,
            Kind::Conference,
            id.as_str(),
            &Expected::Anything,
        )
        .await
        .unwrap();
    assert_eq!(
        fixture
            .create(json!({"id": wanted}))
            .await
            .unwrap()
            .revision
            .saves,
        3
    );
}

#[tokio::test]
async fn c054_to_c058_a_number_belongs_to_one_conference_of_an_account() {
    let fixture = Fixture::new().await;
    let (store, account) = (&fixture.store, &fixture.account);
    let (id, _) = fixture
        .created(json!({
            "conference_numbers": ["1"], "member": {"numbers": ["2", "1"]}, "moderator": {"numbers": ["3"]}
        }))
        .await;
    for list in [
        json!({"conference_numbers": ["9", "3", "2"]}),
        json!({"member": {"numbers": ["2", "3"]}}),
        json!({"moderator": {"numbers": ["3"], "x": 1}, "member": {"numbers": ["2"]}}),
    ] {
        assert_eq!(
            violations(fixture.create(list.clone()).await),
            json!({"numbers": {"unique": {"message": "Numbers already in use", "cause": "2, 3"}}}),
            "{list}"
        );
    }
    // Its own numbers are no conflict.
    let own = map(json!({"conference_numbers": ["1", "2"]}));
    store
        .patch(account, Kind::Conference, id.as_str(), own, &Expected::Anything)
        .await
        .unwrap();
    // Another account is another world.
    let other = store
        .create_account(account, map(json!({"name": "B"})))
        .await
        .unwrap();
    store
        .create(
            &other.account_id,
            Kind::Conference,
            map(json!({"conference_numbers": ["1"]})),
        )
        .await
        .unwrap();
    // A deleted conference frees its numbers.
    store
        .delete(account, Kind::Conference, id.as_str(), &Expected::Anything)
        .await
        .unwrap();
    assert_eq!(store.route(account, "1").await.unwrap(), None);
    fixture
        .create(json!({"conference_numbers": ["1", "2", "3"]}))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_list_of_a_number_gives_the_role() {
    let fixture = Fixture::new().await;
    let (id, _) = fixture
        .created(json!({
            "conference_numbers": ["1", "4"],
            "member": {"numbers": ["2", "4", "5"]}, "moderator": {"numbers": ["3", "5"]}
        }))
        .await;
    let table = [
        ("1", Some(RouteRole::Undecided)),
        ("2", Some(RouteRole::Member)),
        ("3", Some(RouteRole::Moderator)),
        ("4", Some(RouteRole::Undecided)),
        ("5", Some(RouteRole::Undecided)),
        ("6", None),
        (id.as_str(), None),
    ];
    for (number, role) in table {
        let route = fixture.store.route(&fixture.account, number).await.unwrap();
        assert_eq!(route.map(|route| route.role), role, "{number}");
    }
}

#[tokio::test]
async fn an_account_acts_on_itself_and_what_is_below() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let child = async |parent: &confab_conference::AccountId| {
        let account = store
            .create_account(parent, map(json!({"name": "x"})))
            .await
            .unwrap();
        account.account_id
    };
    let root = &fixture.account;
    let (a, b) = (child(root).await, child(root).await);
    let aa = child(&a).await;
    for (actor, target, allowed) in [
        (root, root, true),
        (root, &aa, true),
        (&a, &aa, true),
        (&a, &a, true),
        (&a, &b, false),
        (&b, &aa, false),
        (&aa, &a, false),
        (&a, root, false),
    ] {
        assert_eq!(store.may_act_on(actor, target).await.unwrap(), allowed);
    }
    let taken = store.account(&a).await.unwrap().unwrap().realm.to_uppercase();
    let twice = map(json!({"name": "x", "realm": taken}));
    assert!(matches!(
        store.create_account(root, twice).await,
        Err(SaveError::Invalid(_))
    ));
    let orphan = map(json!({"name": "x"}));
    assert!(matches!(
        store.create_account(&"nobody".into(), orphan).await,
        Err(SaveError::NotFound)
    ));
    let nameless = map(json!({"name": "", "realm": "a b c"}));
    let Err(SaveError::Invalid(found)) = store.create_account(root, nameless).await else {
        panic!()
    };
    assert_eq!(found.iter().count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writers_neither_lose_changes_nor_share_numbers() {
    let fixture = Fixture::new().await;
    let (id, _) = fixture.created(json!({})).await;
    let tasks: Vec<_> = (0..40)
        .map(|n: u32| {
            let (store, account, id) = (fixture.store.clone(), fixture.account.clone(), id.clone());
            tokio::spawn(async move {
                let change = map(json!({ format!("key{n}"): n }));
                store
                    .patch(
                        &account,
                        Kind::Conference,
                        id.as_str(),
                        change,
                        &Expected::Anything,
                    )
                    .await
                    .unwrap();
                let wanted = map(json!({"conference_numbers": [(n % 4).to_string()]}));
                store.create(&account, Kind::Conference, wanted).await.is_ok()
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += usize::from(task.await.unwrap());
    }
    assert_eq!(made, 4, "each of four numbers was given once");
    let document = fixture
        .store
        .conference(&fixture.account, &id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(document.revision.saves, 41);
    assert!((0..40).all(|n| document.body[&format!("key{n}")] == json!(n)));
}

#[tokio::test]
async fn a_row_changed_from_outside_is_unreadable_and_no_panic() {
    let fixture = Fixture::new().await;
    let (id, _) = fixture.created(json!({"bridge_password": "x"})).await;
    for body in ["not json", "[]", r#"{"bridge_password":"clear text"}"#] {
        let update = sqlx::query("UPDATE documents SET body = $1 WHERE id = $2")
            .bind(body)
            .bind(id.as_str());
        update.execute(fixture.store.pool()).await.unwrap();
        let error = fixture.store.conference(&fixture.account, &id).await.unwrap_err();
        assert!(
            matches!(error, StoreError::UnreadableDocument { .. }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn the_revision_hash_depends_on_the_content() {
    let fixture = Fixture::new().await;
    let (id, one) = fixture.created(json!({"name": "A"})).await;
    let change = map(json!({"name": "B"}));
    let two = fixture
        .store
        .patch(
            &fixture.account,
            Kind::Conference,
            id.as_str(),
            change,
            &Expected::Anything,
        )
        .await
        .unwrap();
    assert_ne!(one.revision.hash, two.revision.hash);
    assert_eq!(two.revision.to_string().parse::<Revision>(), Ok(two.revision));
}
