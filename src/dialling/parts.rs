//! What texts of documents become in a request: URIs, routes and header fields.
//!
//! Owns what a document cannot say in a request, and that no text breaks out of its place there.

use confab_documents::Body;
use confab_sip::{HeaderName, NameAddr, SipUri};
use serde_json::Value;

/// Header fields that a document cannot set: they are the call's own.
const OWN_HEADERS: [&[u8]; 22] = [
    b"via",
    b"from",
    b"to",
    b"call-id",
    b"cseq",
    b"contact",
    b"max-forwards",
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"route",
    b"record-route",
    b"allow",
    b"supported",
    b"require",
    b"proxy-require",
    b"user-agent",
    b"authorization",
    b"proxy-authorization",
    b"privacy",
    b"p-asserted-identity",
    b"alert-info",
];
/// Header fields of its own that a document may have in an INVITE.
const MOST_HEADERS: usize = 32;

/// Returns the tags that a document wants trunks to have: a list, or the list `static` of an object.
pub(super) fn outbound_flags(body: &Body) -> Vec<String> {
    let given = body.get("outbound_flags");
    let list = given.and_then(|given| given.as_array().or_else(|| given.get("static")?.as_array()));
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// Returns a text within a document that is not empty.
pub(super) fn text<'a>(body: &'a Body, path: &[&str]) -> Option<&'a str> {
    let (first, rest) = path.split_first()?;
    let start = body.get(*first)?;
    let found = rest.iter().try_fold(start, |value, key| value.get(*key))?;
    found.as_str().filter(|text| !text.is_empty())
}

/// Reads a SIP URI that is to be called. What it says about headers is left out: whoever writes a URI does not write our requests.
pub(super) fn target(text: &str) -> Option<SipUri> {
    let mut uri = SipUri::parse(text.trim().to_owned()).ok()?;
    uri.headers = confab_sip::Params::new();
    uri.params.remove("method");
    Some(uri)
}

/// Reads a proxy: a URI, or a host with or without a port.
pub(super) fn proxy(text: &str) -> Option<SipUri> {
    let text = text.trim();
    if text.to_ascii_lowercase().starts_with("sip") && text.contains(':') {
        return target(text);
    }
    target(&format!("sip:{text}"))
}

/// Reads a value of Route, a loose one (RFC 3261 §16.12).
pub(super) fn route(text: &str) -> Option<NameAddr> {
    let uri = match NameAddr::parse(text.trim().to_owned()) {
        Ok(address) => address.uri.as_sip()?.clone(),
        Err(_) => proxy(text)?,
    };
    Some(NameAddr::new(uri.with_param("lr", None)))
}

/// Returns the header fields that a document wants in INVITEs (`custom_sip_headers`), but those that are the call's own.
pub(super) fn custom_headers(custom: Option<&Value>) -> Vec<(HeaderName, String)> {
    let outward = custom.and_then(|custom| custom.get("out"));
    // The older form has no directions.
    let custom = outward.or(custom).and_then(Value::as_object);
    let readable = custom.into_iter().flatten().take(MOST_HEADERS);
    let readable = readable.filter_map(|(name, value)| match value {
        Value::String(text) => Some((name, text.clone())),
        Value::Number(_) | Value::Bool(_) => Some((name, value.to_string())),
        _ => None,
    });
    readable
        .filter(|(name, value)| is_custom_header(name) && is_header_value(value))
        .map(|(name, value)| (HeaderName::from_token(name.as_str().into()), value))
        .collect()
}

fn is_custom_header(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!%*+`'~".contains(&byte);
    let lower = name.to_ascii_lowercase();
    let compact = name.len() == 1;
    !name.is_empty()
        && name.len() <= 64
        && !compact
        && name.bytes().all(is_token)
        && !OWN_HEADERS.contains(&lower.as_bytes())
}

pub(super) fn is_header_value(value: &str) -> bool {
    value.len() <= 512 && !value.chars().any(char::is_control)
}
