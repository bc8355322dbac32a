//! The message layer beside two other parsers: for messages that all three accept, all must read the same.
//!
//! `rsip` and `ezk-sip-types` are test oracles only. Each refuses some valid messages (escaped quotes, white space around
//! separators, `+sip.instance`), so the messages here stay within what both know; RFC 4475 is tested elsewhere.

#![allow(clippy::unwrap_used, reason = "the readers are part of the tests")]

use bytes::Bytes;
use confab_sip::{Message, NameAddr, Uri};
use proptest::prelude::*;

/// What one parser says about a message.
#[derive(Debug, PartialEq)]
struct Reading {
    start: String,
    via: Via,
    from: Address,
    to: Address,
    call_id: String,
    cseq: (u32, String),
    max_forwards: u32,
}

#[derive(Debug, PartialEq)]
struct Via {
    transport: String,
    host: String,
    port: Option<u16>,
    branch: String,
}

#[derive(Debug, PartialEq)]
struct Address {
    display: Option<String>,
    user: Option<String>,
    host: String,
    port: Option<u16>,
    tag: Option<String>,
}

fn ours(text: &str) -> Reading {
    let message = Message::parse(Bytes::copy_from_slice(text.as_bytes()))
        .unwrap_or_else(|error| panic!("{error}: {text}"));
    let start = match &message {
        Message::Request(request) => format!("{} {}", request.method, request.uri),
        Message::Response(response) => format!(
            "{} {}",
            response.status,
            String::from_utf8_lossy(&response.reason)
        ),
    };
    let headers = message.headers();
    let via = headers.top_via().unwrap().unwrap();
    let cseq = headers.cseq().unwrap().unwrap();
    Reading {
        start,
        via: Via {
            transport: via.transport.to_string(),
            host: via.sent_by.host.to_string(),
            port: via.sent_by.port,
            branch: via.branch().unwrap().to_string(),
        },
        from: our_address(&headers.from().unwrap().unwrap()),
        to: our_address(&headers.to().unwrap().unwrap()),
        call_id: headers.call_id().unwrap().unwrap().to_string(),
        cseq: (cseq.number, cseq.method.to_string()),
        max_forwards: u32::from(headers.max_forwards().unwrap().unwrap()),
    }
}

fn our_address(address: &NameAddr) -> Address {
    let Uri::Sip(uri) = &address.uri else {
        panic!("{address:?}")
    };
    Address {
        display: address.display.as_ref().map(|name| name.to_string()),
        user: uri.user.as_ref().map(|user| user.to_string()),
        host: uri.host.to_string(),
        port: uri.port,
        tag: address.tag().map(|tag| tag.to_string()),
    }
}

fn by_rsip(text: &str) -> Reading {
    use rsip::prelude::*;
    let message =
        rsip::SipMessage::try_from(text.as_bytes()).unwrap_or_else(|error| panic!("rsip: {error}: {text}"));
    let start = match &message {
        rsip::SipMessage::Request(request) => format!("{} {}", request.method, request.uri),
        rsip::SipMessage::Response(response) => {
            let code = response.status_code.code();
            format!(
                "{code} {}",
                text.lines().next().unwrap().splitn(3, ' ').nth(2).unwrap()
            )
        }
    };
    let via = message.via_header().unwrap().typed().unwrap();
    let from = message.from_header().unwrap().typed().unwrap();
    let to = message.to_header().unwrap().typed().unwrap();
    let cseq = message.cseq_header().unwrap().typed().unwrap();
    let tag = |tag: Option<&rsip::common::uri::param::Tag>| tag.map(|tag| tag.value().to_owned());
    Reading {
        start,
        via: Via {
            transport: via.transport.to_string(),
            host: via.uri.host().to_string(),
            port: via.uri.port().map(|port| *port.value()),
            branch: via.branch().unwrap().value().to_owned(),
        },
        from: rsip_address(from.display_name.clone(), &from.uri, tag(from.tag())),
        to: rsip_address(to.display_name.clone(), &to.uri, tag(to.tag())),
        call_id: message.call_id_header().unwrap().value().to_owned(),
        cseq: (cseq.seq, cseq.method.to_string()),
        max_forwards: message.max_forwards_header().unwrap().num().unwrap(),
    }
}

fn rsip_address(display: Option<String>, uri: &rsip::Uri, tag: Option<String>) -> Address {
    Address {
        display: display.map(|name| name.trim_matches('"').to_owned()),
        user: uri.user().map(str::to_owned),
        host: uri.host().to_string(),
        port: uri.port().map(|port| *port.value()),
        tag,
    }
}

fn by_ezk(text: &str) -> Reading {
    use ezk_sip_types::header::typed;
    use ezk_sip_types::msg::{Line, MessageLine, PullParser};
    use ezk_sip_types::parse::Parse;
    let source = Bytes::copy_from_slice(text.as_bytes());
    let mut lines = PullParser::new(&source, 0).map(|line| std::str::from_utf8(line.unwrap()).unwrap());
    let start = match MessageLine::parse_str(lines.next().unwrap()).unwrap() {
        MessageLine::Request(line) => format!("{} {}", line.method, printed(&line.uri)),
        MessageLine::Response(line) => format!("{} {}", line.code.into_u16(), line.reason.unwrap()),
    };
    let mut headers = ezk_sip_types::Headers::new();
    for line in lines {
        let (_, line) = Line::parse(&source, line).unwrap();
        headers.insert(line.name, line.value);
    }
    let via: Vec<typed::Via> = headers.get_named().unwrap();
    let from: typed::FromTo = headers.get(ezk_sip_types::Name::FROM).unwrap();
    let to: typed::FromTo = headers.get(ezk_sip_types::Name::TO).unwrap();
    let cseq: typed::CSeq = headers.get_named().unwrap();
    let call_id: typed::CallID = headers.get_named().unwrap();
    let max_forwards: typed::MaxForwards = headers.get_named().unwrap();
    Reading {
        start,
        via: Via {
            transport: via[0].transport.to_string(),
            host: printed(&via[0].sent_by.host),
            port: via[0].sent_by.port,
            branch: via[0].params.get_val("branch").unwrap().to_string(),
        },
        from: ezk_address(&from),
        to: ezk_address(&to),
        call_id: call_id.0.to_string(),
        cseq: (cseq.cseq, cseq.method.to_string()),
        max_forwards: u32::from(max_forwards.0),
    }
}

fn printed<T: ezk_sip_types::print::Print>(value: &T) -> String {
    use ezk_sip_types::print::AppendCtx;
    value.default_print_ctx().to_string()
}

fn ezk_address(address: &ezk_sip_types::header::typed::FromTo) -> Address {
    let uri = &address.uri.uri;
    // The user part has no public type: it is taken from the printed URI.
    let text = printed(uri);
    let user = text
        .split_once('@')
        .map(|(user, _)| user.trim_start_matches("sip:").to_owned());
    Address {
        display: address.uri.name.as_ref().map(|name| name.trim().to_owned()),
        user,
        host: printed(&uri.host_port.host),
        port: uri.host_port.port,
        tag: address.tag.as_ref().map(ToString::to_string),
    }
}

fn all_agree(text: &str) {
    let reading = ours(text);
    assert_eq!(reading, by_rsip(text), "rsip reads otherwise:\n{text}");
    assert_eq!(reading, by_ezk(text), "ezk-sip-types reads otherwise:\n{text}");
}

#[test]
fn the_messages_of_a_call_read_the_same_everywhere() {
    let invite = "INVITE sip:3000@conf.example.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bK-524287-1;rport\r\nMax-Forwards: 70\r\n\
        Contact: <sip:1001@192.0.2.20:5060>\r\nTo: <sip:3000@conf.example.com>\r\n\
        From: \"Alice Example\" <sip:1001@conf.example.com>;tag=8a7f3e21\r\nCall-ID: 88842ZTI4@192.0.2.20\r\n\
        CSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";
    let ok = "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP pbx.example.com:5070;branch=z9hG4bK77;received=198.51.100.9\r\n\
        From: Bob <sip:bob@example.com>;tag=a\r\nTo: sip:3000@example.com;tag=b\r\nCall-ID: x@y\r\nCSeq: 4711 BYE\r\n\
        Max-Forwards: 0\r\nContent-Length: 0\r\n\r\n";
    let bye = "BYE sip:1001@192.0.2.20:5060 SIP/2.0\r\nVia: SIP/2.0/UDP [2001:db8::9]:5060;branch=z9hG4bKx\r\n\
        Max-Forwards: 255\r\nFrom: <sip:3000@example.com:5080>;tag=b\r\nTo: <sip:example.com>;tag=a\r\nCall-ID: x\r\n\
        CSeq: 4294967295 BYE\r\nContent-Length: 0\r\n\r\n";
    for text in [invite, ok] {
        all_agree(text);
    }
    // rsip takes the address in this Via for a port.
    assert_eq!(ours(bye), by_ezk(bye));
}

/// `[display] <sip:[user@]host[:port]>` with or without brackets and tag.
fn address() -> impl Strategy<Value = String> {
    let display = prop_oneof![
        Just(String::new()),
        "[a-zA-Z][a-zA-Z0-9]{0,8} ",
        "\"[a-zA-Z][a-zA-Z0-9 ,.]{0,10}[a-z]\" ",
    ];
    (display, uri(), prop::option::of("[a-z0-9]{1,12}")).prop_map(|(display, uri, tag)| {
        let tag = tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
        format!("{display}<{uri}>{tag}")
    })
}

fn uri() -> impl Strategy<Value = String> {
    (
        prop::option::of("[a-zA-Z0-9]{1,12}"),
        host(),
        prop::option::of(1_u16..),
    )
        .prop_map(|(user, host, port)| {
            let user = user.map(|user| format!("{user}@")).unwrap_or_default();
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("sip:{user}{host}{port}")
        })
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        "[a-z][a-z0-9-]{0,8}[a-z](\\.[a-z]{2,5}){1,2}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_requests_read_the_same_everywhere(
        method in prop::sample::select(vec!["INVITE", "ACK", "BYE", "OPTIONS", "CANCEL", "REGISTER", "INFO"]),
        target in uri(),
        transport in prop::sample::select(vec!["UDP", "TCP", "TLS", "WSS"]),
        sent_by in host(),
        port in prop::option::of(1_u16..),
        branch in "z9hG4bK[a-zA-Z0-9.-]{1,20}",
        from in address(),
        to in address(),
        call_id in "[a-zA-Z0-9.-]{1,20}(@[a-z0-9.]{1,10}[a-z])?",
        number in any::<u32>(),
        hops in any::<u8>(),
    ) {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let text = |[via, f, t, i]: [&str; 4]| format!(
            "{method} {target} SIP/2.0\r\n{via}: SIP/2.0/{transport} {sent_by}{port};branch={branch}\r\n{f}: {from}\r\n\
             {t}: {to}\r\n{i}: {call_id}\r\nCSeq: {number} {method}\r\nMax-Forwards: {hops}\r\nContent-Length: 0\r\n\r\n"
        );
        let full = text(["Via", "From", "To", "Call-ID"]);
        all_agree(&full);
        // rsip does not know every compact name.
        let compact = text(["v", "f", "t", "i"]);
        prop_assert_eq!(ours(&compact), ours(&full));
        prop_assert_eq!(by_ezk(&compact), by_ezk(&full));
    }
}
