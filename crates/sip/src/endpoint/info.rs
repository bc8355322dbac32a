//! What an INFO request within a call says (RFC 6086, and the usage before it): a key of the telephone, in the two forms that
//! phones and gateways send.
//!
//! Owns the reading of the body; knows no dialog and sends nothing.
//!
//! `application/dtmf-relay` is a few lines, `Signal=5` and `Duration=160` (ms); `application/dtmf` is the key alone. There is no RFC
//! for either, so they are read with tolerance: blanks, quotes, line ends of any kind, letter case, keys by the number of their
//! telephone-event (RFC 4733 §3.2: 10 is `*`, 11 `#`, 12 to 15 `A` to `D`).

use bytes::Bytes;

use super::check::{Refusal, is_optional};
use super::multipart::session_part;
use crate::message::{HeaderName, Request, StatusCode};

/// Media types of INFO bodies that are understood, as Accept prints them.
pub(super) const ACCEPTED: [&str; 2] = ["application/dtmf-relay", "application/dtmf"];

/// Longest time that a key is taken to be held, in ms: a larger number is a mistake of the sender's.
pub const MAX_INFO_DIGIT_MS: u32 = 60_000;

/// Event number of the hook flash, which is no key.
const FLASH: u8 = 16;

/// A key of the telephone that an INFO request told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InfoDigit {
    /// `0` to `9`, `*`, `#`, `A` to `D`.
    pub key: char,
    /// How long it was held, at most [`MAX_INFO_DIGIT_MS`]; 0 when the request does not say so.
    pub duration_ms: u32,
}

/// What a body says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Digit(char),
    /// A hook flash: understood, and no digit.
    Flash,
}

impl InfoDigit {
    /// Reads a body of `application/dtmf-relay` or `application/dtmf`. `Ok(None)` is a signal that is no key (a hook flash).
    ///
    /// # Errors
    /// [`NoDigit`] when no key can be made out.
    pub fn parse(body: &[u8]) -> Result<Option<Self>, NoDigit> {
        let mut signal = None;
        let mut duration_ms = 0;
        let lines = body.split(|byte| matches!(byte, b'\r' | b'\n' | b';'));
        for line in lines.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
            let Some((name, value)) = field(line) else {
                signal = signal.or_else(|| read_signal(line));
                continue;
            };
            if name.eq_ignore_ascii_case(b"signal") {
                signal = Some(read_signal(value).ok_or(NoDigit)?);
            } else if name.eq_ignore_ascii_case(b"duration") {
                duration_ms = read_duration_ms(value);
            }
        }
        match signal.ok_or(NoDigit)? {
            Signal::Digit(key) => Ok(Some(Self { key, duration_ms })),
            Signal::Flash => Ok(None),
        }
    }
}

/// A body names no key of a telephone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key of a telephone")]
pub struct NoDigit;

/// Splits a line at `=` or `:`.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| matches!(byte, b'=' | b':'))?;
    Some((line[..at].trim_ascii(), unquoted(&line[at + 1..])))
}

fn unquoted(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    match value {
        [b'"', inner @ .., b'"'] => inner.trim_ascii(),
        _ => value,
    }
}

fn read_signal(value: &[u8]) -> Option<Signal> {
    let key = |digit: u8| Some(Signal::Digit(char::from(digit)));
    match unquoted(value) {
        [digit @ (b'0'..=b'9' | b'*' | b'#')] => key(*digit),
        [letter @ (b'A'..=b'D' | b'a'..=b'd')] => key(letter.to_ascii_uppercase()),
        [b'!'] => Some(Signal::Flash),
        [b'1', unit @ b'0'..=b'6'] => match 10 + (unit - b'0') {
            10 => key(b'*'),
            11 => key(b'#'),
            FLASH => Some(Signal::Flash),
            letter => key(b'A' + (letter - 12)),
        },
        text if text.eq_ignore_ascii_case(b"hf") || text.eq_ignore_ascii_case(b"flash") => {
            Some(Signal::Flash)
        }
        _ => None,
    }
}

/// The number at the front, 0 when there is none: a digit of an unknown duration is better than no digit.
fn read_duration_ms(value: &[u8]) -> u32 {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(0_u32, |number, digit| {
        number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    });
    number.min(MAX_INFO_DIGIT_MS)
}

/// Reads an INFO request of a call: a digit, nothing (an empty body, a flash), or the refusal to answer with.
pub(super) fn read(request: &Request) -> Result<Option<InfoDigit>, Refusal> {
    if request.body.is_empty() {
        // Before RFC 6086 an INFO without a body was used to see whether the call still stands.
        return match request.headers.get(&HeaderName::InfoPackage) {
            Some(_) => Err(bad_package()),
            None => Ok(None),
        };
    }
    let Some(body) = digit_body(request)? else {
        return Ok(None);
    };
    InfoDigit::parse(&body).map_err(|NoDigit| Refusal {
        reason: Some("Bad DTMF Signal".to_owned()),
        ..Refusal::new(StatusCode::BAD_REQUEST)
    })
}

/// The body that may hold a digit; `None` when there is none and its sender wants no more than an answer.
fn digit_body(request: &Request) -> Result<Option<Bytes>, Refusal> {
    let headers = &request.headers;
    let kind = headers
        .content_type()
        .map_err(|error| Refusal::bad_header(&error))?;
    let encodings = headers
        .content_encodings()
        .map_err(|error| Refusal::bad_header(&error))?;
    let encoded = encodings.iter().any(|coding| !coding.eq_ignore_case("identity"));
    let accepted = ACCEPTED.map(str::to_owned);
    if !encoded && let Some(kind) = &kind {
        let mut types = ACCEPTED.iter().filter_map(|known| known.split_once('/'));
        if types.any(|(known, subtype)| kind.is(known, subtype)) {
            return Ok(Some(request.body.clone()));
        }
        if let Some(part) = session_part(kind, &request.body, &accepted) {
            return Ok(Some(part.body));
        }
    }
    if headers.has(&HeaderName::InfoPackage) {
        return Err(bad_package());
    }
    if is_optional(request) {
        return Ok(None);
    }
    let refusal =
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE).with(HeaderName::Accept, accepted.join(", "));
    Err(if encoded {
        refusal.with(HeaderName::AcceptEncoding, "identity")
    } else {
        refusal
    })
}

/// RFC 6086 §4.2.2: a package that was not announced; none is.
fn bad_package() -> Refusal {
    Refusal::new(StatusCode::BAD_INFO_PACKAGE).with(HeaderName::RecvInfo, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzz_info_digit;
    use crate::message::Method;
    use crate::uri::Uri;

    fn digit(key: char, duration_ms: u32) -> Result<Option<InfoDigit>, NoDigit> {
        Ok(Some(InfoDigit { key, duration_ms }))
    }

    #[test]
    fn keys_are_read_in_every_spelling_that_phones_have() {
        let rows: [(&str, Result<Option<InfoDigit>, NoDigit>); 32] = [
            ("Signal=5\r\nDuration=160\r\n", digit('5', 160)),
            ("Signal= 5\r\nDuration= 160\r\n", digit('5', 160)),
            ("Signal=5 \r\nDuration=160 \r\n", digit('5', 160)),
            ("Signal=0\nDuration=250", digit('0', 250)),
            ("Signal=9", digit('9', 0)),
            ("\r\nsignal=#\r\nduration=80\r\n\r\n", digit('#', 80)),
            ("SIGNAL=*\rDURATION=80", digit('*', 80)),
            ("Duration=100\r\nSignal=1", digit('1', 100)),
            ("Signal: 7\r\nDuration: 90", digit('7', 90)),
            ("Signal=\"8\"\r\nDuration=\"90\"", digit('8', 90)),
            ("Signal=4;Duration=70", digit('4', 70)),
            ("Signal=10\r\nDuration=100", digit('*', 100)),
            ("Signal=11\r\nDuration=100", digit('#', 100)),
            ("Signal=12", digit('A', 0)),
            ("Signal=15", digit('D', 0)),
            ("Signal=b", digit('B', 0)),
            ("Signal=16", Ok(None)),
            ("Signal=hf\r\nDuration=300", Ok(None)),
            ("Signal=!", Ok(None)),
            ("Signal=2\r\nDuration=", digit('2', 0)),
            ("Signal=2\r\nDuration=long", digit('2', 0)),
            ("Signal=2\r\nDuration=160ms", digit('2', 160)),
            ("Signal=2\r\nDuration=99999999999", digit('2', MAX_INFO_DIGIT_MS)),
            ("Signal=2\r\nSignal=3", digit('3', 0)),
            ("3", digit('3', 0)),
            (" #\r\n", digit('#', 0)),
            ("10\r\n", digit('*', 0)),
            ("5\r\nDuration=40", digit('5', 40)),
            ("Signal=17", Err(NoDigit)),
            ("Signal=", Err(NoDigit)),
            ("Duration=100", Err(NoDigit)),
            ("hello", Err(NoDigit)),
        ];
        for (body, expected) in rows {
            assert_eq!(InfoDigit::parse(body.as_bytes()), expected, "{body:?}");
        }
    }

    #[test]
    fn each_kind_of_request_has_its_answer() {
        let relay = ("Content-Type", "Application/DTMF-Relay; charset=x");
        let five = Ok(Some(InfoDigit {
            key: '5',
            duration_ms: 0,
        }));
        type Row<'a> = (
            &'a [(&'a str, &'a str)],
            &'a str,
            Result<Option<InfoDigit>, (u16, &'a str)>,
        );
        let rows: [Row<'_>; 12] = [
            (&[relay], "Signal=5", five),
            (&[("Content-Type", "application/dtmf")], "5", five),
            (&[relay, ("Info-Package", "x")], "Signal=5", five),
            (&[relay], "Signal=x", Err((400, ""))),
            (&[], "", Ok(None)),
            (&[("Info-Package", "x")], "", Err((469, "Recv-Info"))),
            (
                &[("Content-Type", "a/b"), ("Info-Package", "x")],
                "5",
                Err((469, "Recv-Info")),
            ),
            (&[("Content-Type", "text/plain")], "5", Err((415, "Accept"))),
            (&[], "5", Err((415, "Accept"))),
            (
                &[
                    ("Content-Type", "a/b"),
                    ("Content-Disposition", "x;handling=optional"),
                ],
                "5",
                Ok(None),
            ),
            (&[relay, ("Content-Encoding", "gzip")], "5", Err((415, "Accept"))),
            (&[("Content-Type", "/")], "5", Err((400, ""))),
        ];
        for (headers, body, expected) in rows {
            let mut request = Request::new(Method::Info, Uri::parse("sip:h").unwrap());
            for (name, value) in headers {
                request
                    .headers
                    .push(HeaderName::custom(name), (*value).to_owned());
            }
            request.body = Bytes::from(body.to_owned());
            let found = read(&request).map_err(|refusal| {
                let name = refusal.headers.first().map(|(name, _)| name.to_string());
                (refusal.status.code(), name.unwrap_or_default())
            });
            let expected = expected.map_err(|(status, name)| (status, name.to_owned()));
            assert_eq!(found, expected, "{headers:?} {body:?}");
        }
    }

    proptest! {
        #[test]
        fn any_body_is_a_key_or_none(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            fuzz_info_digit(&body);
        }

        #[test]
        fn bodies_nearly_as_phones_send_them_are_a_key_or_none(
            body in "([Ss]ignal|DURATION|d)?[=: ]{0,2}[0-9A-Fa-f*#!\"]{0,12}[\r\n;]{0,2}([Dd]uration= ?[0-9]{0,12})?"
        ) {
            fuzz_info_digit(body.as_bytes());
        }
    }
}
