//! Reads the value of an Authorization header (RFC 7616 §3.4). What is not understood there is left out; what is needed and missing,
//! or there twice, makes it no credentials.

use super::DigestAlgorithm;
use crate::message::{Method, Request};
use crate::uri::{SipUri, Uri};

/// Octets of a value that are read; longer ones are no credentials.
const MOST_OCTETS: usize = 4096;

/// What credentials say of the address that they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DigestTarget {
    /// It is that of the request.
    Same,
    /// It is, but for the host, which is this one: whoever has several names may know it as one of them.
    OtherHost(String),
    /// It is another one, or none: they were made for another request.
    Other,
}

/// What a client answers to a challenge. `Debug` shows who it says it is and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestCredentials {
    /// Who it says it is.
    pub username: String,
    /// The realm it was challenged for.
    pub realm: String,
    pub(super) nonce: String,
    pub(super) uri: String,
    pub(super) response: String,
    pub(super) algorithm: DigestAlgorithm,
    pub(super) cnonce: String,
    pub(super) count: u32,
    /// As it was written, for it goes into the hash.
    pub(super) count_text: String,
}

impl std::fmt::Debug for DigestCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DigestCredentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl DigestCredentials {
    /// Reads the value of an Authorization header; `None` for another scheme, an algorithm or a quality of protection that is not
    /// known, and what cannot be read.
    pub fn parse(value: &[u8]) -> Option<DigestCredentials> {
        let text = std::str::from_utf8(value)
            .ok()
            .filter(|text| text.len() <= MOST_OCTETS)?;
        let (scheme, rest) = text.trim_start().split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let mut found: [Option<String>; KEYS.len()] = Default::default();
        for (key, value) in parameters(rest)? {
            if let Some(at) = KEYS.iter().position(|known| known.eq_ignore_ascii_case(&key))
                && found[at].replace(value).is_some()
            {
                return None;
            }
        }
        let [
            username,
            realm,
            nonce,
            uri,
            response,
            algorithm,
            cnonce,
            qop,
            count,
        ] = found;
        let algorithm = match algorithm {
            None => DigestAlgorithm::Md5,
            Some(name) => DigestAlgorithm::by_name(&name)?,
        };
        qop.filter(|qop| qop.eq_ignore_ascii_case("auth"))?;
        let count_text = count.filter(|count| count.len() == 8)?;
        Some(DigestCredentials {
            username: username?,
            realm: realm?,
            nonce: nonce?,
            uri: uri?,
            response: response?.to_ascii_lowercase(),
            algorithm,
            cnonce: cnonce?,
            count: u32::from_str_radix(&count_text, 16).ok()?,
            count_text,
        })
    }

    /// Compares the address that they were made for with that of the request that shows them (RFC 7616 §3.4.6). Port and parameters do not
    /// count, nor does a user that the credentials leave out, as simple clients do, nor in a REGISTER any. Where a proxy has written
    /// another host into the request, that of To is the one that was called.
    pub fn target(&self, request: &Request) -> DigestTarget {
        if self.uri.as_bytes() == &request.uri.to_bytes()[..] {
            return DigestTarget::Same;
        }
        let (Ok(Uri::Sip(said)), Uri::Sip(asked)) = (Uri::parse(self.uri.clone()), &request.uri) else {
            return DigestTarget::Other;
        };
        let user = |uri: &SipUri| {
            let user = uri.user_decoded().map(|user| user.to_str_lossy().into_owned());
            user.filter(|user| !user.is_empty())
        };
        let is_same_user = match user(&said) {
            None => true,
            Some(_) if request.method == Method::Register => true,
            user_said => user_said == user(asked),
        };
        if !is_same_user {
            return DigestTarget::Other;
        }
        let to = request.headers.to().ok().flatten();
        let called = to.and_then(|to| Some(to.uri.as_sip()?.host.clone()));
        if said.host.is_same(&asked.host) || called.is_some_and(|called| said.host.is_same(&called)) {
            return DigestTarget::Same;
        }
        DigestTarget::OtherHost(said.host.to_string())
    }

    /// Returns the response of who knows the password.
    pub(super) fn response_for(&self, method: &str, password: &str) -> String {
        let hash = |parts: &[&str]| {
            let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            self.algorithm.hash(&parts)
        };
        let who = hash(&[&self.username, &self.realm, password]);
        let what = hash(&[method, &self.uri]);
        hash(&[&who, &self.nonce, &self.count_text, &self.cnonce, "auth", &what])
    }
}

const KEYS: [&str; 9] = [
    "username",
    "realm",
    "nonce",
    "uri",
    "response",
    "algorithm",
    "cnonce",
    "qop",
    "nc",
];

/// Reads `name=value` and `name="value"` separated by commas.
pub(super) fn parameters(text: &str) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = value.find(',').unwrap_or(value.len());
                (value[..end].trim_end().to_owned(), &value[end..])
            }
        };
        parameters.push((key.trim().to_owned(), value));
        let behind = behind.trim_start();
        rest = match behind.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if behind.is_empty() => behind,
            None => return None,
        };
    }
    Some(parameters)
}

/// Returns the text up to the closing quotation mark, and what is behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}
