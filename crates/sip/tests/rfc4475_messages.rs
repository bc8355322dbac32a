//! The message layer against the 49 messages of RFC 4475.

mod rfc4475;

use bytes::Bytes;
use confab_sip::{
    Essentials, Framed, HeaderName, Host, Message, Method, ParseError, Problem, Request, Response,
    StreamFramer, Uri,
};
use proptest::prelude::*;
use rfc4475::{MessageReaction, ROWS, bytes};

fn parse(name: &str) -> Result<Message, ParseError> {
    Message::parse(Bytes::from_static(bytes(name)))
}

fn request(name: &str) -> Request {
    match parse(name) {
        Ok(Message::Request(request)) => request,
        other => panic!("{name} is a request: {other:?}"),
    }
}

fn response(name: &str) -> Response {
    match parse(name) {
        Ok(Message::Response(response)) => response,
        other => panic!("{name} is a response: {other:?}"),
    }
}

#[test]
fn every_message_gets_the_reaction_the_rfc_asks_for() {
    assert_eq!(ROWS.len(), 49);
    for row in ROWS {
        let reaction = match parse(row.name) {
            Ok(message) => {
                Essentials::of(message.headers()).unwrap_or_else(|error| panic!("{}: {error}", row.name));
                MessageReaction::Accept
            }
            Err(ParseError {
                answer: Some(answer), ..
            }) => MessageReaction::Refuse(answer.status.code()),
            Err(ParseError { answer: None, .. }) => MessageReaction::Discard,
        };
        assert_eq!(
            reaction, row.message,
            "{} ({}): {}",
            row.name, row.section, row.why
        );
    }
}

#[test]
fn every_refused_request_gets_a_well_formed_answer_with_its_headers() {
    for row in ROWS {
        let Err(ParseError {
            answer: Some(answer), ..
        }) = parse(row.name)
        else {
            continue;
        };
        let status = answer.status;
        let printed = answer.into_response().to_bytes();
        let text = String::from_utf8_lossy(&printed).into_owned();
        assert!(
            text.starts_with(&format!("SIP/2.0 {status} ")),
            "{}: {text}",
            row.name
        );
        assert!(text.contains("\r\nVia: "), "{}: {text}", row.name);
        let has_call_id = bytes(row.name)
            .windows(9)
            .any(|window| window.eq_ignore_ascii_case(b"\nCall-ID:"));
        assert_eq!(
            text.contains("\r\nCall-ID: "),
            has_call_id,
            "{}: {text}",
            row.name
        );
        assert!(
            text.ends_with("Content-Length: 0\r\n\r\n"),
            "{}: {text}",
            row.name
        );
    }
}

#[test]
fn every_accepted_message_prints_to_one_that_reads_the_same() {
    for row in ROWS.iter().filter(|row| row.message == MessageReaction::Accept) {
        let message = parse(row.name).unwrap();
        let again =
            Message::parse(message.to_bytes()).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        assert_eq!(without_length(again), without_length(message), "{}", row.name);
    }
}

fn without_length(mut message: Message) -> Message {
    let headers = match &mut message {
        Message::Request(request) => &mut request.headers,
        Message::Response(response) => &mut response.headers,
    };
    headers.remove(&HeaderName::ContentLength);
    message
}

#[test]
fn a_stream_carries_every_message_that_has_a_true_length() {
    for row in ROWS.iter().filter(|row| row.message == MessageReaction::Accept) {
        let message = parse(row.name).unwrap();
        let on_the_wire = message.to_bytes();
        let mut framer = StreamFramer::new();
        let mut frames = Vec::new();
        for piece in on_the_wire.chunks(7) {
            framer.push(piece);
            frames.extend(framer.by_ref().map(|frame| frame.unwrap()));
        }
        assert_eq!(frames, [Framed::Message(on_the_wire)], "{}", row.name);
    }
}

#[test]
fn a_stream_breaks_where_the_length_of_a_message_cannot_be_known() {
    for name in ["ncl", "mcl01"] {
        let mut framer = StreamFramer::new();
        framer.push(bytes(name));
        let error = framer.next().unwrap().unwrap_err();
        assert_eq!(error.answer.unwrap().status.code(), 400, "{name}");
        assert!(framer.is_broken(), "{name}");
        framer.push(bytes("transports"));
        assert!(framer.next().is_none(), "{name}");
    }
}

#[test]
fn wsinv_is_read_through_its_white_space() {
    let request = request("wsinv");
    let headers = &request.headers;
    assert_eq!(request.method, Method::Invite);
    assert!(request.uri.as_sip().unwrap().params.has("unknownparam"));
    assert_eq!(
        headers.to().unwrap().unwrap().tag().unwrap().as_bytes(),
        b"1918181833n"
    );
    let from = headers.from().unwrap().unwrap();
    assert_eq!(from.display.as_ref().unwrap(), &r#"J Rosenberg \""#);
    assert_eq!(from.tag().unwrap().as_bytes(), b"98asjd8");
    assert_eq!(headers.max_forwards(), Ok(Some(68)));
    let cseq = headers.cseq().unwrap().unwrap();
    assert_eq!((cseq.number, cseq.method), (9, Method::Invite));
    let vias = headers.vias().unwrap();
    let transports: Vec<String> = vias.iter().map(|via| via.transport.to_string()).collect();
    assert_eq!(transports, ["UDP", "TCP", "UDP"]);
    let branches: Vec<String> = vias.iter().map(|via| via.branch().unwrap().to_string()).collect();
    assert_eq!(branches, ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]);
    assert_eq!(vias[2].sent_by.host, Host::V4([192, 168, 255, 111].into()));
    assert_eq!(headers.get(&HeaderName::Subject).unwrap().as_ref(), b"");
    let unknown = HeaderName::custom("NewFangledHeader");
    assert_eq!(
        headers.get(&unknown).unwrap().as_ref(),
        b"newfangled value continued newfangled value"
    );
    let odd = HeaderName::custom("UnknownHeaderWithUnusualValue");
    assert_eq!(headers.get(&odd).unwrap().as_ref(), b";;,,;;,;");
    let route = &headers.routes().unwrap()[0];
    assert!(route.uri.as_sip().unwrap().is_loose_router());
    let contact = &headers.contacts().unwrap()[0];
    assert_eq!(contact.display.as_ref().unwrap(), &r#"Quoted string """#);
    assert_eq!(contact.params.value("newparam").unwrap(), &"newvalue");
    assert_eq!(contact.params.value("q").unwrap(), &"0.33");
    assert_eq!(request.body.len(), 150);
}

#[test]
fn intmeth_keeps_every_unusual_character() {
    let request = request("intmeth");
    assert_eq!(
        request.method.to_string(),
        "!interesting-Method0123456789_*+`.%indeed'~"
    );
    assert_eq!(request.headers.cseq().unwrap().unwrap().method, request.method);
    let uri = request.uri.as_sip().unwrap();
    assert_eq!(
        uri.user.as_ref().unwrap(),
        &"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    );
    assert_eq!(
        uri.password.as_ref().unwrap(),
        &"&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    );
    assert_eq!(uri.host.to_string(), "example.com");
    let to = request.headers.to().unwrap().unwrap();
    assert_eq!(to.display.unwrap(), "BEL:\u{7} NUL:\u{0} DEL:\u{7f}");
    let from = request.headers.from().unwrap().unwrap();
    assert_eq!(from.display.as_ref().unwrap(), &"token1~` token2'+_ token3*%!.-");
    assert_eq!(
        from.params
            .get("fromParam''~+*_!.-%")
            .unwrap()
            .unquoted()
            .unwrap(),
        "работающий"
    );
    assert_eq!(from.tag().unwrap().as_bytes(), b"_token~1'+`*%!-.");
    assert_eq!(request.headers.max_forwards(), Ok(Some(255)));
    let extension = HeaderName::custom("extensionHeader-!.%*+_`'~");
    assert_eq!(
        request.headers.get(&extension).unwrap().as_ref(),
        "\u{feff}大停電".as_bytes()
    );
}

#[test]
fn escapes_are_decoded_in_users_and_nowhere_else() {
    let request = request("esc01");
    let Uri::Sip(uri) = &request.uri else {
        panic!("{:?}", request.uri)
    };
    assert_eq!(uri.user_decoded().unwrap(), "sips:user@example.com");
    assert_eq!(uri.host.to_string(), "example.net");
    let to = request.headers.to().unwrap().unwrap();
    assert_eq!(to.uri.as_sip().unwrap().user_decoded().unwrap(), "user");
    let contact = &request.headers.contacts().unwrap()[0];
    let contact = contact.uri.as_sip().unwrap();
    assert_eq!(contact.user_decoded().unwrap(), "caller");
    assert!(contact.is_equivalent(
        &confab_sip::SipUri::parse("sip:caller@host5.example.net;lr;name=value%2541").unwrap()
    ));

    let request = self::request("escnull");
    assert_eq!(request.headers.contacts().unwrap().len(), 2);
    let to = request.headers.to().unwrap().unwrap();
    assert_eq!(to.uri.as_sip().unwrap().user_decoded().unwrap(), "null-\0-null");

    let request = self::request("esc02");
    assert_eq!(request.method.to_string(), "RE%47IST%45R");
    assert!(request.method.is_other());
    assert_eq!(request.headers.contacts().unwrap().len(), 2);
    assert_eq!(request.headers.from().unwrap().unwrap().display.unwrap(), "%Z%45");
}

#[test]
fn the_other_valid_messages_are_read_as_the_rfc_describes_them() {
    let lwsdisp = request("lwsdisp");
    assert_eq!(
        lwsdisp.headers.from().unwrap().unwrap().display.unwrap(),
        "caller"
    );

    let longreq = request("longreq");
    let to = longreq.headers.to().unwrap().unwrap();
    assert_eq!(to.uri.as_sip().unwrap().port, Some(6000));
    assert_eq!(longreq.headers.vias().unwrap().len(), 34);
    assert_eq!(longreq.body.len(), 150);

    let dblreq = request("dblreq");
    assert_eq!(dblreq.method, Method::Register);
    assert!(dblreq.body.is_empty());

    let semiuri = request("semiuri");
    let uri = semiuri.uri.as_sip().unwrap();
    assert_eq!(uri.user_decoded().unwrap(), "user;par=u@example.net");
    assert!(uri.params.is_empty());
    assert_eq!(semiuri.headers.accept().unwrap().len(), 6);

    let transports = request("transports");
    let vias = transports.headers.vias().unwrap();
    let names: Vec<String> = vias.iter().map(|via| via.transport.to_string()).collect();
    assert_eq!(names, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);

    let mpart = request("mpart01");
    let content = mpart.headers.content_type().unwrap().unwrap();
    assert!(content.is("multipart", "mixed"));
    assert_eq!(content.params.value("boundary").unwrap(), &"7a9cbec02ceef655");
    assert_eq!(mpart.body.len(), 553);
    assert!(mpart.headers.top_via().unwrap().unwrap().wants_rport());

    let unreason = response("unreason");
    assert_eq!(unreason.status.code(), 200);
    assert!(String::from_utf8_lossy(&unreason.reason).ends_with("простое"));
    let noreason = response("noreason");
    assert_eq!((noreason.status.code(), noreason.headers.len()), (100, 7));
}

#[test]
fn the_other_accepted_messages_keep_what_the_endpoint_has_to_judge() {
    assert!(matches!(&request("unkscm").uri, Uri::Other(uri) if uri.scheme == "nobodyKnowsThisScheme"));
    assert!(matches!(&request("novelsc").uri, Uri::Other(uri) if uri.scheme == "soap.beep"));
    let unksm2 = request("unksm2");
    assert_eq!(unksm2.headers.to().unwrap().unwrap().uri.scheme(), b"isbn");
    assert_eq!(unksm2.headers.from().unwrap().unwrap().uri.scheme(), b"http");

    let required = request("bext01").headers.require().unwrap();
    assert_eq!(required, ["nothingSupportsThis", "nothingSupportsThisEither"]);
    let unknown = request("invut").headers.content_type().unwrap().unwrap();
    assert!(unknown.is("application", "unknownformat"));
    assert!(!request("sdp01").headers.accept().unwrap()[0].covers("application", "sdp"));
    assert_eq!(request("zeromf").headers.max_forwards(), Ok(Some(0)));
    let branch = request("badbranch")
        .headers
        .top_via()
        .unwrap()
        .unwrap()
        .branch()
        .unwrap();
    assert!(!branch.is_transaction_id());
    assert_eq!(
        request("mismatch02").headers.cseq().unwrap().unwrap().method,
        Method::Invite
    );

    let header_param = &request("cparam01").headers.contacts().unwrap()[0];
    assert!(header_param.params.has("unknownparam"));
    assert!(header_param.uri.as_sip().unwrap().params.is_empty());
    let uri_param = &request("cparam02").headers.contacts().unwrap()[0];
    assert!(uri_param.params.is_empty());
    assert!(uri_param.uri.as_sip().unwrap().params.has("unknownparam"));
    let escaped = &request("regescrt").headers.contacts().unwrap()[0];
    assert_eq!(
        escaped.uri.as_sip().unwrap().headers.value("Route").unwrap(),
        &"%3Csip:sip.example.com%3E"
    );

    let inv2543 = request("inv2543");
    assert!(inv2543.headers.top_via().unwrap().unwrap().branch().is_none());
    assert!(inv2543.headers.from().unwrap().unwrap().tag().is_none());
    assert!(inv2543.body.starts_with(b"v=0\r\n"));
    assert_eq!(response("bcast").headers.vias().unwrap().len(), 2);
}

#[test]
fn refusals_name_the_header_at_fault() {
    let rows = [
        ("badinv01", HeaderName::Via, Problem::EmptyParameter),
        ("ncl", HeaderName::ContentLength, Problem::NotANumber),
        ("scalar02", HeaderName::CSeq, Problem::OutOfRange),
        ("scalarlg", HeaderName::CSeq, Problem::OutOfRange),
        ("quotbal", HeaderName::To, Problem::UnterminatedQuote),
        ("regbadct", HeaderName::Contact, Problem::NeedsBrackets),
        ("badaspec", HeaderName::To, Problem::UnexpectedByte),
        ("mismatch01", HeaderName::CSeq, Problem::MethodMismatch),
        ("insuf", HeaderName::From, Problem::Missing),
        ("multi01", HeaderName::From, Problem::Repeated),
        ("mcl01", HeaderName::ContentLength, Problem::Repeated),
    ];
    for (name, header, problem) in rows {
        let error = parse(name).unwrap_err();
        assert_eq!(error.header, Some(header), "{name}: {error}");
        let confab_sip::ParseErrorKind::BadHeader(error) = error.kind else {
            panic!("{name}")
        };
        assert_eq!(error.problem, problem, "{name}: {error}");
    }
}

/// One way to spoil a message at a place given in thousandths of its length.
#[derive(Clone, Debug)]
enum Mutation {
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Cut(usize, usize),
    Repeat(usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..8),
        prop::sample::select(vec![
            "\r\n",
            "\r\n ",
            "\"",
            "<",
            ">",
            ";",
            ",",
            ",,",
            "%",
            "@",
            "[",
            "\\",
            "\0",
            "SIP/2.0",
            "9999999999"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop_oneof![
        (0..1000_usize, any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (0..1000_usize, piece).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        (0..1000_usize, 0..300_usize).prop_map(|(at, length)| Mutation::Cut(at, length)),
        (0..1000_usize, 0..300_usize).prop_map(|(at, length)| Mutation::Repeat(at, length)),
    ]
}

fn mutate(message: &mut Vec<u8>, mutation: &Mutation) {
    let place = |at: usize| message.len() * at / 1000;
    let range = |at: usize, length: usize| place(at)..message.len().min(place(at) + length);
    match mutation {
        Mutation::Set(at, byte) => {
            let at = place(*at);
            message.splice(at..message.len().min(at + 1), [*byte]);
        }
        Mutation::Insert(at, piece) => {
            let at = place(*at);
            message.splice(at..at, piece.iter().copied());
        }
        Mutation::Cut(at, length) => drop(message.drain(range(*at, *length))),
        Mutation::Repeat(at, length) => {
            let piece = message[range(*at, *length)].to_vec();
            let at = place(*at);
            message.splice(at..at, piece);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutation_of_a_message_breaks_a_promise(
        row in prop::sample::select(ROWS.iter().map(|row| row.name).collect::<Vec<_>>()),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let mut message = bytes(row).to_vec();
        for mutation in &mutations {
            mutate(&mut message, mutation);
        }
        confab_sip::fuzz_message(&message);
    }
}
