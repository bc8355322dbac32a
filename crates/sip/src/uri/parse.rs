//! Reading URIs, and the `%HH` escapes of their parts.

use bytes::Bytes;

use super::{HostPort, OtherUri, SipScheme, SipUri, Uri, UriError};
use crate::byte_str::ByteStr;
use crate::param::{Param, Params};
use crate::scan::{Problem, Scanner, is_scheme, is_uri};

pub(super) fn uri(text: &Bytes) -> Result<Uri, UriError> {
    let mut scanner = Scanner::new(text);
    scan(&mut scanner).map_err(|problem| UriError {
        offset: scanner.position(),
        problem,
    })
}

/// Reads a URI up to the end of the cursor; on failure the cursor stands where the fault is.
pub(super) fn scan(scanner: &mut Scanner<'_>) -> Result<Uri, Problem> {
    let visible = scanner.run_length(is_uri);
    if visible < scanner.rest().len() {
        scanner.advance(visible);
        return Err(Problem::UnexpectedByte);
    }
    let scheme_length = scanner.run_length(is_scheme);
    let scheme = &scanner.rest()[..scheme_length];
    if !scheme.first().is_some_and(u8::is_ascii_alphabetic)
        || scanner.rest().get(scheme_length) != Some(&b':')
    {
        scanner.advance(scheme_length);
        return Err(Problem::BadScheme);
    }
    let kind = if scheme.eq_ignore_ascii_case(b"sip") {
        SipScheme::Sip
    } else if scheme.eq_ignore_ascii_case(b"sips") {
        SipScheme::Sips
    } else {
        let scheme = scanner.slice(scheme_length);
        scanner.advance(1);
        let rest = scanner.slice(scanner.rest().len());
        return Ok(Uri::Other(OtherUri { scheme, rest }));
    };
    scanner.advance(scheme_length + 1);
    sip(kind, scanner).map(Uri::Sip)
}

fn sip(scheme: SipScheme, scanner: &mut Scanner<'_>) -> Result<SipUri, Problem> {
    let (user, password) = userinfo(scanner)?;
    let HostPort { host, port } = HostPort::scan(scanner, false)?;
    let params = params(scanner)?;
    let headers = headers(scanner)?;
    if !scanner.at_end() {
        return Err(Problem::UnexpectedByte);
    }
    Ok(SipUri {
        scheme,
        user,
        password,
        host,
        port,
        params,
        headers,
    })
}

/// Everything up to the only `@`. The user may hold `;`, `?`, `/` and more; no later part may hold an unescaped `@`.
fn userinfo(scanner: &mut Scanner<'_>) -> Result<(Option<ByteStr>, Option<ByteStr>), Problem> {
    let Some(at) = scanner.rest().iter().position(|byte| *byte == b'@') else {
        return Ok((None, None));
    };
    let info = &scanner.rest()[..at];
    let colon = info.iter().position(|byte| *byte == b':');
    let user_length = colon.unwrap_or(at);
    if user_length == 0 {
        return Err(Problem::Empty);
    }
    let user = scanner.slice(user_length);
    let password = if colon.is_some() {
        scanner.advance(1);
        Some(scanner.slice(at - user_length - 1))
    } else {
        None
    };
    scanner.advance(1);
    Ok((Some(user), password))
}

fn params(scanner: &mut Scanner<'_>) -> Result<Params, Problem> {
    let mut params = Params::new();
    while scanner.take(b';') {
        if scanner.at_end() {
            break;
        }
        let name = scanner.borrow_run(|byte| !matches!(byte, b';' | b'?' | b'='));
        if name.is_empty() {
            return Err(Problem::EmptyParameter);
        }
        let name = scanner.share(name);
        let value = scanner.take(b'=').then(|| {
            let value = scanner.borrow_run(|byte| !matches!(byte, b';' | b'?'));
            scanner.share(value)
        });
        params.add(Param { name, value })?;
    }
    Ok(params)
}

fn headers(scanner: &mut Scanner<'_>) -> Result<Params, Problem> {
    let mut headers = Params::new();
    if !scanner.take(b'?') {
        return Ok(headers);
    }
    loop {
        let name = scanner.run(|byte| !matches!(byte, b'&' | b'='));
        if name.is_empty() {
            return Err(Problem::EmptyParameter);
        }
        let value = scanner.take(b'=').then(|| scanner.run(|byte| byte != b'&'));
        headers.add(Param { name, value })?;
        if !scanner.take(b'&') {
            return Ok(headers);
        }
    }
}

/// The value of two hexadecimal digits behind a `%` at `at`, when they are there.
pub(super) fn escaped_byte(text: &[u8], at: usize) -> Option<u8> {
    let digit = |index: usize| text.get(index).and_then(|byte| char::from(*byte).to_digit(16));
    if text.get(at) != Some(&b'%') {
        return None;
    }
    u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok()
}

/// Decodes `%HH`; text without escapes is shared, not copied.
pub(super) fn unescape(text: &ByteStr) -> ByteStr {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'%') {
        return text.clone();
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        match escaped_byte(bytes, index) {
            Some(byte) => {
                plain.push(byte);
                index += 3;
            }
            None => {
                plain.push(bytes[index]);
                index += 1;
            }
        }
    }
    ByteStr::from(plain)
}

/// Escapes what the `user` production of RFC 3261 §25.1 does not allow in plain.
pub(super) fn escape_user(user: &str) -> ByteStr {
    use std::fmt::Write;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte);
    let mut escaped = String::with_capacity(user.len());
    for byte in user.bytes() {
        if allowed(byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a string takes any text");
        }
    }
    ByteStr::from(escaped)
}
