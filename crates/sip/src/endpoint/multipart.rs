//! Bodies of several parts (RFC 2046 §5.1, RFC 5621): trunks add ISUP, locations and the like to a session description.
//!
//! Finds the part that is understood and looks no further: parts within parts are not searched, and no part is decoded.

use bytes::Bytes;
use memchr::memmem;

use crate::message::MediaType;

/// The part of a body that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// One of the accepted types, as the configuration writes it.
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
}

/// Finds the first part of an accepted type. `None` for a body that is not multipart, has no such part, or has another
/// one that must be understood too. Other parts are passed over unless they say so: senders forget to mark them optional.
pub(crate) fn session_part(kind: &MediaType, body: &Bytes, accept: &[String]) -> Option<Part> {
    if !kind.kind.eq_ignore_case("multipart") {
        return None;
    }
    let boundary = kind.params.get("boundary")?.unquoted()?;
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let mut found = None;
    for part in parts(body, &delimiter) {
        let (head, content) = split_head(part);
        let content_type = field(head, &[b"content-type", b"c"]).unwrap_or(b"text/plain");
        let encoding = field(head, &[b"content-transfer-encoding"]).unwrap_or(b"binary");
        let is_plain = [&b"binary"[..], b"8bit", b"7bit"]
            .iter()
            .any(|plain| encoding.eq_ignore_ascii_case(plain));
        let known = accept
            .iter()
            .find(|known| is_plain && type_of(content_type).eq_ignore_ascii_case(known.as_bytes()));
        match known {
            Some(known) if found.is_none() => {
                found = Some(Part {
                    content_type: known.clone(),
                    body: body.slice_ref(content),
                });
            }
            Some(_) => {}
            None if is_required(head) => return None,
            None => {}
        }
    }
    found
}

/// What stands between the delimiter lines, without the line ends that belong to them.
fn parts<'a>(body: &'a [u8], delimiter: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let finder = memmem::Finder::new(delimiter).into_owned();
    let mut open: Option<usize> = None;
    let mut position = 0;
    std::iter::from_fn(move || {
        while let Some(at) = finder.find(&body[position..]).map(|offset| position + offset) {
            position = at + delimiter.len();
            let at_line_start = at == 0 || body[at - 1] == b'\n';
            let rest = &body[position..];
            let line_end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let closes = rest.starts_with(b"--");
            if !at_line_start || !(closes || rest[..line_end].trim_ascii().is_empty()) {
                continue;
            }
            position += line_end;
            let part = open.map(|start| without_line_end(&body[start.min(at)..at]));
            if closes {
                open = None;
                position = body.len();
            } else {
                open = Some(position);
            }
            if part.is_some() {
                return part;
            }
        }
        None
    })
}

fn without_line_end(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

/// Header lines and content of a part; one that begins with an empty line has no header.
fn split_head(part: &[u8]) -> (&[u8], &[u8]) {
    let mut position = 0;
    while let Some(end) = memchr::memchr(b'\n', &part[position..]) {
        let line = &part[position..position + end];
        position += end + 1;
        if line.trim_ascii().is_empty() {
            return (&part[..position], &part[position..]);
        }
    }
    (part, &[])
}

/// The value of the first header line with one of these names, in lower case here.
fn field<'a>(head: &'a [u8], names: &[&[u8]]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let name = line[..colon].trim_ascii();
        let is_meant = names.iter().any(|known| name.eq_ignore_ascii_case(known));
        is_meant.then(|| line[colon + 1..].trim_ascii())
    })
}

/// A media type without its parameters.
fn type_of(value: &[u8]) -> &[u8] {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    value[..end].trim_ascii()
}

fn is_required(head: &[u8]) -> bool {
    field(head, &[b"content-disposition"]).is_some_and(|value| {
        let value = value.to_ascii_lowercase();
        value.split(|byte| *byte == b';').any(|param| {
            let param: Vec<u8> = param
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect();
            param == b"handling=required"
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{HeaderName, Headers};

    fn find(content_type: &str, body: impl Into<Bytes>) -> Option<String> {
        let mut headers = Headers::new();
        headers.push(HeaderName::ContentType, content_type.to_owned());
        let kind = headers.content_type().expect("readable").expect("there");
        let part = session_part(&kind, &body.into(), &["application/sdp".to_owned()])?;
        assert_eq!(part.content_type, "application/sdp");
        Some(String::from_utf8_lossy(&part.body).into_owned())
    }

    #[test]
    fn the_session_description_is_found_among_other_parts() {
        let sdp = "Content-Type: application/sdp\r\n\r\nv=0\r\n";
        let isup = "Content-Type: application/isup;version=itu\r\nContent-Disposition: signal;handling=optional\r\n\r\n\u{1}\u{2}";
        let needed = isup.replace("optional", " Required");
        let mixed = "multipart/mixed;boundary=x";
        let rows = [
            (
                mixed,
                format!("--x\r\n{sdp}\r\n--x\r\n{isup}\r\n--x--\r\n"),
                Some("v=0\r\n"),
            ),
            (
                mixed,
                format!("--x\r\n{isup}\r\n--x\r\n{sdp}\r\n--x--"),
                Some("v=0\r\n"),
            ),
            (
                "Multipart/Alternative; boundary=\"a b\"",
                format!("hi\r\n--a b \r\n{sdp}\r\n--a b--\r\nbye"),
                Some("v=0\r\n"),
            ),
            (
                mixed,
                format!("--x\n{}\n--x--\n", sdp.replace("\r\n", "\n")),
                Some("v=0\n"),
            ),
            (
                mixed,
                "--x\r\nc: Application/SDP;charset=x\r\n\r\n--xy\r\n--x--\r\n".to_owned(),
                Some("--xy"),
            ),
            (
                mixed,
                format!("--x\r\n{sdp}\r\n--x\r\n{needed}\r\n--x--\r\n"),
                None,
            ),
            (mixed, format!("--x\r\n{isup}\r\n--x--\r\n"), None),
            (
                mixed,
                format!("--x\r\nContent-Transfer-Encoding: base64\r\n{sdp}\r\n--x--\r\n"),
                None,
            ),
            (mixed, format!("--x\r\n{sdp}"), None),
            (mixed, format!("--x--\r\n--x\r\n{sdp}\r\n--x--"), None),
            ("multipart/mixed", format!("--x\r\n{sdp}\r\n--x--"), None),
            ("application/sdp", format!("--x\r\n{sdp}\r\n--x--"), None),
            (mixed, "--x\r\n--x\r\n--x--".to_owned(), None),
            (mixed, String::new(), None),
        ];
        for (content_type, body, expected) in rows {
            assert_eq!(
                find(content_type, body.clone()).as_deref(),
                expected,
                "{content_type} {body:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in "(--x|--x--|\r\n|\n|c:|application/sdp|[a-z: ]){0,30}") {
            let _ = find("multipart/mixed;boundary=x", body.clone());
            let _ = find("multipart/mixed;boundary=\"\"", body);
        }
    }
}
