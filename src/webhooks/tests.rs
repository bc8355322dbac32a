//! Hooks without a network: who is told what, in which order, how often, and when it ends.

use std::sync::Mutex;

use async_trait::async_trait;
use confab_api::WebhookAttempts as _;
use confab_api::event::{EventBus, Registration};
use confab_conference::{ConferenceId, Event, EventKind, GregorianSeconds, InstanceId};
use confab_documents::{Body, Document, Kind, Revision, SaveError, StoreError};
use serde_json::{Value, json};

use super::*;

fn document(id: &str, account: &str, body: Value) -> Document {
    let mut all = json!({"name": id, "uri": "http://hooks.example.com/", "hook": "conference"});
    for (key, value) in body.as_object().unwrap() {
        all[key] = value.clone();
    }
    let body: Body = all.as_object().unwrap().clone();
    Document {
        id: id.to_owned(),
        account_id: AccountId::from(account),
        kind: Kind::Webhook,
        revision: "1-0123456789abcdef0123456789abcdef".parse().unwrap(),
        created: GregorianSeconds(0),
        modified: GregorianSeconds(0),
        body,
    }
}

fn event(account: &str, sequence: u64, kind: EventKind) -> Arc<Event> {
    Arc::new(Event {
        sequence,
        account: AccountId::from(account),
        conference: ConferenceId::from("c"),
        instance_id: InstanceId::from("i"),
        at: GregorianSeconds(7),
        kind,
        participant: None,
        file: None,
        data: None,
    })
}

/// Hooks in memory, and what they were told.
#[derive(Default)]
struct World {
    hooks: Mutex<Vec<Document>>,
    /// Hook, method and body, with when.
    told: Mutex<Vec<(Duration, String, Value)>>,
    /// Answers of the hooks, by id; 200 when there is none.
    answers: Mutex<HashMap<String, Vec<Result<u16, String>>>>,
    disabled: Mutex<Vec<(String, Revision)>>,
}

#[async_trait]
impl Source for Arc<World> {
    async fn hooks(&self, account: &AccountId) -> Result<Vec<Hook>, StoreError> {
        let hooks = self.hooks.lock().unwrap();
        let read = hooks.iter().filter_map(Hook::read);
        Ok(read
            .filter(|hook| hook.account == *account || hook.include_subaccounts)
            .collect())
    }

    async fn hook(&self, account: &AccountId, id: &str) -> Result<Option<Hook>, StoreError> {
        let hooks = self.hooks.lock().unwrap();
        let mut own = hooks.iter().filter(|hook| hook.account_id == *account);
        Ok(own.find(|hook| hook.id == id).and_then(Hook::read))
    }

    async fn disable(&self, hook: &Hook, message: &str) -> Result<(), SaveError> {
        assert!(message.contains("requests failed"), "{message}");
        let (id, revision) = (hook.id.clone(), hook.revision.clone());
        self.disabled.lock().unwrap().push((id, revision));
        Ok(())
    }
}

struct Fake {
    world: Arc<World>,
    start: Instant,
}

#[async_trait]
impl Transport for Fake {
    async fn send(&self, hook: &Hook, body: &Value) -> Result<u16, String> {
        let told = (self.start.elapsed(), hook.id.clone(), body.clone());
        self.world.told.lock().unwrap().push(told);
        if hook.uri.path() == "/hangs" {
            tokio::time::sleep(Duration::from_secs(10)).await;
            return Err("nothing came".to_owned());
        }
        let mut answers = self.world.answers.lock().unwrap();
        match answers.get_mut(&hook.id) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => Ok(200),
        }
    }
}

/// Starts a dispatcher over hooks that answer as given.
fn start(
    documents: Vec<Document>,
    answers: &[(&str, &[Result<u16, &str>])],
) -> (Arc<World>, EventBus, Arc<Attempts>) {
    let answers = answers.iter().map(|(hook, answers)| {
        let answers = answers.iter().map(|answer| answer.map_err(str::to_owned));
        ((*hook).to_owned(), answers.collect())
    });
    let world = Arc::new(World {
        hooks: Mutex::new(documents),
        answers: Mutex::new(answers.collect()),
        ..World::default()
    });
    let attempts = Arc::new(Attempts::default());
    let transport = Box::new(Fake {
        world: Arc::clone(&world),
        start: Instant::now(),
    });
    let shared = Shared::new(Box::new(Arc::clone(&world)), transport, Arc::clone(&attempts));
    let bus = EventBus::default();
    tokio::spawn(Dispatcher::new(shared).run(bus.subscribe_news()));
    (world, bus, attempts)
}

impl World {
    /// Who was told of which sequence numbers, in order.
    fn told_to(&self, hook: &str) -> Vec<u64> {
        let told = self.told.lock().unwrap();
        let to_hook = told.iter().filter(|(_, id, _)| id == hook);
        to_hook
            .map(|(_, _, body)| body["sequence"].as_u64().unwrap())
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn registrations_are_told_to_who_asks_for_them() {
    let hooks = vec![
        document("all", "a", json!({"hook": "all"})),
        document(
            "both",
            "a",
            json!({"hook": "registration", "custom_data": {"site": 4}}),
        ),
        document("gone", "a", json!({"hook": "device-unregistered"})),
        document("conference", "a", json!({})),
        document("elsewhere", "b", json!({"hook": "registration"})),
        document(
            "above",
            "m",
            json!({"hook": "device-registered", "include_subaccounts": true}),
        ),
    ];
    let (world, bus, attempts) = start(hooks, &[]);
    for gone in [None, Some("expired")] {
        bus.publish_registration(Registration {
            account: AccountId::from("a"),
            device: "d".to_owned(),
            name: Some(("phones.example".to_owned(), "desk".to_owned())),
            gone,
            at: GregorianSeconds(7),
        });
        settle().await;
    }
    let told = |hook: &str| -> Vec<Value> {
        let told = world.told.lock().unwrap();
        let of_hook = told.iter().filter(|(_, id, _)| id == hook);
        of_hook.map(|(_, _, body)| body["event"].clone()).collect()
    };
    let (came, went) = (json!("device-registered"), json!("device-unregistered"));
    for (hook, expected) in [
        ("all", vec![came.clone(), went.clone()]),
        ("both", vec![came.clone(), went.clone()]),
        ("gone", vec![went]),
        ("conference", vec![]),
        ("elsewhere", vec![]),
        ("above", vec![came]),
    ] {
        assert_eq!(told(hook), expected, "{hook}");
    }
    let told = world.told.lock().unwrap();
    let (_, _, body) = told.iter().find(|(_, id, _)| id == "both").unwrap();
    assert_eq!(
        (&body["hook_event"], &body["site"], &body["username"]),
        (&json!("registration"), &json!(4), &json!("desk"))
    );
    let shown = attempts.attempts(&AccountId::from("a"), "both");
    assert_eq!(shown[0]["hook_event"], "device-unregistered");
    assert_ne!(shown[0]["msg_id"], shown[1]["msg_id"]);
}

/// Lets everything happen that happens at once.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn hooks_are_told_what_they_ask_for() {
    let hooks = vec![
        document("all", "a", json!({"hook": "all"})),
        document(
            "conference",
            "a",
            json!({"custom_data": {"ticket": 7, "event": "mine"}}),
        ),
        document("lock", "a", json!({"hook": "lock"})),
        document("other", "a", json!({"hook": "channel_create"})),
        document("off", "a", json!({"enabled": false})),
        document("broken", "a", json!({"uri": "mailto:a@example.com"})),
        document("elsewhere", "b", json!({})),
        document("above", "m", json!({"include_subaccounts": true})),
    ];
    let (world, bus, attempts) = start(hooks, &[]);
    bus.publish(event("a", 1, EventKind::ConferenceCreate));
    bus.publish(event("a", 2, EventKind::Lock));
    settle().await;
    for (hook, told) in [
        ("all", &[1, 2][..]),
        ("conference", &[1, 2]),
        ("lock", &[2]),
        ("other", &[]),
        ("off", &[]),
        ("broken", &[]),
        ("elsewhere", &[]),
        ("above", &[1, 2]),
    ] {
        assert_eq!(world.told_to(hook), told, "{hook}");
    }
    let told = world.told.lock().unwrap();
    let body = &told.iter().find(|(_, hook, _)| hook == "conference").unwrap().2;
    assert_eq!((&body["ticket"], &body["event"]), (&json!(7), &json!("mine")));
    assert_eq!(
        (&body["hook_event"], &body["account_id"]),
        (&json!("conference"), &json!("a"))
    );
    assert_eq!(
        attempts.outcomes(),
        [("delivered", 7), ("failed", 0), ("dropped", 0)]
    );
}

#[tokio::test(start_paused = true)]
async fn hooks_of_two_accounts_with_one_id_are_two() {
    let hooks =
        ["a", "b"].map(|account| document("same", account, json!({"custom_data": {"whose": account}})));
    let (world, bus, _) = start(hooks.to_vec(), &[]);
    for (sequence, account) in [(1, "a"), (2, "b"), (3, "a")] {
        bus.publish(event(account, sequence, EventKind::Lock));
        settle().await;
    }
    let told = world.told.lock().unwrap();
    let told: Vec<_> = told
        .iter()
        .map(|(_, _, body)| (&body["whose"], &body["account_id"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("a"), &json!("a")),
            (&json!("b"), &json!("b")),
            (&json!("a"), &json!("a"))
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_in_order_and_later_each_time() {
    let hooks = vec![document("h", "a", json!({"retries": 4}))];
    let answers: &[Result<u16, &str>] = &[Ok(500), Err("refused"), Ok(302), Ok(204), Ok(200)];
    let (world, bus, attempts) = start(hooks, &[("h", answers)]);
    bus.publish(event("a", 1, EventKind::Lock));
    bus.publish(event("a", 2, EventKind::Unlock));
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(
        world.told_to("h"),
        [1, 1, 1, 1, 2],
        "the second waits for the first"
    );
    let told = world.told.lock().unwrap();
    let seconds: Vec<u64> = told.iter().map(|(at, ..)| at.as_secs()).collect();
    assert_eq!(seconds, [0, 1, 3, 7, 7]);
    let shown = attempts.attempts(&AccountId::from("a"), "h");
    let row = |attempt: &Value| {
        let result = attempt["result"].as_str().unwrap().to_owned();
        (
            result,
            attempt["response_code"].clone(),
            attempt["retries_left"].clone(),
        )
    };
    let shown: Vec<_> = shown.iter().map(row).collect();
    let expected = [
        ("success", json!(200), 3),
        ("success", json!(204), 0),
        ("failure", json!(302), 1),
        ("failure", Value::Null, 2),
        ("failure", json!(500), 3),
    ];
    let expected = expected.map(|(result, code, left)| (result.to_owned(), code, json!(left)));
    assert_eq!(shown, expected, "the newest first");
    assert!(
        attempts.attempts(&AccountId::from("b"), "h").is_empty(),
        "another account's"
    );
    assert_eq!(
        attempts.outcomes(),
        [("delivered", 2), ("failed", 0), ("dropped", 0)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_too_often_is_disabled_until_it_is_changed() {
    let hooks = vec![document("h", "a", json!({})), document("good", "a", json!({}))];
    let (world, bus, attempts) = start(hooks, &[("h", &[Err("no route")])]);
    for sequence in 1..=10 {
        bus.publish(event("a", sequence, EventKind::Lock));
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(
        world.told_to("h"),
        [1, 1, 2, 2, 3, 3],
        "six requests, and then no more"
    );
    assert_eq!(
        world.told_to("good").len(),
        10,
        "the other one is told everything"
    );
    assert_eq!(world.disabled.lock().unwrap().len(), 1);
    assert_eq!(
        (attempts.hooks_disabled(), attempts.outcomes()[1]),
        (1, ("failed", 3))
    );
    // Changed and enabled again: it has another revision.
    world.hooks.lock().unwrap()[0].revision = "2-0123456789abcdef0123456789abcdef".parse().unwrap();
    world.answers.lock().unwrap().clear();
    tokio::time::sleep(KNOWN_FOR).await;
    bus.publish(event("a", 11, EventKind::Lock));
    settle().await;
    assert_eq!(world.told_to("h").last(), Some(&11));
}

#[tokio::test(start_paused = true)]
async fn failures_far_apart_disable_nothing() {
    let hooks = vec![document("h", "a", json!({"retries": 1}))];
    let (world, bus, _) = start(hooks, &[("h", &[Ok(500)])]);
    for sequence in 1..=20 {
        bus.publish(event("a", sequence, EventKind::Lock));
        tokio::time::sleep(Duration::from_secs(13)).await;
    }
    assert_eq!(world.told_to("h").len(), 20);
    assert!(world.disabled.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_loses_events_and_holds_up_nobody() {
    let hooks = vec![
        document("slow", "a", json!({"retries": 4})),
        document("good", "a", json!({})),
    ];
    let (world, bus, attempts) = start(hooks, &[("slow", &[Ok(500), Ok(500), Ok(500), Ok(200)])]);
    let events = 2 * WAITING as u64;
    for sequence in 1..=events {
        bus.publish(event("a", sequence, EventKind::Lock));
        // In their order, and not faster than they are taken off the bus.
        tokio::task::yield_now().await;
        settle().await;
    }
    assert_eq!(world.told_to("good").len() as u64, events);
    let dropped = attempts.outcomes()[2].1;
    assert!(dropped > 0 && dropped < events, "{dropped}");
    // One pause of a second to begin with: what waited is told after it.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let slow = world.told_to("slow");
    assert!(slow.is_sorted(), "in order");
    let last = attempts.outcomes();
    assert_eq!(
        last[0].1 + last[1].1 + last[2].1,
        2 * events,
        "every event became something"
    );
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_hook_goes_where_the_hook_is_now() {
    let hooks = vec![document("h", "a", json!({"retries": 4}))];
    let (world, bus, attempts) = start(hooks, &[("h", &[Ok(500)])]);
    (1..=3).for_each(|sequence| bus.publish(event("a", sequence, EventKind::Lock)));
    settle().await;
    assert_eq!(world.told_to("h"), [1]);
    // Deleted: neither is the first one tried again, nor are the others told.
    world.hooks.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.told_to("h"), [1]);
    assert_eq!(attempts.outcomes()[2], ("dropped", 3));
}

#[tokio::test(start_paused = true)]
async fn an_account_whose_hooks_hang_holds_up_itself_alone() {
    let hanging = |n: usize| {
        document(
            &format!("h{n}"),
            "evil",
            json!({"uri": "http://h/hangs", "retries": 4}),
        )
    };
    let mut hooks: Vec<Document> = (0..190).map(hanging).collect();
    hooks.push(document("good", "a", json!({})));
    let (world, bus, attempts) = start(hooks, &[]);
    for sequence in 1..=30 {
        bus.publish(event("evil", sequence, EventKind::Lock));
        bus.publish(event("a", sequence, EventKind::Lock));
        settle().await;
        assert_eq!(world.told_to("good").len() as u64, sequence);
    }
    // Far more slowly than six in a minute, and yet they are seen to fail.
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(attempts.hooks_disabled(), 190);
}

#[test]
fn a_form_has_brackets_for_what_is_within() {
    let fields = body::fields(&json!({"a": 1, "b": {"c": "x y", "d": {"e": true}}, "f": [1, {"g": null}]}));
    let expected = [
        ("a", "1"),
        ("b[c]", "x y"),
        ("b[d][e]", "true"),
        ("f[0]", "1"),
        ("f[1][g]", ""),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(fields, expected);
}

#[test]
fn the_schema_names_every_event() {
    let named = [
        &["all", "conference", "registration"][..],
        EventKind::LEG_NAMES,
        EventKind::CONFERENCE_NAMES,
        &Registration::EVENTS,
    ]
    .concat();
    assert_eq!(
        Kind::Webhook.schema_json()["properties"]["hook"]["enum"],
        json!(named)
    );
}
