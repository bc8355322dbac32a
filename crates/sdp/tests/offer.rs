//! Offers of ours, their answers, and whole sequences of exchanges.

#![allow(clippy::unwrap_used)] // setup functions outside #[test] functions

use std::sync::Arc;

use confab_sdp::{
    Capabilities, CodecCapability, Direction, LocalMedia, Negotiation, Origin, SdpError, SessionDescription,
    accept_answer, offer,
};

fn local() -> LocalMedia {
    LocalMedia {
        address: "192.0.2.1".parse().unwrap(),
        port: 16384,
        rtcp_port: 16385,
    }
}

fn peer(lines: &str) -> SessionDescription {
    let lines = lines.trim().replace('\n', "\r\n");
    let head = "v=0\r\no=- 5 6 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n";
    SessionDescription::parse(format!("{head}{lines}\r\n").as_bytes()).unwrap()
}

fn our_offer() -> SessionDescription {
    offer(
        &Capabilities::default(),
        local(),
        Origin {
            session_id: 77,
            version: 1,
        },
    )
}

fn negotiation() -> Negotiation {
    Negotiation::new(Arc::new(Capabilities::default()), local(), 77)
}

fn with_opus() -> Capabilities {
    let opus = CodecCapability {
        name: "opus".to_owned(),
        clock_rate: 48000,
        channels: 2,
        static_pt: None,
        fmtp: Some("useinbandfec=1".to_owned()),
    };
    Capabilities {
        codecs: vec![opus, CodecCapability::pcmu()],
        ..Capabilities::default()
    }
}

#[test]
fn an_offer_is_written_in_full() {
    assert_eq!(
        our_offer().to_string(),
        "v=0\r\no=- 77 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=audio 16384 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:60\r\n\
         a=sendrecv\r\na=rtcp-mux\r\na=rtcp-xr:voip-metrics rcvr-rtt=all\r\n"
    );
    let text = offer(
        &with_opus(),
        local(),
        Origin {
            session_id: 1,
            version: 1,
        },
    )
    .to_string();
    assert!(
        text.contains("m=audio 16384 RTP/AVP 96 0 97 101\r\na=rtpmap:96 opus/48000/2\r\n"),
        "{text}"
    );
    assert!(text.contains("a=rtpmap:97 telephone-event/48000\r\n"), "{text}");
}

#[test]
fn answers_are_understood() {
    // answer lines; codec, send and receive payload types; telephone-event send and receive; direction; mux
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    let event = "a=rtpmap:101 telephone-event/8000";
    let rows = [
        (
            format!("m=audio 4 RTP/AVP 8 101\n{event}"),
            "PCMA",
            8,
            vec![8],
            Some((101, 101)),
            SendRecv,
            false,
        ),
        (
            "m=audio 4 RTP/AVP 0\na=rtcp-mux".to_owned(),
            "PCMU",
            0,
            vec![0],
            None,
            SendRecv,
            true,
        ),
        (
            "m=audio 4 RTP/AVP 0\na=sendonly".to_owned(),
            "PCMU",
            0,
            vec![0],
            None,
            RecvOnly,
            false,
        ),
        (
            "m=audio 4 RTP/AVP 0\na=recvonly".to_owned(),
            "PCMU",
            0,
            vec![0],
            None,
            SendOnly,
            false,
        ),
        (
            "m=audio 4 RTP/AVP 0\na=inactive".to_owned(),
            "PCMU",
            0,
            vec![0],
            None,
            Inactive,
            false,
        ),
        (
            "m=audio 4 RTP/AVP 0\nc=IN IP4 0.0.0.0".to_owned(),
            "PCMU",
            0,
            vec![0],
            None,
            RecvOnly,
            false,
        ),
        // The peer numbers otherwise: its number to send, ours to receive, and its own as well when unambiguous.
        (
            "m=audio 4 RTP/AVP 110 96\na=rtpmap:110 PCMA/8000\na=rtpmap:96 telephone-event/8000".to_owned(),
            "PCMA",
            110,
            vec![8, 110],
            Some((96, 101)),
            SendRecv,
            false,
        ),
        // A number that means something else in our offer stays with that meaning.
        (
            "m=audio 4 RTP/AVP 101\na=rtpmap:101 PCMU/8000".to_owned(),
            "PCMU",
            101,
            vec![0],
            None,
            SendRecv,
            false,
        ),
        // No rtpmap for our dynamic number: the meaning it has in the offer.
        (
            "m=audio 4 RTP/AVP 0 101".to_owned(),
            "PCMU",
            0,
            vec![0],
            Some((101, 101)),
            SendRecv,
            false,
        ),
    ];
    for (lines, name, send_pt, recv_pts, event, direction, mux) in rows {
        let audio = accept_answer(&our_offer(), &peer(&lines)).expect(&lines).audio;
        assert_eq!(
            (audio.codec.name.as_str(), audio.codec.send_pt),
            (name, send_pt),
            "{lines}"
        );
        assert_eq!(audio.codec.recv_pts, recv_pts, "{lines}");
        assert_eq!(
            audio.telephone_event.map(|event| (event.send_pt, event.recv_pt)),
            event,
            "{lines}"
        );
        assert_eq!((audio.direction, audio.rtcp_mux), (direction, mux), "{lines}");
        assert_eq!(audio.hold, !direction.sends(), "{lines}");
    }
}

#[test]
fn further_codecs_of_an_answer_are_alternatives() {
    let audio = accept_answer(&our_offer(), &peer("m=audio 4 RTP/AVP 8 0 8\na=ptime:40"))
        .unwrap()
        .audio;
    assert_eq!(audio.codec.name, "PCMA");
    assert_eq!(audio.alternatives.len(), 1);
    assert_eq!(audio.alternatives[0].name, "PCMU");
    assert_eq!(audio.ptime_ms, 40);
}

#[test]
fn unusable_answers_say_why() {
    let rows = [
        ("", SdpError::Refused),
        ("m=audio 0 RTP/AVP 0", SdpError::Refused),
        ("m=video 4 RTP/AVP 0", SdpError::Refused),
        (
            "m=audio 4 RTP/SAVP 0",
            SdpError::Protocol {
                protocol: "RTP/SAVP".to_owned(),
            },
        ),
        (
            "m=audio 4 RTP/AVP 9",
            SdpError::NoCommonCodec {
                offered: vec!["G722/8000".to_owned()],
            },
        ),
        (
            "m=audio 4 RTP/AVP 0\nc=IN IP4 h.example",
            SdpError::NotAnIpAddress {
                address: "h.example".to_owned(),
            },
        ),
    ];
    for (lines, error) in rows {
        assert_eq!(accept_answer(&our_offer(), &peer(lines)), Err(error), "{lines}");
    }
    let none = peer("m=video 0 RTP/AVP 0");
    assert_eq!(accept_answer(&none, &none), Err(SdpError::NoAudio));
}

#[test]
fn the_version_grows_with_changes_only() {
    let mut negotiation = negotiation();
    let version = |negotiation: &mut Negotiation, lines: &str| {
        negotiation
            .answer(&peer(lines))
            .unwrap()
            .description
            .origin
            .version
    };
    assert_eq!(version(&mut negotiation, "m=audio 4 RTP/AVP 0"), 1);
    assert_eq!(
        version(&mut negotiation, "m=audio 4 RTP/AVP 0"),
        1,
        "a session refresh"
    );
    assert_eq!(
        version(&mut negotiation, "m=audio 6 RTP/AVP 0"),
        1,
        "the peer moved, we did not"
    );
    assert_eq!(
        version(&mut negotiation, "m=audio 4 RTP/AVP 0\na=sendonly"),
        2,
        "hold"
    );
    assert_eq!(version(&mut negotiation, "m=audio 4 RTP/AVP 0"), 3, "resumed");
    assert_eq!(
        version(&mut negotiation, "m=audio 4 RTP/AVP 8"),
        4,
        "another codec"
    );
    assert!(negotiation.answer(&peer("m=audio 4 RTP/AVP 18")).is_err());
    assert_eq!(
        negotiation.audio().unwrap().codec.name,
        "PCMA",
        "a refused offer changes nothing"
    );
    assert_eq!(version(&mut negotiation, "m=audio 4 RTP/AVP 8"), 4);
    negotiation.set_local(LocalMedia {
        port: 16386,
        rtcp_port: 16387,
        ..local()
    });
    assert_eq!(version(&mut negotiation, "m=audio 4 RTP/AVP 8"), 5, "we moved");
    assert_eq!(negotiation.offer().origin.version, 6);
    negotiation.withdraw_offer();
    assert_eq!(negotiation.offer().origin.version, 6, "the same offer again");
}

#[test]
fn a_late_offer_is_answered_once() {
    let mut negotiation = negotiation();
    let answer = peer("m=audio 4 RTP/AVP 8");
    assert_eq!(negotiation.accept_answer(&answer), Err(SdpError::NoOpenOffer));
    assert_eq!(negotiation.offer(), our_offer());
    assert!(negotiation.has_open_offer() && negotiation.audio().is_none());
    assert_eq!(
        negotiation.accept_answer(&answer).unwrap().audio.codec.name,
        "PCMA"
    );
    assert_eq!(negotiation.accept_answer(&answer), Err(SdpError::NoOpenOffer));
    assert_eq!(
        negotiation.audio().unwrap().remote,
        "198.51.100.7:4".parse().unwrap()
    );
}

#[test]
fn an_offer_within_a_session_keeps_places_numbers_and_codec() {
    let mut negotiation = Negotiation::new(Arc::new(with_opus()), local(), 77);
    let first = peer(
        "m=video 2 RTP/AVP 96\nm=audio 4 RTP/AVPF 0 101 97\na=rtpmap:101 G726-32/8000\n\
         a=rtpmap:97 telephone-event/8000\nm=audio 6 RTP/AVP 8",
    );
    assert_eq!(negotiation.answer(&first).unwrap().audio.media_index, 1);
    let text = negotiation.offer().to_string();
    let media: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
    // PCMU in use comes first; 97 keeps its meaning, and 101 is not given a second one.
    assert_eq!(
        media,
        [
            "m=video 0 RTP/AVP 96",
            "m=audio 16384 RTP/AVPF 0 96 97 98",
            "m=audio 0 RTP/AVP 8"
        ]
    );
    assert!(text.contains("a=rtpmap:97 telephone-event/8000\r\n"), "{text}");
    assert!(text.contains("a=rtpmap:98 telephone-event/48000\r\n"), "{text}");
    let answer = peer("m=video 0 RTP/AVP 96\nm=audio 8 RTP/AVPF 0\nm=audio 0 RTP/AVP 8");
    let audio = negotiation.accept_answer(&answer).unwrap().audio;
    assert_eq!((audio.media_index, audio.remote.port()), (1, 8));
}

#[test]
fn reports_are_extended_as_far_as_both_sides_name_them() {
    // attributes of the answer, metrics, round trip
    let rows = [
        ("", false, false),
        ("a=rtcp-xr:voip-metrics", true, false),
        (
            "a=rtcp-xr:rcvr-rtt=all:300 voip-metrics stat-summary=loss",
            true,
            true,
        ),
        ("a=rtcp-xr:rcvr-rtt=sender", false, true),
        ("a=rtcp-xr:", false, false),
    ];
    for (attributes, voip_metrics, receiver_round_trip) in rows {
        let answer = peer(&format!("m=audio 4 RTP/AVP 0\n{attributes}"));
        let reports = accept_answer(&our_offer(), &answer)
            .unwrap()
            .audio
            .extended_reports;
        assert_eq!(
            (reports.voip_metrics, reports.receiver_round_trip),
            (voip_metrics, receiver_round_trip),
            "{attributes}"
        );
    }
}
