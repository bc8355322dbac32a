//! What one peer can make the endpoint keep and send.

use std::time::Duration;

use confab_sip::{EndpointConfig, Event, Flow, Limits, Network, StatusCode};

use crate::lone::{Lone, OURS, PEER, SDP, address, in_dialog, invite, message, tag_of};
use crate::pair::answer;

/// Room for two unacknowledged INVITEs.
fn narrow() -> EndpointConfig {
    EndpointConfig {
        limits: Limits {
            unacknowledged_per_source: 2,
            ..Limits::default()
        },
        ..EndpointConfig::default()
    }
}

fn nth(n: usize) -> String {
    invite("1", &format!("z9hG4bK{n}"), None, SDP).replace("Call-ID: c1", &format!("Call-ID: n{n}"))
}

#[test]
fn a_source_that_acknowledges_nothing_gets_no_more_repetitions_than_its_budget() {
    let mut lone = Lone::with(narrow());
    for n in 0..10 {
        lone.receive(nth(n));
    }
    assert_eq!(lone.sent_kinds(), ["503"; 8]);
    assert_eq!(lone.endpoint.gauges().calls, 2);
    lone.flow = Flow::udp(address(OURS), address("192.0.2.8:5070"));
    lone.receive(nth(10));
    assert_eq!(
        lone.endpoint.gauges().calls,
        3,
        "another source has its own budget"
    );
}

#[test]
fn acknowledged_calls_do_not_count() {
    let mut lone = Lone::with(narrow());
    for n in 0..10 {
        lone.receive(nth(n));
        let Event::Invite { call, .. } = lone.event() else {
            panic!("an INVITE")
        };
        lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
        let tag = tag_of(&lone.response());
        let method = if n % 2 == 0 { "ACK" } else { "BYE" };
        lone.receive(
            in_dialog(method, "1", &format!("z9hG4bKe{n}"), &tag, "")
                .replace("Call-ID: c1", &format!("Call-ID: n{n}")),
        );
        lone.events();
        lone.sent();
    }
}

#[test]
fn a_refusal_counts_until_its_ack_or_its_end() {
    let mut lone = Lone::with(narrow());
    for n in 0..2 {
        lone.receive(nth(n));
        let Event::Invite { call, .. } = lone.event() else {
            panic!("an INVITE")
        };
        let refusal = confab_sip::Rejection::new(StatusCode::NOT_FOUND);
        lone.act(|endpoint, now| endpoint.reject(now, call, refusal));
        lone.events();
    }
    lone.sent();
    lone.receive(nth(2));
    assert_eq!(lone.sent_kinds(), ["503"]);
    lone.receive(message("ACK", "1", "z9hG4bK0", None, "", "").replace("Call-ID: c1", "Call-ID: n0"));
    lone.receive(nth(3));
    assert!(matches!(lone.event(), Event::Invite { .. }));
    lone.wait(Duration::from_secs(33));
    lone.events();
    lone.receive(nth(4));
    assert!(
        matches!(lone.event(), Event::Invite { .. }),
        "the other refusal ran out"
    );
}

#[test]
fn local_networks_have_no_budget() {
    let net = Network {
        address: address(PEER).ip(),
        prefix_bits: 24,
    };
    let mut lone = Lone::with(EndpointConfig {
        local_nets: vec![net],
        ..narrow()
    });
    for n in 0..10 {
        lone.receive(nth(n));
    }
    assert_eq!(lone.endpoint.gauges().calls, 10);
}

#[test]
fn an_invite_whose_answers_would_be_huge_is_refused_without_state() {
    let mut lone = Lone::new();
    let vias = format!("Via: SIP/2.0/UDP a;x={}\r\n", "y".repeat(4000)).repeat(3);
    lone.receive(message("INVITE", "1", "z9hG4bKa", None, &vias, SDP));
    assert_eq!(lone.response().status, StatusCode::MESSAGE_TOO_LARGE);
    assert!(lone.endpoint.gauges().is_idle());
    let subject = format!("Subject: {}\r\n", "y".repeat(8000)).repeat(6);
    lone.receive(message("INVITE", "1", "z9hG4bKb", None, &subject, SDP));
    assert!(
        matches!(lone.event(), Event::Invite { .. }),
        "what is not repeated may be large"
    );
}

#[test]
fn a_call_says_whether_it_still_waits_and_which_connection_it_needs() {
    let mut lone = Lone::new();
    lone.flow = Flow::tcp(address(OURS), address(PEER), 5);
    lone.receive(nth(1));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    assert!(lone.endpoint.awaits_answer(call));
    assert!(lone.endpoint.uses_connection(5));
    assert!(!lone.endpoint.uses_connection(4) && !lone.endpoint.uses_connection(6));
    lone.receive(message("CANCEL", "1", "z9hG4bK1", None, "", "").replace("Call-ID: c1", "Call-ID: n1"));
    assert!(!lone.endpoint.awaits_answer(call));
    lone.wait(Duration::from_secs(40));
    assert!(!lone.endpoint.uses_connection(5));
}

#[test]
fn each_family_is_shown_its_own_advertised_address() {
    let host = |text: &str| {
        Some(confab_sip::HostPort {
            host: confab_sip::Host::from(address(text).ip()),
            port: None,
        })
    };
    let (ipv4, ipv6) = (host("198.51.100.1:1"), host("[2001:db8::99]:1"));
    for (advertised, [over_ipv4, over_ipv6, inside]) in [
        (
            (ipv4.clone(), None),
            ["@198.51.100.1:5060", "@[2001:db8::1]:5060", "@[2001:db8::1]:5060"],
        ),
        (
            (ipv4, ipv6.clone()),
            [
                "@198.51.100.1:5060",
                "@[2001:db8::99]:5060",
                "@[2001:db8::1]:5060",
            ],
        ),
        (
            (None, ipv6),
            ["@192.0.2.1:5060", "@[2001:db8::99]:5060", "@[2001:db8::1]:5060"],
        ),
    ] {
        let mut lone = Lone::with(EndpointConfig {
            advertised: confab_sip::Advertised {
                ipv4: advertised.0,
                ipv6: advertised.1,
            },
            inside: vec![confab_sip::Network {
                address: address("[fd00::]:1").ip(),
                prefix_bits: 8,
            }],
            ..EndpointConfig::default()
        });
        let contact = |lone: &mut Lone, branch: &str| {
            lone.receive(
                invite("1", branch, None, SDP).replace("Call-ID: c1", &format!("Call-ID: {branch}")),
            );
            let Event::Invite { call, .. } = lone.event() else {
                panic!("an INVITE")
            };
            lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
            crate::lone::header(&lone.response().headers, confab_sip::HeaderName::Contact)
        };
        let shown = contact(&mut lone, "z9hG4bKa");
        assert!(shown.contains(over_ipv4), "{shown}");
        for (peer, branch, expected) in [
            ("[2001:db8::7]:5060", "z9hG4bKb", over_ipv6),
            ("[fd00::7]:5060", "z9hG4bKc", inside),
        ] {
            lone.flow = Flow::udp(address("[2001:db8::1]:5060"), address(peer));
            let shown = contact(&mut lone, branch);
            assert!(shown.contains(expected), "{peer}: {shown}");
        }
    }
}

#[test]
fn the_session_description_is_taken_out_of_a_body_of_several_parts() {
    let body = format!(
        "--x\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--x\r\nContent-Type: application/isup\r\n\r\n\u{1}\r\n--x--\r\n"
    );
    let multipart = |text: String| {
        text.replace(
            "application/sdp\r\nContent-L",
            "multipart/mixed;boundary=x\r\nContent-L",
        )
    };
    let mut lone = Lone::new();
    lone.receive(multipart(invite("1", "z9hG4bKa", None, &body)));
    let Event::Invite { call, request, .. } = lone.event() else {
        panic!("an INVITE")
    };
    assert_eq!(request.body, SDP);
    lone.act(|endpoint, now| endpoint.reject(now, call, confab_sip::Rejection::new(StatusCode::NOT_FOUND)));
    let mut lone = Lone::new();
    lone.receive(invite("1", "z9hG4bKa", None, ""));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    let tag = tag_of(&lone.response());
    lone.receive(multipart(in_dialog("ACK", "1", "z9hG4bKb", &tag, &body)));
    assert!(matches!(lone.event(), Event::Acked { body: Some(body), .. } if body.bytes == SDP));
}
