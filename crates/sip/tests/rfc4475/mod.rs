//! The 49 messages of RFC 4475 and what they ask of this server: data, shared by the test of the message layer and the
//! test of the endpoint.

#![allow(dead_code, reason = "each test reads its own columns")]

/// One message of RFC 4475 §3.
pub(crate) struct Row {
    /// Name in the RFC; the file is `NAME.dat`.
    pub(crate) name: &'static str,
    /// Its section.
    pub(crate) section: &'static str,
    /// What `Message::parse` says.
    pub(crate) message: MessageReaction,
    /// What happens on the wire when the endpoint gets it as a datagram outside of any call.
    pub(crate) endpoint: EndpointReaction,
    /// Why, in terms of the RFC.
    pub(crate) why: &'static str,
}

/// Outcome at the message layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageReaction {
    /// A message comes back.
    Accept,
    /// Refused, with an answer of this status.
    Refuse(u16),
    /// Refused without an answer.
    Discard,
}

/// Outcome at the endpoint. Where the RFC leaves a choice, every status it names is listed, ours first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndpointReaction {
    /// The application is asked: an INVITE that is in order.
    Invite,
    /// The endpoint answers by itself.
    Answer(&'static [u16]),
    /// Nothing is sent and nobody is told.
    Drop,
}

use EndpointReaction::{Answer, Drop, Invite};
use MessageReaction::{Accept, Discard, Refuse};

/// REGISTER is answered 405 as long as this server is no registrar.
const NO_REGISTRAR: EndpointReaction = Answer(&[405]);

macro_rules! rows {
    ($($name:literal $section:literal $message:expr, $endpoint:expr, $why:literal;)+) => {
        /// All messages, in the order of the RFC.
        pub(crate) const ROWS: &[Row] = &[$(Row {
            name: $name,
            section: $section,
            message: $message,
            endpoint: $endpoint,
            why: $why,
        }),+];

        /// The bytes of the message, as on the wire.
        pub(crate) fn bytes(name: &str) -> &'static [u8] {
            match name {
                $($name => include_bytes!(concat!(
                    env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/rfc4475/", $name, ".dat"
                )),)+
                other => panic!("RFC 4475 has no message {other}"),
            }
        }
    };
}

rows! {
    // 3.1.1 Valid messages
    "wsinv" "3.1.1.1" Accept, Answer(&[481]), "white space and folding everywhere; its To tag names no dialog here";
    "intmeth" "3.1.1.2" Accept, Answer(&[501]), "every odd character that is allowed; an unknown method";
    "esc01" "3.1.1.3" Accept, Invite, "escapes in URIs; the user is sips:user@example.com, the scheme sip";
    "escnull" "3.1.1.4" Accept, NO_REGISTRAR, "escaped NUL in URIs, two contacts";
    "esc02" "3.1.1.5" Accept, Answer(&[501]), "% where it escapes nothing: the method is not REGISTER";
    "lwsdisp" "3.1.1.6" Accept, Answer(&[200]), "no space between display name and <";
    "longreq" "3.1.1.7" Accept, Invite, "very long values";
    "dblreq" "3.1.1.8" Accept, NO_REGISTRAR, "what follows the body in the datagram is ignored";
    "semiuri" "3.1.1.9" Accept, Answer(&[200]), "; within the user part is no parameter";
    "transports" "3.1.1.10" Accept, Answer(&[200]), "Via with unknown transports";
    "mpart01" "3.1.1.11" Accept, Answer(&[405]), "multipart body with binary parts; MESSAGE is known and not offered";
    "unreason" "3.1.1.12" Accept, Drop, "a reason phrase in Cyrillic; a response nobody waits for";
    "noreason" "3.1.1.13" Accept, Drop, "an empty reason phrase; a response nobody waits for";

    // 3.1.2 Invalid messages
    "badinv01" "3.1.2.1" Refuse(400), Answer(&[400]), "separators without values in Via and Contact";
    "clerr" "3.1.2.2" Refuse(400), Answer(&[400]), "Content-Length beyond the end of the datagram";
    "ncl" "3.1.2.3" Refuse(400), Answer(&[400]), "negative Content-Length";
    "scalar02" "3.1.2.4" Refuse(400), Answer(&[400]), "CSeq beyond 32 bits";
    "scalarlg" "3.1.2.5" Discard, Drop, "a response with CSeq beyond 32 bits";
    "quotbal" "3.1.2.6" Refuse(400), Answer(&[400]), "no closing quote in To";
    "ltgtruri" "3.1.2.7" Refuse(400), Answer(&[400]), "Request-URI in angle brackets";
    "lwsruri" "3.1.2.8" Refuse(400), Answer(&[400]), "white space within the Request-URI";
    "lwsstart" "3.1.2.9" Refuse(400), Answer(&[400]), "two spaces between the parts of the request line";
    "trws" "3.1.2.10" Refuse(400), Answer(&[400]), "spaces at the end of the request line";
    "escruri" "3.1.2.11" Refuse(400), Answer(&[400]), "escaped header fields in the Request-URI";
    "baddate" "3.1.2.12" Accept, Invite, "a Date outside of GMT, which nobody here reads";
    "regbadct" "3.1.2.13" Refuse(400), Answer(&[400]), "a URI with ? outside of angle brackets";
    "badaspec" "3.1.2.14" Refuse(400), Answer(&[400]), "spaces within the angle brackets of To";
    "baddn" "3.1.2.15" Refuse(400), Answer(&[400]), "a comma in a display name without quotes";
    "badvers" "3.1.2.16" Refuse(505), Answer(&[505]), "SIP/7.0";
    "mismatch01" "3.1.2.17" Refuse(400), Answer(&[400]), "CSeq of another method";
    "mismatch02" "3.1.2.18" Accept, Answer(&[501, 400]), "an unknown method whose CSeq names another one";
    "bigcode" "3.1.2.19" Discard, Drop, "a status code of ten digits";

    // 3.2 Transaction layer
    "badbranch" "3.2.1" Accept, Answer(&[200, 400]), "the magic cookie and nothing behind it: matched as RFC 2543 does";

    // 3.3 Application layer
    "insuf" "3.3.1" Refuse(400), Answer(&[400]), "no To, From, Call-ID";
    "unkscm" "3.3.2" Accept, Answer(&[416]), "a Request-URI of an unknown scheme";
    "novelsc" "3.3.3" Accept, Answer(&[416]), "a Request-URI of a known scheme that is not SIP";
    "unksm2" "3.3.4" Accept, NO_REGISTRAR, "To, From and Contact of other schemes; 400 from a registrar";
    "bext01" "3.3.5" Accept, Answer(&[420]), "Require names options nobody has; they are listed in Unsupported";
    "invut" "3.3.6" Accept, Answer(&[415]), "a body of an unknown type";
    "regaut01" "3.3.7" Accept, NO_REGISTRAR, "an unknown authorization scheme";
    "multi01" "3.3.8" Refuse(400), Answer(&[400]), "several Call-ID, CSeq, From, To, Max-Forwards";
    "mcl01" "3.3.9" Refuse(400), Answer(&[400]), "two different Content-Length";
    "bcast" "3.3.10" Accept, Drop, "a response with a broadcast address in its second Via";
    "zeromf" "3.3.11" Accept, Answer(&[200]), "Max-Forwards 0 does not stop a request that has arrived";
    "cparam01" "3.3.12" Accept, NO_REGISTRAR, "a parameter behind a bare URI belongs to Contact";
    "cparam02" "3.3.13" Accept, NO_REGISTRAR, "a parameter within angle brackets belongs to the URI";
    "regescrt" "3.3.14" Accept, NO_REGISTRAR, "escaped header fields in the URI of a Contact";
    "sdp01" "3.3.15" Accept, Answer(&[406, 400]), "Accept leaves no session description as an answer";

    // 3.4 Backward compatibility
    "inv2543" "3.4.1" Accept, Invite, "an INVITE of RFC 2543: no branch, no From tag, no Content-Length";
}
