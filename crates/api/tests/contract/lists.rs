//! Checklist 35-43: paging, order, filters.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Reply, Server};

fn ids(reply: &Reply) -> Vec<String> {
    reply
        .data()
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn filled(count: usize) -> Server {
    let server = Server::start().await;
    for n in 0..count {
        server
            .conference(json!({"name": format!("room {n}"), "parity": n % 2}))
            .await;
    }
    server
}

#[tokio::test]
async fn c035_c036_fifty_items_are_a_page_and_the_next_one_follows() {
    let server = filled(51).await;
    let first = server.get("/conferences").await;
    assert_eq!(first.json["page_size"], 50);
    let key = first.json["next_start_key"].as_str().unwrap();
    let rest = server.get(&format!("/conferences?start_key={key}")).await;
    assert_eq!((ids(&rest).len(), &rest.json["page_size"]), (1, &json!(1)));
    assert_eq!(rest.json["start_key"], key);
    assert!(rest.json.get("next_start_key").is_none());
    let all: BTreeSet<String> = ids(&first).into_iter().chain(ids(&rest)).collect();
    assert_eq!(all.len(), 51);
}

#[tokio::test]
async fn c037_c038_the_page_size_may_be_chosen_or_switched_off() {
    let server = filled(5).await;
    let mut seen = Vec::new();
    let mut key = String::new();
    for expected in [2, 2, 1] {
        let page = server
            .get(&format!("/conferences?page_size=2&start_key={key}"))
            .await;
        assert_eq!(page.json["page_size"], expected);
        seen.extend(ids(&page));
        key = page.json["next_start_key"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
    }
    assert!(key.is_empty());
    let all = server.get("/conferences?paginate=false").await;
    assert_eq!(ids(&all), seen);
    for key in ["page_size", "start_key", "next_start_key"] {
        assert!(all.json.get(key).is_none());
    }
    assert!(seen.is_sorted_by(|a, b| a > b), "descending by default");
    for query in ["ascending=true", "descending=false"] {
        assert!(ids(&server.get(&format!("/conferences?{query}")).await).is_sorted());
    }
    server
        .get("/conferences?page_size=0")
        .await
        .breaks("page_size", "minimum");
    server
        .get("/conferences?page_size=x")
        .await
        .breaks("page_size", "type");
}

#[tokio::test]
async fn c039_to_c043_filters_choose_and_page_together() {
    let server = filled(7).await;
    server
        .ask(
            "PUT",
            "/conferences",
            json!({"data": {"name": "odd one", "member": {"join_muted": false}, "custom": {"a": 1}}}),
        )
        .await;
    let count = async |query: &str| ids(&server.get(&format!("/conferences?{query}")).await).len();
    assert_eq!(count("filter_name=room%203").await, 1);
    assert_eq!(count("filter_name=nothing").await, 0);
    assert_eq!(
        server.get("/conferences?filter_name=nothing").await.data(),
        &json!([])
    );
    assert_eq!(count("filter_not_name=odd+one").await, 7);
    assert_eq!(count("has_key=custom").await, 1);
    assert_eq!(count("key_missing=custom").await, 7);
    assert_eq!(count("has_value=custom.a").await, 1);
    assert_eq!(count("filter_member.join_muted=true").await, 7);
    assert_eq!(count("filter_parity=1&filter_name=room%203").await, 1);
    assert_eq!(count("filter_parity=0&filter_name=room%203").await, 0);
    // The filter is applied before the page is cut, on keys the list does not show.
    let page = server.get("/conferences?filter_parity=0&page_size=3").await;
    assert_eq!(page.json["page_size"], 3);
    let key = page.json["next_start_key"].as_str().unwrap();
    let rest = server
        .get(&format!(
            "/conferences?filter_parity=0&page_size=3&start_key={key}"
        ))
        .await;
    assert_eq!(rest.json["page_size"], 1);
    let now = 62_167_219_200_u64;
    assert_eq!(count(&format!("created_from={now}")).await, 8);
    assert_eq!(count(&format!("created_to={now}")).await, 0);
    server
        .get("/conferences?created_from=monday")
        .await
        .breaks("created_from", "type");
}

#[tokio::test]
async fn a_filter_reaches_across_many_batches() {
    let server = filled(300).await;
    let found = server.get("/conferences?filter_name=room%20150").await;
    assert_eq!(ids(&found).len(), 1);
    assert_eq!(ids(&server.get("/conferences?paginate=false").await).len(), 300);
    let page = server.get("/conferences?page_size=299").await;
    let key = page.json["next_start_key"].as_str().unwrap();
    assert_eq!(
        ids(&server.get(&format!("/conferences?start_key={key}")).await).len(),
        1
    );
}

#[tokio::test]
async fn c073_an_item_shows_the_keys_of_the_view_and_live_data_in_both_places() {
    let server = Server::start().await;
    let data = json!({
        "name": "A", "owner_id": "0".repeat(32), "bridge_password": "secret", "custom": 1, "conference_numbers": ["1"],
        "member": {"pins": ["1"]}
    });
    let id = server.conference(data).await;
    let item = server.get("/conferences").await.data()[0].clone();
    let keys: BTreeSet<&str> = item.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "id",
        "name",
        "owner_id",
        "member",
        "moderator",
        "conference_numbers",
        "flags",
        "members",
        "admins",
        "duration",
        "is_locked",
        "_read_only",
    ];
    assert_eq!(keys, expected.into());
    assert_eq!(
        (&item["flags"], &item["member"]["pins"]),
        (&json!([]), &json!(["1"]))
    );
    assert_eq!(
        (&item["members"], &item["is_locked"], &item["duration"]),
        (&json!(0), &json!(false), &json!(0))
    );

    server
        .join(&id, "call-1", confab_conference::Role::Moderator)
        .await;
    server.clock.advance(std::time::Duration::from_secs(5));
    let list = server.get("/conferences").await;
    let item = &list.data()[0];
    assert_eq!(
        (&item["admins"], &item["members"], &item["duration"]),
        (&json!(1), &json!(0), &json!(5))
    );
    let live = &item["_read_only"];
    assert_eq!(
        live,
        &json!({
            "members": 0, "moderators": 1, "admins": 1, "participant_count": 1, "duration": 5, "is_locked": false,
            "uuid": "instance-1", "run_time": 5, "start_time": 62_167_219_200_u64 + crate::support::START_UNIX,
            "switch_hostname": "confab@test"
        })
    );
    assert!(item.get("uuid").is_none());
    // The list's tag covers the live state, time passing excluded.
    let with = [("if-none-match", list.header("etag"))];
    server.clock.advance(std::time::Duration::from_secs(5));
    assert_eq!(
        server
            .ask_with("GET", "/conferences", &with, Value::Null)
            .await
            .status,
        304
    );
    server
        .ask("PUT", &format!("/conferences/{id}"), json!({"action": "lock"}))
        .await;
    assert_eq!(
        server
            .ask_with("GET", "/conferences", &with, Value::Null)
            .await
            .status,
        200
    );
}
