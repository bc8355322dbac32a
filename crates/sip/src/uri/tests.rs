use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn sip(text: &str) -> SipUri {
    SipUri::parse(text.to_owned()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn parts_are_found_where_they_are() {
    let uri = sip("sips:alice;day=tuesday:se%63ret@[2001:db8::9]:5061;transport=tcp;lr?subject=a%20b&to=x");
    assert_eq!(uri.scheme, SipScheme::Sips);
    assert_eq!(uri.user.as_ref().unwrap(), &"alice;day=tuesday");
    assert_eq!(uri.password.as_ref().unwrap(), &"se%63ret");
    assert_eq!(uri.host, Host::V6("2001:db8::9".parse().unwrap()));
    assert_eq!(uri.port, Some(5061));
    assert_eq!(uri.transport().unwrap(), &"tcp");
    assert!(uri.is_loose_router());
    assert_eq!(uri.headers.value("Subject").unwrap(), &"a%20b");
    assert_eq!(uri.headers.len(), 2);
}

#[test]
fn what_is_read_is_printed_the_same() {
    for text in [
        "sip:192.0.2.1",
        "sip:3000@192.0.2.1:5060",
        "sip:*72#@pbx_1.example",
        "sip:a:@h",
        "sip:alice@example.com;maddr=239.255.255.1;ttl=15",
        "sip:alice@example.com;transport=",
        "sips:1212@gateway.com",
        "sip:[::1]:5060;lr",
        "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
        "sip:r\u{e9}my@example.com",
        "tel:+1-201-555-0123",
        "urn:service:sos",
        "nobodyKnowsThisScheme:totallyopaquecontent",
    ] {
        let uri = Uri::parse(text.to_owned()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(uri.to_bytes(), text.as_bytes(), "{text}");
    }
    assert_eq!(sip("SIP:a@h;").to_string(), "sip:a@h");
}

#[test]
fn what_is_no_uri_is_refused_with_its_place() {
    let rows = [
        ("", 0, Problem::BadScheme),
        ("sip", 3, Problem::BadScheme),
        (":a", 0, Problem::BadScheme),
        ("1sip:a", 4, Problem::BadScheme),
        ("sip:", 4, Problem::BadHost),
        ("sip:@h", 4, Problem::Empty),
        ("sip::pw@h", 4, Problem::Empty),
        ("sip:a@", 6, Problem::BadHost),
        ("sip:a@b@c", 7, Problem::UnexpectedByte),
        ("sip:a@h:", 7, Problem::BadPort),
        ("sip:a@h:65536", 7, Problem::BadPort),
        ("sip:a@h:99999999999999999999999", 7, Problem::BadPort),
        ("sip:a@[::1", 6, Problem::BadHost),
        ("sip:a@[1.2.3.4]", 6, Problem::BadHost),
        ("sip:a@h;;x", 8, Problem::EmptyParameter),
        ("sip:a@h?", 8, Problem::EmptyParameter),
        ("sip:a@h?x&&y", 10, Problem::EmptyParameter),
        ("sip:a b@h", 5, Problem::UnexpectedByte),
        ("<sip:a@h>", 0, Problem::UnexpectedByte),
        ("sip:a@h\r\nX: y", 7, Problem::UnexpectedByte),
        ("sip:a@h\0", 7, Problem::UnexpectedByte),
    ];
    for (text, offset, problem) in rows {
        let error = Uri::parse(text.to_owned()).expect_err(text);
        assert_eq!(error, UriError { offset, problem }, "{text}");
    }
}

#[test]
fn parameters_are_counted() {
    Uri::parse(format!("sip:h{}", ";x".repeat(128))).unwrap();
    for text in [
        format!("sip:h{}", ";x".repeat(129)),
        format!("sip:h?x{}", "&x".repeat(128)),
    ] {
        assert_eq!(Uri::parse(text).unwrap_err().problem, Problem::TooMany);
    }
}

#[test]
fn ports_at_the_edges_of_their_range_are_read() {
    assert_eq!(sip("sip:h:0").port, Some(0));
    assert_eq!(sip("sip:h:65535").port, Some(65535));
    assert_eq!(sip("sip:h:05060").port, Some(5060));
}

#[test]
fn equivalence_follows_rfc_3261_section_19_1_4() {
    let rows = [
        // The equivalent pairs of the RFC.
        (
            "sip:%61lice@atlanta.com;transport=TCP",
            "sip:alice@AtLanTa.CoM;Transport=tcp",
            true,
        ),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true),
        (
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;newparam=5",
            true,
        ),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            true,
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            true,
        ),
        // The pairs of the RFC that differ.
        (
            "SIP:ALICE@AtLanTa.CoM;Transport=udp",
            "sip:alice@AtLanTa.CoM;Transport=UDP",
            false,
        ),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false),
        (
            "sip:bob@biloxi.com",
            "sip:bob@biloxi.com:6000;transport=tcp",
            false,
        ),
        (
            "sip:carol@chicago.com",
            "sip:carol@chicago.com?Subject=next%20meeting",
            false,
        ),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false),
        (
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;security=off",
            false,
        ),
        // What the text adds to them.
        ("sip:a@h", "sips:a@h", false),
        ("sip:a@h", "sip:h", false),
        ("sip:a:x@h", "sip:a@h", false),
        ("sip:a:x@h", "sip:a:X@h", false),
        ("sip:a@h;maddr=1.2.3.4", "sip:a@h", false),
        ("sip:a@h;ttl=1", "sip:a@h", false),
        ("sip:a@h;user=phone", "sip:a@h", false),
        ("sip:a@h;method=INVITE", "sip:a@h", false),
        ("sip:a@h;lr", "sip:a@h;lr=on", false),
        ("sip:a%3Bb@h", "sip:a;b@h", false),
        ("sip:a%3bb@h", "sip:a%3Bb@h", true),
        ("sip:a%2Db@h", "sip:a-b@h", true),
        ("sip:a@[2001:db8::1]", "sip:a@[2001:0DB8:0:0::1]", true),
        ("sip:a@h.", "sip:a@h", true),
        ("sip:a@h;x=1;x=2", "sip:a@h;x=2;x=1", true),
        ("sip:a@h;x=1;x=2", "sip:a@h;x=3", false),
        ("tel:+1", "TEL:+1", true),
        ("tel:+1", "tel:+2", false),
        ("tel:+1", "sip:+1@h", false),
    ];
    for (left, right, same) in rows {
        let [a, b] = [left, right].map(|text| Uri::parse(text.to_owned()).unwrap());
        assert_eq!(a.is_equivalent(&b), same, "{left} and {right}");
        assert_eq!(b.is_equivalent(&a), same, "{right} and {left}");
    }
}

#[test]
fn users_are_escaped_when_set_and_decoded_when_asked() {
    let uri = SipUri::new(Host::V4([192, 0, 2, 1].into()), None)
        .with_user("a b@c#1")
        .with_param("lr", None);
    assert_eq!(uri.to_string(), "sip:a%20b%40c%231@192.0.2.1;lr");
    assert_eq!(sip(&uri.to_string()).user_decoded().unwrap(), "a b@c#1");
    assert_eq!(sip("sip:100%@h").user_decoded().unwrap(), "100%");
    assert_eq!(sip("sip:%4@h").user_decoded().unwrap(), "%4");
    assert_eq!(sip("sip:%FF@h").user_decoded().unwrap().as_bytes(), [0xff]);
}

#[test]
fn addresses_make_uris() {
    let addr = "[::1]:5060".parse().unwrap();
    assert_eq!(SipUri::from_addr(addr).to_string(), "sip:[::1]:5060");
    assert_eq!(sip("sip:x@192.0.2.1").host.ip(), Some([192, 0, 2, 1].into()));
    assert_eq!(sip("sip:x@192.0.2.256").host.ip(), None);
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_read_reads_the_same_after_printing(bytes in any::<Vec<u8>>()) {
        round_trip(bytes);
    }

    #[test]
    fn no_text_like_a_uri_panics(
        text in "[sS][iI][pP]s?:[a-z%;?@:0-9&=\\[\\]. é]{0,40}(@[a-z0-9.:\\[\\]]{0,20})?([;?&][a-zA-Z%=0-9]{0,9}){0,4}"
    ) {
        round_trip(text.into_bytes());
    }
}

fn round_trip(bytes: Vec<u8>) {
    let Ok(uri) = Uri::parse(Bytes::from(bytes)) else {
        return;
    };
    let again = Uri::parse(uri.to_bytes()).expect("a printed URI reads");
    assert_eq!(again, uri);
    assert!(again.is_equivalent(&uri), "{uri}");
}
