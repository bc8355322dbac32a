use proptest::prelude::*;

use super::*;
use crate::scan::Problem;
use crate::uri::Uri;

const OPTIONS: &str = "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
                       To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n";

fn parse(text: impl Into<Vec<u8>>) -> Result<Message, ParseError> {
    Message::parse(Bytes::from(text.into()))
}

fn request(text: impl Into<Vec<u8>>) -> Request {
    match parse(text) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn status(error: &ParseError) -> Option<u16> {
    error.answer.as_ref().map(|answer| answer.status.code())
}

#[test]
fn line_ends_of_both_kinds_and_blank_lines_before_the_message_are_read() {
    for text in [
        format!("{OPTIONS}\r\nbody"),
        format!("{OPTIONS}\r\nbody").replace("\r\n", "\n"),
        format!("\r\n\r\n\n{OPTIONS}\r\nbody"),
    ] {
        let request = request(text.clone());
        assert_eq!(request.body, "body", "{text:?}");
        assert_eq!(request.headers.len(), 5, "{text:?}");
    }
}

#[test]
fn the_body_ends_where_content_length_says() {
    for (line, body) in [
        ("", "0123456789"),
        ("Content-Length: 4\r\n", "0123"),
        ("l:0\r\n", ""),
        ("L \t:\r\n 10\r\n", "0123456789"),
        ("Content-Length: 3\r\nl: 03\r\n", "012"),
    ] {
        assert_eq!(
            request(format!("{OPTIONS}{line}\r\n0123456789")).body,
            body,
            "{line:?}"
        );
    }
    for (line, problem) in [
        ("Content-Length: 11\r\n", None),
        ("Content-Length: 18446744073709551615\r\n", None),
        (
            "Content-Length: 18446744073709551616\r\n",
            Some(Problem::OutOfRange),
        ),
        ("Content-Length:\r\n", Some(Problem::NotANumber)),
        ("Content-Length: +1\r\n", Some(Problem::NotANumber)),
        ("Content-Length: 1, 1\r\n", Some(Problem::NotANumber)),
        ("Content-Length: 1\r\nl: 2\r\n", Some(Problem::Repeated)),
    ] {
        let error = parse(format!("{OPTIONS}{line}\r\n0123456789")).expect_err(line);
        assert_eq!(status(&error), Some(400), "{line:?}");
        match problem {
            None => assert!(
                matches!(error.kind, ParseErrorKind::TruncatedBody { received: 10, .. }),
                "{line:?}"
            ),
            Some(problem) => {
                assert!(
                    matches!(error.kind, ParseErrorKind::BadHeader(bad) if bad.problem == problem),
                    "{line:?}"
                );
            }
        }
    }
}

#[test]
fn values_that_are_not_utf_8_are_kept() {
    let mut text = OPTIONS.as_bytes().to_vec();
    text.extend_from_slice(b"Subject: caf\xe9\r\nX-\xff: 1\r\n");
    assert_eq!(
        parse([&text[..], b"\r\n"].concat()).unwrap_err().kind,
        ParseErrorKind::BadHeaderLine
    );
    text.truncate(text.len() - b"X-\xff: 1\r\n".len());
    text.extend_from_slice(b"User-Agent: x\r\nFrom2: \xff\r\n\r\n");
    let request = request(text);
    assert_eq!(
        request.headers.get(&HeaderName::Subject).unwrap().as_ref(),
        b"caf\xe9"
    );
    assert_eq!(request.headers.user_agent().unwrap(), "x");
    assert!(
        Message::Request(request)
            .to_bytes()
            .windows(4)
            .any(|window| window == b"caf\xe9")
    );
}

#[test]
fn folded_lines_become_one() {
    let text = format!("{OPTIONS}Subject: a\r\n \t b\r\n   \r\n\tc\r\nX:\r\n 1\r\n\r\n");
    let request = request(text);
    assert_eq!(
        request.headers.get(&HeaderName::Subject).unwrap().as_ref(),
        b"a b c"
    );
    assert_eq!(
        request.headers.get(&HeaderName::custom("x")).unwrap().as_ref(),
        b"1"
    );
}

#[test]
fn unknown_headers_come_out_as_they_went_in() {
    let text = format!("{OPTIONS}x-ODD_Name!:  va;;lue \"\r\nX-odd_name!: \r\nContent-Length: 0\r\n\r\n");
    let printed = String::from_utf8(request(text).to_bytes().to_vec()).unwrap();
    assert!(
        printed.contains("\r\nx-ODD_Name!: va;;lue \"\r\nX-odd_name!: \r\n"),
        "{printed}"
    );
}

#[test]
fn first_lines_are_judged_by_what_can_be_answered() {
    let rest = &OPTIONS["OPTIONS sip:h SIP/2.0".len()..];
    let rows: &[(&str, Option<u16>)] = &[
        ("OPTIONS sip:h SIP/2.0 ", Some(400)),
        ("OPTIONS  sip:h SIP/2.0", Some(400)),
        ("OPTIONS\tsip:h SIP/2.0", Some(400)),
        ("OPTIONS sip:h\tSIP/2.0", Some(400)),
        ("OPTIONS SIP/2.0", Some(400)),
        ("OPTIONS  SIP/2.0", Some(400)),
        ("OPTIONS h SIP/2.0", Some(400)),
        ("OPTIONS sip:h SIP/3.0", Some(505)),
        ("OPTIONS sip:h SIP/2.00", Some(505)),
        ("OPTIONS sip:a b SIP/9", Some(505)),
        ("ACK sip:h SIP/3.0", None),
        ("OPTIONS sip:h HTTP/1.1", None),
        ("OPTIONS sip:h", None),
        ("(x) sip:h SIP/2.0", None),
        ("SIP/2.0 200 OK", Some(0)),
        ("sip/2.0 200", Some(0)),
        ("SIP/2.0 099 x", None),
        ("SIP/2.0 700 x", None),
        ("SIP/2.0 0200 x", None),
        ("SIP/2.0 20 x", None),
        ("SIP/2.0", None),
        ("SIP/3.0 200 OK", None),
        ("options sip:h SIP/2.0", Some(0)),
        ("OPTIONS sip:h sip/2.0", Some(0)),
        ("OPTIONS x:y SIP/2.0", Some(0)),
    ];
    for (line, expected) in rows {
        let got = match parse(format!("{line}{rest}\r\n")) {
            Ok(_) => Some(0),
            Err(error) => status(&error),
        };
        assert_eq!(got, *expected, "{line:?}");
    }
}

#[test]
fn nothing_is_answered_to_keep_alives_and_foreign_bytes() {
    let rows: &[(&[u8], ParseErrorKind)] = &[
        (b"", ParseErrorKind::Empty),
        (b"\r\n\r\n", ParseErrorKind::Empty),
        (b"\n", ParseErrorKind::Empty),
        (b"\0\0\0\0", ParseErrorKind::NotSip),
        (b"jaK", ParseErrorKind::NotSip),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ParseErrorKind::NotSip),
        (b"\x80\x00\x00\x01abcdefgh", ParseErrorKind::NotSip),
    ];
    for (bytes, kind) in rows {
        let error = parse(*bytes).unwrap_err();
        assert_eq!((&error.kind, error.answer.is_none()), (kind, true), "{bytes:?}");
    }
}

#[test]
fn broken_header_lines_are_answered_with_the_headers_around_them() {
    for line in [
        "no colon here",
        ": nameless",
        "two words: x",
        " folded into nothing",
        "X: lone\rcarriage return",
        "X",
    ] {
        let error = parse(OPTIONS.replacen("\r\n", &format!("\r\n{line}\r\n"), 1) + "\r\n").expect_err(line);
        assert_eq!(error.kind, ParseErrorKind::BadHeaderLine, "{line}");
        let answer = error.answer.expect(line);
        assert_eq!(
            (answer.status, answer.headers.len()),
            (StatusCode::BAD_REQUEST, 5),
            "{line}"
        );
    }
}

#[test]
fn a_header_section_without_end_is_answered() {
    let error = parse(OPTIONS).unwrap_err();
    assert_eq!(
        (&error.kind, status(&error)),
        (&ParseErrorKind::UnterminatedHeaders, Some(400))
    );
    assert_eq!(error.answer.unwrap().headers.len(), 5);
}

#[test]
fn every_missing_essential_is_named() {
    let lines: Vec<&str> = OPTIONS.split_inclusive("\r\n").collect();
    for (index, name) in [
        (1, HeaderName::Via),
        (2, HeaderName::From),
        (3, HeaderName::To),
        (4, HeaderName::CallId),
        (5, HeaderName::CSeq),
    ] {
        let mut without = lines.clone();
        without.remove(index);
        let error = parse(without.concat() + "\r\n").unwrap_err();
        assert_eq!(error.header, Some(name.clone()));
        assert_eq!(status(&error), (name != HeaderName::Via).then_some(400), "{name}");
    }
}

#[test]
fn limits_hold_at_their_edges() {
    let lines = |count: usize| format!("{OPTIONS}{}\r\n", "X: y\r\n".repeat(count - 5));
    assert_eq!(request(lines(MAX_HEADER_LINES)).headers.len(), MAX_HEADER_LINES);
    let error = parse(lines(MAX_HEADER_LINES + 1)).unwrap_err();
    assert_eq!(
        (&error.kind, status(&error)),
        (&ParseErrorKind::TooManyHeaders, Some(513))
    );

    let line = |length: usize| format!("{OPTIONS}X:{}\r\n\r\n", "y".repeat(length - 2));
    request(line(MAX_LINE_BYTES));
    let error = parse(line(MAX_LINE_BYTES + 1)).unwrap_err();
    assert_eq!(
        (&error.kind, status(&error)),
        (&ParseErrorKind::LineTooLong, Some(513))
    );
    let folded = format!("{OPTIONS}X:{}\r\n\r\n", "\r\n y".repeat(MAX_LINE_BYTES / 4));
    assert_eq!(parse(folded).unwrap_err().kind, ParseErrorKind::LineTooLong);

    let sized = |length: usize| format!("{OPTIONS}\r\n{}", "b".repeat(length - OPTIONS.len() - 2));
    request(sized(MAX_MESSAGE_BYTES));
    let error = parse(sized(MAX_MESSAGE_BYTES + 1)).unwrap_err();
    assert_eq!(
        (&error.kind, status(&error)),
        (&ParseErrorKind::MessageTooLarge, Some(513))
    );

    let long_uri = OPTIONS.replacen("sip:h", &format!("sip:{}@h", "u".repeat(MAX_LINE_BYTES)), 1);
    let error = parse(long_uri + "\r\n").unwrap_err();
    assert_eq!(
        (&error.kind, status(&error)),
        (&ParseErrorKind::RequestLineTooLong, Some(414))
    );
}

#[test]
fn the_method_of_cseq_must_be_that_of_a_known_request() {
    let error = parse(OPTIONS.replace("CSeq: 1 OPTIONS", "CSeq: 1 options") + "\r\n").unwrap_err();
    assert_eq!(error.answer.unwrap().reason, "CSeq Method Mismatch");
    let error = parse(OPTIONS.replace("OPTIONS sip", "ACK sip") + "\r\n").unwrap_err();
    assert_eq!(error.answer, None);
    request(OPTIONS.replace("OPTIONS sip", "FROB sip") + "\r\n");
}

#[test]
fn headers_can_be_edited_in_place() {
    let mut headers = Headers::new();
    headers.push(HeaderName::Via, "1");
    headers.push(HeaderName::To, "t");
    headers.push(HeaderName::Via, "2");
    headers.insert_first(HeaderName::Via, "0");
    let vias = |headers: &Headers| {
        headers
            .get_all(&HeaderName::Via)
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(vias(&headers), ["0", "1", "2"]);
    headers.replace_first(HeaderName::Via, "x");
    assert_eq!(vias(&headers), ["x", "1", "2"]);
    headers.replace(HeaderName::Via, "y");
    assert_eq!(vias(&headers), ["y"]);
    assert_eq!(headers.iter().next().unwrap().value(), "y");
    assert_eq!(
        (headers.remove(&HeaderName::Via), headers.remove(&HeaderName::Via)),
        (1, 0)
    );
    headers.replace(HeaderName::CSeq, "1 ACK");
    assert_eq!(headers.len(), 2);
}

#[test]
fn no_value_smuggles_in_a_line() {
    let request = Request::new(Method::Info, Uri::parse("sip:h").unwrap())
        .with_header(HeaderName::Subject, " a\r\nEvil: 1 \n")
        .with_body("application/x", "body");
    assert_eq!(
        request.to_bytes(),
        "INFO sip:h SIP/2.0\r\nSubject: a  Evil: 1\r\nContent-Type: application/x\r\nContent-Length: 4\r\n\r\nbody"
    );
    let response = Response::new(StatusCode::OK, "fine\r\nEvil: 1");
    assert_eq!(
        response.to_bytes(),
        "SIP/2.0 200 fine  Evil: 1\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn responses_copy_what_they_must() {
    let invite = OPTIONS.replace("OPTIONS", "INVITE")
        + "Via: SIP/2.0/TCP i;branch=z9hG4bK2, SIP/2.0/UDP j\r\nRecord-Route: <sip:r;lr>\r\nTimestamp: 54\r\n\r\n";
    let invite = request(invite);
    let names = |response: &Response| -> Vec<String> {
        response
            .headers
            .iter()
            .map(|header| header.name.to_string())
            .collect()
    };
    let trying = Response::to(&invite, StatusCode::TRYING);
    assert_eq!(
        names(&trying),
        ["Via", "Via", "From", "To", "Call-ID", "CSeq", "Timestamp"]
    );
    let ok = Response::to(&invite, StatusCode::OK).with_to_tag(&Tag::new("9"));
    assert_eq!(
        names(&ok),
        ["Via", "Via", "Record-Route", "From", "To", "Call-ID", "CSeq"]
    );
    assert_eq!(ok.headers.get(&HeaderName::To).unwrap(), "<sip:b@h>;tag=9");
    let again = ok.with_to_tag(&Tag::new("10"));
    assert_eq!(again.headers.get(&HeaderName::To).unwrap(), "<sip:b@h>;tag=9");
    let busy = Response::to(&invite, StatusCode::BUSY_HERE);
    assert_eq!(names(&busy), ["Via", "Via", "From", "To", "Call-ID", "CSeq"]);
    assert_eq!(busy.reason, "Busy Here");
}

#[test]
fn a_tag_goes_behind_any_form_of_to() {
    for (to, expected) in [
        ("sip:b@h", "sip:b@h;tag=9"),
        ("sip:b@h;x=y", "sip:b@h;x=y;tag=9"),
        ("\"B\" <sip:b@h> ; x ;", "\"B\" <sip:b@h> ; x ;tag=9"),
        ("<sip:b@h>;tag=1", "<sip:b@h>;tag=1"),
        ("\"\\\0\" <sip:b@h>", "\"\\\0\" <sip:b@h>;tag=9"),
        ("\"broken <sip:b@h>", "\"broken <sip:b@h>"),
    ] {
        let mut response = Response::new(StatusCode::OK, "");
        response.headers.push(HeaderName::To, to);
        let response = response.with_to_tag(&Tag::new("9"));
        assert_eq!(response.headers.get(&HeaderName::To).unwrap(), expected);
    }
}

#[test]
fn status_codes_know_their_class() {
    assert_eq!((StatusCode::new(99), StatusCode::new(700)), (None, None));
    let odd = StatusCode::new(499).unwrap();
    assert_eq!(
        (odd.class(), odd.is_final(), odd.default_reason()),
        (4, true, "Request Failure")
    );
    assert!(StatusCode::RINGING.is_provisional() && !StatusCode::RINGING.is_final());
    assert!(StatusCode::OK.is_success() && !StatusCode::DECLINE.is_success());
}

/// Lines a generated message is made of: real headers with odd contents.
fn header_line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "Via",
        "v",
        "From",
        "f",
        "To",
        "Contact",
        "m",
        "Route",
        "Record-Route",
        "CSeq",
        "Call-ID",
        "Max-Forwards",
        "Supported",
        "k",
        "Accept",
        "Content-Type",
        "Reason",
        "Retry-After",
        "X-Other",
        "Expires",
    ]);
    (name, "[ \\t\"<>;,=@:a-z0-9/.\\\\é]{0,40}").prop_map(|(name, value)| format!("{name}: {value}\r\n"))
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        crate::fuzz_message(&bytes);
    }

    #[test]
    fn generated_messages_never_panic_and_survive_a_round_trip(
        lines in prop::collection::vec(header_line(), 0..12),
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut text = format!("{OPTIONS}{}\r\n", lines.concat()).into_bytes();
        text.extend_from_slice(&body);
        crate::fuzz_message(&text);
    }

    #[test]
    fn any_value_pushed_prints_as_one_line(value in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut request = request(format!("{OPTIONS}\r\n"));
        request.headers.push(HeaderName::custom("X-Any"), value);
        let Ok(Message::Request(again)) = Message::parse(request.to_bytes()) else { panic!("{request:?}") };
        prop_assert_eq!(
            again.headers.get(&HeaderName::custom("X-Any")),
            request.headers.get(&HeaderName::custom("X-Any"))
        );
        prop_assert_eq!(again.headers.len(), request.headers.len() + 1);
    }
}
