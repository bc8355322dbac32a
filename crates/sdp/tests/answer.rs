//! Answering offers: one row per situation.

#![allow(clippy::unwrap_used)] // setup functions outside #[test] functions

use confab_sdp::{
    AudioStream, Capabilities, CodecCapability, CodecPreference, Direction, LocalMedia, Negotiated, Origin,
    SdpError, SessionDescription, answer,
};

fn local() -> LocalMedia {
    LocalMedia {
        address: "192.0.2.1".parse().unwrap(),
        port: 16384,
        rtcp_port: 16385,
    }
}

/// An offer from 198.51.100.7 with these lines after the session part.
fn offer(lines: &str) -> SessionDescription {
    let lines = lines.trim().replace('\n', "\r\n");
    let head = "v=0\r\no=- 5 6 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n";
    SessionDescription::parse(format!("{head}{lines}\r\n").as_bytes()).unwrap()
}

fn answer_with(lines: &str, capabilities: &Capabilities) -> Result<Negotiated, SdpError> {
    answer(
        &offer(lines),
        capabilities,
        local(),
        Origin {
            session_id: 77,
            version: 3,
        },
    )
}

fn audio(lines: &str) -> AudioStream {
    answer_with(lines, &Capabilities::default()).unwrap().audio
}

/// Codecs that come later, to prove that another codec is another row.
fn wideband() -> Capabilities {
    let codec = |name: &str, clock_rate, channels, static_pt, fmtp: Option<&str>| CodecCapability {
        name: name.to_owned(),
        clock_rate,
        channels,
        static_pt,
        fmtp: fmtp.map(str::to_owned),
    };
    Capabilities {
        codecs: vec![
            codec("opus", 48000, 2, None, Some("useinbandfec=1")),
            codec("G722", 8000, 1, Some(9), None),
            CodecCapability::pcmu(),
            CodecCapability::pcma(),
            codec("L16", 44100, 1, Some(11), None),
        ],
        ..Capabilities::default()
    }
}

#[test]
fn an_answer_is_written_in_full() {
    let agreed = answer_with(
        "m=audio 40000 RTP/AVP 18 8 0 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n\
         a=ptime:30\na=rtcp-mux\nm=video 40002 RTP/AVP 99 98\na=rtpmap:99 H264/90000",
        &Capabilities::default(),
    )
    .unwrap();
    assert_eq!(
        agreed.description.to_string(),
        "v=0\r\no=- 77 3 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=audio 16384 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-16\r\na=ptime:30\r\na=maxptime:60\r\na=sendrecv\r\na=rtcp-mux\r\n\
         m=video 0 RTP/AVP 99 98\r\n"
    );
    let audio = agreed.audio;
    assert_eq!(audio.remote, "198.51.100.7:40000".parse().unwrap());
    assert_eq!(audio.remote_rtcp, audio.remote);
    assert!(audio.rtcp_mux && !audio.hold);
    assert_eq!(
        (audio.codec.name.as_str(), audio.codec.send_pt, audio.ptime_ms),
        ("PCMA", 8, 30)
    );
    assert_eq!(audio.telephone_event.unwrap().recv_pt, 101);
}

#[test]
fn directions_mirror_and_hold_is_seen() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    let rows = [
        ("m=audio 4 RTP/AVP 0", SendRecv, false),
        ("m=audio 4 RTP/AVP 0\na=sendrecv", SendRecv, false),
        ("m=audio 4 RTP/AVP 0\na=sendonly", RecvOnly, true),
        ("m=audio 4 RTP/AVP 0\na=recvonly", SendOnly, false),
        ("m=audio 4 RTP/AVP 0\na=inactive", Inactive, true),
        ("a=sendonly\nm=audio 4 RTP/AVP 0", RecvOnly, true),
        ("a=sendonly\nm=audio 4 RTP/AVP 0\na=sendrecv", SendRecv, false),
        ("m=audio 4 RTP/AVP 0\nc=IN IP4 0.0.0.0", RecvOnly, true),
        (
            "m=audio 4 RTP/AVP 0\nc=IN IP4 0.0.0.0\na=recvonly",
            Inactive,
            true,
        ),
        ("m=audio 4 RTP/AVP 0\nc=IN IP6 ::", RecvOnly, true),
        ("m=audio 4 RTP/AVP 0\nc=IN IP6 hold.invalid", RecvOnly, true),
    ];
    for (lines, direction, hold) in rows {
        let agreed = answer_with(lines, &Capabilities::default()).unwrap();
        assert_eq!(
            (agreed.audio.direction, agreed.audio.hold),
            (direction, hold),
            "{lines}"
        );
        assert!(
            agreed
                .description
                .to_string()
                .contains(&format!("a={direction}\r\n")),
            "{lines}"
        );
    }
}

#[test]
fn formats_are_matched_by_meaning() {
    // offer lines, codec, send payload type
    let rows = [
        ("m=audio 4 RTP/AVP 0 8", "PCMU", 0),
        ("m=audio 4 RTP/AVP 8 0", "PCMA", 8),
        ("m=audio 4 RTP/AVP 3 18 8", "PCMA", 8),
        (
            "m=audio 4 RTP/AVP 0 8\na=rtpmap:0 pcmu/8000/1\na=rtpmap:8 PCMA/8000",
            "PCMU",
            0,
        ),
        ("m=audio 4 RTP/AVP 97\na=rtpmap:97 pcma/8000", "PCMA", 97),
        ("m=audio 4 RTP/AVP 0 8\na=rtpmap:0 PCMU/16000", "PCMA", 8),
        ("m=audio 4 RTP/AVP 0 8\na=rtpmap:0 GSM/8000", "PCMA", 8),
        ("m=audio 4 RTP/AVP 0 8\na=rtpmap:0 PCMU", "PCMU", 0),
        ("m=audio 4 RTP/AVP 200 x 0", "PCMU", 0),
        (
            "m=audio 4 RTP/AVP 101 8\na=rtpmap:101 telephone-event/8000",
            "PCMA",
            8,
        ),
        ("m=audio 4 RTP/AVPF 8", "PCMA", 8),
        ("m=AUDIO 4 rtp/avp 8", "PCMA", 8),
    ];
    for (lines, name, payload_type) in rows {
        let codec = audio(lines).codec;
        assert_eq!(
            (codec.name.as_str(), codec.send_pt),
            (name, payload_type),
            "{lines}"
        );
        assert_eq!(codec.recv_pts, [payload_type], "{lines}");
    }
}

#[test]
fn another_codec_is_another_row() {
    let rows = [
        ("m=audio 4 RTP/AVP 9 0", "G722", 9, 8000),
        (
            "m=audio 4 RTP/AVP 111 9\na=rtpmap:111 OPUS/48000/2\na=fmtp:111 stereo=1",
            "opus",
            111,
            48000,
        ),
        (
            "m=audio 4 RTP/AVP 111 9\na=rtpmap:111 opus/48000",
            "opus",
            111,
            48000,
        ),
        ("m=audio 4 RTP/AVP 10 11", "L16", 11, 44100),
    ];
    for (lines, name, payload_type, clock_rate) in rows {
        let codec = answer_with(lines, &wideband()).unwrap().audio.codec;
        assert_eq!(
            (codec.name.as_str(), codec.send_pt, codec.clock_rate),
            (name, payload_type, clock_rate)
        );
    }
    let lines = "m=audio 4 RTP/AVP 111\na=rtpmap:111 opus/48000/2\na=fmtp:111 maxplaybackrate=16000;stereo=0";
    let agreed = answer_with(lines, &wideband()).unwrap();
    assert_eq!(
        agreed.audio.codec.fmtp.as_deref(),
        Some("maxplaybackrate=16000;stereo=0")
    );
    assert!(
        agreed
            .description
            .to_string()
            .contains("a=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\n")
    );
}

#[test]
fn our_order_can_decide() {
    let ours = Capabilities {
        preference: CodecPreference::Ours,
        ..Capabilities::default()
    };
    let lines = "m=audio 4 RTP/AVP 8 0";
    assert_eq!(answer_with(lines, &ours).unwrap().audio.codec.name, "PCMU");
    assert_eq!(audio(lines).codec.name, "PCMA");
}

#[test]
fn telephone_event_has_the_clock_rate_of_the_codec() {
    let opus = "a=rtpmap:111 opus/48000/2";
    let both = "a=rtpmap:96 telephone-event/8000\na=rtpmap:97 Telephone-Event/48000";
    let rows = [
        (
            format!("m=audio 4 RTP/AVP 111 0 96 97\n{opus}\n{both}"),
            Some((97, 48000)),
        ),
        (
            format!("m=audio 4 RTP/AVP 0 111 96 97\n{opus}\n{both}"),
            Some((96, 8000)),
        ),
        (
            format!("m=audio 4 RTP/AVP 111 96\n{opus}\n{both}"),
            Some((96, 8000)),
        ),
        (format!("m=audio 4 RTP/AVP 0 97\n{both}"), None),
        ("m=audio 4 RTP/AVP 0".to_owned(), None),
        ("m=audio 4 RTP/AVP 0 101".to_owned(), None),
    ];
    for (lines, expected) in rows {
        let event = answer_with(&lines, &wideband()).unwrap().audio.telephone_event;
        assert_eq!(
            event.map(|event| (event.send_pt, event.clock_rate)),
            expected,
            "{lines}"
        );
    }
    let without = Capabilities {
        telephone_event: false,
        ..Capabilities::default()
    };
    let lines = "m=audio 4 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000";
    assert_eq!(answer_with(lines, &without).unwrap().audio.telephone_event, None);
}

#[test]
fn packet_times_are_honoured_within_limits() {
    let rows = [
        ("", 20),
        ("a=ptime:10", 10),
        ("a=ptime:60", 60),
        ("a=ptime:5", 10),
        ("a=ptime:0", 20),
        ("a=ptime:25", 20),
        ("a=ptime:120", 60),
        ("a=ptime:65535", 60),
        ("a=ptime:65536", 20),
        ("a=ptime:-20", 20),
        ("a=ptime:", 20),
        ("a=ptime: 30 ", 30),
        ("a=ptime:40.5", 40),
        ("a=maxptime:10", 10),
        ("a=maxptime:5", 10),
        ("a=ptime:40\na=maxptime:30", 30),
        ("a=maxptime:240", 20),
    ];
    for (attributes, expected) in rows {
        assert_eq!(
            audio(&format!("m=audio 4 RTP/AVP 0\n{attributes}")).ptime_ms,
            expected,
            "{attributes}"
        );
    }
    assert_eq!(audio("a=ptime:30\nm=audio 4 RTP/AVP 0").ptime_ms, 30);
}

#[test]
fn addresses_are_taken_from_the_nearest_line() {
    let rows = [
        (
            "m=audio 40000 RTP/AVP 0",
            "198.51.100.7:40000",
            "198.51.100.7:40001",
        ),
        (
            "m=audio 40000 RTP/AVP 0\nc=IN IP4 203.0.113.5",
            "203.0.113.5:40000",
            "203.0.113.5:40001",
        ),
        (
            "m=audio 40000 RTP/AVP 0\nc=IN IP6 ::ffff:203.0.113.5",
            "203.0.113.5:40000",
            "203.0.113.5:40001",
        ),
        (
            "m=audio 40000 RTP/AVP 0\na=rtcp:50000",
            "198.51.100.7:40000",
            "198.51.100.7:50000",
        ),
        (
            "m=audio 40000 RTP/AVP 0\na=rtcp:50000 IN IP4 203.0.113.9",
            "198.51.100.7:40000",
            "203.0.113.9:50000",
        ),
        (
            "m=audio 40000 RTP/AVP 0\na=rtcp:50000 IN IP4 224.0.0.1",
            "198.51.100.7:40000",
            "198.51.100.7:50000",
        ),
        (
            "m=audio 40000 RTP/AVP 0\na=rtcp:50000 IN IP6 2001:db8::1",
            "198.51.100.7:40000",
            "198.51.100.7:50000",
        ),
        (
            "m=audio 40000 RTP/AVP 0\na=rtcp:0",
            "198.51.100.7:40000",
            "198.51.100.7:40001",
        ),
        (
            "m=audio 40000 RTP/AVP 0\na=rtcp:nonsense",
            "198.51.100.7:40000",
            "198.51.100.7:40001",
        ),
        (
            "m=audio 65535 RTP/AVP 0",
            "198.51.100.7:65535",
            "198.51.100.7:65535",
        ),
        (
            "m=audio 40000 RTP/AVP 0\na=rtcp:50000\na=rtcp-mux",
            "198.51.100.7:40000",
            "198.51.100.7:40000",
        ),
    ];
    for (lines, rtp, rtcp) in rows {
        let audio = audio(lines);
        assert_eq!(audio.remote, rtp.parse().unwrap(), "{lines}");
        assert_eq!(audio.remote_rtcp, rtcp.parse().unwrap(), "{lines}");
    }
}

#[test]
fn ipv6_is_answered_with_ipv6() {
    let local = LocalMedia {
        address: "2001:db8::1".parse().unwrap(),
        port: 20000,
        rtcp_port: 20009,
    };
    let offer = offer("m=audio 4 RTP/AVP 0\nc=IN IP6 2001:db8::7");
    assert_eq!(offer.audio_address(), "2001:db8::7".parse().ok());
    let agreed = answer(
        &offer,
        &Capabilities::default(),
        local,
        Origin {
            session_id: 1,
            version: 1,
        },
    )
    .unwrap();
    let text = agreed.description.to_string();
    assert!(text.contains("o=- 1 1 IN IP6 2001:db8::1\r\n") && text.contains("c=IN IP6 2001:db8::1\r\n"));
    assert!(
        text.contains("a=rtcp:20009\r\n"),
        "an RTCP port that is not the next one is named: {text}"
    );
    assert_eq!(agreed.audio.remote, "[2001:db8::7]:4".parse().unwrap());
}

#[test]
fn only_the_first_acceptable_audio_stream_is_taken_and_the_order_kept() {
    let lines = "m=video 2000 RTP/AVP 96\nm=audio 2002 RTP/SAVPF 0\nm=audio 0 RTP/AVP 0\nm=audio 2004 RTP/AVP 18\n\
                 m=audio 2006 RTP/AVP 0\nm=audio 2008 RTP/AVP 8\nm=image 2010 udptl t38\nm=application 9 TCP/BFCP *";
    let agreed = answer_with(lines, &Capabilities::default()).unwrap();
    assert_eq!(agreed.audio.media_index, 4);
    let text = agreed.description.to_string();
    let media: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        media,
        [
            "m=video 0 RTP/AVP 96",
            "m=audio 0 RTP/SAVPF 0",
            "m=audio 0 RTP/AVP 0",
            "m=audio 0 RTP/AVP 18",
            "m=audio 16384 RTP/AVP 0",
            "m=audio 0 RTP/AVP 8",
            "m=image 0 udptl t38",
            "m=application 0 TCP/BFCP *",
        ]
    );
}

#[test]
fn rtcp_mux_needs_payload_types_that_cannot_be_taken_for_rtcp() {
    assert!(audio("m=audio 4 RTP/AVP 0\na=rtcp-mux").rtcp_mux);
    assert!(!audio("m=audio 4 RTP/AVP 0").rtcp_mux);
    assert!(!audio("m=audio 4 RTP/AVP 72\na=rtpmap:72 PCMU/8000\na=rtcp-mux").rtcp_mux);
    let event = "m=audio 4 RTP/AVP 0 95\na=rtpmap:95 telephone-event/8000\na=rtcp-mux";
    assert!(!audio(event).rtcp_mux);
    let without = Capabilities {
        rtcp_mux: false,
        ..Capabilities::default()
    };
    assert!(
        !answer_with("m=audio 4 RTP/AVP 0\na=rtcp-mux", &without)
            .unwrap()
            .audio
            .rtcp_mux
    );
}

#[test]
fn the_time_line_of_the_offer_is_repeated() {
    let mut offer = offer("m=audio 4 RTP/AVP 0");
    offer.timings[0].start = 3_034_423_619;
    let agreed = answer(
        &offer,
        &Capabilities::default(),
        local(),
        Origin {
            session_id: 1,
            version: 1,
        },
    )
    .unwrap();
    assert_eq!(agreed.description.timings, offer.timings);
}

#[test]
fn refusals_say_why() {
    let rows = [
        ("", 488, 304, "no audio stream"),
        ("m=video 4 RTP/AVP 96", 488, 304, "no audio stream"),
        ("m=audio 0 RTP/AVP 0", 488, 304, "no audio stream"),
        (
            "m=audio 4 UDP/TLS/RTP/SAVPF 0",
            488,
            302,
            "UDP/TLS/RTP/SAVPF is not supported",
        ),
        (
            "m=audio 4 UDP/TLS/RTP/SAVP 0",
            488,
            302,
            "UDP/TLS/RTP/SAVP is not supported",
        ),
        ("m=audio 4 RTP/SAVP 0", 488, 302, "RTP/SAVP is not supported"),
        ("m=audio 4 udp 0", 488, 302, "udp is not supported"),
        (
            "m=audio 4 RTP/AVP 18 3 97 x\na=rtpmap:97 iLBC/8000",
            488,
            305,
            "G729/8000, GSM/8000, iLBC/8000, x",
        ),
        ("m=audio 4 RTP/AVP", 488, 305, "no common codec among -"),
        (
            "m=audio 4 RTP/AVP 101\na=rtpmap:101 telephone-event/8000",
            488,
            305,
            "telephone-event",
        ),
        (
            "m=audio 4 RTP/AVP 0\nc=IN IP4 media.example.com",
            488,
            301,
            "media.example.com is not an IP address",
        ),
        (
            "m=audio 4 RTP/AVP 0\nc=IN IP6 fe80::1%eth0",
            488,
            301,
            "not an IP address",
        ),
        (
            "m=audio 4 RTP/AVP 0\nc=ATM NSAP 47.0091",
            488,
            301,
            "not an IP address",
        ),
        (
            "m=audio 4 RTP/AVP 0\nc=IN IP6 2001:db8::7",
            488,
            301,
            "cannot be reached from 192.0.2.1",
        ),
        (
            "m=audio 4 RTP/AVP 0\nc=IN IP4 224.2.1.1/127",
            488,
            330,
            "not unicast",
        ),
        (
            "m=audio 4 RTP/AVP 0\nc=IN IP4 255.255.255.255",
            488,
            330,
            "not unicast",
        ),
        (
            "m=audio 4 RTP/SAVP 0\nm=audio 6 RTP/AVP 3",
            488,
            302,
            "RTP/SAVP is not supported",
        ),
    ];
    for (lines, status, code, text) in rows {
        let error = answer_with(lines, &Capabilities::default()).expect_err(lines);
        assert_eq!(
            (error.status(), error.warning_code()),
            (status, code),
            "{lines}: {error}"
        );
        assert!(error.to_string().contains(text), "{lines}: {error}");
    }
    let bare = SessionDescription::parse(b"v=0\r\nm=audio 4 RTP/AVP 0\r\n").unwrap();
    let error = answer(
        &bare,
        &Capabilities::default(),
        local(),
        Origin {
            session_id: 1,
            version: 1,
        },
    );
    assert_eq!(error, Err(SdpError::NoConnection));
    assert_eq!(SdpError::NoConnection.status(), 400);
}

#[test]
fn a_warning_is_one_valid_header_value_whatever_the_peer_wrote() {
    let error = answer_with("m=audio 4 RTP/\"\\\u{fc} 0", &Capabilities::default()).unwrap_err();
    assert_eq!(
        error.warning("confab.example"),
        "302 confab.example \"transport RTP/''? is not supported, use RTP/AVP\""
    );
    let long = SdpError::Protocol {
        protocol: "x".repeat(5000),
    };
    assert!(long.warning("h").len() < 220);
}

#[test]
fn extended_reports_are_answered_as_they_were_offered() {
    // attributes of the offer, metrics, round trip, attribute of the answer
    let rows = [
        ("m=audio 4 RTP/AVP 0", false, false, None),
        (
            "m=audio 4 RTP/AVP 0\na=rtcp-xr:voip-metrics",
            true,
            false,
            Some("voip-metrics"),
        ),
        (
            "m=audio 4 RTP/AVP 0\na=rtcp-xr:pkt-loss-rle=60 VOIP-metrics RCVR-rtt=all:120 stat-summary",
            true,
            true,
            Some("voip-metrics rcvr-rtt=all"),
        ),
        (
            "a=rtcp-xr:rcvr-rtt=sender\nm=audio 4 RTP/AVP 0",
            false,
            true,
            Some("rcvr-rtt=sender"),
        ),
        (
            "a=rtcp-xr:voip-metrics\nm=audio 4 RTP/AVP 0\na=rtcp-xr:rcvr-rtt=all",
            false,
            true,
            Some("rcvr-rtt=all"),
        ),
        ("m=audio 4 RTP/AVP 0\na=rtcp-xr", false, false, None),
        (
            "m=audio 4 RTP/AVP 0\na=rtcp-xr:rcvr-rtt rcvr-rtt=x",
            false,
            false,
            None,
        ),
    ];
    for (lines, voip_metrics, receiver_round_trip, answered) in rows {
        let negotiated = answer_with(lines, &Capabilities::default()).unwrap();
        let reports = negotiated.audio.extended_reports;
        assert_eq!(
            (reports.voip_metrics, reports.receiver_round_trip),
            (voip_metrics, receiver_round_trip),
            "{lines}"
        );
        assert_eq!(
            negotiated.description.media[0].attribute("rtcp-xr"),
            answered,
            "{lines}"
        );
    }
    let without = Capabilities {
        extended_reports: false,
        ..Capabilities::default()
    };
    let refused = answer_with("m=audio 4 RTP/AVP 0\na=rtcp-xr:voip-metrics", &without).unwrap();
    assert!(!refused.audio.extended_reports.voip_metrics);
    assert_eq!(refused.description.media[0].attribute("rtcp-xr"), None);
}
