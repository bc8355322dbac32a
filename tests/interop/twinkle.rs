//! twinkle calls in, presses keys, and is called.

use confab_testkit::server::exclusive;
use serde_json::json;

use crate::peers::{Twinkle, TwinkleConfig};
use crate::site::{PASSWORD, REALM, Site, WAIT, entry, eventually, speech, the_peer_heard_ann};

#[test]
#[ignore = "by tests/interop/run"]
fn twinkle_calls_in_and_mutes_itself_by_keys() {
    let _alone = exclusive();
    let site = Site::start();
    let path = format!("/conferences/{}", site.conference.id());
    let keys = json!({"data": {"caller_controls": "default"}});
    let patched = site.api.account("PATCH", &path, Some(&keys)).expect("answered");
    assert_eq!(patched.status, 200, "{}", patched.text());
    for codecs in ["g711u", "g711a"] {
        let who = format!("twinkle ({codecs})");
        let config = TwinkleConfig {
            user: "twi",
            server: site.server.sip,
            codecs,
            says: speech(Twinkle::RATE_HZ, 60),
            registers: None,
        };
        let mut twinkle = Twinkle::start(&config).expect("twinkle");
        twinkle.say("call 3000").expect("told");
        twinkle
            .wait("far end answered call", WAIT)
            .unwrap_or_else(|error| panic!("{who}: {error}\n{}", twinkle.log()));
        site.wait_participants(2);
        site.ann_hears_the_peer(&who);
        twinkle.say("dtmf *1").expect("told");
        let participant = site.conference.participant("twi").expect("it is in");
        let can_speak = || {
            let list = site.conference.participants().expect("a list");
            let found = list.iter().find(|one| one["participant_id"] == participant);
            found.is_some_and(|one| one["speak"] == true)
        };
        eventually("it mutes itself", || !can_speak());
        site.ann_hears_nobody();
        twinkle.say("dtmf *1").expect("told");
        eventually("it speaks again", can_speak);
        site.ann_hears_the_peer(&who);
        let heard = twinkle.quit().expect("ended");
        the_peer_heard_ann(&who, &heard, Twinkle::RATE_HZ);
        site.wait_participants(1);
    }
    site.leaves_nothing();
}

#[test]
#[ignore = "by tests/interop/run"]
fn twinkle_registers_and_is_called() {
    let _alone = exclusive();
    let site = Site::start();
    let id = site.device("twi");
    let config = TwinkleConfig {
        user: "twi",
        server: site.server.sip,
        codecs: "g711a,g711u",
        says: speech(Twinkle::RATE_HZ, 60),
        registers: Some((REALM, PASSWORD)),
    };
    let mut twinkle = Twinkle::start(&config).expect("twinkle");
    site.wait_registered(&id);
    let dial = site.dial(json!({"endpoints": [id], "timeout": 20}));
    twinkle.wait("incoming call", WAIT).expect("it rings");
    twinkle.say("answer").expect("told");
    let told = entry(dial);
    assert_eq!(told["status"], "success", "{told}\n{}", twinkle.log());
    site.wait_participants(2);
    site.ann_hears_the_peer("twinkle");
    let heard = twinkle.quit().expect("ended");
    the_peer_heard_ann("twinkle", &heard, Twinkle::RATE_HZ);
    site.wait_participants(1);
    site.leaves_nothing();
}
