//! What fuzzing and property tests hold the message layer to, for any bytes. Part of the normal build, so that a change
//! of the interface cannot silently break a fuzz target.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::digest::{
    DigestChallenge, DigestCredentials, DigestIdentity, DigestRequest, DigestServer, DigestVerdict,
};
use crate::endpoint::{InfoDigit, MAX_INFO_DIGIT_MS, Replaces};
use crate::framing::StreamFramer;
use crate::message::{
    Essentials, HeaderName, Headers, Message, NameAddr, ParseErrorKind, Request, Response, StatusCode, Tag,
};
use crate::uri::Uri;

/// Reads `data` as the value of an Authorization header, and verifies what comes out at a time of the caller's choice.
///
/// # Panics
/// When somebody is believed who was never challenged.
pub fn fuzz_credentials(now: Instant, data: &[u8]) {
    if let Some(credentials) = DigestCredentials::parse(data) {
        let mut server = DigestServer::new([0; 32], now, Duration::from_secs(60));
        let verdict = server.verify(now, "INVITE", &credentials, "password");
        assert_ne!(verdict, DigestVerdict::Right, "he was never challenged");
    }
}

/// Reads `data` as a value of a WWW-Authenticate header and answers it.
///
/// # Panics
/// When the answer is more than one line.
pub fn fuzz_challenge(data: &[u8]) {
    if let Some(challenge) = DigestChallenge::parse(data) {
        let identity = DigestIdentity {
            username: "user".to_owned(),
            password: "password".to_owned(),
            realm: None,
        };
        let request = DigestRequest {
            method: "INVITE",
            uri: "sip:a@b.example",
            body: data,
            cnonce: "0a4f113b",
            count: 1,
        };
        let answer = challenge.answer(&identity, request);
        assert!(!answer.chars().any(char::is_control), "{answer:?}");
    }
}

/// Reads `data` as a datagram and as a stream, and does with the outcome all that the server does with a message.
///
/// # Panics
/// When a promise is broken: an accepted message lacks an essential, or reads differently after printing; an answer
/// holds a line end within a value; a stream depends on how it was cut into pieces.
pub fn fuzz_message(data: &[u8]) {
    match Message::parse(Bytes::copy_from_slice(data)) {
        Ok(message) => accepted(message),
        Err(error) => {
            if let Some(answer) = error.answer {
                one_line_each(&answer.headers);
                answer.into_response().with_to_tag(&Tag::new("t")).to_bytes();
            }
        }
    }
    let whole = frames(data, data.len().max(1));
    let pieces = usize::from(data.first().copied().unwrap_or(0) % 61) + 1;
    assert_eq!(frames(data, pieces), whole, "pieces of {pieces}");
}

/// Reads `data` as a URI and as an address of a header.
///
/// # Panics
/// When a promise is broken: what was read reads differently after printing, or is not equivalent to itself.
pub fn fuzz_uri(data: &[u8]) {
    if let Ok(uri) = Uri::parse(Bytes::copy_from_slice(data)) {
        let again = Uri::parse(uri.to_bytes()).expect("a printed URI reads");
        assert_eq!(again, uri);
        assert!(uri.is_equivalent(&again) && again.is_equivalent(&uri), "{uri}");
        if let Uri::Sip(uri) = &uri {
            uri.user_decoded();
        }
    }
    if let Ok(address) = NameAddr::parse(Bytes::copy_from_slice(data)) {
        let printed = address.to_bytes();
        if !data.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            assert_eq!(NameAddr::parse(printed).as_ref(), Ok(&address));
        }
    }
}

/// Reads `data` as the body of an INFO request.
///
/// # Panics
/// When a promise is broken: what was read is no key or lasts too long, or reads differently when it is written as phones do.
pub fn fuzz_info_digit(data: &[u8]) {
    let Ok(Some(digit)) = InfoDigit::parse(data) else {
        return;
    };
    let InfoDigit { key, duration_ms } = digit;
    assert!(matches!(key, '0'..='9' | '*' | '#' | 'A'..='D'), "{key}");
    assert!(duration_ms <= MAX_INFO_DIGIT_MS, "{duration_ms}");
    let written = format!("Signal={key}\r\nDuration={duration_ms}\r\n");
    assert_eq!(InfoDigit::parse(written.as_bytes()), Ok(Some(digit)));
}

/// Reads `data` as the value of a Replaces header.
///
/// # Panics
/// When a promise is broken: what was read is another dialog when it is written and read again, or would not stay one header.
pub fn fuzz_replaces(data: &[u8]) {
    let Some(read) = Replaces::parse(data) else {
        return;
    };
    let written = read.to_string();
    assert!(written.bytes().all(|byte| byte.is_ascii_graphic()), "{written:?}");
    assert_eq!(Replaces::parse(written.as_bytes()), Some(read));
}

fn accepted(message: Message) {
    let headers = message.headers();
    one_line_each(headers);
    Essentials::of(headers).expect("an accepted message has its essentials");
    let is_request = matches!(message, Message::Request(_));
    read_all(headers, is_request);
    if let Message::Request(request) = &message {
        answer(request);
    }
    let again = match Message::parse(message.to_bytes()) {
        Ok(again) => again,
        // Full header names and an added Content-Length may carry a message just below a limit over it.
        Err(error) => {
            let limit = matches!(
                error.kind,
                ParseErrorKind::MessageTooLarge
                    | ParseErrorKind::TooManyHeaders
                    | ParseErrorKind::LineTooLong
            );
            assert!(limit, "{error}");
            return;
        }
    };
    assert_eq!(without_length(again), without_length(message));
}

fn one_line_each(headers: &Headers) {
    for header in headers {
        assert!(
            !header.value().iter().any(|byte| matches!(byte, b'\r' | b'\n')),
            "{header:?}"
        );
    }
}

fn read_all(headers: &Headers, is_request: bool) {
    let lists = [headers.contacts(), headers.routes(), headers.record_routes()];
    for list in lists {
        // A response is taken for what can be read of it.
        assert!(list.is_ok() || !is_request, "addresses are checked: {list:?}");
        for address in list.unwrap_or_default() {
            address.to_bytes();
            address.tag();
        }
    }
    let readable = headers.readable_contacts(8);
    assert!(readable.len() <= 8);
    if let Ok(contacts) = headers.contacts() {
        assert_eq!(readable[..], contacts[..contacts.len().min(8)]);
    }
    assert!(
        headers.max_forwards().is_ok() || !is_request,
        "Max-Forwards is checked"
    );
    headers.content_length().expect("Content-Length is checked");
    for via in headers.vias().unwrap_or_default() {
        let _ = (via.received(), via.rport(), via.maddr(), via.branch());
        via.to_bytes();
    }
    let _ = (
        headers.require(),
        headers.proxy_require(),
        headers.supported(),
        headers.unsupported(),
    );
    let _ = (
        headers.allow(),
        headers.accept(),
        headers.content_type(),
        headers.content_encodings(),
    );
    let _ = (headers.expires(), headers.retry_after(), headers.user_agent());
    for reason in headers.reasons().unwrap_or_default() {
        reason.to_bytes();
    }
    let _ = headers.addresses(HeaderName::PAssertedIdentity);
}

fn answer(request: &Request) {
    for status in [StatusCode::TRYING, StatusCode::OK, StatusCode::NOT_FOUND] {
        let response = Response::to(request, status).with_to_tag(&Tag::new("t"));
        one_line_each(&response.headers);
        response
            .headers
            .to()
            .expect("To is checked")
            .expect("To is there");
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

/// What a stream yields: messages by their bytes, errors by their kind. Keep-alives are left out: a CRLF that arrives
/// alone may be reported before the one that follows it.
fn frames(stream: &[u8], piece: usize) -> Vec<Result<Bytes, ParseErrorKind>> {
    let mut framer = StreamFramer::new();
    let mut frames = Vec::new();
    for piece in stream.chunks(piece) {
        framer.push(piece);
        for frame in framer.by_ref() {
            match frame {
                Ok(crate::framing::Framed::Message(message)) => frames.push(Ok(message)),
                Ok(_) => {}
                Err(error) => frames.push(Err(error.kind)),
            }
        }
    }
    frames
}
