use super::*;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
const PUBLIC: &str = "198.51.100.7:4000";
const PRIVATE: &str = "192.168.1.20:4000";
const SIGNALLING: &str = "203.0.113.9";

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn rules(remote: &str) -> SourceRules {
    let remote = at(remote);
    SourceRules {
        remote,
        remote_rtcp: SocketAddr::new(remote.ip(), remote.port() + 1),
        signalling_ip: SIGNALLING.parse().unwrap(),
        trusted_ips: vec!["203.0.113.77".parse().unwrap()],
        payload_types: [PayloadType::PCMU, PayloadType::from_low_bits(101)]
            .into_iter()
            .collect(),
        latch: Latch::Signalling,
        local_nets: Vec::new(),
    }
}

fn guard(remote: &str) -> SourceGuard {
    SourceGuard::new(0, rules(remote))
}

/// Sends packets `sequence..` of SSRC 1 and PCMU from an address, 20 ms apart, and returns the verdicts.
fn send(guard: &mut SourceGuard, from: &str, start_ns: u64, sequence: u16, count: u16) -> Vec<Verdict> {
    (0..count)
        .map(|n| {
            let sequence = SequenceNumber(sequence.wrapping_add(n));
            guard.check(
                start_ns + u64::from(n) * 20 * MS,
                at(from),
                Ssrc(1),
                sequence,
                PayloadType::PCMU,
            )
        })
        .collect()
}

const CONFIRMING: Verdict = Verdict::Reject(RejectReason::Confirming);

#[test]
fn the_signalled_address_is_heard_at_once() {
    for remote in [PUBLIC, PRIVATE, "[2001:db8::1]:5000"] {
        let mut guard = guard(remote);
        assert_eq!(
            send(&mut guard, remote, 0, 65_535, 2),
            [Verdict::Accept; 2],
            "{remote}"
        );
        assert_eq!(guard.source(), Some(at(remote)));
        assert_eq!(guard.counters().accepted, 2);
    }
}

#[test]
fn an_address_mapped_into_ipv6_is_the_same_address() {
    let mut guard = guard(PUBLIC);
    assert_eq!(
        send(&mut guard, "[::ffff:198.51.100.7]:4000", 0, 1, 1),
        [Verdict::Accept]
    );
}

#[test]
fn a_private_signalled_address_is_replaced_after_three_packets_from_the_signalling_ip() {
    for start in [0, 65_534, 65_535] {
        let mut guard = guard(PRIVATE);
        let verdicts = send(&mut guard, "203.0.113.9:61000", 0, start, 5);
        let expected = [
            CONFIRMING,
            CONFIRMING,
            Verdict::Latched,
            Verdict::Accept,
            Verdict::Accept,
        ];
        assert_eq!(verdicts, expected, "start {start}");
        assert_eq!(guard.rtp_destination(S), Ok(at("203.0.113.9:61000")));
    }
}

#[test]
fn a_public_signalled_address_must_be_silent_first() {
    let mut guard = guard(PUBLIC);
    let active = Verdict::Reject(RejectReason::SourceActive);
    assert_eq!(send(&mut guard, "203.0.113.9:61000", 0, 0, 5), [active; 5]);
    let verdicts = send(&mut guard, "203.0.113.9:61000", 500 * MS, 10, 3);
    assert_eq!(verdicts, [CONFIRMING, CONFIRMING, Verdict::Latched]);
    // The signalled address may still come back.
    assert_eq!(send(&mut guard, PUBLIC, 600 * MS, 1, 1), [Verdict::Accept]);
    assert_eq!(guard.source(), Some(at(PUBLIC)));
    assert_eq!(send(&mut guard, "203.0.113.9:61000", 620 * MS, 13, 1), [active]);
}

#[test]
fn only_ips_that_signalling_vouches_for_are_latched_to() {
    let stranger = "192.0.2.66:7000";
    let mut strict = guard(PRIVATE);
    let untrusted = Verdict::Reject(RejectReason::UntrustedAddress);
    assert_eq!(send(&mut strict, stranger, S, 0, 10), [untrusted; 10]);
    assert_eq!(strict.counters().rejected_for(RejectReason::UntrustedAddress), 10);
    assert_eq!(
        send(&mut strict, "203.0.113.77:7000", 2 * S, 0, 3)[2],
        Verdict::Latched,
        "from its Via"
    );
    let mut any = SourceGuard::new(
        0,
        SourceRules {
            latch: Latch::Any,
            ..rules(PRIVATE)
        },
    );
    assert_eq!(send(&mut any, stranger, S, 0, 3)[2], Verdict::Latched);
}

#[test]
fn the_three_packets_must_be_one_stream_in_a_row() {
    let from = at("203.0.113.9:61000");
    // Three packets of SSRC, sequence and payload type that must not latch.
    let rows = [
        ("another SSRC", [(1, 1, 0), (1, 2, 0), (2, 3, 0)]),
        ("a gap", [(1, 1, 0), (1, 2, 0), (1, 4, 0)]),
        ("a duplicate", [(1, 1, 0), (1, 2, 0), (1, 2, 0)]),
        (
            "a payload type that was not negotiated",
            [(1, 1, 0), (1, 2, 0), (1, 3, 8)],
        ),
    ];
    for (name, packets) in rows {
        let mut guard = guard(PRIVATE);
        for (ssrc, sequence, payload_type) in packets {
            let payload_type = PayloadType::from_low_bits(payload_type);
            let verdict = guard.check(0, from, Ssrc(ssrc), SequenceNumber(sequence), payload_type);
            assert!(matches!(verdict, Verdict::Reject(_)), "{name}");
        }
        assert_eq!(guard.source(), None, "{name}");
    }
}

#[test]
fn others_cannot_keep_the_rightful_stream_from_latching() {
    let mut guard = SourceGuard::new(
        0,
        SourceRules {
            latch: Latch::Any,
            ..rules(PRIVATE)
        },
    );
    let mut latched = false;
    for n in 0..3_u16 {
        for other in ["192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3"] {
            send(&mut guard, other, u64::from(n), n * 7, 1);
        }
        latched |= send(&mut guard, "203.0.113.9:61000", u64::from(n), n, 1) == [Verdict::Latched];
    }
    assert!(latched);
}

#[test]
fn a_source_is_latched_to_once_per_answer() {
    let mut guard = guard(PRIVATE);
    send(&mut guard, "203.0.113.9:61000", 0, 0, 3);
    let other_stream = |guard: &mut SourceGuard, now_ns| {
        guard.check(
            now_ns,
            at("203.0.113.9:62000"),
            Ssrc(9),
            SequenceNumber(0),
            PayloadType::PCMU,
        )
    };
    assert_eq!(
        other_stream(&mut guard, 50 * MS),
        Verdict::Reject(RejectReason::SourceActive)
    );
    assert_eq!(
        other_stream(&mut guard, 5 * S),
        Verdict::Reject(RejectReason::ForeignSsrc)
    );
    guard.reset(6 * S, &mut rules(PRIVATE));
    assert_eq!(guard.source(), Some(at("203.0.113.9:61000")), "still in use");
    let verdicts: Vec<_> = (0..3)
        .map(|n| {
            guard.check(
                7 * S,
                at("203.0.113.9:62000"),
                Ssrc(9),
                SequenceNumber(n),
                PayloadType::PCMU,
            )
        })
        .collect();
    assert_eq!(verdicts, [CONFIRMING, CONFIRMING, Verdict::Latched]);
}

#[test]
fn a_new_signalled_address_ends_the_old_source() {
    let mut guard = guard(PUBLIC);
    send(&mut guard, PUBLIC, 0, 0, 3);
    guard.reset(S, &mut rules("198.51.100.8:4000"));
    assert_eq!(guard.source(), None);
    assert_eq!(guard.rtp_destination(S), Ok(at("198.51.100.8:4000")));
    assert_eq!(
        send(&mut guard, PUBLIC, S, 3, 1),
        [Verdict::Reject(RejectReason::SourceActive)]
    );
    assert_eq!(send(&mut guard, "198.51.100.8:4000", S, 3, 1), [Verdict::Accept]);
}

#[test]
fn a_stream_moves_with_its_ssrc_and_sequence_after_silence() {
    // (milliseconds since the last packet, SSRC, steps in sequence, verdict)
    let rows = [
        (299, 1, 1, Verdict::Reject(RejectReason::SourceActive)),
        (300, 1, 1, Verdict::Latched),
        (300, 1, 100, Verdict::Latched),
        (300, 1, 101, Verdict::Reject(RejectReason::SequenceJump)),
        (300, 1, 0, Verdict::Reject(RejectReason::SequenceJump)),
        (300, 1, -1, Verdict::Reject(RejectReason::SequenceJump)),
        (300, 2, 1, Verdict::Reject(RejectReason::ForeignSsrc)),
    ];
    for start in [0, 127, 65_500, 65_535_u16] {
        for (silent_ms, ssrc, steps, expected) in rows {
            let mut guard = guard(PRIVATE);
            send(&mut guard, "203.0.113.9:61000", 0, start.wrapping_sub(2), 3);
            let now_ns = 40 * MS + silent_ms * MS;
            let sequence = SequenceNumber(start.wrapping_add(steps as u16));
            let verdict = guard.check(
                now_ns,
                at("203.0.113.200:1234"),
                Ssrc(ssrc),
                sequence,
                PayloadType::PCMU,
            );
            assert_eq!(
                verdict, expected,
                "{silent_ms} ms, SSRC {ssrc}, {steps} steps from {start}"
            );
        }
    }
}

#[test]
fn what_srtp_authenticates_is_heard_from_anywhere() {
    let mut guard = guard(PUBLIC);
    send(&mut guard, PUBLIC, 0, 0, 3);
    guard.authenticated(20 * MS, at("192.0.2.1:9"), Ssrc(1), SequenceNumber(3));
    assert_eq!(guard.source(), Some(at("192.0.2.1:9")));
}

#[test]
fn rtcp_follows_the_rules_for_itself() {
    let rtcp =
        |guard: &mut SourceGuard, now_ns, from: &str, ssrc| guard.check_rtcp(now_ns, at(from), Ssrc(ssrc));
    let mut own = guard(PUBLIC);
    assert_eq!(rtcp(&mut own, 0, "198.51.100.7:4001", 1), Verdict::Accept);
    assert_eq!(
        rtcp(&mut own, 0, PUBLIC, 1),
        Verdict::Reject(RejectReason::SourceActive)
    );
    assert_eq!(own.counters().accepted, 0, "RTP counts for itself");
    assert_eq!(own.rtcp_counters().accepted, 1);

    let mut nat = guard(PRIVATE);
    let verdicts: Vec<_> = (0..3)
        .map(|n| rtcp(&mut nat, n * 5 * S, "203.0.113.9:61001", 1))
        .collect();
    assert_eq!(verdicts, [CONFIRMING, CONFIRMING, Verdict::Latched]);
    // It moves to an IP that is vouched for or that RTP comes from, not elsewhere.
    assert_eq!(
        rtcp(&mut nat, 20 * S, "192.0.2.5:9", 1),
        Verdict::Reject(RejectReason::AlreadyLatched)
    );
    assert_eq!(rtcp(&mut nat, 20 * S, "203.0.113.77:9", 1), Verdict::Latched);
    send(&mut nat, "203.0.113.9:61000", 20 * S, 0, 3);
    nat.check(
        21 * S,
        at("192.0.2.5:8"),
        Ssrc(1),
        SequenceNumber(3),
        PayloadType::PCMU,
    );
    assert_eq!(rtcp(&mut nat, 25 * S, "192.0.2.5:9", 1), Verdict::Latched);
    assert_eq!(
        rtcp(&mut nat, 30 * S, "192.0.2.5:10", 2),
        Verdict::Reject(RejectReason::ForeignSsrc)
    );
}

#[test]
fn nothing_is_sent_where_no_single_public_peer_can_be() {
    // (signalled address, signalling IP, local networks, verdict)
    let rows: [(&str, &str, &[&str], Option<SendBlocked>); 20] = [
        ("198.51.100.7:4000", SIGNALLING, &[], None),
        ("[2001:db8::1]:4000", SIGNALLING, &[], None),
        (
            "224.0.0.5:4000",
            SIGNALLING,
            &["224.0.0.0/4"],
            Some(SendBlocked::NotUnicast),
        ),
        ("[ff02::1]:4000", SIGNALLING, &[], Some(SendBlocked::NotUnicast)),
        (
            "255.255.255.255:4000",
            "255.255.255.255",
            &[],
            Some(SendBlocked::NotUnicast),
        ),
        ("0.0.0.0:4000", SIGNALLING, &[], Some(SendBlocked::NotUnicast)),
        ("[::]:4000", SIGNALLING, &[], Some(SendBlocked::NotUnicast)),
        ("198.51.100.7:0", SIGNALLING, &[], Some(SendBlocked::NotUnicast)),
        (
            "127.0.0.1:4000",
            SIGNALLING,
            &[],
            Some(SendBlocked::PrivateAddress),
        ),
        ("127.0.0.1:4000", "127.0.0.1", &[], None),
        // The same phone in the other family, on its own network or on this machine.
        ("[fd00::1]:4000", "10.1.2.3", &[], None),
        ("10.1.2.3:4000", "fd00::1", &[], None),
        ("[::1]:4000", "127.0.0.1", &[], None),
        ("[::1]:4000", "10.1.2.3", &[], Some(SendBlocked::PrivateAddress)),
        (
            "10.1.2.3:4000",
            SIGNALLING,
            &[],
            Some(SendBlocked::PrivateAddress),
        ),
        (
            "10.1.2.3:4000",
            SIGNALLING,
            &["192.168.0.0/16", "10.0.0.0/8"],
            None,
        ),
        (
            "100.64.0.1:4000",
            SIGNALLING,
            &[],
            Some(SendBlocked::PrivateAddress),
        ),
        (
            "169.254.1.1:4000",
            SIGNALLING,
            &[],
            Some(SendBlocked::PrivateAddress),
        ),
        (
            "[fd00::1]:4000",
            SIGNALLING,
            &["10.0.0.0/8"],
            Some(SendBlocked::PrivateAddress),
        ),
        (
            "[::ffff:10.1.2.3]:4000",
            SIGNALLING,
            &[],
            Some(SendBlocked::PrivateAddress),
        ),
    ];
    for (remote, signalling, nets, blocked) in rows {
        let guard = SourceGuard::new(
            0,
            SourceRules {
                signalling_ip: signalling.parse().unwrap(),
                local_nets: nets.iter().map(|net| net.parse().unwrap()).collect(),
                ..rules(remote)
            },
        );
        assert_eq!(
            guard.rtp_destination(0).err(),
            blocked,
            "{remote} with {signalling} and {nets:?}"
        );
    }
}

#[test]
fn a_third_party_must_answer_within_ten_seconds() {
    let mut third = guard(PUBLIC);
    assert_eq!(third.rtp_destination(10 * S - 1), Ok(at(PUBLIC)));
    assert_eq!(third.rtp_destination(10 * S), Err(SendBlocked::SilentThirdParty));
    assert_eq!(third.rtcp_destination(10 * S), Err(SendBlocked::SilentThirdParty));
    // RTP or RTCP from it opens both again.
    third.check_rtcp(11 * S, at("198.51.100.7:4001"), Ssrc(1));
    assert_eq!(third.rtp_destination(20 * S), Ok(at(PUBLIC)));
    assert_eq!(third.rtp_destination(21 * S), Err(SendBlocked::SilentThirdParty));
    // The signalling peer itself may stay silent: phones mute so.
    let peer = guard("203.0.113.9:4000");
    assert_eq!(peer.rtp_destination(1000 * S), Ok(at("203.0.113.9:4000")));
}

#[test]
fn networks_are_read_and_matched() {
    // (network, address, inside)
    let rows = [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("0.0.0.0/0", "203.0.113.1", true),
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1/32", "192.0.2.2", false),
        ("fd00::/8", "fdff::1", true),
        ("::/0", "fdff::1", true),
        ("::/0", "10.0.0.1", false),
    ];
    for (net, ip, inside) in rows {
        assert_eq!(
            net.parse::<IpNet>().unwrap().contains(ip.parse().unwrap()),
            inside,
            "{net} {ip}"
        );
    }
    for text in [
        "",
        "10.0.0.0/33",
        "10.0.0/8",
        "fd00::/129",
        "10.0.0.0/",
        "10.0.0.0/-1",
        "x/8",
    ] {
        assert_eq!(text.parse::<IpNet>(), Err(net::IpNetError), "{text}");
    }
}
