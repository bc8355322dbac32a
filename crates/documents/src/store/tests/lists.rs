//! Lists: their pages, and that each is of what the database has now, whoever wrote it.

use confab_conference::AccountId;

use super::*;

#[tokio::test]
async fn a_list_is_paged_by_id() {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(fixture.created(json!({})).await.1.id);
    }
    ids.sort();
    let list = async |page: ListPage| {
        let documents = fixture
            .store
            .documents(&fixture.account, Kind::Conference, &page)
            .await
            .unwrap();
        documents
            .into_iter()
            .map(|document| document.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(page(ListOrder::Ascending, None, 99)).await, ids);
    assert_eq!(
        list(page(ListOrder::Ascending, Some(&ids[2]), 2)).await,
        ids[2..4]
    );
    assert_eq!(
        list(page(ListOrder::Descending, Some(&ids[1]), 9)).await,
        [ids[1].clone(), ids[0].clone()]
    );
    assert_eq!(list(page(ListOrder::Descending, None, 1)).await, ids[4..]);
    assert!(list(page(ListOrder::Ascending, Some("g"), 1)).await.is_empty());
}

/// Returns what a list has, and that every document of it is as it is when read by itself.
async fn listed(store: &Store, account: &AccountId) -> Vec<Document> {
    let list = store
        .documents(account, Kind::Conference, &page(ListOrder::Ascending, None, 99))
        .await
        .unwrap();
    for document in &list {
        let alone = store
            .document(account, Kind::Conference, &document.id)
            .await
            .unwrap();
        assert_eq!(alone.as_ref(), Some(&**document));
    }
    list.iter().map(|document| Document::clone(document)).collect()
}

#[tokio::test]
async fn a_list_is_of_what_the_database_has_now() {
    let fixture = Fixture::new().await;
    let (here, account, kind) = (&fixture.store, &fixture.account, Kind::Conference);
    // Another server on the same database.
    let there = Store::open_with_key(fixture.dir.path(), &fixture.url, None)
        .await
        .unwrap();
    let (id, first) = fixture
        .created(json!({"name": "A", "member": {"pins": ["1234"]}}))
        .await;
    let (other, second) = fixture.created(json!({"name": "B"})).await;
    let anything = &Expected::Anything;

    let mut both = vec![first, second];
    both.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(listed(here, account).await, both);
    assert_eq!(listed(&there, account).await, both);

    for (store, name) in [(&there, "C"), (here, "D"), (&there, "E")] {
        let change = map(json!({"name": name}));
        let changed = store
            .patch(account, kind, id.as_str(), change, anything)
            .await
            .unwrap();
        for reader in [here, &there] {
            assert!(listed(reader, account).await.contains(&changed), "{name}");
        }
    }

    there.delete(account, kind, id.as_str(), anything).await.unwrap();
    let left = listed(here, account).await;
    assert_eq!(
        left.iter()
            .map(|document| document.id.as_str())
            .collect::<Vec<_>>(),
        [other.as_str()]
    );

    // The same id again, with what it had at first, is a document of its own.
    let again = json!({"id": id.as_str(), "name": "A", "member": {"pins": ["1234"]}});
    let again = there.create(account, kind, map(again)).await.unwrap();
    assert!(listed(here, account).await.contains(&again));
}

#[tokio::test]
async fn equal_documents_of_two_accounts_are_told_apart() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let child = store
        .create_account(&fixture.account, map(json!({"name": "x"})))
        .await
        .unwrap();
    let child = AccountId::from(child.id.as_str());
    let body = map(json!({"id": "0f".repeat(16), "name": "A"}));
    for account in [&fixture.account, &child] {
        store
            .create(account, Kind::Conference, body.clone())
            .await
            .unwrap();
    }
    for account in [&fixture.account, &child, &fixture.account] {
        let list = listed(store, account).await;
        assert!(list.iter().all(|document| document.account_id == *account) && list.len() == 1);
    }
}

#[tokio::test]
async fn a_walk_meets_everybody_once_though_somebody_is_renamed() {
    let fixture = Fixture::new().await;
    let (store, account, kind) = (&fixture.store, &fixture.account, Kind::User);
    for n in 0..9 {
        let user = json!({"first_name": "x", "last_name": format!("n{n}")});
        store.create(account, kind, map(user)).await.unwrap();
    }
    for new_name in ["zzz", "aaa"] {
        let mut seen = Vec::new();
        let mut start: Option<String> = None;
        loop {
            let page = page(ListOrder::Ascending, start.as_deref(), 3);
            let mut users = store.documents(account, kind, &page).await.unwrap();
            // The last begins the next page, and is called otherwise by then.
            let next = (users.len() == 3).then(|| users.pop()).flatten();
            seen.extend(users.iter().map(|user| user.id.clone()));
            let Some(next) = next else { break };
            start = Some(ListPage::place_of(&next));
            let change = map(json!({"last_name": new_name}));
            store
                .patch(account, kind, &next.id, change, &Expected::Anything)
                .await
                .unwrap();
            if seen.len() > 20 {
                break;
            }
        }
        let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
        // Who is called otherwise may be met at his old place, his new one, or not; nobody else is missed or met twice.
        assert!(
            seen.len() - distinct.len() <= 1 && seen.len() < 20,
            "{new_name}: {seen:?}"
        );
    }
}
