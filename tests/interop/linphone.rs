//! linphone calls in, is called, holds and comes back.

use std::time::Duration;

use confab_testkit::server::exclusive;

use crate::peers::{Linphone, LinphoneConfig};
use crate::site::{PASSWORD, REALM, Site, WAIT, speech, the_peer_heard_ann};

fn calling(codec: &str, srtp: bool) -> LinphoneConfig<'_> {
    LinphoneConfig {
        user: "lin",
        codec,
        srtp,
        says: speech(48000, 40),
        registers: None,
    }
}

#[test]
#[ignore = "by tests/interop/run"]
fn linphone_calls_in_with_its_codecs_and_srtp() {
    let _alone = exclusive();
    let site = Site::start();
    // Not its G.722, whose samples it sends at half and hears at twice their size.
    for (codec, srtp, transport) in [
        ("opus", false, "udp"),
        ("PCMU", false, "udp"),
        ("PCMA", false, "tcp"),
        ("opus", true, "udp"),
    ] {
        let who = format!("linphone ({codec}, {transport}, SRTP {srtp})");
        let mut lin = Linphone::start(&calling(codec, srtp)).expect("linphone");
        lin.dial(&format!("{};transport={transport}", site.target()))
            .expect("told");
        lin.wait_established(WAIT)
            .unwrap_or_else(|error| panic!("{who}: {error}\n{}", lin.log()));
        site.wait_participants(2);
        site.ann_hears_the_peer(&who);
        lin.quit().expect("ended");
        let (heard, rate_hz) = lin.heard().expect("a recording");
        the_peer_heard_ann(&who, &heard, rate_hz);
        site.wait_participants(1);
    }
    site.leaves_nothing();
}

#[test]
#[ignore = "by tests/interop/run"]
fn linphone_holds_and_comes_back() {
    let _alone = exclusive();
    let site = Site::start();
    let mut lin = Linphone::start(&calling("opus", false)).expect("linphone");
    lin.dial(&site.target()).expect("told");
    lin.wait_established(WAIT).expect("established");
    site.wait_participants(2);
    site.ann_hears_the_peer("linphone");
    lin.say("pause").expect("told");
    lin.wait("paused", WAIT).expect("paused");
    site.ann_hears_nobody();
    lin.say("resume").expect("told");
    std::thread::sleep(Duration::from_millis(500));
    site.ann_hears_the_peer("linphone");
    lin.quit().expect("ended");
    site.wait_participants(1);
    site.leaves_nothing();
}

#[test]
#[ignore = "by tests/interop/run"]
fn linphone_registers_by_every_transport() {
    // Called it is not: the linphonec of Debian 12 refuses every call with 503, since it never sets its core going.
    let _alone = exclusive();
    let site = Site::start();
    for transport in ["udp", "tcp"] {
        let user = format!("lin-{transport}");
        let id = site.device(&user);
        let config = LinphoneConfig {
            user: &user,
            registers: Some((REALM, PASSWORD, site.server.sip, transport)),
            ..calling("opus", false)
        };
        let mut lin = Linphone::start(&config).expect("linphone");
        site.wait_registered(&id);
        // As a device it calls with its credentials.
        lin.dial("3000").expect("told");
        lin.wait_established(WAIT)
            .unwrap_or_else(|error| panic!("{error}\n{}", lin.log()));
        site.wait_participants(2);
        site.ann_hears_the_peer(&user);
        let participant = site.conference.participant(&user).expect("it is in");
        site.conference.act_on(participant, "kick").expect("kicked");
        lin.wait("ended", WAIT).expect("hung up");
        site.wait_participants(1);
    }
    site.leaves_nothing();
}
