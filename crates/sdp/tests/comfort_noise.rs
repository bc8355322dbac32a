//! Agreeing on comfort noise (RFC 3389): when it is wanted, at the clock of the codec, in either role.

#![allow(clippy::unwrap_used)] // setup functions outside #[test] functions

use confab_sdp::{
    Capabilities, CodecCapability, ComfortNoise, LocalMedia, Negotiation, Origin, SessionDescription, answer,
    offer,
};

const ORIGIN: Origin = Origin {
    session_id: 77,
    version: 3,
};

fn local() -> LocalMedia {
    LocalMedia {
        address: "192.0.2.1".parse().unwrap(),
        port: 16384,
        rtcp_port: 16385,
    }
}

fn capabilities(comfort_noise: bool) -> Capabilities {
    Capabilities {
        codecs: vec![
            CodecCapability::opus("useinbandfec=1"),
            CodecCapability::g722(),
            CodecCapability::pcmu(),
            CodecCapability::l16(16_000),
        ],
        comfort_noise,
        ..Capabilities::default()
    }
}

fn description(lines: &str) -> SessionDescription {
    let head = "v=0\r\no=- 5 6 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n";
    let lines = lines.replace('\n', "\r\n");
    SessionDescription::parse(format!("{head}{lines}\r\n").as_bytes()).unwrap()
}

#[test]
fn an_answer_has_it_at_the_clock_of_the_codec() {
    let both = |payload_type| {
        Some(ComfortNoise {
            send_pt: payload_type,
            recv_pt: payload_type,
        })
    };
    let rows = [
        ("m=audio 4000 RTP/AVP 0 13", both(13)),
        ("m=audio 4000 RTP/AVP 0", None),
        ("m=audio 4000 RTP/AVP 13 9", both(13)),
        ("m=audio 4000 RTP/AVP 0 98\na=rtpmap:98 CN/16000", None),
        ("m=audio 4000 RTP/AVP 0 98\na=rtpmap:98 cn/8000", both(98)),
        (
            "m=audio 4000 RTP/AVP 97 13 98\na=rtpmap:97 L16/16000\na=rtpmap:98 CN/16000",
            both(98),
        ),
        ("m=audio 4000 RTP/AVP 111 13\na=rtpmap:111 opus/48000/2", None),
        (
            "m=audio 4000 RTP/AVP 111 98\na=rtpmap:111 opus/48000/2\na=rtpmap:98 CN/48000",
            None,
        ),
    ];
    for (lines, expected) in rows {
        let agreed = answer(&description(lines), &capabilities(true), local(), ORIGIN).unwrap();
        assert_eq!(agreed.audio.comfort_noise, expected, "{lines}");
        let text = agreed.description.to_string().to_ascii_uppercase();
        assert_eq!(text.contains(" CN/"), expected.is_some(), "{text}");
        let without = answer(&description(lines), &capabilities(false), local(), ORIGIN).unwrap();
        assert_eq!(without.audio.comfort_noise, None, "off by default: {lines}");
    }
}

#[test]
fn an_offer_has_one_for_each_clock_and_the_answer_decides() {
    let text = offer(&capabilities(true), local(), ORIGIN).to_string();
    assert!(text.contains("a=rtpmap:13 CN/8000\r\n"), "{text}");
    assert!(
        text.contains(" CN/16000\r\n") && !text.contains(" CN/48000"),
        "{text}"
    );
    assert!(
        !offer(&capabilities(false), local(), ORIGIN)
            .to_string()
            .contains(" CN/")
    );

    let rows = [
        ("m=audio 4000 RTP/AVP 0 13", Some((13, 13))),
        // Some name what they cannot send first.
        ("m=audio 4000 RTP/AVP 13 0", Some((13, 13))),
        ("m=audio 4000 RTP/AVP 0", None),
        ("m=audio 4000 RTP/AVP 96 13\na=rtpmap:96 opus/48000/2", None),
    ];
    for (lines, expected) in rows {
        let mut negotiation = Negotiation::new(capabilities(true).into(), local(), ORIGIN.session_id);
        negotiation.offer();
        let agreed = negotiation.accept_answer(&description(lines)).unwrap();
        let noise = agreed
            .audio
            .comfort_noise
            .map(|noise| (noise.send_pt, noise.recv_pt));
        assert_eq!(noise, expected, "{lines}");
        assert!(agreed.audio.alternatives.is_empty(), "{lines}");
    }
}
