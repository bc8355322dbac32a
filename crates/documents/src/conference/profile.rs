//! Owns where the keys of a profile are looked up. Knows none of their meanings.

use serde_json::Value;

use crate::document::Body;

/// Where profile keys are looked up: inline first, then the account's profile, then the built-in one's own values.
pub(super) struct Profile<'a> {
    inline: Option<&'a Value>,
    configured: Option<&'a Value>,
    built_in: &'static NamedProfile,
}

/// The values of a named profile that differ from the default profile and are built.
struct NamedProfile {
    numbers: &'static [(&'static str, i64)],
    texts: &'static [(&'static str, &'static str)],
}

static DEFAULT: NamedProfile = NamedProfile {
    numbers: &[],
    texts: &[],
};

/// For paging: no tones, no prompts, no music, no keys.
static PAGE: NamedProfile = NamedProfile {
    numbers: &[("rate", 8000), ("interval", 20), ("energy-level", 20)],
    texts: &[
        ("enter-sound", "silence_stream://1"),
        ("exit-sound", "silence_stream://1"),
        ("alone-sound", ""),
        ("moh-sound", ""),
        ("muted-sound", ""),
        ("unmuted-sound", ""),
        ("deaf-sound", ""),
        ("undeaf-sound", ""),
        ("caller-controls", "paging"),
        ("moderator-controls", "paging"),
    ],
};

impl<'a> Profile<'a> {
    pub(super) fn of(body: &'a Body, configuration: Option<&'a Body>) -> Profile<'a> {
        let inline = body.get("profile").filter(|profile| profile.is_object());
        let configured = |name: &str| {
            let profiles = configuration.and_then(|configuration| configuration.get("profiles"));
            profiles
                .and_then(|profiles| profiles.get(name))
                .filter(|profile| profile.is_object())
        };
        // An inline profile takes the place of the named one; the name then only labels it.
        let name = body
            .get("profile_name")
            .and_then(Value::as_str)
            .filter(|_| inline.is_none());
        let name = name.unwrap_or("default");
        let own = configured(name);
        let built_in = if name == "page" { &PAGE } else { &DEFAULT };
        Profile {
            inline,
            // A name that nobody knows stands for the default.
            configured: own.or_else(|| configured("default").filter(|_| name != "page")),
            // The account's profile of a built-in name takes the place of the built-in one.
            built_in: if own.is_some() { &DEFAULT } else { built_in },
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        let inline = self.inline.and_then(|inline| inline.get(key));
        inline.or_else(|| self.configured?.get(key))
    }

    /// Returns whether the profile stands in the document itself.
    pub(super) fn is_inline(&self) -> bool {
        self.inline.is_some()
    }

    /// Returns the name of something that is no sound.
    pub(super) fn name(&self, key: &str) -> Option<&'a str> {
        let given = self.get(key).and_then(Value::as_str);
        given.or_else(|| own(self.built_in.texts, key))
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Value::as_bool)
    }

    /// Returns a sound. An inline profile that names none has none of the default profile's.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        match self.inline {
            Some(inline) => inline.get(key).and_then(Value::as_str),
            None => self
                .get(key)
                .and_then(Value::as_str)
                .or_else(|| own(self.built_in.texts, key)),
        }
    }

    pub(super) fn integer<T: TryFrom<i64>>(&self, key: &str) -> Option<T> {
        let given = self.get(key).and_then(Value::as_i64);
        let built_in = || own(self.built_in.numbers, key);
        given.or_else(built_in).and_then(|value| T::try_from(value).ok())
    }
}

/// Returns the value of a key in a list.
fn own<T: Copy>(values: &[(&str, T)], key: &str) -> Option<T> {
    values
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, value)| *value)
}
