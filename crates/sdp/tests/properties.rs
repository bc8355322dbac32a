//! Properties over arbitrary input: no panic, printing and parsing agree, answers fit their offers.

use confab_sdp::{
    Attribute, Bandwidth, Connection, MediaDescription, OriginLine, SessionDescription, Timing, fuzz_sdp,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._+-]{1,12}"
}

fn connection() -> impl Strategy<Value = Connection> {
    let address = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| ip.to_string()),
        "[a-z]{1,8}\\.(example|invalid)",
        Just("0.0.0.0".to_owned()),
        Just("192.0.2.9".to_owned()),
    ];
    (address, prop_oneof![Just("IP4"), Just("IP6")]).prop_map(|(address, addr_type)| Connection {
        net_type: "IN".to_owned(),
        addr_type: addr_type.to_owned(),
        address,
    })
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let names = prop_oneof![
        Just("rtpmap".to_owned()),
        Just("fmtp".to_owned()),
        Just("ptime".to_owned()),
        Just("rtcp".to_owned()),
        Just("rtcp-mux".to_owned()),
        Just("sendonly".to_owned()),
        token(),
    ];
    let values = prop_oneof![
        (
            0u8..130,
            prop_oneof![Just("PCMU"), Just("pcma"), Just("telephone-event"), Just("x")],
            any::<u16>()
        )
            .prop_map(|(payload_type, name, rate)| format!("{payload_type} {name}/{rate}")),
        (0u8..130).prop_map(|payload_type| format!("{payload_type} telephone-event/8000")),
        any::<u32>().prop_map(|number| number.to_string()),
        "[ -~]{0,20}[!-~]",
        Just(String::new()),
    ];
    (names, proptest::option::of(values)).prop_map(|(name, value)| Attribute { name, value })
}

fn bandwidth() -> impl Strategy<Value = Bandwidth> {
    (token(), any::<u64>()).prop_map(|(kind, value)| Bandwidth { kind, value })
}

fn media() -> impl Strategy<Value = MediaDescription> {
    let kind = prop_oneof![Just("audio".to_owned()), Just("video".to_owned()), token()];
    let protocol = prop_oneof![
        4 => Just("RTP/AVP".to_owned()),
        1 => Just("RTP/AVPF".to_owned()),
        1 => Just("RTP/SAVP".to_owned()),
    ];
    let format = prop_oneof![(0u16..300).prop_map(|number| number.to_string()), token()];
    (
        (kind, any::<u16>(), proptest::option::of(any::<u16>()), protocol),
        (
            vec(format, 1..8),
            vec(connection(), 0..2),
            vec(bandwidth(), 0..2),
            vec(attribute(), 0..10),
        ),
    )
        .prop_map(
            |((kind, port, port_count, protocol), (formats, connections, bandwidths, attributes))| {
                MediaDescription {
                    kind,
                    port,
                    port_count,
                    protocol,
                    formats,
                    connections,
                    bandwidths,
                    attributes,
                }
            },
        )
}

fn description() -> impl Strategy<Value = SessionDescription> {
    let origin = (token(), "[0-9]{1,24}", any::<u64>(), token()).prop_map(
        |(username, session_id, version, address)| OriginLine {
            username,
            session_id,
            version,
            net_type: "IN".to_owned(),
            addr_type: "IP4".to_owned(),
            address,
        },
    );
    let timing = (any::<u64>(), any::<u64>()).prop_map(|(start, stop)| Timing { start, stop });
    (
        (origin, "[ -~äöü€]{0,20}[!-~]", proptest::option::of(connection())),
        (
            vec(bandwidth(), 0..3),
            vec(timing, 1..3),
            vec(attribute(), 0..5),
            vec(media(), 0..5),
        ),
    )
        .prop_map(
            |((origin, session_name, connection), (bandwidths, timings, attributes, media))| {
                SessionDescription {
                    origin,
                    session_name,
                    connection,
                    bandwidths,
                    timings,
                    attributes,
                    media,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(body in vec(any::<u8>(), 0..600)) {
        fuzz_sdp(&body);
    }

    #[test]
    fn arbitrary_lines_never_panic(lines in vec("[vosictmbakrz]=[ -~\t\u{80}-\u{ff}]{0,40}", 0..20)) {
        fuzz_sdp(format!("v=0\r\n{}", lines.join("\n")).as_bytes());
    }

    #[test]
    fn what_is_printed_is_read_as_the_same(description in description()) {
        let printed = description.to_string();
        prop_assert!(printed.split("\r\n").all(|line| !line.contains(['\r', '\n'])));
        let read = SessionDescription::parse(printed.as_bytes());
        prop_assert_eq!(read.as_ref(), Ok(&description));
        fuzz_sdp(printed.as_bytes());
    }

    #[test]
    fn cut_and_damaged_descriptions_never_panic(
        description in description(), cut in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut body = description.to_string().into_bytes();
        let at = cut.index(body.len());
        body[at] = byte;
        fuzz_sdp(&body);
        fuzz_sdp(&body[..at]);
    }
}
