//! Session-Expires: how long a session lives without a refresh, and who refreshes it (RFC 4028 §4).

use std::fmt;

use crate::message::header_name::HeaderName;
use crate::message::headers::Headers;
use crate::message::method::Method;

/// Who sends the refreshes, by the parts in the request that carried or will carry the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The side that sent the request.
    Uac,
    /// The side that answers it.
    Uas,
}

/// The value of Session-Expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// Seconds from one refresh to the end.
    pub seconds: u32,
    /// Who refreshes, if it says so.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads the value `seconds;refresher=uac`. `None` for what is none.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<SessionExpires> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.split(';').map(str::trim);
        let seconds = parts.next()?.parse().ok()?;
        let refresher = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("refresher"))
            .and_then(|(_, who)| match who.trim() {
                who if who.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
                who if who.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
                _ => None,
            });
        Some(SessionExpires { seconds, refresher })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seconds)?;
        match self.refresher {
            Some(Refresher::Uac) => f.write_str(";refresher=uac"),
            Some(Refresher::Uas) => f.write_str(";refresher=uas"),
            None => Ok(()),
        }
    }
}

impl Headers {
    /// Session-Expires; `None` too when it cannot be read, for a session without a timer is still a session.
    pub fn session_expires(&self) -> Option<SessionExpires> {
        SessionExpires::parse(self.get(&HeaderName::SessionExpires)?)
    }

    /// The seconds of Min-SE (RFC 4028 §5).
    pub fn min_session_expires(&self) -> Option<u32> {
        SessionExpires::parse(self.get(&HeaderName::MinSe)?).map(|value| value.seconds)
    }

    /// Whether Supported or Require has this option tag.
    pub fn knows(&self, tag: &str) -> bool {
        let tags = self.supported().unwrap_or_default();
        let required = self.require().unwrap_or_default();
        tags.iter()
            .chain(&required)
            .any(|known| known.eq_ignore_case(tag))
    }

    /// Whether Allow has this method; `None` without Allow.
    pub fn allows(&self, method: &Method) -> Option<bool> {
        self.get(&HeaderName::Allow)?;
        Some(self.allow().unwrap_or_default().contains(method))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_peers_send_are_read_and_written() {
        let rows = [
            ("1800", Some((1800, None))),
            ("1800;refresher=uac", Some((1800, Some(Refresher::Uac)))),
            (" 90 ; Refresher = UAS ;x=y", Some((90, Some(Refresher::Uas)))),
            ("600;refresher=proxy", Some((600, None))),
            ("-1", None),
            ("", None),
            ("4294967296", None),
            ("soon", None),
        ];
        for (text, expected) in rows {
            let value = SessionExpires::parse(text.as_bytes());
            assert_eq!(
                value.map(|value| (value.seconds, value.refresher)),
                expected,
                "{text}"
            );
            if let Some(value) = value {
                assert_eq!(SessionExpires::parse(value.to_string().as_bytes()), Some(value));
            }
        }
    }
}
