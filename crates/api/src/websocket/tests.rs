//! Bindings and what they match, sessions and what they answer, and that nothing is missed or told twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use confab_conference::*;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::binding::{Binding, BindingError};
use super::message::{Action, ClientMessage};
use super::session::{AccountAsked, Facts, Session, Step};
use crate::event::{
    After, EventBus, EventBusConfig, EventFilter, EventMessage, Mailbox, Notice, Reach, Registration,
    RegistrationMessage, Topic,
};

fn account() -> AccountId {
    AccountId::from("a1")
}

fn event(kind: EventKind, conference: &str, call: &str, sequence: u64) -> Event {
    let identity = Identity {
        account_id: account(),
        conference_id: ConferenceId::from(conference),
        instance_id: InstanceId::from("i1"),
    };
    // A participant in the state that conferences give him.
    let mut room = Conference::new(identity, Settings::default(), Box::new(SequentialIds::default()));
    let id = room
        .reserve(Caller::new(call), Role::Member, Entry::DialIn)
        .unwrap();
    let state = room.join(GregorianSeconds(1), id).unwrap();
    Event {
        sequence,
        account: account(),
        conference: ConferenceId::from(conference),
        instance_id: InstanceId::from("i1"),
        at: GregorianSeconds(1),
        kind,
        participant: kind.is_about_leg().then_some(state),
        file: None,
        data: None,
    }
}

fn notice(kind: EventKind, conference: &str, call: &str) -> Notice {
    let event = Arc::new(event(kind, conference, call, 5));
    Notice::Event(Arc::new(EventMessage::new(event, Arc::default(), true)))
}

fn bind(text: &str) -> Result<Binding, BindingError> {
    Binding::parse(text, Some(account()))
}

#[test]
fn bindings_match_the_events_that_they_name() {
    let add = notice(EventKind::AddMember, "c1", "9348@192.0.2.1");
    let mute = notice(EventKind::MuteMember, "c1", "other");
    let lock = notice(EventKind::Lock, "c1", "");
    let elsewhere = notice(EventKind::AddMember, "c2", "9348@192.0.2.1");
    let adhoc = notice(EventKind::AddMember, "team.call x", "k");
    // add-member of the first call, mute-member of another, lock, add-member of another conference.
    let rows = [
        ("conference.event.c1.*", [true, true, true, false]),
        ("conference.event.c1.9348@192.0.2.1", [true, false, false, false]),
        (
            "conference.event.c1.9348%40192%2E0%2E2%2E1",
            [true, false, false, false],
        ),
        (
            "conference.event.c1.9348%40192%2e0%2e2%2e1",
            [true, false, false, false],
        ),
        ("conference.event.c1.other", [false, true, false, false]),
        ("conference.event.c1.c1", [false, false, true, false]),
        ("conference.event.*.c1.*", [true, true, true, false]),
        ("conference.event.add-member.c1.*", [true, false, false, false]),
        ("conference.event.lock.c1.*", [false, false, true, false]),
        ("conference.event.lock.c1.c1", [false, false, true, false]),
        (
            "conference.event.*.c1.9348@192.0.2.1",
            [true, false, false, false],
        ),
        (
            "conference.event.add-member.c1.9348%40192%2E0%2E2%2E1",
            [true, false, false, false],
        ),
        ("conference.event.add-member.*.*", [true, false, false, true]),
        ("conference.event.*.*", [true, true, true, true]),
        ("conference.event.*.*.*", [true, true, true, true]),
        ("conference.event.#", [true, true, true, true]),
        ("conference.#", [true, true, true, true]),
        ("conference.event.c1.#", [true, true, true, false]),
        ("conference.event.*.c1.#", [true, true, true, false]),
        ("conference.event.add-member.#", [true, false, false, true]),
        ("conference.event.#.other", [false, true, false, false]),
        // Words that name no event: a conference, and a call id with dots.
        ("conference.event.nothing.c1.*", [false, false, false, false]),
    ];
    for (text, expected) in rows {
        let binding = bind(text).unwrap();
        let found = [&add, &mute, &lock, &elsewhere].map(|notice| binding.matches(notice));
        assert_eq!(found, expected, "{text}");
        let foreign = Binding::parse(text, Some(AccountId::from("a2"))).unwrap();
        assert!(!foreign.matches(&add), "{text} of another account");
        assert!(
            Binding::parse(text, None).unwrap().matches(&add) == expected[0],
            "{text}"
        );
    }
    for text in [
        "conference.event.team%2Ecall+x.*",
        "conference.event.*.team%2Ecall%20x.k",
    ] {
        let binding = bind(text).unwrap();
        assert!(binding.matches(&adhoc), "{text}");
        let topic = Topic::Conference(account(), ConferenceId::from("team.call x"));
        assert_eq!(binding.topic(), topic, "{text}");
    }
}

#[test]
fn registrations_of_an_account_match_by_event_and_device() {
    let told = |device: &str, gone: Option<&'static str>| {
        let registration = Registration {
            account: account(),
            device: device.into(),
            name: None,
            gone,
            at: GregorianSeconds(1),
        };
        Notice::Registration(Arc::new(RegistrationMessage::new(registration, Arc::default())))
    };
    let came = told("d1", None);
    let went = told("d1", Some("expired"));
    let beside = told("d2", None);
    let event = notice(EventKind::AddMember, "c1", "k");
    for (text, expected) in [
        ("registration.*", [true, true, true]),
        ("registration.#", [true, true, true]),
        ("registration.*.*", [true, true, true]),
        ("registration.*.d1", [true, true, false]),
        ("registration.device-registered.*", [true, false, true]),
        ("registration.device-unregistered.d1", [false, true, false]),
    ] {
        let binding = bind(text).unwrap();
        let found = [&came, &went, &beside].map(|notice| binding.matches(notice));
        assert_eq!(found, expected, "{text}");
        assert!(!binding.matches(&event), "{text}");
        assert_eq!(binding.topic(), Topic::Account(account()));
        let foreign = Binding::parse(text, Some(AccountId::from("a2"))).unwrap();
        assert!(!foreign.matches(&came), "{text}");
    }
    assert!(!bind("conference.event.#").unwrap().matches(&came));
}

#[test]
fn what_cannot_be_bound_to_is_told_in_the_words_that_clients_know() {
    let format = |text: &str| BindingError::Format(text.to_owned());
    let rows = [
        ("conference.command.*", BindingError::ConferenceRequired),
        ("conference.command.", BindingError::ConferenceRequired),
        ("conference.event.*", BindingError::ConferenceRequired),
        ("conference.event..x", BindingError::ConferenceRequired),
        ("conference.event.*..x", BindingError::ConferenceRequired),
        ("conference", format("conference")),
        ("conference.event", format("conference.event")),
        ("conference.event.c1", format("conference.event.c1")),
        ("conference.event.c1.", format("conference.event.c1.")),
        ("conference.command", format("conference.command")),
        ("conference.config.default", format("conference.config.default")),
        ("call.CHANNEL_CREATE.*", BindingError::Unavailable),
        ("#", BindingError::Unavailable),
        ("registration", BindingError::Unavailable),
        ("registration.moved.*", BindingError::Unavailable),
        ("registration.device-registered.", BindingError::Unavailable),
        ("", BindingError::Unavailable),
    ];
    for (text, expected) in rows {
        assert_eq!(bind(text), Err(expected), "{text}");
    }
    assert_eq!(
        bind("conference.event.c1").unwrap_err().to_string(),
        "invalid format for conference subscription : conference.event.c1"
    );
    assert!(bind(&format!("conference.event.c1.{}", "x".repeat(2000))).is_err());
}

#[test]
fn subscription_keys_name_the_account() {
    for (text, key) in [
        ("conference.event.c1.*", "conference.event.*.a1.c1.*"),
        ("conference.event.*.c1.*", "conference.event.*.a1.c1.*"),
        ("conference.event.lock.c1.k", "conference.event.lock.a1.c1.k"),
        ("conference.event.#", "conference.event.*.a1.#"),
        ("conference.command.c1", "conference.command.c1"),
    ] {
        assert_eq!(bind(text).unwrap().subscription_key(), key, "{text}");
    }
}

/// A client and the bus, without a connection between.
struct Client {
    session: Session,
    mailbox: Arc<Mailbox>,
    queue: tokio::sync::mpsc::Receiver<(Reach, Notice)>,
    bus: EventBus,
    may_act: bool,
}

impl Client {
    fn new(bus: &EventBus, logged_in: bool) -> Client {
        let (mailbox, queue) = Mailbox::new(4096);
        let mut session = Session::default();
        if logged_in {
            session.logged_in("good", account());
        }
        Client {
            session,
            mailbox,
            queue,
            bus: bus.clone(),
            may_act: true,
        }
    }

    /// Sends a message; returns the reply and what comes before the live events.
    fn send(&mut self, message: &Value) -> (Value, Vec<Value>) {
        let message = ClientMessage::parse(&message.to_string());
        let bad = |token: &&str| *token != "good";
        let refused = self
            .session
            .token_to_check(&message)
            .filter(bad)
            .map(str::to_owned);
        let facts = Facts {
            may_act: self.may_act,
        };
        let id = || "made-up".to_owned();
        let mut before = Vec::new();
        let reply = match self.session.handle(message, refused.as_deref(), facts, id) {
            Step::Reply(reply) | Step::Unbound(reply) => reply,
            Step::Bind(plan) => {
                let mut covered = Vec::new();
                let mut backlogs = Vec::new();
                let mut is_gone = false;
                for binding in &plan.bindings {
                    match self
                        .bus
                        .join(&binding.topic(), &self.mailbox, plan.after.as_ref())
                    {
                        Ok(joined) => {
                            covered.push(joined.covered);
                            backlogs.push(joined.backlog);
                        }
                        Err(_) => is_gone = true,
                    }
                }
                if is_gone {
                    Session::gone(&plan)
                } else {
                    let first = self.session.count_without(&plan);
                    let reply = self.session.bound(plan, covered);
                    for (number, backlog) in backlogs.into_iter().enumerate() {
                        for message in backlog {
                            let notice = Notice::Event(message);
                            before.extend(self.session.frame_before(first + number, &notice));
                        }
                    }
                    reply
                }
            }
        };
        let read = |text: &String| serde_json::from_str(text).unwrap();
        (read(&reply), before.iter().map(read).collect())
    }

    fn frames(&mut self) -> Vec<Value> {
        let mut frames = Vec::new();
        while let Ok((reach, notice)) = self.queue.try_recv() {
            frames.extend(self.session.frames(reach, &notice));
        }
        frames
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect()
    }
}

fn subscribe(binding: &str) -> Value {
    json!({"action": "subscribe", "request_id": "r", "data": {"account_id": "a1", "binding": binding}})
}

#[test]
fn replies_have_the_form_and_the_texts_of_the_contract() {
    let bus = EventBus::default();
    let mut stranger = Client::new(&bus, false);
    let errors = |texts: &[&str]| json!({"action": "reply", "request_id": "r", "status": "error", "data": {"errors": texts}});
    let success =
        |data: Value| json!({"action": "reply", "request_id": "r", "status": "success", "data": data});
    let asked = |body: Value| {
        let mut body = body;
        body["request_id"] = "r".into();
        body
    };
    let rows = [
        (
            asked(json!({"action": "ping"})),
            success(json!({"response": "pong"})),
        ),
        (
            subscribe("conference.event.c1.*"),
            errors(&["authentication token required"]),
        ),
        (
            asked(json!({"action": "subscribe", "auth_token": "bad"})),
            errors(&["failed to authenticate token bad"]),
        ),
    ];
    for (message, expected) in rows {
        assert_eq!(stranger.send(&message).0, expected, "{message}");
    }
    let mut client = Client::new(&bus, true);
    let data = |data: Value| asked(json!({"action": "subscribe", "data": data}));
    let rows = [
        (
            asked(json!({"action": "subscribe"})),
            errors(&["missing required keys in data object"]),
        ),
        (data(json!({})), errors(&["missing required keys in data object"])),
        (
            data(json!({"x": 1})),
            errors(&["missing required keys : account_id, binding"]),
        ),
        (
            data(json!({"account_id": "a1"})),
            errors(&["missing required keys : binding"]),
        ),
        (
            data(json!({"binding": "conference.event.c1.*"})),
            errors(&["missing required keys : account_id"]),
        ),
        (
            data(json!({"account_id": "a1", "bindings": ["call.x.y", "conference.event.*"]})),
            errors(&[
                "no available subscriptions to requested binding",
                "ConferenceId required",
            ]),
        ),
        (
            data(
                json!({"account_id": "a1", "binding": "conference.event.*.*", "after": {"instance_id": "i", "sequence": 1}}),
            ),
            errors(&["after needs bindings of one conference"]),
        ),
        (
            data(json!({"account_id": "a1", "binding": "conference.event.c1.*", "after": {"sequence": 1}})),
            errors(&["after needs instance_id and sequence"]),
        ),
        (
            data(
                json!({"account_id": "a1", "binding": "conference.event.c1.*", "after": {"instance_id": "i", "sequence": 1}}),
            ),
            errors(&["events no longer available"]),
        ),
        (asked(json!({"action": "dance"})), success(json!({}))),
        (asked(json!({})), success(json!({}))),
        (
            asked(json!({"action": "unsubscribe"})),
            success(json!({"unsubscribed": [], "subscribed": []})),
        ),
    ];
    for (message, expected) in rows {
        assert_eq!(client.send(&message).0, expected, "{message}");
    }
    client.may_act = false;
    assert_eq!(
        client.send(&subscribe("conference.event.c1.*")).0,
        errors(&["unauthorized account id"])
    );
    let all = data(json!({"account_id": "*", "binding": "conference.event.c1.*"}));
    assert_eq!(client.send(&all).0, errors(&["unauthorized wildcard account id"]));
    assert_eq!(client.session.topics().len(), 0);
}

#[test]
fn a_session_lists_what_it_is_bound_to_and_lets_go() {
    let bus = EventBus::default();
    let mut client = Client::new(&bus, true);
    let (one, other) = ("conference.event.c1.*", "conference.event.*.c2.*");
    let subscribed = |reply: &Value| reply["data"]["subscribed"].clone();
    let (reply, _) = client.send(&subscribe(one));
    assert_eq!(subscribed(&reply), json!([one]));
    // The same again, and in a list.
    let both = json!({"action": "subscribe", "data": {"account_id": "a1", "bindings": [one, other, other]}});
    assert_eq!(subscribed(&client.send(&both).0), json!([one, other]));
    bus.publish(Arc::new(event(EventKind::Lock, "c1", "", 1)));
    bus.publish(Arc::new(event(EventKind::Lock, "c2", "", 1)));
    let keys: Vec<Value> = client
        .frames()
        .iter()
        .map(|frame| frame["subscribed_key"].clone())
        .collect();
    assert_eq!(
        keys,
        [json!(one), json!(other)],
        "one frame each, though bound twice"
    );
    let leave = json!({"action": "unsubscribe", "data": {"account_id": "a1", "binding": one}});
    let (reply, _) = client.send(&leave);
    assert_eq!(
        reply["data"],
        json!({"unsubscribed": [one], "subscribed": [other]})
    );
    let (reply, _) = client.send(&json!({"action": "unsubscribe", "data": null}));
    assert_eq!(reply["data"], json!({"unsubscribed": [other], "subscribed": []}));
    bus.publish(Arc::new(event(EventKind::Lock, "c2", "", 2)));
    assert_eq!(client.frames(), [Value::Null; 0]);
    assert!(client.session.topics().is_empty());
}

#[test]
fn the_number_of_bindings_is_bounded() {
    let bus = EventBus::default();
    let mut client = Client::new(&bus, true);
    let many: Vec<String> = (0..300).map(|n| format!("conference.event.c{n}.*")).collect();
    let all = json!({"action": "subscribe", "data": {"account_id": "a1", "bindings": many}});
    let (reply, _) = client.send(&all);
    assert_eq!(
        reply["data"]["errors"],
        json!(["too many bindings: a session has at most 256"])
    );
    assert_eq!(client.session.texts().len(), 0);
    let some = json!({"action": "subscribe", "data": {"account_id": "a1", "bindings": many[..256]}});
    assert_eq!(client.send(&some).0["status"], "success");
    assert_eq!(
        client.send(&subscribe("conference.event.one-more.*")).0["status"],
        "error"
    );
    assert_eq!(client.session.texts().len(), 256);
}

#[test]
fn an_event_frame_says_what_it_is_and_why_it_came() {
    let bus = EventBus::default();
    let mut client = Client::new(&bus, true);
    let key = "conference.event.*.c1.*";
    client.send(&subscribe(key));
    bus.publish(Arc::new(event(EventKind::AddMember, "c1", "k@1.2", 1)));
    let frames = client.frames();
    let frame = &frames[0];
    assert_eq!(frames.len(), 1);
    for (name, expected) in [
        ("action", "event"),
        ("subscribed_key", key),
        ("subscription_key", "conference.event.*.a1.c1.*"),
        ("name", "participant_event"),
        ("routing_key", "conference.event.add-member.a1.c1.k%401%2E2"),
    ] {
        assert_eq!(frame[name], expected, "{name}");
    }
    assert_eq!(
        (&frame["data"]["call_id"], &frame["data"]["participant_id"]),
        (&json!("k@1.2"), &json!(1))
    );
    // Commands reach those who asked for them only.
    let commands = "conference.command.c1";
    client.send(&subscribe(commands));
    bus.publish_command(&account(), &ConferenceId::from("c1"), Control::Lock);
    bus.publish_command(&account(), &ConferenceId::from("c2"), Control::Lock);
    let frames = client.frames();
    assert_eq!(frames.len(), 1);
    assert_eq!(
        (&frames[0]["subscribed_key"], &frames[0]["name"]),
        (&json!(commands), &json!("command"))
    );
    assert_eq!(frames[0]["data"]["application_name"], "lock");
}

#[test]
fn wide_and_narrow_bindings_get_an_event_once_each() {
    let bus = EventBus::default();
    let mut client = Client::new(&bus, true);
    let keys = [
        "conference.event.c1.*",
        "conference.event.*.*",
        "conference.event.#",
    ];
    for key in keys {
        client.send(&subscribe(key));
    }
    let all =
        json!({"action": "subscribe", "data": {"account_id": "*", "binding": "conference.event.c1.c1"}});
    client.send(&all);
    bus.publish(Arc::new(event(EventKind::Lock, "c1", "", 1)));
    let mut got: Vec<String> = client
        .frames()
        .iter()
        .map(|frame| frame["subscribed_key"].as_str().unwrap().to_owned())
        .collect();
    got.sort();
    let mut expected = [keys.as_slice(), &["conference.event.c1.c1"]].concat();
    expected.sort_unstable();
    assert_eq!(got, expected);
    assert_eq!(bus.written(), 1);
}

#[test]
fn messages_of_any_form_are_read() {
    let parse = ClientMessage::parse;
    assert_eq!(parse("{").action, Action::Other);
    assert_eq!(parse("[]").request_id, None);
    let message =
        parse(r#"{"action":"ping","request_id":7,"auth_token":"","data":[],"name":5,"metadata":{"a":1}}"#);
    assert_eq!(
        (message.action, message.request_id),
        (Action::Ping, Some(json!(7)))
    );
    assert_eq!((message.token, message.data, message.name), (None, None, None));
    assert_eq!(message.metadata, Some(json!({"a": 1})));
    let subscribed =
        parse(r#"{"action":"subscribe","data":{"account_id":"*","binding":["x","y"],"bindings":["z"]}}"#);
    assert_eq!(subscribed.bindings(), Some(vec!["x", "y"]));
    let mut session = Session::default();
    assert_eq!(
        session.account_asked(&subscribed),
        None,
        "a stranger asks for nothing"
    );
    session.logged_in("t", account());
    assert_eq!(session.account_asked(&subscribed), Some(AccountAsked::All));
    assert_eq!(session.token_to_check(&parse(r#"{"auth_token":"t"}"#)), None);
    assert_eq!(session.token_to_check(&parse(r#"{"auth_token":"u"}"#)), Some("u"));
    let again = parse(r#"{"action":"subscribe","auth_token":"t","data":{}}"#);
    assert_eq!(
        session.token_to_check(&again),
        Some("t"),
        "it may have ended meanwhile"
    );
}

#[test]
fn the_committed_seeds_do_no_harm() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/corpus/websocket");
    let seeds = std::fs::read_dir(corpus).expect("a corpus");
    let mut count = 0;
    for seed in seeds {
        super::fuzz_client_messages(&std::fs::read(seed.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 5);
}

#[test]
fn histories_of_conferences_that_are_over_are_bounded_and_places_are_given_back() {
    let bus = EventBus::default();
    for number in 0..200 {
        let conference = format!("c{number}");
        bus.publish(Arc::new(event(EventKind::ConferenceCreate, &conference, "", 1)));
        bus.publish(Arc::new(event(EventKind::ConferenceDestroy, &conference, "", 2)));
    }
    assert_eq!(bus.size(), (64, 0, 0));
    let (mailbox, queue) = Mailbox::new(4);
    let topics = [
        Topic::Conference(account(), ConferenceId::from("new")),
        Topic::Account(account()),
        Topic::Everything,
    ];
    for topic in &topics {
        bus.join(topic, &mailbox, None).unwrap();
    }
    assert_eq!(bus.size(), (65, 1, 1));
    for topic in &topics {
        bus.leave(topic, &mailbox);
    }
    assert_eq!(bus.size(), (64, 0, 0));
    drop(queue);
}

#[tokio::test]
async fn a_mailbox_that_is_full_loses_its_places_and_nobody_else_notices() {
    let bus = EventBus::default();
    let topic = Topic::Conference(account(), ConferenceId::from("c1"));
    let (stalled, mut unread) = Mailbox::new(10);
    let (quick, mut read) = Mailbox::new(10);
    for mailbox in [&stalled, &quick] {
        bus.join(&topic, mailbox, None).unwrap();
    }
    for sequence in 1..=100 {
        bus.publish(Arc::new(event(EventKind::Lock, "c1", "", sequence)));
        let (_, Notice::Event(message)) = read.try_recv().unwrap() else {
            panic!("an event");
        };
        assert_eq!(message.event().sequence, sequence);
    }
    stalled.overrun().await;
    assert_eq!(bus.overruns(), 1);
    let waiting = std::iter::from_fn(|| unread.try_recv().ok()).count();
    assert_eq!(waiting, 10, "no more than its queue holds");
    bus.publish(Arc::new(event(EventKind::Lock, "c1", "", 101)));
    assert!(unread.try_recv().is_err() && read.try_recv().is_ok());
}

#[test]
fn who_is_bound_already_can_ask_for_what_was_before() {
    let bus = EventBus::default();
    let mut client = Client::new(&bus, true);
    let publish = |sequence| bus.publish(Arc::new(event(EventKind::Lock, "c1", "", sequence)));
    let sequences = |frames: &[Value]| -> Vec<u64> {
        let numbers = frames.iter().map(|frame| frame["data"]["sequence"].as_u64());
        numbers.map(Option::unwrap).collect()
    };
    let resume = |instance: &str| {
        let mut request = subscribe("conference.event.c1.*");
        request["data"]["after"] = json!({"instance_id": instance, "sequence": 1});
        request
    };
    client.send(&subscribe("conference.event.c1.*"));
    (1..=3).for_each(publish);
    let (reply, told) = client.send(&resume("i1"));
    assert_eq!(reply["status"], "success", "{reply}");
    publish(4);
    assert_eq!(sequences(&told), [2, 3], "from there on");
    assert_eq!(
        sequences(&client.frames()),
        [4],
        "and what waited for him not once more"
    );
    let (reply, told) = client.send(&resume("i7"));
    assert_eq!(reply["data"]["errors"], json!(["events no longer available"]));
    publish(5);
    assert!(told.is_empty());
    assert_eq!(sequences(&client.frames()), [5], "what he had goes on");
}

proptest! {
    /// A subscriber who goes on after any event gets exactly what follows, however publishing and joining interleave; what is kept no
    /// more is refused.
    #[test]
    fn who_resumes_misses_nothing_and_gets_nothing_twice(
        before in 1..40u64, live in 0..20u64, after in 0..60u64, history in 0..30usize, unpublished in 1..5u64,
    ) {
        let filter = EventFilter::new(&[], &["lock".into()]).unwrap();
        let bus = EventBus::new(EventBusConfig { filter, history, ..EventBusConfig::default() });
        // Every so many events one that is not published.
        let kind = |sequence| if sequence % (unpublished + 1) == 0 { EventKind::Unlock } else { EventKind::Lock };
        let publish = |sequence| bus.publish(Arc::new(event(kind(sequence), "c1", "", sequence)));
        let mut client = Client::new(&bus, true);
        // Another binding on the same topic has the live events in the queue already.
        client.send(&subscribe("conference.event.lock.c1.*"));
        (1..=before).for_each(publish);
        let mut request = subscribe("conference.event.c1.*");
        request["data"]["after"] = json!({"instance_id": "i1", "sequence": after});
        let (reply, told) = client.send(&request);
        (before + 1..=before + live).for_each(publish);
        let published = |range: std::ops::RangeInclusive<u64>| -> Vec<u64> {
            range.filter(|sequence| kind(*sequence) == EventKind::Lock).collect()
        };
        let kept = published(1..=before);
        let forgotten = kept.len().checked_sub(history + 1).map_or(0, |last| kept[last]);
        let is_there = (forgotten..=before).contains(&after);
        prop_assert_eq!(&reply["status"], if is_there { "success" } else { "error" });
        let mut got: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for frame in told.iter().chain(&client.frames()) {
            let key = frame["subscribed_key"].as_str().unwrap().to_owned();
            got.entry(key).or_default().push(frame["data"]["sequence"].as_u64().unwrap());
        }
        let resumed = got.remove("conference.event.c1.*").unwrap_or_default();
        let expected = if is_there { published(after + 1..=before + live) } else { Vec::new() };
        prop_assert_eq!(resumed, expected);
        let other = got.remove("conference.event.lock.c1.*").unwrap_or_default();
        prop_assert_eq!(other, published(1..=before + live));
    }

    #[test]
    fn no_message_makes_a_session_panic(lines in prop::collection::vec(".{0,60}", 0..4), binding in "[a-c.*#%+]{0,20}") {
        let subscribe = subscribe(&format!("conference.event.{binding}")).to_string();
        super::fuzz_client_messages([lines.join("\n"), subscribe].join("\n").as_bytes());
    }

    /// Words match as a plain reading of the rule says.
    #[test]
    fn wildcards_match_as_the_rule_says(words in prop::collection::vec("[ab*#]", 1..5)) {
        fn plain(words: &[&str], ids: &[&str]) -> bool {
            match words.split_first() {
                None => ids.is_empty(),
                Some((&"#", rest)) => (0..=ids.len()).any(|skipped| plain(rest, &ids[skipped..])),
                Some((word, rest)) => {
                    ids.first().is_some_and(|id| *word == "*" || word == id) && plain(rest, &ids[1..])
                }
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        prop_assume!(words.contains(&"#"));
        let binding = bind(&format!("conference.event.{}", words.join("."))).unwrap();
        for (conference, call) in [("a", "b"), ("b", "a"), ("a", "a")] {
            let found = binding.matches(&notice(EventKind::AddMember, conference, call));
            let short = plain(&words, &[conference, call]);
            let long = plain(&words, &["add-member", conference, call]);
            prop_assert_eq!(found, short || long);
        }
    }
}

#[test]
fn what_may_be_asked_before_is_known_by_its_instance() {
    let bus = EventBus::default();
    bus.publish(Arc::new(event(EventKind::Lock, "c1", "", 1)));
    let topic = Topic::Conference(account(), ConferenceId::from("c1"));
    let (mailbox, _queue) = Mailbox::new(4);
    let after = |instance: &str, sequence| After {
        instance: InstanceId::from(instance),
        sequence,
    };
    assert!(bus.join(&topic, &mailbox, Some(&after("i1", 0))).is_ok());
    assert!(bus.join(&topic, &mailbox, Some(&after("i2", 0))).is_err());
    assert!(
        bus.join(&topic, &mailbox, Some(&after("i1", 2))).is_err(),
        "not told yet"
    );
}
