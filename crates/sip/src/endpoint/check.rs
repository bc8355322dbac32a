//! Owns the checks a request must pass before it reaches a call: RFC 3261 §8.2.1 to §8.2.3, in that order.
//!
//! Never sends: a failed check comes back as the refusal to send. Max-Forwards is not among them: a request with 0 has arrived and is
//! answered as any other (RFC 4475 §3.3.11); 483 is for elements that would have to forward it.

use super::config::EndpointConfig;
use super::flow::Transport;
use super::multipart::session_part;
use super::stack::allow;
use crate::byte_str::ByteStr;
use crate::call::referring::NO_SUBSCRIPTION;
use crate::message::{Branch, Essentials, HeaderError, HeaderName, Method, Request, StatusCode};
use crate::uri::{SipScheme, Uri};

/// Most bytes of an INVITE that its responses may repeat: many times what six proxies add.
const LARGEST_ECHO: usize = 8 * 1024;

/// Option tag of RFC 3262: provisional responses have to be reliable.
pub(crate) const RELIABLE_PROVISIONAL: &str = "100rel";

/// A refusal that a check asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) reason: Option<String>,
    pub(crate) headers: Vec<(HeaderName, String)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode) -> Self {
        Refusal {
            status,
            reason: None,
            headers: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn bad_request(reason: &str) -> Self {
        Refusal {
            status: StatusCode::BAD_REQUEST,
            reason: Some(reason.to_owned()),
            headers: Vec::new(),
        }
    }

    /// 400 that names the header at fault.
    pub(super) fn bad_header(error: &HeaderError) -> Self {
        Self::bad_request(&format!("Bad {}", error.header))
    }
}

/// Checks everything that does not depend on dialogs and transactions. ACK and CANCEL are never refused this way.
pub(crate) fn check(
    request: &mut Request,
    essentials: &Essentials,
    transport: Transport,
    config: &EndpointConfig,
) -> Result<(), Refusal> {
    method(request, config)?;
    echo(request)?;
    sequence(request, essentials)?;
    scheme(request, transport)?;
    extensions(request, config)?;
    if matches!(request.method, Method::Invite | Method::Subscribe) {
        contact(request, essentials)?;
    }
    if matches!(request.method, Method::Invite | Method::Update) {
        session_interval(request, config)?;
        accepted_answers(request, config)?;
        content(request, config)?;
    }
    Ok(())
}

/// 405 for a method that SIP knows and this endpoint does not take part in, 501 for any other token (RFC 3261 §8.2.1, §21.5.2).
fn method(request: &Request, config: &EndpointConfig) -> Result<(), Refusal> {
    let status = match &request.method {
        Method::Invite
        | Method::Ack
        | Method::Bye
        | Method::Cancel
        | Method::Options
        | Method::Info
        | Method::Update
        | Method::Refer
        | Method::Prack => {
            return Ok(());
        }
        Method::Register if config.takes_registrations => return Ok(()),
        Method::Subscribe if !config.event_packages.is_empty() => return Ok(()),
        Method::Other(_) => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::METHOD_NOT_ALLOWED,
    };
    Err(Refusal::new(status).with(HeaderName::Allow, allow(config)))
}

/// 513 for an INVITE whose responses would be large: they are kept and repeated, up to eleven times, to an address that
/// may be forged.
fn echo(request: &Request) -> Result<(), Refusal> {
    if request.method != Method::Invite {
        return Ok(());
    }
    let copied = [
        HeaderName::Via,
        HeaderName::RecordRoute,
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
    ];
    let length: usize = copied
        .iter()
        .flat_map(|name| request.headers.get_all(name))
        .map(|value| value.len())
        .sum();
    if length <= LARGEST_ECHO {
        return Ok(());
    }
    Err(Refusal {
        reason: Some("Headers Too Large".to_owned()),
        ..Refusal::new(StatusCode::MESSAGE_TOO_LARGE)
    })
}

/// 422 for a session that would have to be refreshed more often than is agreed to (RFC 4028 §9).
fn session_interval(request: &Request, config: &EndpointConfig) -> Result<(), Refusal> {
    let least = config.min_session_expires_s;
    match request.headers.session_expires() {
        Some(asked) if asked.seconds < least => {
            Err(Refusal::new(StatusCode::SESSION_INTERVAL_TOO_SMALL)
                .with(HeaderName::MinSe, least.to_string()))
        }
        _ => Ok(()),
    }
}

fn sequence(request: &Request, essentials: &Essentials) -> Result<(), Refusal> {
    if essentials.cseq.method == request.method {
        Ok(())
    } else {
        Err(Refusal::bad_request("CSeq Method Mismatch"))
    }
}

/// 416 for a scheme that is not ours (RFC 3261 §8.2.2.1); 480 for `sips`, which asks for TLS on every hop, over a transport that is
/// not secure (RFC 3261 §26.2.2, RFC 5630 §5).
fn scheme(request: &Request, transport: Transport) -> Result<(), Refusal> {
    match &request.uri {
        Uri::Sip(uri) if uri.scheme == SipScheme::Sips && !transport.is_secure() => {
            Err(Refusal::new(StatusCode::TEMPORARILY_UNAVAILABLE)
                .with(HeaderName::Warning, "380 confab \"SIPS Not Allowed\""))
        }
        Uri::Sip(_) => Ok(()),
        Uri::Other(_) => Err(Refusal::new(StatusCode::UNSUPPORTED_URI_SCHEME)),
    }
}

/// 420 for what Require names and this endpoint does not know (RFC 3261 §8.2.2.3). Proxy-Require is not for us.
fn extensions(request: &Request, config: &EndpointConfig) -> Result<(), Refusal> {
    let required = request
        .headers
        .require()
        .map_err(|error| Refusal::bad_header(&error))?;
    let unknown: Vec<String> = required
        .iter()
        .filter(|tag| !is_known(request, config, tag))
        .map(|tag| tag.to_str_lossy().into_owned())
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::BAD_EXTENSION).with(HeaderName::Unsupported, unknown.join(", ")))
}

fn is_known(request: &Request, config: &EndpointConfig, tag: &ByteStr) -> bool {
    /// What the registrar understands: RFC 3327, RFC 5626.
    const OF_REGISTRATIONS: [&str; 2] = ["path", "outbound"];
    let registers = request.method == Method::Register;
    config.supported.iter().any(|known| tag.eq_ignore_case(known))
        || registers && OF_REGISTRATIONS.iter().any(|known| tag.eq_ignore_case(known))
        || request.method == Method::Invite && tag.eq_ignore_case(RELIABLE_PROVISIONAL)
        || request.method == Method::Refer && NO_SUBSCRIPTION.iter().any(|known| tag.eq_ignore_case(known))
}

/// 400 for an INVITE that does not say where the requests of its dialog go: by a SIP or SIPS URI (RFC 3261 §8.1.1.8). One of
/// the time of RFC 2543, told by its branch, may leave that out (§17.2.3).
fn contact(request: &Request, essentials: &Essentials) -> Result<(), Refusal> {
    let headers = &request.headers;
    let contacts = headers.contacts().map_err(|error| Refusal::bad_header(&error))?;
    let is_old = || {
        let branch = essentials.via.branch();
        !branch.is_some_and(|branch| branch.as_bytes().starts_with(Branch::MAGIC_COOKIE.as_bytes()))
    };
    match contacts.first() {
        Some(contact) if contact.uri.as_sip().is_some() => Ok(()),
        None if !headers.contact_is_star() && is_old() => Ok(()),
        None if !headers.contact_is_star() => Err(Refusal::bad_request("Missing Contact")),
        _ => Err(Refusal::bad_request("Bad Contact")),
    }
}

/// 406 when Accept leaves no type our session descriptions could have (RFC 4475 §3.3.15).
fn accepted_answers(request: &Request, config: &EndpointConfig) -> Result<(), Refusal> {
    let ranges = request
        .headers
        .accept()
        .map_err(|error| Refusal::bad_header(&error))?;
    let usable = config.accept.iter().filter_map(|kind| kind.split_once('/'));
    if ranges.is_empty()
        || usable
            .clone()
            .any(|(kind, subtype)| ranges.iter().any(|range| range.covers(kind, subtype)))
    {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::NOT_ACCEPTABLE).with(HeaderName::Accept, config.accept.join(", ")))
}

/// 415 for a body that is not understood (RFC 3261 §8.2.3). One that is marked optional is taken off instead; of several
/// parts the one that is understood takes the place of the body.
fn content(request: &mut Request, config: &EndpointConfig) -> Result<(), Refusal> {
    if request.body.is_empty() {
        return Ok(());
    }
    let kind = request
        .headers
        .content_type()
        .map_err(|error| Refusal::bad_header(&error))?;
    let known_kind = match &kind {
        Some(kind) => config
            .accept
            .iter()
            .filter_map(|known| known.split_once('/'))
            .any(|(known, subtype)| kind.is(known, subtype)),
        // The header is missing against RFC 3261 §20.15; a session description can be told by its first line.
        None => request.body.starts_with(b"v="),
    };
    let encodings = request
        .headers
        .content_encodings()
        .map_err(|error| Refusal::bad_header(&error))?;
    let encoded = encodings.iter().any(|coding| !coding.eq_ignore_case("identity"));
    if known_kind && !encoded {
        return Ok(());
    }
    if !encoded
        && let Some(kind) = &kind
        && let Some(part) = session_part(kind, &request.body, &config.accept)
    {
        request
            .headers
            .replace(HeaderName::ContentType, part.content_type);
        request.body = part.body;
        return Ok(());
    }
    if is_optional(request) {
        request.body.clear();
        return Ok(());
    }
    let mut refusal =
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE).with(HeaderName::Accept, config.accept.join(", "));
    if encoded {
        refusal = refusal.with(HeaderName::AcceptEncoding, "identity");
    }
    Err(refusal)
}

/// True for a body whose sender asks for no more than that it may be passed over (RFC 3261 §20.11).
pub(crate) fn is_optional(request: &Request) -> bool {
    request
        .headers
        .text(&HeaderName::ContentDisposition)
        .is_some_and(|disposition| {
            let text = disposition.to_str_lossy().to_ascii_lowercase();
            text.split(';')
                .any(|param| param.replace([' ', '\t'], "") == "handling=optional")
        })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::Message;

    fn status_of(start: &str, headers: &str, body: &str) -> (u16, String) {
        let method = start.split(' ').next().unwrap_or_default();
        let contact = if headers.contains("Contact:") {
            ""
        } else {
            "Contact: <sip:a@x>\r\n"
        };
        let text = format!(
            "{start} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKa\r\nFrom: <sip:a@x>;tag=f\r\nTo: <sip:b@y>\r\n\
             Call-ID: c\r\nCSeq: 1 {method}\r\n{contact}{headers}\r\n{body}"
        );
        status_of_text(text)
    }

    fn status_of_text(text: String) -> (u16, String) {
        let Ok(Message::Request(mut request)) = Message::parse(Bytes::from(text.clone())) else {
            panic!("{text}")
        };
        let essentials = Essentials::of(&request.headers).expect("essentials");
        let transport = Transport::from_uri_value(&essentials.via.transport.as_bytes().to_ascii_lowercase());
        let transport = transport.expect("a transport");
        match check(&mut request, &essentials, transport, &EndpointConfig::default()) {
            Ok(()) => (0, format!("{} bytes", request.body.len())),
            Err(refusal) => {
                let (name, value) = refusal
                    .headers
                    .first()
                    .cloned()
                    .unwrap_or((HeaderName::Subject, String::new()));
                (refusal.status.code(), format!("{name}: {value}"))
            }
        }
    }

    #[test]
    fn each_fault_has_its_status_and_header() {
        let sdp = "Content-Type: application/sdp\r\n";
        let rows = [
            ("INVITE sip:b@y", sdp, "v=0\r\n", 0, "5 bytes"),
            ("INVITE sip:b@y", "", "", 0, "0 bytes"),
            ("INVITE sip:b@y", "", "v=0\r\n", 0, "5 bytes"),
            (
                "INVITE sip:b@y",
                "c: Application/SDP;charset=x\r\n",
                "v=0",
                0,
                "3 bytes",
            ),
            ("INVITE sip:b@y", "", "hello", 415, "Accept: application/sdp"),
            (
                "INVITE sip:b@y",
                "Content-Type: text/plain\r\n",
                "hi",
                415,
                "Accept: application/sdp",
            ),
            (
                "INVITE sip:b@y",
                "Content-Type: a/b\r\nContent-Disposition: x; handling = optional\r\n",
                "hi",
                0,
                "0 bytes",
            ),
            (
                "INVITE sip:b@y",
                "Content-Type: application/sdp\r\ne: gzip\r\n",
                "zz",
                415,
                "Accept: application/sdp",
            ),
            (
                "INVITE sip:b@y",
                "Content-Type: application/sdp\r\ne: identity\r\n",
                "v=",
                0,
                "2 bytes",
            ),
            (
                "INVITE sip:b@y",
                "Accept: text/plain\r\n",
                "",
                406,
                "Accept: application/sdp",
            ),
            (
                "INVITE sip:b@y",
                "Accept: text/plain, application/*\r\n",
                "",
                0,
                "0 bytes",
            ),
            ("INVITE sip:b@y", "Accept:\r\n", "", 0, "0 bytes"),
            (
                "INVITE sip:b@y",
                "Require: 100rel, x\r\n",
                "",
                420,
                "Unsupported: x",
            ),
            ("INVITE sip:b@y", "Contact: *\r\n", "", 400, "Subject: "),
            ("INVITE tel:+123", "", "", 416, "Subject: "),
            (
                "INVITE sips:b@y",
                "",
                "",
                480,
                "Warning: 380 confab \"SIPS Not Allowed\"",
            ),
            (
                "OPTIONS sip:b@y",
                "Max-Forwards: 0\r\nProxy-Require: x\r\n",
                "",
                0,
                "0 bytes",
            ),
            ("OPTIONS sip:b@y", "Content-Type: a/b\r\n", "hi", 0, "2 bytes"),
            (
                "REGISTER sip:y",
                "",
                "",
                405,
                "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, PRACK",
            ),
            (
                "BREW sip:y",
                "",
                "",
                501,
                "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, PRACK",
            ),
        ];
        for (start, headers, body, status, detail) in rows {
            assert_eq!(
                status_of(start, headers, body),
                (status, detail.to_owned()),
                "{start} {headers:?}"
            );
        }
    }

    #[test]
    fn a_sips_uri_is_reached_over_what_is_secure() {
        for (transport, status) in [("UDP", 480), ("TCP", 480), ("TLS", 0), ("WS", 480), ("WSS", 0)] {
            let text = format!(
                "OPTIONS sips:b@y SIP/2.0\r\nVia: SIP/2.0/{transport} 192.0.2.7;branch=z9hG4bKa\r\nFrom: <sips:a@x>;tag=f\r\n\
                 To: <sips:b@y>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
            );
            assert_eq!(status_of_text(text).0, status, "{transport}");
        }
    }

    #[test]
    fn an_invite_says_where_its_dialog_is_reached() {
        let rows = [
            ("z9hG4bKa", "", 400),
            ("1", "", 0),
            ("z9hG4bKa", "m: <sips:a@x>\r\n", 0),
            ("z9hG4bKa", "Contact: <tel:+49123>\r\n", 400),
            ("z9hG4bKa", "Contact: <mailto:a@x>\r\n", 400),
            ("1", "Contact: *\r\n", 400),
        ];
        for (branch, contact, status) in rows {
            let text = format!(
                "INVITE sip:b@y SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch={branch}\r\nFrom: <sip:a@x>;tag=f\r\n\
                 To: <sip:b@y>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{contact}\r\n"
            );
            assert_eq!(status_of_text(text).0, status, "{branch} {contact}");
        }
    }
}
