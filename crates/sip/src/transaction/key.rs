//! Owns how messages are matched to transactions: RFC 3261 §17.1.3 and §17.2.3, with the older rule for peers of RFC 2543.
//!
//! Never looks a key up; the layer does.

use crate::message::{Essentials, Method, Request, Tag};

/// Names a server transaction. Requests of one transaction, and the ACK and CANCEL that refer to it, give the same key.
///
/// Kept as one compact allocation, so that a key does not keep the received datagram alive. The fields are separated by
/// NUL, which no header value holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServerKey(Box<[u8]>);

impl ServerKey {
    /// The key of the transaction this request opens or repeats. An ACK has the key of its INVITE.
    pub(crate) fn of(request: &Request, essentials: &Essentials) -> Self {
        let method = match &request.method {
            Method::Ack => &Method::Invite,
            method => method,
        };
        Self::with_method(method, request, essentials)
    }

    /// The key of the INVITE that this CANCEL refers to (RFC 3261 §9.2).
    pub(crate) fn of_cancelled(request: &Request, essentials: &Essentials) -> Self {
        Self::with_method(&Method::Invite, request, essentials)
    }

    fn with_method(method: &Method, request: &Request, essentials: &Essentials) -> Self {
        let via = &essentials.via;
        let mut fields = Fields::new();
        match via.branch().filter(|branch| branch.is_transaction_id()) {
            Some(branch) => {
                fields.push(b"branch");
                fields.push(method.as_bytes());
                fields.push(branch.as_bytes());
                // The sent-by keeps two clients apart that chose the same branch, by accident or malice.
                fields.push(via.sent_by.to_string().to_ascii_lowercase().as_bytes());
            }
            None => {
                // RFC 2543 peers. RFC 3261 compares To tags as well; they are left out because the ACK carries the tag of
                // our response and the INVITE does not, and Call-ID, From tag and CSeq already tell transactions apart.
                fields.push(b"legacy");
                fields.push(method.as_bytes());
                fields.push(&request.uri.to_bytes());
                fields.push(essentials.call_id.as_bytes());
                fields.push(essentials.from_tag().as_ref().map_or(b"", Tag::as_bytes));
                fields.push(&essentials.cseq.number.to_be_bytes());
                fields.push(&via.to_bytes());
            }
        }
        ServerKey(fields.finish())
    }
}

/// Names one request however many paths it came over (RFC 3261 §8.2.2.2): the same request under another
/// [`ServerKey`] is a merged request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MergeKey(Box<[u8]>);

impl MergeKey {
    /// The key of a request outside of dialogs; `None` for one with a To tag, which cannot be merged.
    pub(crate) fn of(essentials: &Essentials) -> Option<Self> {
        if essentials.to_tag().is_some() {
            return None;
        }
        let mut fields = Fields::new();
        fields.push(essentials.cseq.method.as_bytes());
        fields.push(essentials.call_id.as_bytes());
        fields.push(essentials.from_tag().as_ref().map_or(b"", Tag::as_bytes));
        fields.push(&essentials.cseq.number.to_be_bytes());
        Some(MergeKey(fields.finish()))
    }
}

/// Names a client transaction: the branch of our Via and the method of CSeq (RFC 3261 §17.1.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientKey(Box<[u8]>);

impl ClientKey {
    pub(crate) fn new(branch: &[u8], method: &Method) -> Self {
        let mut fields = Fields::new();
        fields.push(method.as_bytes());
        fields.push(branch);
        ClientKey(fields.finish())
    }

    /// The key of the transaction this response belongs to; `None` without a branch.
    pub(crate) fn of_response(essentials: &Essentials) -> Option<Self> {
        let branch = essentials.via.branch()?;
        Some(Self::new(branch.as_bytes(), &essentials.cseq.method))
    }
}

struct Fields(Vec<u8>);

impl Fields {
    fn new() -> Self {
        Fields(Vec::with_capacity(96))
    }

    fn push(&mut self, field: &[u8]) {
        self.0.extend_from_slice(field);
        self.0.push(0);
    }

    fn finish(self) -> Box<[u8]> {
        self.0.into_boxed_slice()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::Message;

    fn request(method: &str, via: &str, rest: &str) -> (Request, Essentials) {
        let text = format!(
            "{method} sip:3000@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nCall-ID: c1\r\nCSeq: 7 {method}\r\n{rest}\r\n"
        );
        match Message::parse(Bytes::from(text)) {
            Ok(Message::Request(request)) => {
                let essentials = Essentials::of(&request.headers).expect("essentials");
                (request, essentials)
            }
            other => panic!("not a request: {other:?}"),
        }
    }

    fn key(method: &str, via: &str) -> ServerKey {
        let (request, essentials) = request(method, via, "From: <sip:a@x>;tag=f\r\nTo: <sip:b@y>\r\n");
        ServerKey::of(&request, &essentials)
    }

    #[test]
    fn a_branch_with_cookie_matches_by_branch_sent_by_and_method() {
        let invite = key("INVITE", "192.0.2.7:5060;branch=z9hG4bKa");
        let rows = [
            ("INVITE", "192.0.2.7:5060;branch=z9hG4bKa", true),
            ("INVITE", "192.0.2.7:5060;rport;branch=z9hG4bKa", true),
            ("ACK", "192.0.2.7:5060;branch=z9hG4bKa", true),
            ("CANCEL", "192.0.2.7:5060;branch=z9hG4bKa", false),
            ("INVITE", "192.0.2.7:5060;branch=z9hG4bKb", false),
            ("INVITE", "192.0.2.7:5062;branch=z9hG4bKa", false),
            ("INVITE", "192.0.2.8:5060;branch=z9hG4bKa", false),
        ];
        for (method, via, same) in rows {
            assert_eq!(key(method, via) == invite, same, "{method} {via}");
        }
        assert_eq!(
            key("BYE", "Example.COM;branch=z9hG4bKa"),
            key("BYE", "example.com;branch=z9hG4bKa")
        );
    }

    #[test]
    fn without_a_usable_branch_the_old_rule_applies() {
        for via in ["192.0.2.7", "192.0.2.7;branch=1", "192.0.2.7;branch=z9hG4bK"] {
            let head = "From: <sip:a@x>;tag=f\r\nTo: <sip:b@y>\r\n";
            let (invite, essentials) = request("INVITE", via, head);
            let invite_key = ServerKey::of(&invite, &essentials);
            let (ack, essentials) =
                request("ACK", via, "From: <sip:a@x>;tag=f\r\nTo: <sip:b@y>;tag=ours\r\n");
            assert_eq!(ServerKey::of(&ack, &essentials), invite_key, "{via}");
            let (cancel, essentials) = request("CANCEL", via, head);
            assert_eq!(ServerKey::of_cancelled(&cancel, &essentials), invite_key, "{via}");
            let (other, essentials) = request("INVITE", via, "From: <sip:a@x>;tag=g\r\nTo: <sip:b@y>\r\n");
            assert_ne!(ServerKey::of(&other, &essentials), invite_key, "{via}");
        }
    }

    #[test]
    fn only_requests_outside_of_dialogs_can_be_merged() {
        let (_, first) = request(
            "INVITE",
            "192.0.2.7;branch=z9hG4bKa",
            "From: <sip:a@x>;tag=f\r\nTo: <sip:b@y>\r\n",
        );
        let (_, second) = request(
            "INVITE",
            "192.0.2.9;branch=z9hG4bKb",
            "From: <sip:a@x>;tag=f\r\nTo: <sip:b@y>\r\n",
        );
        let (_, within) = request(
            "INVITE",
            "192.0.2.9;branch=z9hG4bKb",
            "From: <sip:a@x>;tag=f\r\nTo: <sip:b@y>;tag=t\r\n",
        );
        assert!(MergeKey::of(&first).is_some());
        assert_eq!(MergeKey::of(&first), MergeKey::of(&second));
        assert_eq!(MergeKey::of(&within), None);
    }
}
