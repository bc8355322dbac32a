//! Answers a digest challenge as a phone does (RFC 3261 §22 with RFC 2617: MD5, `qop=auth`).

use md5::{Digest, Md5};

use super::SipMessage;

/// Returns the value of the Authorization header that answers a 401 to `method` for `uri`; `None` when it has no MD5 challenge.
pub fn answer(challenge: &SipMessage, method: &str, uri: &str, user: &str, password: &str) -> Option<String> {
    answer_again(challenge, method, uri, (user, password), 1)
}

/// Returns the value of the Authorization header that answers a challenge for the `count`-th time.
pub fn answer_again(
    challenge: &SipMessage,
    method: &str,
    uri: &str,
    (user, password): (&str, &str),
    count: u32,
) -> Option<String> {
    let mut challenges = challenge.header_values("WWW-Authenticate");
    let challenge = challenges.find(|value| value.contains("algorithm=MD5"))?;
    let part = |key: &str| challenge.split_once(&format!("{key}=\""))?.1.split('"').next();
    let (realm, nonce) = (part("realm")?, part("nonce")?);
    let hash = |text: String| {
        let octets = Md5::digest(text);
        octets
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect::<String>()
    };
    let who = hash(format!("{user}:{realm}:{password}"));
    let what = hash(format!("{method}:{uri}"));
    let response = hash(format!("{who}:{nonce}:{count:08x}:c0ffee:auth:{what}"));
    Some(format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", algorithm=MD5, qop=auth, \
         nc={count:08x}, cnonce=\"c0ffee\", response=\"{response}\""
    ))
}
