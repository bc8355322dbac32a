//! The form of events, key by key; who gets them and how often they are written.

use std::collections::BTreeMap;
use std::sync::Arc;

use confab_conference::{
    AccountId, Caller, ConferenceId, Event, EventKind, GregorianSeconds, InstanceId, LeaveCause, MediaName,
    ParticipantId, ParticipantState, PlayFailure, Role, Volume,
};
use serde_json::{Value, json};

use super::*;

pub(super) fn participant() -> ParticipantState {
    let texts = |rows: &[(&str, &str)]| -> BTreeMap<String, String> {
        rows.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    ParticipantState {
        id: ParticipantId::new(20).unwrap(),
        caller: Caller {
            spoken_name: None,
            call_id: "9348@192.0.2.1".into(),
            caller_id_name: "Ann".into(),
            caller_id_number: "1000".into(),
            account_id: Some(AccountId::from("a1")),
            channel_vars: texts(&[("username", "sip1"), ("realm", "example.org")]),
            application_vars: texts(&[("ticket", "7")]),
        },
        role: Role::Moderator,
        join_time: GregorianSeconds(63_635_217_275),
        muted: true,
        deaf: false,
        talking: false,
        floor: true,
        energy_level: 20,
        current_energy: 7,
        ghost: false,
        waiting: false,
        held: false,
        volume_in: Volume::from_level(0).unwrap(),
        volume_out: Volume::from_level(0).unwrap(),
        agc: false,
        denoise: false,
        hand_raised: false,
    }
}

pub(super) fn event(sequence: u64, kind: EventKind) -> Event {
    let has_participant = kind.is_about_leg() || kind == EventKind::FloorChange;
    Event {
        sequence,
        account: AccountId::from("a1"),
        conference: ConferenceId::from("c1"),
        instance_id: InstanceId::from("i1"),
        at: GregorianSeconds(63_635_217_300),
        kind,
        participant: has_participant.then(participant),
        file: None,
        data: None,
    }
}

fn origin() -> Origin {
    Origin {
        node: "host1".into(),
        app_name: "confab".into(),
        app_version: "1.2.3".into(),
    }
}

fn value(event: &Event) -> Value {
    body::of_event(&origin(), event)
}

#[test]
fn an_event_of_a_leg_has_every_key_of_the_contract() {
    let channel = json!({
        "floor": true, "hear": true, "speak": false, "talking": false, "mute_detect": false, "video": false,
        "is_moderator": true, "energy_level": 20, "current_energy": 7,
        "see": false, "member_id": 20, "member_ghost": false,
    });
    let expected = json!({
        "event": "add-member",
        "call_id": "9348@192.0.2.1",
        "account_id": "a1",
        "conference_id": "c1",
        "instance_id": "i1",
        "sequence": 2,
        "timestamp": 63_635_217_300_u64,
        "channel_presence_id": "sip1@example.org",
        "participant_id": 20,
        "join_time": 63_635_217_275_u64,
        "caller_id_name": "Ann",
        "caller_id_number": "1000",
        "floor": true,
        "hear": true,
        "speak": false,
        "talking": false,
        "mute_detect": false,
        "video": false,
        "is_moderator": true,
        "energy_level": 20,
        "current_energy": 7,
        "volume_in": 0.0,
        "volume_out": 0.0,
        "hand_raised": false,
        "waiting": false,
        "conference_channel_vars": channel,
        "custom_channel_vars": {"realm": "example.org", "username": "sip1", "account_id": "a1"},
        "custom_application_vars": {"ticket": "7"},
        "focus": "host1",
        "event_category": "conference",
        "event_name": "participant_event",
        "routing_key": "participant_event",
        "msg_id": "i1-2",
        "node": "host1",
        "app_name": "confab",
        "app_version": "1.2.3",
    });
    assert_eq!(value(&event(2, EventKind::AddMember)), expected);
}

#[test]
fn an_event_of_a_conference_names_no_call() {
    let expected = json!({
        "event": "lock",
        "account_id": "a1",
        "conference_id": "c1",
        "instance_id": "i1",
        "sequence": 3,
        "timestamp": 63_635_217_300_u64,
        "focus": "host1",
        "event_category": "conference",
        "event_name": "event",
        "routing_key": "event",
        "msg_id": "i1-3",
        "node": "host1",
        "app_name": "confab",
        "app_version": "1.2.3",
    });
    assert_eq!(value(&event(3, EventKind::Lock)), expected);
}

#[test]
fn some_events_tell_more() {
    let rows = [
        (
            EventKind::DelMember(LeaveCause::Kicked),
            "reason",
            json!("kicked"),
        ),
        (
            EventKind::PlayFileMemberFailed(PlayFailure::Timeout),
            "reason",
            json!("timeout"),
        ),
        (EventKind::KeyMember('#'), "dtmf_key", json!("#")),
        (EventKind::KeyMember('#'), "direction", json!("received")),
        (EventKind::DtmfMember, "direction", json!("sent")),
        (EventKind::FloorChange, "participant_id", json!(20)),
        (EventKind::FloorChange, "call_id", Value::Null),
    ];
    for (kind, key, expected) in rows {
        assert_eq!(value(&event(4, kind))[key], expected, "{kind:?} {key}");
    }
    let mut free = event(4, EventKind::FloorChange);
    free.participant = None;
    assert!(value(&free).as_object().unwrap().contains_key("participant_id"));
    let mut play = event(4, EventKind::PlayFile);
    play.file = Some(MediaName::from("tone_stream://%(500,0,440)"));
    assert_eq!(value(&play)["file"], "tone_stream://%(500,0,440)");
}

#[test]
fn presence_is_shown_under_the_best_name_there_is() {
    let mut joined = event(1, EventKind::AddMember);
    let mut shown = |key: &str, value_of_key: Option<&str>| {
        let caller = &mut joined.participant.as_mut().unwrap().caller;
        match value_of_key {
            Some(text) => caller.channel_vars.insert(key.into(), text.into()),
            None => caller.channel_vars.remove(key),
        };
        value(&joined)["channel_presence_id"].clone()
    };
    assert_eq!(shown("presence_id", Some("1000@b")), "1000@b");
    assert_eq!(shown("presence_id", None), "sip1@example.org");
    assert_eq!(shown("realm", None), "1000");
}

#[test]
fn routing_keys_name_the_leg_or_the_conference() {
    let writer = Arc::default();
    let message = |kind| EventMessage::new(Arc::new(event(2, kind)), Arc::clone(&writer), true);
    let rows = [
        (
            EventKind::AddMember,
            "conference.event.add-member.a1.c1.9348%40192%2E0%2E2%2E1",
            "conference.event.c1.9348%40192%2E0%2E2%2E1",
        ),
        (
            EventKind::Lock,
            "conference.event.lock.a1.c1.c1",
            "conference.event.c1.c1",
        ),
        (
            EventKind::FloorChange,
            "conference.event.floor-change.a1.c1.c1",
            "conference.event.c1.c1",
        ),
    ];
    for (kind, long, short) in rows {
        let message = message(kind);
        assert_eq!(
            (
                message.routing_key().as_str(),
                message.short_routing_key().as_str()
            ),
            (long, short)
        );
    }
}

#[tokio::test]
async fn a_message_is_written_once_and_only_when_somebody_reads_it() {
    let bus = EventBus::default();
    bus.publish(Arc::new(event(1, EventKind::ConferenceCreate)));
    let mut ends = [bus.subscribe(), bus.subscribe(), bus.subscribe()];
    bus.publish(Arc::new(event(2, EventKind::AddMember)));
    bus.publish(Arc::new(event(3, EventKind::Lock)));
    assert_eq!(bus.written(), 0);
    let mut texts = Vec::new();
    for end in &mut ends {
        let message = end.recv().await.unwrap();
        assert_eq!(message.id(), "i1-2");
        texts.push(message.data());
    }
    assert_eq!(bus.written(), 1);
    assert!(
        texts.windows(2).all(|pair| pair[0].as_ptr() == pair[1].as_ptr()),
        "one text for all"
    );
    let read: Value = serde_json::from_slice(&texts[0]).unwrap();
    assert_eq!(
        read,
        body::of_event(&Origin::default(), &event(2, EventKind::AddMember))
    );
}

#[test]
fn a_written_message_ends_a_frame() {
    let message = EventMessage::new(Arc::new(event(2, EventKind::Lock)), Arc::default(), true);
    let frame = format!("{{\"subscribed_key\":\"k\",{}", message.written().ending());
    let frame: Value = serde_json::from_str(&frame).unwrap();
    assert_eq!(frame["name"], "event");
    assert_eq!(frame["routing_key"], "conference.event.lock.a1.c1.c1");
    assert_eq!(frame["data"], message.value());
}

#[tokio::test]
async fn what_is_not_published_reaches_the_log_only() {
    let filter = EventFilter::new(&["add-member".into()], &["lock".into()]).unwrap();
    let bus = EventBus::new(EventBusConfig {
        filter,
        ..EventBusConfig::default()
    });
    let (mut published, mut all) = (bus.subscribe(), bus.subscribe_all());
    let kinds = [
        EventKind::ConferenceCreate,
        EventKind::AddMember,
        EventKind::MuteMember,
        EventKind::Lock,
    ];
    for (kind, sequence) in kinds.into_iter().zip(1..) {
        bus.publish(Arc::new(event(sequence, kind)));
    }
    drop(bus);
    let mut seen = Vec::new();
    while let Some(message) = published.recv().await {
        seen.push(message.event().sequence);
    }
    assert_eq!(seen, [2, 4]);
    let mut logged = Vec::new();
    while let Some(message) = all.recv().await {
        logged.push((message.event().sequence, message.is_published()));
    }
    assert_eq!(logged, [(1, false), (2, true), (3, false), (4, true)]);
}

#[tokio::test]
async fn a_slow_end_misses_the_oldest_and_it_is_counted() {
    let bus = EventBus::default();
    let mut slow = bus.subscribe();
    for sequence in 1..=EVENTS as u64 + 10 {
        bus.publish(Arc::new(event(sequence, EventKind::Lock)));
    }
    let first = slow.recv().await.unwrap().event().sequence;
    assert_eq!((first, bus.missed()), (11, 10));
}

fn guessed() -> Arc<Event> {
    let (account, conference) = (AccountId::from("a1"), ConferenceId::from("c1"));
    let id = InstanceId::from("f00");
    let at = GregorianSeconds(63_635_217_300);
    Arc::new(Event::guessed(account, conference, id, at, "192.0.2.7", 900))
}

#[test]
fn a_refused_source_is_told_of_without_a_place_in_any_run() {
    let told = value(&guessed());
    let expected = json!({
        "event": "pin-guard-block", "account_id": "a1", "conference_id": "c1", "timestamp": 63_635_217_300_u64,
        "blocked_s": 900, "source": "192.0.2.7", "focus": "host1", "event_category": "conference", "event_name": "event",
        "routing_key": "event", "msg_id": "f00-0", "node": "host1", "app_name": "confab", "app_version": "1.2.3",
    });
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_refused_source_is_told_to_all_who_listen_and_disturbs_no_run() {
    let bus = EventBus::default();
    bus.publish(guessed());
    assert_eq!(bus.size(), (0, 0, 0), "nothing is kept for nobody");
    let (account, conference) = (AccountId::from("a1"), ConferenceId::from("c1"));
    let mut everything = bus.subscribe();
    let (mailbox, mut letters) = Mailbox::new(9);
    let topics = [
        Topic::Conference(account.clone(), conference),
        Topic::Account(account),
        Topic::Everything,
    ];
    for topic in &topics {
        bus.join(topic, &mailbox, None).unwrap();
    }
    let sequence = |message: &EventMessage| message.event().sequence;
    bus.publish(Arc::new(event(1, EventKind::ConferenceCreate)));
    bus.publish(guessed());
    bus.publish(Arc::new(event(2, EventKind::Lock)));
    for expected in [1, 0, 2] {
        assert_eq!(sequence(&everything.recv().await.unwrap()), expected);
        for topic in &topics {
            let (reach, notice) = letters.recv().await.unwrap();
            let Notice::Event(message) = notice else {
                panic!("an event")
            };
            assert_eq!((reach, sequence(&message)), (topic.reach(), expected));
        }
    }
    // Who resumes gets the run as it was.
    let after = After {
        instance: InstanceId::from("i1"),
        sequence: 1,
    };
    let (late, _letters) = Mailbox::new(8);
    let joined = bus.join(&topics[0], &late, Some(&after)).unwrap();
    assert_eq!(
        joined.backlog.iter().map(|m| sequence(m)).collect::<Vec<_>>(),
        [2]
    );
}
