//! Keys in session descriptions: the `crypto` attribute (RFC 4568), and when a stream is secured by it.
//!
//! Owns the text form and the choice; what the keys do is `srtp`'s. A line that cannot be used (another suite, another key method,
//! a parameter that would have to be obeyed) is passed over, as RFC 4568 §7.1.2 has it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use confab_srtp::{MasterKey, Mki, Suite};

use crate::description::{Attribute, MediaDescription};
use crate::error::SdpError;

/// Octets of key and salt of the longest suite.
const KEY_ROOM: usize = 46;
/// Lines of one stream that are looked at.
const MAX_LINES: usize = 32;

/// When streams are secured by SRTP with keys from the descriptions (SDES).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SrtpPolicy {
    /// Never: offers of RTP/SAVP are refused.
    #[default]
    Off,
    /// When the peer offers it; our own offers do not.
    Accept,
    /// When the peer offers it, and our own offers have it as a choice (RFC 8643).
    Offer,
    /// Always: what is not secured is refused.
    Require,
}

/// Our keys of one call: random octets, the same through the whole call.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalKeys {
    random: [[u8; KEY_ROOM]; Suite::ALL.len()],
}

impl LocalKeys {
    /// Random octets that it takes.
    pub const OCTETS: usize = KEY_ROOM * Suite::ALL.len();

    /// Takes octets from a source of randomness that is good for keys.
    pub fn new(random: &[u8; LocalKeys::OCTETS]) -> LocalKeys {
        let mut keys = LocalKeys {
            random: [[0; KEY_ROOM]; Suite::ALL.len()],
        };
        for (key, octets) in keys.random.iter_mut().zip(random.chunks_exact(KEY_ROOM)) {
            key.copy_from_slice(octets);
        }
        keys
    }

    /// Returns our key of a suite: each has octets of its own.
    fn of(&self, suite: Suite) -> Option<MasterKey> {
        let place = Suite::ALL.iter().position(|known| *known == suite)?;
        MasterKey::new(suite, &self.random[place][..suite.key_len() + suite.salt_len()])
    }
}

impl fmt::Debug for LocalKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKeys")
    }
}

/// How one call is secured.
#[derive(Debug, Clone)]
pub(crate) struct Security {
    pub(crate) policy: SrtpPolicy,
    pub(crate) keys: LocalKeys,
}

/// The keys that both sides of a stream have told each other. Both are of one suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    /// Protects what we send.
    pub send: MasterKey,
    /// Protects what the peer sends.
    pub receive: MasterKey,
    /// What stands in each packet of the peer to name its key.
    pub receive_mki: Option<Mki>,
}

/// One `crypto` attribute that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crypto {
    /// Number by which the answer names it.
    pub(crate) tag: u32,
    /// The suite as it was written; an answer repeats it.
    suite_name: String,
    pub(crate) key: MasterKey,
    pub(crate) mki: Option<Mki>,
}

impl Crypto {
    /// Reads the value of an attribute: `tag suite inline:key-and-salt|lifetime|mki:length parameters`. `None` when it cannot be used.
    fn parse(value: &str) -> Option<Crypto> {
        let mut fields = value.split_ascii_whitespace();
        let tag = fields.next()?;
        // Without leading zeros, nine digits at most (RFC 4568 §9.1).
        let tag: u32 = tag.parse().ok().filter(|_| tag.len() <= 9)?;
        let suite_name = fields.next()?;
        let suite = Suite::from_name(suite_name)?;
        let (key, mki) = key_parameters(suite, fields.next()?)?;
        // A hint about the window of replay may be passed over, and what is marked as optional; the rest would change what packets look
        // like (§6.3).
        let harmless = |parameter: &str| parameter.starts_with('-') || parameter.starts_with("WSH=");
        fields.all(harmless).then(|| Crypto {
            tag,
            suite_name: suite_name.to_owned(),
            key,
            mki,
        })
    }

    /// Reads the lines of a stream that can be used, in their order.
    pub(crate) fn of(media: &MediaDescription) -> Vec<Crypto> {
        let lines = media.attributes_named("crypto").take(MAX_LINES);
        lines.filter_map(Crypto::parse).collect()
    }

    /// Makes the lines of an offer, in the order of preference.
    pub(crate) fn offered(keys: &LocalKeys) -> Vec<Crypto> {
        let own = Suite::ALL.into_iter().filter_map(|suite| keys.of(suite));
        let line = |(key, tag): (MasterKey, u32)| Crypto {
            tag,
            suite_name: key.suite().name().to_owned(),
            key,
            mki: None,
        };
        own.zip(1..).map(line).collect()
    }

    /// Makes our answer to this line, and what both sides then have.
    fn answered(self, keys: &LocalKeys) -> Option<(Crypto, SrtpKeys)> {
        let send = keys.of(self.key.suite())?;
        let agreed = SrtpKeys {
            send: send.clone(),
            receive: self.key,
            receive_mki: self.mki,
        };
        let line = Crypto {
            tag: self.tag,
            suite_name: self.suite_name,
            key: send,
            mki: None,
        };
        Some((line, agreed))
    }

    /// Writes the attribute.
    pub(crate) fn attribute(&self) -> Attribute {
        let key = STANDARD.encode(self.key.key_and_salt());
        Attribute::with_value("crypto", format!("{} {} inline:{key}", self.tag, self.suite_name))
    }
}

/// Reads `inline:` and what follows it. More than one key would change on the way; nobody sends that.
fn key_parameters(suite: Suite, text: &str) -> Option<(MasterKey, Option<Mki>)> {
    let (method, info) = text.split_once(':')?;
    if !method.eq_ignore_ascii_case("inline") || info.contains(';') {
        return None;
    }
    let mut parts = info.split('|');
    let key = parts.next()?;
    // Some peers leave the padding out.
    let key = STANDARD
        .decode(key)
        .or_else(|_| STANDARD_NO_PAD.decode(key))
        .ok()?;
    let key = MasterKey::new(suite, &key)?;
    let mut mki = None;
    for part in parts {
        match part.split_once(':') {
            Some((number, length)) => mki = Some(identifier(number, length)?),
            None => lifetime(part)?,
        }
    }
    Some((key, mki))
}

/// Checks a lifetime, in packets or as a power of two (RFC 4568 §6.1). No call comes near the shortest that is in use, so it is not kept.
fn lifetime(text: &str) -> Option<()> {
    match text.strip_prefix("2^") {
        Some(power) => power.parse::<u32>().ok().filter(|power| *power <= 48).map(drop),
        None => text.parse::<u64>().ok().filter(|packets| *packets > 0).map(drop),
    }
}

/// Reads an identifier: a number, in so many octets.
fn identifier(number: &str, length: &str) -> Option<Mki> {
    let length: usize = length.parse().ok()?;
    let number: u128 = number.parse().ok()?;
    let octets = number.to_be_bytes();
    let mut field = [0; confab_srtp::MAX_MKI];
    let field = field.get_mut(..length)?;
    let kept = length.min(octets.len());
    let (cut, kept_octets) = octets.split_at(octets.len() - kept);
    if cut.iter().any(|octet| *octet != 0) {
        return None;
    }
    field[length - kept..].copy_from_slice(kept_octets);
    Mki::new(field)
}

/// Which of the profiles a stream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// RTP/AVP, RTP/AVPF.
    Plain,
    /// RTP/SAVP, RTP/SAVPF.
    Secured,
}

/// Plain RTP, and the same with RTCP feedback (RFC 4585), whose feedback messages nobody is obliged to send; both again secured (RFC 3711, RFC 5124).
const PROFILES: [(&str, Profile); 4] = [
    ("RTP/AVP", Profile::Plain),
    ("RTP/AVPF", Profile::Plain),
    ("RTP/SAVP", Profile::Secured),
    ("RTP/SAVPF", Profile::Secured),
];

impl Profile {
    /// Reads the profile of a stream. Secured ones are known only where they can be served.
    pub(crate) fn of(media: &MediaDescription, security: Option<&Security>) -> Result<Profile, SdpError> {
        let served = |profile: Profile| profile == Profile::Plain || policy(security) != SrtpPolicy::Off;
        let known = PROFILES
            .iter()
            .find(|(name, profile)| media.protocol.eq_ignore_ascii_case(name) && served(*profile));
        let (_, profile) = known.ok_or_else(|| SdpError::Protocol {
            protocol: media.protocol.clone(),
        })?;
        Ok(*profile)
    }
}

fn policy(security: Option<&Security>) -> SrtpPolicy {
    security.map_or(SrtpPolicy::Off, |security| security.policy)
}

/// Chooses how an offered stream is secured: by the first line that both sides know. `None` when it is not.
///
/// # Errors
/// [`SdpError::NotSecured`] when it has to be and cannot.
pub(crate) fn answer(
    media: &MediaDescription,
    security: Option<&Security>,
) -> Result<Option<(Crypto, SrtpKeys)>, SdpError> {
    let profile = Profile::of(media, security)?;
    let Some(security) = security.filter(|security| security.policy != SrtpPolicy::Off) else {
        return Ok(None);
    };
    let chosen = Crypto::of(media)
        .into_iter()
        .find_map(|line| line.answered(&security.keys));
    if chosen.is_none() && (profile == Profile::Secured || security.policy == SrtpPolicy::Require) {
        return Err(SdpError::NotSecured);
    }
    Ok(chosen)
}

/// Finds what an answer made of our offer. `None` when neither side secures the stream.
///
/// # Errors
/// [`SdpError::NotSecured`] when the answer chose nothing that was offered and something was needed; [`SdpError::Protocol`] when its profile
/// is none that can be served.
pub(crate) fn accept(
    ours: &MediaDescription,
    theirs: &MediaDescription,
    security: Option<&Security>,
) -> Result<Option<SrtpKeys>, SdpError> {
    let profiles = [Profile::of(ours, security)?, Profile::of(theirs, security)?];
    let offered = Crypto::of(ours);
    let agreed = Crypto::of(theirs).into_iter().find_map(|line| {
        let same = |own: &&Crypto| own.tag == line.tag && own.key.suite() == line.key.suite();
        let own = offered.iter().find(same)?;
        Some(SrtpKeys {
            send: own.key.clone(),
            receive: line.key,
            receive_mki: line.mki,
        })
    });
    let has_to_be = profiles.contains(&Profile::Secured);
    if agreed.is_none() && (has_to_be || policy(security) == SrtpPolicy::Require) {
        return Err(SdpError::NotSecured);
    }
    Ok(agreed)
}

/// The profile and the lines of an offer of ours; `before` is the stream as it already is in this session.
pub(crate) fn offer<'a>(
    security: Option<&Security>,
    before: Option<&'a MediaDescription>,
) -> (&'a str, Vec<Crypto>) {
    let was_secured = before.is_some_and(|before| before.attribute("crypto").is_some());
    let first = match policy(security) {
        SrtpPolicy::Require => "RTP/SAVP",
        SrtpPolicy::Off | SrtpPolicy::Accept | SrtpPolicy::Offer => "RTP/AVP",
    };
    let offers = match policy(security) {
        SrtpPolicy::Require | SrtpPolicy::Offer => true,
        SrtpPolicy::Off | SrtpPolicy::Accept => was_secured,
    };
    let keys = security.filter(|_| offers).map(|security| &security.keys);
    (
        before.map_or(first, |before| before.protocol.as_str()),
        keys.map(Crypto::offered).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn lines_that_phones_send_are_read() {
        let rows = [
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"), 1, None),
            (format!("2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^31"), 2, None),
            (
                format!("3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4"),
                3,
                Some(vec![0, 0, 0, 1]),
            ),
            (
                format!("4 AES_CM_128_HMAC_SHA1_80 INLINE:{KEY}|1066:2 WSH=64 -FOO=1"),
                4,
                Some(vec![4, 42]),
            ),
            (
                format!("5 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1048576|7:18"),
                5,
                Some([vec![0; 17], vec![7]].concat()),
            ),
        ];
        for (text, tag, mki) in rows {
            let line = Crypto::parse(&text).expect(&text);
            assert_eq!(line.tag, tag);
            assert_eq!(line.mki.map(|mki| mki.as_bytes().to_vec()), mki, "{text}");
            assert_eq!(line.key.key_and_salt().len(), 30);
        }
    }

    #[test]
    fn lines_that_cannot_be_used_are_passed_over() {
        for text in [
            String::new(),
            "1".to_owned(),
            format!("x AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1234567890 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"),
            "1 AES_CM_128_HMAC_SHA1_80".to_owned(),
            format!("1 AES_CM_128_HMAC_SHA1_80 uri:{KEY}"),
            "1 AES_CM_128_HMAC_SHA1_80 inline:c2hvcnQ=".to_owned(),
            "1 AES_CM_128_HMAC_SHA1_80 inline:***".to_owned(),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY};inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^49"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:0"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|256:1"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:129"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} KDR=1"),
            format!("1 AEAD_AES_256_GCM inline:{KEY}"),
        ] {
            assert_eq!(Crypto::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_each_suite_has_its_own_key() {
        let random: [u8; LocalKeys::OCTETS] = std::array::from_fn(|at| (at % 251) as u8);
        let lines = Crypto::offered(&LocalKeys::new(&random));
        assert_eq!(lines.len(), Suite::ALL.len());
        for (at, line) in lines.iter().enumerate() {
            let value = line.attribute().value.expect("a value");
            assert_eq!(Crypto::parse(&value).as_ref(), Some(line));
            let same = |other: &Crypto| other.key.key_and_salt()[..8] == line.key.key_and_salt()[..8];
            assert_eq!(lines.iter().filter(|other| same(other)).count(), 1, "{at}");
        }
    }
}
