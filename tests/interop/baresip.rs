//! baresip calls in and is called: over UDP, TCP and TLS, with PCMU, PCMA, G.722 and Opus, plain and by SRTP.

use std::fs;

use confab_testkit::codec::Codec;
use confab_testkit::g711::Law;
use confab_testkit::peers::{Baresip, BaresipAccount, BaresipConfig};
use confab_testkit::server::{TempDir, exclusive, free_address};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;

use crate::site::{PASSWORD, REALM, Site, WAIT, entry, speech, the_peer_heard_ann};

const WAYS: [(&str, Codec, Option<&str>); 7] = [
    ("udp", Codec::Pcmu, None),
    ("udp", Codec::G722, None),
    ("udp", Codec::Opus, None),
    ("udp", Codec::Pcmu, Some("srtp")),
    ("tcp", Codec::Pcma, None),
    ("tls", Codec::Opus, Some("srtp-mand")),
    ("tls", Codec::Pcmu, Some("srtp-mandf")),
];

#[test]
#[ignore = "by tests/interop/run"]
fn baresip_calls_in_by_every_transport_and_codec() {
    let _alone = exclusive();
    let folder = TempDir::new("interop").expect("a directory");
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(folder.path().join("cert.pem"), cert.pem()).expect("written");
    fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).expect("written");
    let file = |name| format!("{:?}", folder.path().join(name).to_string_lossy());
    let tls = free_address().expect("an address");
    let site = Site::with(&[
        ("sip.tls", &format!("[\"{tls}\"]")),
        ("sip.tls_cert", &file("cert.pem")),
        ("sip.tls_key", &file("key.pem")),
    ]);
    for (transport, codec, media_encryption) in WAYS {
        let who = format!("baresip ({transport}, {codec:?}, {media_encryption:?})");
        let target = match transport {
            "udp" => site.target(),
            "tcp" => format!("{};transport=tcp", site.target()),
            _ => format!("sip:3000@{tls};transport=tls"),
        };
        let config = BaresipConfig {
            codec,
            media_encryption,
            ..BaresipConfig::new("bob", &target, speech(codec.rate_hz(), 40))
        };
        let mut bob = Baresip::start(&config).expect("baresip");
        bob.wait_established(WAIT).expect(&who);
        site.wait_participants(2);
        site.ann_hears_the_peer(&who);
        bob.hang_up().expect("ended");
        the_peer_heard_ann(&who, &bob.heard().expect("a recording"), codec.rate_hz());
        site.wait_participants(1);
    }
    site.leaves_nothing();
}

#[test]
#[ignore = "by tests/interop/run"]
fn baresip_registers_and_is_called() {
    let _alone = exclusive();
    let site = Site::start();
    for (transport, codec) in [("udp", Codec::from(Law::A)), ("tcp", Codec::G722)] {
        let who = format!("baresip ({transport}, {codec:?})");
        let user = format!("bob-{transport}");
        let id = site.device(&user);
        let account = BaresipAccount {
            realm: REALM.to_owned(),
            server: site.server.sip,
            transport,
            password: PASSWORD.to_owned(),
            expires_s: 300,
        };
        let mut config = BaresipConfig::registering(&user, account, speech(codec.rate_hz(), 40));
        config.codec = codec;
        let mut bob = Baresip::start(&config).expect("baresip");
        site.wait_registered(&id);
        let told = entry(site.dial(json!({"endpoints": [id]})));
        assert_eq!(told["status"], "success", "{told}\n{}", bob.log());
        site.wait_participants(2);
        site.ann_hears_the_peer(&who);
        bob.hang_up().expect("ended");
        the_peer_heard_ann(&who, &bob.heard().expect("a recording"), codec.rate_hz());
        site.wait_participants(1);
    }
    site.leaves_nothing();
}
