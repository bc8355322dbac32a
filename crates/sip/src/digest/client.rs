//! Digest authentication of requests, the client's half (RFC 3261 §22.2, RFC 7616, RFC 8760): reads challenges and answers them.
//!
//! Owns how an answer is made. Never decides whether a challenge is answered, and draws no random numbers.

use super::DigestAlgorithm;
use super::credentials::parameters;

/// Octets of a challenge that are read; longer ones are none.
const MOST_OCTETS: usize = 4096;

/// Who we are towards peers that ask. `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestIdentity {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
    /// Who may ask; `None`: everybody on the way.
    pub realm: Option<String>,
}

impl DigestIdentity {
    /// Whether a challenge of this realm is for it. Realms are compared without regard to case, as names of hosts are.
    pub fn is_for(&self, realm: &str) -> bool {
        let own = self.realm.as_deref();
        own.is_none_or(|own| own.eq_ignore_ascii_case(realm))
    }
}

impl std::fmt::Debug for DigestIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DigestIdentity")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// How much of a request an answer protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protection {
    /// As before RFC 2617: the request line alone, and no count.
    Old,
    /// `auth`: the request line.
    Auth,
    /// `auth-int`: the body as well.
    AuthInt,
}

/// What a peer asks: a value of WWW-Authenticate or Proxy-Authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestChallenge {
    /// Whose passwords are asked for.
    pub realm: String,
    /// The nonce before was too old; the password was right.
    pub is_stale: bool,
    nonce: String,
    opaque: Option<String>,
    algorithm: DigestAlgorithm,
    /// The name was written: an answer names it again.
    names_algorithm: bool,
    protection: Protection,
}

/// What belongs to one answer.
#[derive(Clone, Copy, Debug)]
pub struct DigestRequest<'a> {
    /// Method of the request.
    pub method: &'a str,
    /// Its Request-URI.
    pub uri: &'a str,
    /// Its body.
    pub body: &'a [u8],
    /// A fresh random text of our own.
    pub cnonce: &'a str,
    /// How many requests carry an answer to this challenge, this one included.
    pub count: u32,
}

impl DigestChallenge {
    /// Reads one value; `None` for another scheme, an algorithm or a protection that is not known, and what cannot be read.
    pub fn parse(value: &[u8]) -> Option<DigestChallenge> {
        let text = std::str::from_utf8(value)
            .ok()
            .filter(|text| text.len() <= MOST_OCTETS)?;
        let (scheme, rest) = text.trim_start().split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let all = parameters(rest)?;
        let find = |name: &str| {
            let mut found = all.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.clone())
        };
        let algorithm = find("algorithm");
        let protection = match find("qop") {
            None => Protection::Old,
            Some(offered) => {
                let has = |name: &str| {
                    offered
                        .split(',')
                        .any(|one| one.trim().eq_ignore_ascii_case(name))
                };
                if has("auth") {
                    Protection::Auth
                } else if has("auth-int") {
                    Protection::AuthInt
                } else {
                    return None;
                }
            }
        };
        Some(DigestChallenge {
            realm: find("realm")?,
            nonce: find("nonce")?,
            opaque: find("opaque"),
            is_stale: find("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            names_algorithm: algorithm.is_some(),
            algorithm: match algorithm {
                None => DigestAlgorithm::Md5,
                Some(name) => DigestAlgorithm::by_name(&name)?,
            },
            protection,
        })
    }

    /// Returns the one to answer of several that came together: the first of the best algorithm (RFC 8760 §2.4).
    pub fn best(all: impl IntoIterator<Item = DigestChallenge>) -> Option<DigestChallenge> {
        let mut best: Option<DigestChallenge> = None;
        for challenge in all {
            let is_better = best.as_ref().is_none_or(|best| {
                best.algorithm == DigestAlgorithm::Md5 && challenge.algorithm == DigestAlgorithm::Sha256
            });
            if is_better {
                best = Some(challenge);
            }
        }
        best
    }

    /// Returns the value of Authorization or Proxy-Authorization that answers it.
    pub fn answer(&self, identity: &DigestIdentity, request: DigestRequest<'_>) -> String {
        let hash = |parts: &[&str]| {
            let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            self.algorithm.hash(&parts)
        };
        let DigestRequest {
            method,
            uri,
            body,
            cnonce,
            count,
        } = request;
        let who = hash(&[&identity.username, &self.realm, &identity.password]);
        let what = match self.protection {
            Protection::AuthInt => hash(&[method, uri, &self.algorithm.hash(&[body])]),
            _ => hash(&[method, uri]),
        };
        let count = format!("{count:08x}");
        let qop = match self.protection {
            Protection::Old => None,
            Protection::Auth => Some("auth"),
            Protection::AuthInt => Some("auth-int"),
        };
        let response = match qop {
            None => hash(&[&who, &self.nonce, &what]),
            Some(qop) => hash(&[&who, &self.nonce, &count, cnonce, qop, &what]),
        };
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{response}\"",
            quoted(&identity.username),
            quoted(&self.realm),
            quoted(&self.nonce),
            quoted(uri),
        );
        if self.names_algorithm {
            value.push_str(&format!(", algorithm={}", self.algorithm.name()));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(", opaque=\"{}\"", quoted(opaque)));
        }
        if let Some(qop) = qop {
            value.push_str(&format!(", qop={qop}, nc={count}, cnonce=\"{}\"", quoted(cnonce)));
        }
        value
    }
}

/// A text as it stands between quotation marks; no line end leaves it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars().filter(|character| !character.is_control()) {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::super::{DigestCredentials, DigestServer, DigestVerdict};
    use super::*;

    fn identity() -> DigestIdentity {
        DigestIdentity {
            username: "Mufasa".to_owned(),
            password: "Circle of Life".to_owned(),
            realm: None,
        }
    }

    fn request(cnonce: &str) -> DigestRequest<'_> {
        DigestRequest {
            method: "GET",
            uri: "/dir/index.html",
            body: b"",
            cnonce,
            count: 1,
        }
    }

    /// RFC 7616 §3.9.1, both algorithms; RFC 2617 §3.5.
    #[test]
    fn the_published_examples_come_out() {
        let rows = [
            (
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=MD5, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
                "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
                "Circle of Life",
                "8ca523f5e9506fed4657c9700eebdbec",
            ),
            (
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
                "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
                "Circle of Life",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
            (
                "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
                 nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
                "0a4f113b",
                "Circle Of Life",
                "6629fae49393a05397450978507c4ef1",
            ),
        ];
        for (challenge, cnonce, password, response) in rows {
            let challenge = DigestChallenge::parse(challenge.as_bytes()).expect("readable");
            let identity = DigestIdentity {
                password: password.to_owned(),
                ..identity()
            };
            let answer = challenge.answer(&identity, request(cnonce));
            assert!(answer.contains(&format!("response=\"{response}\"")), "{answer}");
            assert!(
                answer.contains("opaque=") && answer.contains("nc=00000001"),
                "{answer}"
            );
        }
    }

    #[test]
    fn an_old_challenge_has_an_old_answer_and_the_better_of_two_is_taken() {
        let old = DigestChallenge::parse(b"Digest realm=\"r\", nonce=\"n\"").expect("readable");
        let answer = old.answer(&identity(), request("c"));
        assert!(
            !answer.contains("qop") && !answer.contains("algorithm"),
            "{answer}"
        );
        let sha = DigestChallenge::parse(
            b"digest nonce=\"m\",realm=\"r\",algorithm=sha-256,qop=\"auth-int\",stale=TRUE",
        );
        let sha = sha.expect("readable");
        assert!(sha.is_stale);
        assert!(sha.answer(&identity(), request("c")).contains("qop=auth-int"));
        assert_eq!(DigestChallenge::best([old.clone(), sha.clone()]), Some(sha));
        assert_eq!(DigestChallenge::best([old.clone(), old.clone()]), Some(old));
        for none in [
            "Basic realm=\"r\"",
            "Digest realm=\"r\"",
            "Digest nonce=\"n\"",
            "Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess",
            "Digest realm=\"r\", nonce=\"n\", qop=\"token\"",
            "Digest realm=\"r",
            "",
        ] {
            assert_eq!(DigestChallenge::parse(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn our_own_server_believes_our_own_client() {
        let now = Instant::now();
        let mut server = DigestServer::new([3; 32], now, Duration::from_secs(60));
        let challenges = server.challenges(now, "a.example", false);
        let challenges = challenges
            .iter()
            .filter_map(|challenge| DigestChallenge::parse(challenge.as_bytes()));
        let challenge = DigestChallenge::best(challenges).expect("a challenge");
        let value = challenge.answer(&identity(), request("cafe"));
        let credentials = DigestCredentials::parse(value.as_bytes()).expect("credentials");
        let verdict = server.verify(now, "GET", &credentials, "Circle of Life");
        assert_eq!(verdict, DigestVerdict::Right);
    }

    proptest! {
        #[test]
        fn an_answer_to_any_challenge_is_one_line_that_can_be_read(
            value in "Digest (realm|nonce|qop|algorithm|opaque|stale)=\"\\PC{0,12}\"(, ?(realm|nonce|qop|opaque)=\"?[a-z\"\\\\,=\r\n]{0,12}\"?){0,4}",
            name in "\\PC{0,12}", password in "\\PC{0,12}", uri in "\\PC{0,20}"
        ) {
            if let Some(challenge) = DigestChallenge::parse(value.as_bytes()) {
                let identity = DigestIdentity { username: name, password, realm: None };
                let answer = challenge.answer(&identity, DigestRequest {
                    method: "INVITE", uri: &uri, body: b"v=0", cnonce: "c", count: u32::MAX,
                });
                prop_assert!(!answer.chars().any(char::is_control), "{}", answer);
                prop_assert!(parameters(answer.strip_prefix("Digest ").expect("a scheme")).is_some(), "{}", answer);
            }
        }
    }
}
