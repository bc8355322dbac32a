//! Owns the identifiers of the domain, one type each. Never generates one by chance: sources are handed in.

use std::convert::Infallible;
use std::fmt;
use std::num::{NonZeroU64, ParseIntError};
use std::str::FromStr;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                $name(text.into_boxed_str())
            }
        }

        impl FromStr for $name {
            type Err = Infallible;

            fn from_str(text: &str) -> Result<Self, Infallible> {
                Ok($name::from(text))
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// The account a conference belongs to: 32 lower-case hex characters in practice; not checked here.
    AccountId
}
text_id! {
    /// A conference within its account: a document's 32 hex characters, or the free name of an ad-hoc conference.
    ConferenceId
}
text_id! {
    /// One run of a conference. A conference that empties and fills again has another instance id.
    InstanceId
}

/// A participant, above zero, unique within one run of the server and never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParticipantId(NonZeroU64);

impl ParticipantId {
    /// Returns the id for `value`, or `None` for zero.
    pub fn new(value: u64) -> Option<ParticipantId> {
        NonZeroU64::new(value).map(ParticipantId)
    }

    /// Returns the number, above zero.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for ParticipantId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(ParticipantId)
    }
}

impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Gives out participant ids. One source serves every conference of a server run, so that no id is given twice.
pub trait ParticipantIds: Send {
    /// Returns an id that this source has not given before.
    fn next_id(&mut self) -> ParticipantId;
}

/// Counts participant ids upwards from 1 (or from a given start). Fit for one conference at a time: for several, share
/// one counter behind the trait.
#[derive(Clone, Debug)]
pub struct SequentialIds {
    next: NonZeroU64,
}

impl SequentialIds {
    /// Returns a source whose first id is `first`.
    pub fn starting_at(first: ParticipantId) -> SequentialIds {
        SequentialIds { next: first.0 }
    }
}

impl Default for SequentialIds {
    fn default() -> Self {
        SequentialIds {
            next: NonZeroU64::MIN,
        }
    }
}

impl ParticipantIds for SequentialIds {
    fn next_id(&mut self) -> ParticipantId {
        let id = ParticipantId(self.next);
        self.next = self.next.saturating_add(1);
        id
    }
}

/// Which run of which conference of which account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The owning account.
    pub account_id: AccountId,
    /// The conference within the account.
    pub conference_id: ConferenceId,
    /// This run of it.
    pub instance_id: InstanceId,
}
