//! Who is shown as calling: to the account's own phones, and to trunks, which are told less where that is wanted.
//!
//! Owns From, P-Asserted-Identity and Privacy of calls that are placed (RFC 3323, RFC 3325).

use confab_documents::Body;
use confab_sip::{HeaderName, Host, NameAddr, SipUri};

use super::parts::text;

/// What stands for the number of whoever has none, or does not show it.
pub(super) const ANONYMOUS: &str = "anonymous";
/// The name of whoever does not show it (RFC 3323 §4.1.1.3).
const ANONYMOUS_NAME: &str = "Anonymous";
/// The host of whoever does not show his number.
const NOWHERE: &str = "anonymous.invalid";

/// What the world is not told (`caller_id_options.outbound_privacy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Privacy {
    None,
    Name,
    Number,
    Full,
}

impl Privacy {
    /// Reads what a document says; `None` when it says nothing.
    pub(super) fn of(body: &Body) -> Option<Privacy> {
        Some(match text(body, &["caller_id_options", "outbound_privacy"])? {
            "full" => Privacy::Full,
            "name" => Privacy::Name,
            "number" => Privacy::Number,
            _ => Privacy::None,
        })
    }

    fn hides_number(self) -> bool {
        matches!(self, Privacy::Number | Privacy::Full)
    }

    fn hides_name(self) -> bool {
        matches!(self, Privacy::Name | Privacy::Full)
    }
}

/// Who is shown as calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// May be empty.
    pub(super) name: String,
    /// [`ANONYMOUS`] of who has none.
    pub(super) number: String,
    /// What is held back.
    pub(super) privacy: Privacy,
}

impl Shown {
    /// From, without a tag. `host` is whoever vouches for it.
    pub(super) fn from(&self, host: Host) -> NameAddr {
        let name = match self.privacy {
            Privacy::Full => ANONYMOUS_NAME,
            Privacy::Name => "",
            Privacy::None | Privacy::Number => &self.name,
        };
        if self.privacy.hides_number()
            && let Ok(nowhere) = Host::parse(&NOWHERE.into())
        {
            return address(name, ANONYMOUS, nowhere);
        }
        address(name, &self.number, host)
    }

    /// P-Asserted-Identity for those who are trusted with it, and Privacy where they are not to tell it on.
    pub(super) fn asserted(&self, host: Host) -> Vec<(HeaderName, String)> {
        let privacy = || (HeaderName::from_token("Privacy".into()), "id".to_owned());
        if self.number == ANONYMOUS {
            // RFC 3323 §4.2: there is nobody to be asserted.
            return vec![privacy()];
        }
        let name = if self.privacy.hides_name() { "" } else { &self.name };
        let identity = address(name, &self.number, host).to_bytes();
        let identity = String::from_utf8_lossy(&identity).into_owned();
        let mut all = vec![(HeaderName::PAssertedIdentity, identity)];
        if self.privacy.hides_number() {
            all.push(privacy());
        }
        all
    }
}

fn address(name: &str, number: &str, host: Host) -> NameAddr {
    let address = NameAddr::new(SipUri::new(host, None).with_user(number));
    if name.is_empty() {
        address
    } else {
        address.with_display(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_told_to_the_trunk_alone_or_to_nobody() {
        let host = || Host::parse(&"carrier.example".into()).unwrap();
        let plain = "<sip:+4930123@carrier.example>";
        let named = "Board <sip:+4930123@carrier.example>";
        let nobody = "sip:anonymous@anonymous.invalid>";
        for (privacy, from, asserted, is_private) in [
            (Privacy::None, named.to_owned(), named, false),
            (Privacy::Name, plain.to_owned(), plain, false),
            (Privacy::Number, format!("Board <{nobody}"), named, true),
            (Privacy::Full, format!("Anonymous <{nobody}"), plain, true),
        ] {
            let shown = Shown {
                name: "Board".into(),
                number: "+4930123".into(),
                privacy,
            };
            let printed = String::from_utf8(shown.from(host()).to_bytes().to_vec()).unwrap();
            assert_eq!(printed, from, "{privacy:?}");
            let all = shown.asserted(host());
            assert_eq!(all[0], (HeaderName::PAssertedIdentity, asserted.to_owned()));
            assert_eq!(all.len(), 1 + usize::from(is_private), "{all:?}");
        }
        let nobody = Shown {
            name: String::new(),
            number: ANONYMOUS.into(),
            privacy: Privacy::None,
        };
        let all = nobody.asserted(host());
        assert_eq!((all.len(), all[0].1.as_str()), (1, "id"));
    }
}
