use proptest::prelude::*;

use super::*;
use crate::message::{MAX_HEADER_LINES, Message};

const HEAD: &str = "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
                    To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n";

fn with_body(body: &str) -> String {
    format!("{HEAD}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Everything the stream yields when it arrives in pieces of `piece` bytes.
fn frames(stream: &[u8], piece: usize) -> Vec<Result<Framed, ParseError>> {
    let mut framer = StreamFramer::new();
    let mut frames = Vec::new();
    for piece in stream.chunks(piece) {
        framer.push(piece);
        frames.extend(framer.by_ref());
    }
    frames
}

fn failure(stream: &[u8]) -> ParseError {
    let mut frames = frames(stream, stream.len().max(1));
    frames
        .pop()
        .expect("the stream fails")
        .expect_err("the stream fails")
}

#[test]
fn messages_are_cut_wherever_the_pieces_end() {
    let first = with_body("v=0\r\n\r\nOPTIONS sip:h SIP/2.0\r\n");
    let second = format!("{HEAD}l:\r\n 3\r\n\r\nabc");
    let third = format!("{HEAD}\r\n").replace("\r\n", "\n");
    let stream = format!("\r\n{first}{second}\r\n\r\n{third}");
    for piece in [1, 2, 3, 7, 100, 10_000] {
        let messages: Vec<Bytes> = frames(stream.as_bytes(), piece)
            .into_iter()
            .filter_map(|frame| match frame.unwrap() {
                Framed::Message(message) => Some(message),
                _ => None,
            })
            .collect();
        assert_eq!(
            messages,
            [first.as_bytes(), second.as_bytes(), third.as_bytes()],
            "pieces of {piece}"
        );
        assert!(
            messages
                .into_iter()
                .all(|message| Message::parse(message).is_ok()),
            "pieces of {piece}"
        );
    }
}

#[test]
fn keep_alives_are_told_from_messages() {
    let ping = || Ok(Framed::KeepAlivePing);
    let pong = || Ok(Framed::KeepAlivePong);
    let message = with_body("");
    let rows: [(&str, Vec<Result<Framed, ParseError>>); 6] = [
        ("\r\n\r\n", vec![ping()]),
        ("\r\n\r\n\r\n\r\n", vec![ping(), ping()]),
        ("\r\n", vec![pong()]),
        ("\r\n\r\n\r\n", vec![ping(), pong()]),
        ("\r", vec![]),
        ("\r\n\r", vec![]),
    ];
    for (stream, expected) in rows {
        assert_eq!(frames(stream.as_bytes(), 100), expected, "{stream:?}");
    }
    let mut framer = StreamFramer::new();
    framer.push(b"\r\n");
    assert_eq!(framer.next(), Some(pong()));
    framer.push(b"\r");
    assert_eq!(framer.next(), None);
    framer.push(b"\n");
    assert_eq!(framer.next(), Some(ping()));
    framer.push(message.as_bytes());
    framer.push(b"\r\n\r\n");
    assert_eq!(framer.next(), Some(Ok(Framed::Message(Bytes::from(message)))));
    assert_eq!(framer.next(), Some(ping()));
    assert_eq!((framer.next(), framer.buffered()), (None, 0));
}

#[test]
fn a_broken_length_ends_the_stream_with_an_answer() {
    for (line, status) in [
        ("Content-Length: -1", 400),
        ("Content-Length: x", 400),
        ("Content-Length", 400),
        ("Content-Length: 1\r\nContent-Length: 2", 400),
        ("Content-Length: 18446744073709551616", 400),
        ("Content-Length: 18446744073709551615", 513),
        ("Content-Length: 65536", 513),
    ] {
        let error = failure(format!("{HEAD}{line}\r\n\r\n").as_bytes());
        let answer = error.answer.unwrap_or_else(|| panic!("{line} is answered"));
        assert_eq!(
            (answer.status.code(), answer.headers.len()),
            (status, 5),
            "{line}"
        );
    }
}

#[test]
fn a_message_of_the_largest_size_passes_and_one_byte_more_does_not() {
    let head = format!("{HEAD}Content-Length: 00000\r\n\r\n").len();
    let body = "b".repeat(MAX_MESSAGE_BYTES - head);
    let message = with_body(&body);
    assert_eq!(message.len(), MAX_MESSAGE_BYTES);
    assert_eq!(frames(message.as_bytes(), 4_096).len(), 1);
    let error = failure(with_body(&format!("{body}b")).as_bytes());
    assert_eq!(error.kind, ParseErrorKind::MessageTooLarge);
}

#[test]
fn endless_headers_are_cut_off() {
    let endless_line = format!("{HEAD}X: {}", "y".repeat(MAX_LINE_BYTES));
    assert_eq!(failure(endless_line.as_bytes()).kind, ParseErrorKind::LineTooLong);
    let endless_lines = format!("{HEAD}{}", "X: y\r\n".repeat(MAX_MESSAGE_BYTES / 6));
    let error = failure(endless_lines.as_bytes());
    assert_eq!(error.kind, ParseErrorKind::MessageTooLarge);
    assert_eq!(
        error
            .answer
            .expect("the start of the message is known")
            .status
            .code(),
        513
    );
    let many = format!("{HEAD}{}\r\n", "X: y\r\n".repeat(MAX_HEADER_LINES));
    let frames = frames(many.as_bytes(), 512);
    let Ok(Framed::Message(message)) = &frames[0] else {
        panic!("{frames:?}")
    };
    assert_eq!(
        Message::parse(message.clone()).unwrap_err().kind,
        ParseErrorKind::TooManyHeaders
    );
}

#[test]
fn other_protocols_are_turned_away_at_their_first_line() {
    for stream in ["GET / HTTP/1.1\r\n", "\x16\x03\x01\x02\n", "EHLO x\r\n"] {
        let error = failure(stream.as_bytes());
        assert_eq!(
            (error.kind, error.answer),
            (ParseErrorKind::NotSip, None),
            "{stream:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_pieces_make_no_difference(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\r\nl: 19SIP/2.0".to_vec())], 0..300),
        piece in 1_usize..40,
    ) {
        let stream = [HEAD.as_bytes(), &bytes, b"\r\n\r\n"].concat();
        let messages = |piece| {
            frames(&stream, piece)
                .into_iter()
                .filter(|frame| !matches!(frame, Ok(Framed::KeepAlivePing | Framed::KeepAlivePong)))
                .map(|frame| frame.map_err(|error| error.kind))
                .collect::<Vec<_>>()
        };
        prop_assert_eq!(messages(piece), messages(stream.len()));
    }
}

#[test]
fn a_body_without_its_length_ends_the_stream_before_a_message_is_made_of_its_head() {
    let rows = [
        // method, what stands behind the other headers, whether it is refused
        ("INVITE", "\r\nv=0\r\no=- 1 1 IN IP4 h\r\n", true),
        ("INVITE", "Content-Type: application/sdp\r\n\r\nv=0\r\n", true),
        // The body may come in the next segment.
        ("INVITE", "\r\n", true),
        ("INVITE", "l: 0\r\n\r\n", false),
        ("OPTIONS", "c: application/sdp\r\n\r\n", true),
        ("OPTIONS", "\r\n", false),
        ("OPTIONS", "\r\n\r\n\r\n", false),
        ("OPTIONS", "\r\nOPTIONS sip:h SIP/2.0\r\n", false),
    ];
    for (method, rest, refused) in rows {
        let stream = format!("{HEAD}{rest}").replacen("OPTIONS", method, 2);
        let first = frames(stream.as_bytes(), stream.len()).swap_remove(0);
        let Err(error) = first else {
            assert!(!refused, "{rest:?}");
            continue;
        };
        assert!(refused, "{rest:?}");
        let answer = error.answer.expect("an answer").into_response();
        let line = format!(
            "{} {}",
            answer.status.code(),
            String::from_utf8_lossy(&answer.reason)
        );
        assert_eq!(line, "400 Missing Content-Length", "{rest:?}");
    }
}
