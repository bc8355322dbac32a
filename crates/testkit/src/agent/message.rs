//! Owns SIP messages as text: a start line, header lines in order and a body.
//!
//! Never judges: it prints whatever a test puts in and reads whatever the server sends, as long as there is a start line.

use std::fmt;

/// A SIP request or response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipMessage {
    /// Request line or status line without the line end.
    pub start_line: String,
    /// Header names and values in order, as sent.
    pub headers: Vec<(String, String)>,
    /// The body; `Content-Length` is added when the message is printed and none was set.
    pub body: Vec<u8>,
}

impl SipMessage {
    /// Starts a request without headers.
    pub fn request(method: &str, uri: &str) -> Self {
        Self {
            start_line: format!("{method} {uri} SIP/2.0"),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Starts a response that copies what RFC 3261 §8.2.6.2 wants copied from `request`.
    pub fn response(request: &Self, status: u16, reason: &str) -> Self {
        let copied = ["via", "from", "to", "call-id", "cseq", "record-route"];
        let headers = request
            .headers
            .iter()
            .filter(|(name, _)| copied.contains(&full_name(name).as_str()))
            .cloned()
            .collect();
        Self {
            start_line: format!("SIP/2.0 {status} {reason}"),
            headers,
            body: Vec::new(),
        }
    }

    /// Adds a header line at the end.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with("Content-Type", content_type)
    }

    /// Reads one complete message; `None` when there is no start line or no end of the headers.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let end = find(bytes, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.split("\r\n");
        let start_line = lines.next().filter(|line| !line.is_empty())?.to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Some(Self {
            start_line,
            headers,
            body: bytes[end + 4..].to_vec(),
        })
    }

    /// Cuts the first complete message off a byte stream (RFC 3261 §18.3) and reads it; skips keep-alive line ends.
    pub fn take_from_stream(buffer: &mut Vec<u8>) -> Option<Self> {
        let blank = buffer
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        buffer.drain(..blank);
        let head_end = find(buffer, b"\r\n\r\n")? + 4;
        let length = Self::parse(&buffer[..head_end])?
            .header("Content-Length")?
            .parse::<usize>()
            .ok()?;
        if buffer.len() < head_end + length {
            return None;
        }
        let message: Vec<u8> = buffer.drain(..head_end + length).collect();
        Self::parse(&message)
    }

    /// Prints the message, with a `Content-Length` that fits unless one was set.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start_line);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.header("Content-Length").is_none() {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Returns the first value of a header; names compare without case and compact forms count as the full name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_values(name).next()
    }

    /// Returns all values of a header, one per header line.
    pub fn header_values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let wanted = full_name(name);
        self.headers
            .iter()
            .filter(move |(name, _)| full_name(name) == wanted)
            .map(|(_, value)| value.as_str())
    }

    /// Says whether a comma-separated header contains `item`, without case.
    pub fn lists(&self, name: &str, item: &str) -> bool {
        self.header_values(name)
            .flat_map(|value| value.split(','))
            .any(|entry| entry.trim().eq_ignore_ascii_case(item))
    }

    /// Returns the status code of a response.
    pub fn status(&self) -> Option<u16> {
        self.start_line.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// Returns the method of a request.
    pub fn method(&self) -> Option<&str> {
        if self.status().is_some() {
            None
        } else {
            self.start_line.split(' ').next()
        }
    }

    /// Returns the number and the method of the `CSeq` header.
    pub fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.header("CSeq")?.split_once(char::is_whitespace)?;
        Some((number.parse().ok()?, method.trim()))
    }

    /// Returns the branch of the topmost `Via`.
    pub fn branch(&self) -> Option<&str> {
        parameter(self.header("Via")?, "branch")
    }

    /// Returns the `tag` of `From` or `To`.
    pub fn tag(&self, header: &str) -> Option<&str> {
        let value = self.header(header)?;
        parameter(value.rsplit_once('>').map_or(value, |(_, after)| after), "tag")
    }

    /// Returns the URI of the first `Contact`, without brackets and header parameters.
    pub fn contact_uri(&self) -> Option<&str> {
        let value = self.header("Contact")?;
        match value.split_once('<') {
            Some((_, rest)) => rest.split('>').next(),
            None => value.split(';').next().map(str::trim),
        }
    }
}

impl fmt::Display for SipMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

/// Returns the value of a `;name=value` parameter.
fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Lower-cases a header name and spells out its compact form (RFC 3261 §7.3.3).
fn full_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let full = match lower.as_str() {
        "v" => "via",
        "f" => "from",
        "t" => "to",
        "i" => "call-id",
        "m" => "contact",
        "l" => "content-length",
        "c" => "content-type",
        "k" => "supported",
        _ => return lower,
    };
    full.to_owned()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &str = "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP 127.0.0.1:5070;rport=5070;branch=z9hG4bKx\r\n\
        Record-Route: <sip:a>\r\nf: \"A;tag=no\" <sip:a@b;x=y>;tag=from1\r\nTo: <sip:3000@c>;tag=to1\r\nCSeq: 7 INVITE\r\n\
        Contact: <sip:127.0.0.1:5060;transport=tcp>;isfocus\r\nAllow: INVITE, ACK\r\nl: 4\r\n\r\nbody";

    #[test]
    fn a_response_is_read_in_all_its_parts() {
        let message = SipMessage::parse(RESPONSE.as_bytes()).expect("a message");
        assert_eq!(message.status(), Some(200));
        assert_eq!(message.method(), None);
        assert_eq!(message.cseq(), Some((7, "INVITE")));
        assert_eq!(message.branch(), Some("z9hG4bKx"));
        assert_eq!(
            (message.tag("From"), message.tag("To")),
            (Some("from1"), Some("to1"))
        );
        assert_eq!(message.contact_uri(), Some("sip:127.0.0.1:5060;transport=tcp"));
        assert!(message.lists("Allow", "ack") && !message.lists("Allow", "BYE"));
        assert_eq!(message.body, b"body");
    }

    #[test]
    fn a_printed_message_reads_back_the_same() {
        let sent = SipMessage::request("OPTIONS", "sip:x@y")
            .with("Via", "SIP/2.0/UDP z;branch=b")
            .with("To", "<sip:x>");
        let sent = sent.with_body("application/sdp", "v=0\r\n");
        let read = SipMessage::parse(&sent.to_bytes()).expect("a message");
        assert_eq!(read.method(), Some("OPTIONS"));
        assert_eq!(read.header("content-length"), Some("5"));
        assert_eq!(read.body, sent.body);
    }

    #[test]
    fn a_stream_is_cut_into_messages() {
        let mut buffer = b"\r\n\r\n".to_vec();
        buffer.extend_from_slice(RESPONSE.as_bytes());
        buffer.extend_from_slice(&RESPONSE.as_bytes()[..50]);
        assert!(SipMessage::take_from_stream(&mut buffer).is_some());
        assert!(SipMessage::take_from_stream(&mut buffer).is_none());
        buffer.extend_from_slice(&RESPONSE.as_bytes()[50..]);
        assert_eq!(
            SipMessage::take_from_stream(&mut buffer).and_then(|m| m.status()),
            Some(200)
        );
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_is_no_message_gives_nothing() {
        for bytes in [&b""[..], b"\r\n\r\n", b"SIP/2.0 200 OK\r\nVia: x"] {
            assert_eq!(SipMessage::parse(bytes), None, "{bytes:?}");
        }
    }
}
