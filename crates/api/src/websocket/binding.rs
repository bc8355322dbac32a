//! Owns what a client can bind to: the forms, the wildcards, which events match. Never delivers one.
//!
//! A binding is words joined by dots; `*` stands for any one word, `#` for any number of them. Of `conference.event.…` there are two
//! forms, `{conference}.{call}` and `{event}.{conference}.{call}`. With two words it is the first; with more it is the second when the
//! first word is `*` or the name of an event, else the first with dots in the id of the call. Ids may be written as they are or as
//! routing keys have them; in an id that is written as it is, `%` and `+` are taken for the latter.
//!
//! Registrations of devices are `registration.{event}.{device}`; `registration.*` and `registration.#` are all of them.

use confab_conference::{AccountId, ConferenceId, Event, EventKind};
use percent_encoding::percent_decode_str;

use crate::event::{Notice, Registration, Topic, subject};

/// Octets of a binding.
const LENGTH: usize = 1024;

/// Why something cannot be bound to, in the words that clients know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BindingError {
    #[error("ConferenceId required")]
    ConferenceRequired,
    #[error("invalid format for conference subscription : {0}")]
    Format(String),
    #[error("no available subscriptions to requested binding")]
    Unavailable,
}

/// What a client wants to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    text: String,
    /// Whose conferences; `None`: everybody's.
    account: Option<AccountId>,
    pattern: Pattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// Events.
    Events {
        event: Word,
        conference: Word,
        call: Word,
    },
    /// Events, by all the words after `conference`.
    Words(Vec<Word>),
    /// Commands of one conference.
    Commands(Id),
    /// Registrations of devices.
    Registrations { event: Word, device: Word },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Any,
    Many,
    Id(Id),
}

/// An id as the client wrote it, and as it reads if he wrote it as routing keys have it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Id {
    written: String,
    decoded: Option<String>,
}

impl Id {
    fn new(text: &str) -> Id {
        let decoded = text.contains(['%', '+']).then(|| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        });
        Id {
            written: text.to_owned(),
            decoded,
        }
    }

    fn is(&self, id: &str) -> bool {
        self.written == id || self.decoded.as_deref() == Some(id)
    }

    fn meant(&self) -> &str {
        self.decoded.as_deref().unwrap_or(&self.written)
    }
}

impl Word {
    fn new(text: &str) -> Word {
        match text {
            "*" => Word::Any,
            "#" => Word::Many,
            id => Word::Id(Id::new(id)),
        }
    }

    fn is(&self, id: &str) -> bool {
        match self {
            Word::Any | Word::Many => true,
            Word::Id(word) => word.is(id),
        }
    }

    fn written(&self) -> &str {
        match self {
            Word::Any => "*",
            Word::Many => "#",
            Word::Id(id) => &id.written,
        }
    }
}

impl Binding {
    /// Reads what a client wrote, for the conferences of an account, or of all.
    pub(crate) fn parse(text: &str, account: Option<AccountId>) -> Result<Binding, BindingError> {
        let wrong = || {
            let shown: String = text.chars().take(LENGTH).collect();
            Err(BindingError::Format(shown))
        };
        if text.len() > LENGTH {
            return wrong();
        }
        let words: Vec<&str> = text.split('.').collect();
        let pattern = match words.as_slice() {
            ["conference", "command", id @ ..] => match id.join(".").as_str() {
                "*" | "#" | "" if !id.is_empty() => return Err(BindingError::ConferenceRequired),
                "" => return wrong(),
                id => Pattern::Commands(Id::new(id)),
            },
            ["conference", "#"] | ["conference", "event", ..] if words.contains(&"#") => {
                Pattern::Words(words[1..].iter().map(|word| Word::new(word)).collect())
            }
            ["conference", "event", "*" | ""] | ["conference", "event", "", ..] => {
                return Err(BindingError::ConferenceRequired);
            }
            ["conference", "event", first, conference, call @ ..]
                if !call.is_empty() && (*first == "*" || is_event(first)) =>
            {
                if conference.is_empty() {
                    return Err(BindingError::ConferenceRequired);
                }
                Pattern::Events {
                    event: Word::new(first),
                    conference: Word::new(conference),
                    call: Word::new(&call.join(".")),
                }
            }
            ["conference", "event", conference, call @ ..] if !call.concat().is_empty() => Pattern::Events {
                event: Word::Any,
                conference: Word::new(conference),
                call: Word::new(&call.join(".")),
            },
            ["conference", ..] => return wrong(),
            ["registration", "*" | "#"] => Pattern::Registrations {
                event: Word::Any,
                device: Word::Any,
            },
            ["registration", event, device]
                if !device.is_empty() && (*event == "*" || Registration::EVENTS.contains(event)) =>
            {
                Pattern::Registrations {
                    event: Word::new(event),
                    device: Word::new(device),
                }
            }
            _ => return Err(BindingError::Unavailable),
        };
        Ok(Binding {
            text: text.to_owned(),
            account,
            pattern,
        })
    }

    /// Returns the binding as the client wrote it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn account(&self) -> Option<&AccountId> {
        self.account.as_ref()
    }

    /// Returns the binding as routing keys have it, with the account.
    pub(crate) fn subscription_key(&self) -> String {
        let account = self.account.as_ref().map_or("*", AccountId::as_str);
        match &self.pattern {
            Pattern::Events {
                event,
                conference,
                call,
            } => format!(
                "conference.event.{}.{account}.{}.{}",
                event.written(),
                conference.written(),
                call.written()
            ),
            Pattern::Words(_) => format!("conference.event.*.{account}.#"),
            Pattern::Commands(id) => format!("conference.command.{}", id.written),
            Pattern::Registrations { event, device } => {
                format!("registration.{}.{account}.{}", event.written(), device.written())
            }
        }
    }

    /// Returns what brings all that can match.
    pub(crate) fn topic(&self) -> Topic {
        let conference = match &self.pattern {
            Pattern::Events {
                conference: Word::Id(id),
                ..
            }
            | Pattern::Commands(id) => Some(ConferenceId::from(id.meant())),
            _ => None,
        };
        match (self.account.clone(), conference) {
            (Some(account), Some(conference)) => Topic::Conference(account, conference),
            (Some(account), None) => Topic::Account(account),
            (None, _) => Topic::Everything,
        }
    }

    /// Returns whether the binding is for the events of one conference.
    pub(crate) fn is_for_one_run(&self) -> bool {
        matches!(self.pattern, Pattern::Events { .. }) && matches!(self.topic(), Topic::Conference(..))
    }

    pub(crate) fn matches(&self, notice: &Notice) -> bool {
        match notice {
            Notice::Event(message) => self.matches_event(message.event()),
            Notice::Command(message) => match &self.pattern {
                Pattern::Commands(id) => {
                    self.is_of(message.account()) && id.is(message.conference().as_str())
                }
                _ => false,
            },
            Notice::Registration(message) => {
                let told = message.registration();
                let Pattern::Registrations { event, device } = &self.pattern else {
                    return false;
                };
                self.is_of(&told.account) && event.is(told.event()) && device.is(&told.device)
            }
        }
    }

    fn is_of(&self, account: &AccountId) -> bool {
        self.account.as_ref().is_none_or(|own| own == account)
    }

    fn matches_event(&self, event: &Event) -> bool {
        if !self.is_of(&event.account) {
            return false;
        }
        let (name, id) = (event.kind.name(), event.conference.as_str());
        match &self.pattern {
            Pattern::Events {
                event: kind,
                conference,
                call,
            } => kind.is(name) && conference.is(id) && call.is(subject(event)),
            Pattern::Words(words) => {
                matches_words(words, &["event", id, subject(event)])
                    || matches_words(words, &["event", name, id, subject(event)])
            }
            Pattern::Commands(_) | Pattern::Registrations { .. } => false,
        }
    }
}

fn is_event(word: &str) -> bool {
    EventKind::LEG_NAMES.contains(&word) || EventKind::CONFERENCE_NAMES.contains(&word)
}

/// Returns whether the words stand for the ids, `#` for any number of them. The table has a row for each word: what may still follow.
fn matches_words(words: &[Word], ids: &[&str]) -> bool {
    let mut reached = vec![false; ids.len() + 1];
    reached[0] = true;
    for word in words {
        let mut next = vec![false; ids.len() + 1];
        for place in 0..=ids.len() {
            next[place] = match word {
                Word::Many => reached[place] || (place > 0 && next[place - 1]),
                word => place > 0 && reached[place - 1] && word.is(ids[place - 1]),
            };
        }
        reached = next;
    }
    reached[ids.len()]
}
