//! A call that is asked who it is: 401 and 407 to our INVITE (RFC 3261 §22.2 and §22.3).
//!
//! Owns the identity of the call, what was asked, and what is answered: in the INVITE that is sent again, in its ACK, and from then on in
//! every request of the dialog without being asked.

use super::Call;
use crate::digest::{DigestChallenge, DigestIdentity, DigestRequest};
use crate::endpoint::stack::Stack;
use crate::message::{HeaderName, Request, Response};

/// Who a call is towards those who ask.
#[derive(Debug)]
pub(super) struct Authentication {
    identity: DigestIdentity,
    asked: Vec<Asked>,
}

/// One who has asked.
#[derive(Debug)]
struct Asked {
    /// Where the answer stands.
    header: HeaderName,
    challenge: DigestChallenge,
    /// How many requests have carried an answer.
    count: u32,
}

impl Authentication {
    pub(super) fn new(identity: DigestIdentity) -> Authentication {
        Authentication {
            identity,
            asked: Vec::new(),
        }
    }

    /// Takes note of what a response asks. Returns whether there is anything to answer that was not answered before.
    pub(super) fn note(&mut self, response: &Response) -> bool {
        let mut is_new = false;
        for (asks, answers) in [
            (HeaderName::WwwAuthenticate, HeaderName::Authorization),
            (HeaderName::ProxyAuthenticate, HeaderName::ProxyAuthorization),
        ] {
            let all = response.headers.get_all(&asks);
            let readable = all.filter_map(|value| DigestChallenge::parse(value));
            let for_us = readable.filter(|challenge| self.identity.is_for(&challenge.realm));
            let Some(challenge) = DigestChallenge::best(for_us) else {
                continue;
            };
            let known = self
                .asked
                .iter()
                .position(|asked| asked.header == answers && asked.challenge.realm == challenge.realm);
            let asked = Asked {
                header: answers,
                challenge,
                count: 0,
            };
            match known {
                // The same question again: the password is wrong, unless only the nonce was old.
                Some(_) if !asked.challenge.is_stale => return false,
                Some(place) => self.asked[place] = asked,
                None => self.asked.push(asked),
            }
            is_new = true;
        }
        is_new
    }

    /// Adds our answers to a request.
    fn sign(&mut self, stack: &mut Stack, request: &mut Request) {
        let method = request.method.to_string();
        let uri = String::from_utf8_lossy(&request.uri.to_bytes()).into_owned();
        for asked in &mut self.asked {
            asked.count += 1;
            let cnonce = stack.tag().to_string();
            let value = asked.challenge.answer(
                &self.identity,
                DigestRequest {
                    method: &method,
                    uri: &uri,
                    body: &request.body,
                    cnonce: &cnonce,
                    count: asked.count,
                },
            );
            request.headers.push(asked.header.clone(), value);
        }
    }
}

impl Call {
    /// Adds what those who have asked are owed to a request within the dialog.
    pub(super) fn authorize(&mut self, stack: &mut Stack, request: &mut Request) {
        if let Some(authentication) = &mut self.authentication {
            authentication.sign(stack, request);
        }
    }

    /// The ACK of an INVITE has the answers of the INVITE (RFC 3261 §22.1).
    pub(super) fn authorize_ack(
        &self,
        stack: &Stack,
        invite: crate::transaction::layer::ClientId,
        ack: &mut Request,
    ) {
        if self.authentication.is_none() {
            return;
        }
        if let Some((sent, _)) = stack.transactions.sent(invite) {
            for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
                ack.headers.copy_all(&sent.headers, &name);
            }
        }
    }
}
