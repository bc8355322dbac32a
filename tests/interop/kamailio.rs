//! Kamailio stands in front of the server: calls come in and go out through it, phones register through it, and it forks.

use std::time::Duration;

use confab_testkit::agent::Callee;
use confab_testkit::codec::Codec;
use confab_testkit::g711::Law;
use confab_testkit::peers::{Baresip, BaresipAccount, BaresipConfig};
use confab_testkit::rtp::{EngineConfig, RtpEngine, Source};
use confab_testkit::server::exclusive;
use serde_json::json;

use crate::peers::Kamailio;
use crate::site::{LEVEL_DBFS, PASSWORD, PEER_HZ, REALM, Site, WAIT, entry, speech, the_peer_heard_ann};

const RATE_HZ: u32 = 8000;

#[test]
#[ignore = "by tests/interop/run"]
fn calls_come_in_by_a_proxy_that_stays_in_the_way() {
    let _alone = exclusive();
    let site = Site::start();
    let kamailio =
        Kamailio::start(site.server.sip, ["sip:a@127.0.0.1:9", "sip:b@127.0.0.1:9"]).expect("kamailio");
    let target = format!("sip:3000@{}", kamailio.address());
    // One ends the call himself, the other is hung up by the server.
    for is_kicked in [false, true] {
        let config = BaresipConfig::new("bob", &target, speech(RATE_HZ, 40));
        let mut bob = Baresip::start(&config).expect("baresip");
        bob.wait_established(WAIT)
            .unwrap_or_else(|error| panic!("{error}\n{}", kamailio.log()));
        site.wait_participants(2);
        site.ann_hears_the_peer("baresip behind kamailio");
        if is_kicked {
            let participant = site.conference.participant("bob").expect("he is in");
            site.conference.act_on(participant, "kick").expect("kicked");
            bob.wait_closed(WAIT).expect("hung up");
        }
        bob.hang_up().expect("ended");
        let heard = bob.heard().expect("a recording");
        the_peer_heard_ann("baresip behind kamailio", &heard, RATE_HZ);
        site.wait_participants(1);
    }
    let log = kamailio.log();
    for request in ["took ACK", "took BYE"] {
        assert_eq!(
            log.matches(request).count(),
            2,
            "{request} goes by the proxy\n{log}"
        );
    }
    site.leaves_nothing();
}

#[test]
#[ignore = "by tests/interop/run"]
fn phones_register_through_a_proxy_and_are_called_through_it() {
    let _alone = exclusive();
    let site = Site::start();
    let kamailio =
        Kamailio::start(site.server.sip, ["sip:a@127.0.0.1:9", "sip:b@127.0.0.1:9"]).expect("kamailio");
    let id = site.device("bob");
    let account = BaresipAccount {
        realm: REALM.to_owned(),
        server: kamailio.address(),
        transport: "udp",
        password: PASSWORD.to_owned(),
        expires_s: 300,
    };
    let mut config = BaresipConfig::registering("bob", account, speech(Codec::G722.rate_hz(), 40));
    config.codec = Codec::G722;
    let mut bob = Baresip::start(&config).expect("baresip");
    site.wait_registered(&id);
    let told = entry(site.dial(json!({"endpoints": [id]})));
    assert_eq!(
        told["status"],
        "success",
        "{told}\n{}\n{}",
        bob.log(),
        kamailio.log()
    );
    site.wait_participants(2);
    site.ann_hears_the_peer("baresip behind kamailio");
    bob.hang_up().expect("ended");
    let heard = bob.heard().expect("a recording");
    the_peer_heard_ann("baresip behind kamailio", &heard, Codec::G722.rate_hz());
    site.wait_participants(1);
    let from_us = format!("from {}", site.server.sip);
    let log = kamailio.log();
    let invites = log
        .lines()
        .filter(|line| line.contains("took INVITE") && line.contains(&from_us));
    assert_eq!(invites.count(), 1, "{log}");
    site.leaves_nothing();
}

#[test]
#[ignore = "by tests/interop/run"]
fn of_two_that_answer_a_forked_call_one_joins_and_the_other_is_hung_up() {
    let _alone = exclusive();
    let site = Site::start();
    let engine = RtpEngine::start(EngineConfig::default()).expect("an engine");
    let [first, second] = [Callee::new().expect("a phone"), Callee::new().expect("a phone")];
    let kamailio =
        Kamailio::start(site.server.sip, [&first.uri("bob"), &second.uri("bob")]).expect("kamailio");
    let dial = site.dial(json!({"endpoints": [format!("sip:fork@{}", kamailio.address())]}));
    let calls = [first.wait_call(WAIT), second.wait_call(WAIT)].map(|call| call.expect("an INVITE"));
    for call in &calls {
        call.respond(180, "Ringing").expect("sent");
    }
    std::thread::sleep(Duration::from_millis(300));
    let tone = || Source::tone(Law::Mu, PEER_HZ, LEVEL_DBFS);
    // The second one answers although the proxy has cancelled it by then.
    let _winner = calls[0].join(&engine, tone()).expect("an ACK");
    calls[1].wait_request("CANCEL", WAIT).expect("cancelled");
    let _loser = calls[1].join(&engine, tone()).expect("an ACK");
    calls[1].wait_request("BYE", WAIT).expect("hung up");
    let told = entry(dial);
    assert_eq!(told["status"], "success", "{told}\n{}", kamailio.log());
    site.wait_participants(2);
    site.ann_hears_the_peer("the one who answered first");
    assert!(!calls[0].has_request("BYE"), "his call goes on");
    let participant = site.conference.participant("fork").expect("he is in");
    site.conference.act_on(participant, "kick").expect("kicked");
    calls[0].wait_request("BYE", WAIT).expect("hung up");
    site.wait_participants(1);
    site.leaves_nothing();
}
