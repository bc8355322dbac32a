//! The entry for fuzzing. Also run by an ordinary test on the committed seeds.

use std::sync::Arc;

use confab_conference::{AccountId, ConferenceId, Event, EventKind, GregorianSeconds, InstanceId};
use serde_json::Value;

use super::BINDINGS;
use super::message::ClientMessage;
use super::session::{Facts, Session, Step};
use crate::event::{EventMessage, Notice, Reach};

/// Takes lines as the frames of one client who may do everything. Panics when a reply is no JSON object of the known form, when the
/// session has more bindings than it may, or when a frame for an event is no JSON with the key that the client wrote.
pub fn fuzz_client_messages(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut session = Session::default();
    session.logged_in("token", AccountId::from("a"));
    let event = |kind| Event {
        sequence: 3,
        account: AccountId::from("a"),
        conference: ConferenceId::from("c"),
        instance_id: InstanceId::from("i"),
        at: GregorianSeconds(1),
        kind,
        participant: None,
        file: None,
        data: None,
    };
    let notices = [EventKind::Lock, EventKind::ConferenceDestroy].map(|kind| {
        let message = EventMessage::new(Arc::new(event(kind)), Arc::default(), true);
        Notice::Event(Arc::new(message))
    });
    for line in text.lines() {
        let message = ClientMessage::parse(line);
        let refused = session
            .token_to_check(&message)
            .filter(|token| *token != "token")
            .map(str::to_owned);
        let facts = Facts { may_act: true };
        let step = session.handle(message, refused.as_deref(), facts, || "id".into());
        let reply = match step {
            Step::Reply(reply) | Step::Unbound(reply) => reply,
            Step::Bind(plan) if plan.after.is_some() => Session::gone(&plan),
            Step::Bind(plan) => {
                let covered = vec![None; plan.bindings.len()];
                session.bound(plan, covered)
            }
        };
        let reply: Value = serde_json::from_str(&reply).expect("a reply is JSON");
        assert_eq!(reply["action"], "reply");
        assert!(reply["status"] == "success" || reply["data"]["errors"].is_array());
        assert!(session.texts().len() <= BINDINGS);
        let texts: Vec<String> = session.texts().into_iter().map(str::to_owned).collect();
        for notice in &notices {
            for reach in [Reach::Conference, Reach::Account, Reach::Everything] {
                for frame in session.frames(reach, notice) {
                    let frame: Value = serde_json::from_str(&frame).expect("a frame is JSON");
                    let key = frame["subscribed_key"].as_str().expect("a key");
                    assert!(texts.iter().any(|text| text == key));
                    assert_eq!(frame["data"]["sequence"], 3);
                }
            }
        }
    }
}
