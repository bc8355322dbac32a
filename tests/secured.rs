//! Phones whose media is SRTP hear and are heard, beside phones whose media is not; who has to secure his media and does not is refused; and
//! what strangers send to the ports of a secured call changes nothing.

use std::net::UdpSocket;
use std::time::Duration;

use confab_testkit::codec::Codec;
use confab_testkit::meter;
use confab_testkit::peers::{Baresip, BaresipConfig};
use confab_testkit::server::{Server, ServerBuilder, exclusive};

const WAIT: Duration = Duration::from_secs(10);
const LEVEL_DBFS: f64 = -20.0;
/// Every phone has a tone of its own.
const PHONES: [(&str, Option<&str>, Codec, f64); 4] = [
    ("ann", Some("srtp-mand"), Codec::Pcmu, 600.0),
    ("bob", Some("srtp"), Codec::Opus, 900.0),
    ("cat", Some("srtp-mandf"), Codec::Pcma, 1300.0),
    ("dan", None, Codec::Pcmu, 1900.0),
];

fn phone(
    server: &Server,
    (user, media_encryption, codec, tone_hz): (&str, Option<&'static str>, Codec, f64),
) -> Baresip {
    let rate_hz = codec.rate_hz();
    let config = BaresipConfig {
        codec,
        media_encryption,
        ..BaresipConfig::new(
            user,
            &format!("sip:3000@{}", server.sip),
            meter::sine(tone_hz, LEVEL_DBFS, rate_hz, 0, 60 * rate_hz as usize),
        )
    };
    Baresip::start(&config).expect("baresip")
}

#[test]
fn secured_and_plain_phones_hear_each_other() {
    let _alone = exclusive();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .start()
        .expect("started");
    let conference = server.first_conference().expect("the API");
    let mut phones: Vec<_> = PHONES.into_iter().map(|row| phone(&server, row)).collect();
    for phone in &phones {
        phone.wait_established(WAIT).expect("answered");
    }
    conference
        .wait_participants(WAIT, |list| list.len() == phones.len())
        .expect("all are in");
    std::thread::sleep(Duration::from_secs(6));
    for phone in &mut phones {
        phone.hang_up().expect("ended");
    }
    for (phone, (user, _, codec, own_hz)) in phones.iter().zip(PHONES) {
        let heard = phone.heard().expect("recorded");
        let rate_hz = codec.rate_hz();
        let second = &heard[heard.len() / 2..][..rate_hz as usize];
        for (_, _, _, tone_hz) in PHONES {
            let level = meter::median_tone_dbfs(second, rate_hz, tone_hz);
            if tone_hz == own_hz {
                assert!(level < -45.0, "{user} hears himself at {level:.1} dBFS");
            } else {
                assert!(
                    (level - LEVEL_DBFS).abs() < 3.0,
                    "{user} hears {tone_hz} Hz at {level:.1} dBFS"
                );
            }
        }
    }
}

#[test]
fn what_has_to_be_secured_is_refused_otherwise() {
    let _alone = exclusive();
    for (policy, way, refused) in [
        ("require", None, true),
        ("require", Some("srtp-mand"), false),
        ("off", Some("srtp-mand"), true),
        ("off", None, false),
    ] {
        let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
            .set("media.srtp", &format!("\"{policy}\""))
            .start()
            .expect("started");
        let mut ann = phone(&server, ("ann", way, Codec::Pcmu, 600.0));
        if refused {
            ann.wait_log("488", WAIT).expect("refused");
        } else {
            ann.wait_established(WAIT).expect("answered");
            ann.hang_up().expect("ended");
        }
    }
}

#[test]
fn what_strangers_send_to_a_secured_call_is_counted_and_not_heard() {
    let _alone = exclusive();
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_confab"))
        .set("media.ports", "\"21000-21007\"")
        .start()
        .expect("started");
    let mut ann = phone(&server, ("ann", Some("srtp-mand"), Codec::Pcmu, 600.0));
    let mut bob = phone(&server, ("bob", None, Codec::Pcmu, 900.0));
    ann.wait_established(WAIT).expect("answered");
    bob.wait_established(WAIT).expect("answered");
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut packet = [0x55; 172];
    packet[..12].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    for number in 0..200_u16 {
        packet[2..4].copy_from_slice(&number.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(number) * 160).to_be_bytes());
        for port in 21_000..=21_007 {
            let _ = stranger.send_to(&packet, ("127.0.0.1", port));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let metrics = server.metrics().expect("metrics");
    let dropped = metrics.labelled("confab_rtp_dropped_total", "reason", "unauthentic");
    assert!(dropped >= 150.0, "{dropped}");
    ann.hang_up().expect("ended");
    bob.hang_up().expect("ended");
    let heard = bob.heard().expect("recorded");
    let second = &heard[heard.len() / 2..][..8000];
    let level = meter::median_tone_dbfs(second, 8000, 600.0);
    assert!((level - LEVEL_DBFS).abs() < 1.5, "{level:.1} dBFS");
    let loudest = meter::rms_dbfs(second);
    assert!(
        (loudest - level).abs() < 1.0,
        "something else is heard: {loudest:.1} against {level:.1} dBFS"
    );
}
