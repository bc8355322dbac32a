//! Which way messages take.

use std::time::Duration;

use confab_sip::{
    Advertised, Body, EndCause, EndpointConfig, Event, Flow, HeaderName, Host, HostPort, Message, Network,
    Transport,
};

use crate::lone::{Lone, OURS, PEER, SDP, address, header, in_dialog, invite, message, reply, tag_of};
use crate::pair::{answer, invitation, offer};

#[test]
fn responses_to_a_phone_behind_a_nat_go_back_through_it() {
    let mut lone = Lone::new();
    lone.flow = Flow::udp(address(OURS), address("203.0.113.9:40123"));
    lone.receive(invite("1", "z9hG4bKa", None, SDP));
    let Event::Invite { call, request, .. } = lone.event() else {
        panic!("an INVITE")
    };
    let via = request.headers.top_via().unwrap().unwrap();
    assert_eq!(
        (via.received().map(|ip| ip.to_string()), via.rport()),
        (Some("203.0.113.9".into()), Some(40123))
    );
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    let (flow, accepted) = lone.only();
    assert_eq!(flow, lone.flow);
    let Message::Response(accepted) = accepted else {
        panic!("a response")
    };
    let tag = tag_of(&accepted);
    lone.receive(in_dialog("ACK", "1", "z9hG4bKb", &tag, ""));
    // The Contact says 192.0.2.7, a public address: it is believed.
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    assert_eq!(lone.only().0, Flow::udp(address(OURS), address(PEER)));
}

#[test]
fn requests_to_a_private_contact_go_where_the_peer_was_last_heard() {
    let mut lone = Lone::new();
    lone.flow = Flow::udp(address(OURS), address("203.0.113.9:40123"));
    let private = |text: String| text.replace(&format!("alice@{PEER}"), "alice@10.1.2.3:5070");
    lone.receive(private(invite("1", "z9hG4bKa", None, SDP)));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    let tag = tag_of(&lone.response());
    // The NAT gave the phone another port in the meantime.
    lone.flow.remote = address("203.0.113.9:40999");
    lone.receive(private(in_dialog("ACK", "1", "z9hG4bKb", &tag, "")));
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    let (flow, Message::Request(bye)) = lone.only() else {
        panic!("a request")
    };
    assert_eq!(flow.remote, address("203.0.113.9:40999"));
    assert_eq!(
        bye.uri.to_string(),
        "sip:alice@10.1.2.3:5070",
        "the Request-URI stays the Contact"
    );
}

#[test]
fn a_call_over_tcp_stays_on_its_connection() {
    let mut lone = Lone::new();
    lone.flow = Flow::tcp(address(OURS), address("192.0.2.7:40000"), 5);
    let tcp = |text: String| {
        text.replace("SIP/2.0/UDP", "SIP/2.0/TCP").replace(
            &format!("<sip:alice@{PEER}>"),
            &format!("<sip:alice@{PEER};transport=tcp>"),
        )
    };
    lone.receive(tcp(invite("1", "z9hG4bKa", None, SDP)));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    let (flow, Message::Response(accepted)) = lone.only() else {
        panic!("a response")
    };
    assert_eq!(flow, lone.flow);
    assert_eq!(
        header(&accepted.headers, HeaderName::Contact),
        "<sip:3000@192.0.2.1:5060;transport=tcp>"
    );
    lone.wait(Duration::from_millis(500));
    assert_eq!(
        lone.sent_kinds(),
        ["200"],
        "the core repeats a 2xx whatever the transport (RFC 3261 §13.3.1.4)"
    );
    lone.receive(tcp(in_dialog("ACK", "1", "z9hG4bKb", &tag_of(&accepted), "")));
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    let (flow, Message::Request(bye)) = lone.only() else {
        panic!("a request")
    };
    assert_eq!(flow, lone.flow);
    assert!(header(&bye.headers, HeaderName::Via).starts_with("SIP/2.0/TCP "));
    lone.wait(Duration::from_secs(10));
    assert!(lone.sent().is_empty(), "nothing is repeated on TCP");
    lone.assert_idle();
}

#[test]
fn a_sips_call_is_answered_with_a_sips_contact_and_goes_on_over_tls() {
    let sips = |text: String| {
        text.replace("sip:", "sips:")
            .replace("SIP/2.0/UDP", "SIP/2.0/TLS")
            .replace("INVITE sips:3000@", "INVITE sip:3000@")
    };
    let mut lone = Lone::new();
    lone.flow = Flow {
        transport: Transport::Tls,
        ..Flow::tcp(address("192.0.2.1:5061"), address("192.0.2.7:40000"), 5)
    };
    // Its Contact alone asks for it (RFC 3261 §12.1.1).
    lone.receive(sips(invite("1", "z9hG4bKa", None, SDP)));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    let accepted = lone.response();
    assert_eq!(
        header(&accepted.headers, HeaderName::Contact),
        "<sips:3000@192.0.2.1:5061>"
    );
    lone.receive(sips(in_dialog("ACK", "1", "z9hG4bKb", &tag_of(&accepted), "")));
    lone.act(|endpoint, now| {
        endpoint.handle_connection_closed(now, 5);
        endpoint.hang_up(now, call, None);
    });
    let (flow, Message::Request(bye)) = lone.only() else {
        panic!("a request")
    };
    assert_eq!((flow.transport, flow.connection), (Transport::Tls, 0));
    assert!(bye.uri.to_string().starts_with("sips:alice@"), "{}", bye.uri);
}

#[test]
fn a_call_to_a_name_goes_back_to_that_name() {
    let mut lone = Lone::new();
    let flow = Flow {
        transport: Transport::Tls,
        name: 7,
        ..Flow::tcp(address("192.0.2.1:5061"), address("192.0.2.7:5061"), 0)
    };
    let mut asked = invitation(flow, Some(offer()));
    asked.target = confab_sip::Uri::parse("sips:bob@example.com").unwrap();
    let call = lone.act(|endpoint, now| endpoint.invite(now, asked));
    let (over, Message::Request(sent)) = lone.only() else {
        panic!("a request")
    };
    assert_eq!(over, flow);
    let contact = header(&sent.headers, HeaderName::Contact);
    assert!(
        contact.contains("sips:") && !contact.contains("transport="),
        "{contact}"
    );
    let text = reply(&sent, 200, "t", SDP);
    let text = String::from_utf8(text.to_vec()).unwrap();
    // Another address of the same peer: it is that name all the same, not any certificate of that address.
    let text = text.replace("<sip:bob@192.0.2.7:5060>", "<sips:bob@192.0.2.8:5063>");
    lone.receive_over(
        Flow {
            connection: 3,
            ..flow
        },
        text,
    );
    let (over, Message::Request(ack)) = lone.only() else {
        panic!("a request")
    };
    assert_eq!(
        (ack.method.to_string().as_str(), over.transport, over.name),
        ("ACK", Transport::Tls, 7)
    );
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
}

#[test]
fn nobody_but_the_browser_opens_a_websocket() {
    let mut lone = Lone::new();
    lone.flow = Flow {
        transport: Transport::Wss,
        ..Flow::tcp(address("192.0.2.1:443"), address("192.0.2.7:40000"), 5)
    };
    let ws = |text: String| {
        text.replace("SIP/2.0/UDP", "SIP/2.0/WSS").replace(
            &format!("<sip:alice@{PEER}>"),
            "<sip:alice@df7jal23ls0d.invalid;transport=ws>",
        )
    };
    lone.receive(ws(invite("1", "z9hG4bKa", None, SDP)));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| endpoint.accept(now, call, answer()));
    let (flow, Message::Response(accepted)) = lone.only() else {
        panic!("a response")
    };
    assert_eq!(flow, lone.flow);
    assert_eq!(
        header(&accepted.headers, HeaderName::Contact),
        "<sip:3000@192.0.2.1:443;transport=ws>"
    );
    lone.receive(ws(in_dialog("ACK", "1", "z9hG4bKb", &tag_of(&accepted), "")));
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    let (flow, Message::Request(bye)) = lone.only() else {
        panic!("a request")
    };
    assert_eq!(flow, lone.flow, "whatever its Contact says");
    assert!(header(&bye.headers, HeaderName::Via).starts_with("SIP/2.0/WSS "));
}

#[test]
fn when_a_connection_is_gone_responses_go_to_the_via_and_requests_to_the_contact() {
    let mut lone = Lone::new();
    lone.flow = Flow::tcp(address(OURS), address("192.0.2.7:40000"), 5);
    let tcp = |text: String| {
        text.replace("SIP/2.0/UDP", "SIP/2.0/TCP").replace(
            &format!("<sip:alice@{PEER}>"),
            "<sip:alice@192.0.2.7:5099;transport=tcp>",
        )
    };
    lone.receive(tcp(invite("1", "z9hG4bKa", None, SDP)));
    let Event::Invite { call, .. } = lone.event() else {
        panic!("an INVITE")
    };
    lone.act(|endpoint, now| {
        endpoint.handle_connection_closed(now, 5);
        endpoint.accept(now, call, answer());
    });
    let (flow, Message::Response(accepted)) = lone.only() else {
        panic!("a response")
    };
    assert_eq!(flow, Flow::tcp(lone.flow.local, address(PEER), 0));
    let second = Flow::tcp(address(OURS), address("192.0.2.7:40001"), 6);
    lone.receive_over(
        second,
        tcp(in_dialog("ACK", "1", "z9hG4bKb", &tag_of(&accepted), "")),
    );
    lone.act(|endpoint, now| endpoint.handle_connection_closed(now, 6));
    lone.act(|endpoint, now| endpoint.hang_up(now, call, None));
    let (flow, _) = lone.only();
    assert_eq!(flow, Flow::tcp(lone.flow.local, address("192.0.2.7:5099"), 0));
    lone.act(|endpoint, now| endpoint.handle_send_failed(now, flow));
    assert!(lone.sent().is_empty());
    lone.assert_idle();
}

#[test]
fn a_call_that_cannot_be_sent_ends_at_once() {
    let mut lone = Lone::new();
    let invitation = invitation(lone.flow, Some(offer()));
    lone.act(|endpoint, now| endpoint.invite(now, invitation));
    let (flow, _) = lone.only();
    lone.act(|endpoint, now| endpoint.handle_send_failed(now, flow));
    assert!(matches!(
        lone.event(),
        Event::Ended {
            cause: EndCause::TransportFailed,
            ..
        }
    ));
    assert!(lone.endpoint.gauges().is_idle());
}

#[test]
fn a_failed_send_does_not_hurt_what_was_answered_already() {
    let mut lone = Lone::new();
    let invitation = invitation(lone.flow, Some(offer()));
    lone.act(|endpoint, now| endpoint.invite(now, invitation));
    let invite = lone.request();
    lone.receive(reply(&invite, 180, "bob", ""));
    lone.events();
    let flow = lone.flow;
    lone.act(|endpoint, now| endpoint.handle_send_failed(now, flow));
    assert!(lone.events().is_empty());
    lone.receive(reply(&invite, 200, "bob", SDP));
    assert!(matches!(lone.event(), Event::Answered { .. }));
}

#[test]
fn a_large_request_goes_by_tcp_and_by_udp_when_there_is_no_tcp() {
    let mut lone = Lone::new();
    let large = Body::sdp(format!("v=0\r\n{}", "a=x\r\n".repeat(300)));
    let invitation = invitation(lone.flow, Some(large));
    lone.act(|endpoint, now| endpoint.invite(now, invitation));
    let (flow, Message::Request(by_tcp)) = lone.only() else {
        panic!("a request")
    };
    assert_eq!(
        (flow.transport, flow.remote, flow.connection),
        (Transport::Tcp, lone.flow.remote, 0)
    );
    assert!(header(&by_tcp.headers, HeaderName::Via).starts_with("SIP/2.0/TCP "));
    lone.act(|endpoint, now| endpoint.handle_send_failed(now, flow));
    let (flow, Message::Request(by_udp)) = lone.only() else {
        panic!("a request")
    };
    assert_eq!(flow, lone.flow);
    assert!(header(&by_udp.headers, HeaderName::Via).starts_with("SIP/2.0/UDP "));
    assert_eq!(by_udp.body, by_tcp.body);
    lone.wait(Duration::from_millis(500));
    assert_eq!(lone.sent_kinds(), ["INVITE"], "on UDP it is repeated");
    lone.receive(reply(&by_udp, 486, "bob", ""));
    lone.assert_idle();
}

#[test]
fn the_advertised_address_is_shown_to_everybody_but_local_networks() {
    let config = EndpointConfig {
        advertised: Advertised {
            ipv4: Some(HostPort {
                host: Host::parse(&"sip.example.org".into()).unwrap(),
                port: None,
            }),
            ipv6: None,
        },
        inside: vec![Network {
            address: address("10.0.0.0:1").ip(),
            prefix_bits: 8,
        }],
        ..EndpointConfig::default()
    };
    for (source, host) in [
        ("203.0.113.9:5060", "sip.example.org"),
        ("10.9.8.7:5060", "192.0.2.1"),
        ("127.0.0.1:5060", "192.0.2.1"),
    ] {
        let mut lone = Lone::with(config.clone());
        lone.flow = Flow::udp(address(OURS), address(source));
        let invitation = invitation(lone.flow, Some(offer()));
        lone.act(|endpoint, now| endpoint.invite(now, invitation));
        let invite = lone.request();
        assert_eq!(
            header(&invite.headers, HeaderName::Contact),
            format!("<sip:alice@{host}:5060>")
        );
        assert!(header(&invite.headers, HeaderName::Via).starts_with(&format!("SIP/2.0/UDP {host}:5060;")));
    }
}

#[test]
fn several_vias_come_back_in_order_with_the_first_one_completed() {
    let mut lone = Lone::new();
    let more = "Via: SIP/2.0/UDP p1.example;branch=z9hG4bKp1, SIP/2.0/UDP p2.example;branch=z9hG4bKp2\r\n";
    lone.receive(message("OPTIONS", "1", "z9hG4bKa", None, more, ""));
    let response = lone.response();
    let vias: Vec<String> = response
        .headers
        .vias()
        .unwrap()
        .iter()
        .map(|via| via.sent_by.host.to_string())
        .collect();
    assert_eq!(vias, ["192.0.2.7", "p1.example", "p2.example"]);
    assert_eq!(response.headers.top_via().unwrap().unwrap().rport(), Some(5070));
}
