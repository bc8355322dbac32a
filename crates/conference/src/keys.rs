//! Owns what keys of a phone mean: maps from digits to actions, and how presses become actions. Performs none of them.

use std::sync::Arc;

use crate::Moment;

/// What a key does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAction {
    /// Mutes him, or lets him speak.
    Mute,
    /// Mutes him.
    MuteOn,
    /// Lets him speak.
    MuteOff,
    /// Mutes and deafens him, or undoes both: whether he can speak decides.
    DeafMute,
    /// Makes him deaf, or lets him hear.
    Deaf,
    /// Makes him deaf.
    DeafOn,
    /// Lets him hear.
    DeafOff,
    /// Raises the threshold of his talk gate by 200.
    EnergyUp,
    /// Sets it to that of the conference.
    EnergyEqual,
    /// Lowers it by 200.
    EnergyDown,
    /// What comes from him becomes a level louder.
    TalkUp,
    /// What comes from him is as loud as it comes.
    TalkZero,
    /// What comes from him becomes a level quieter.
    TalkDown,
    /// What he hears becomes a level louder.
    ListenUp,
    /// What he hears is as loud as it is.
    ListenZero,
    /// What he hears becomes a level quieter.
    ListenDown,
    /// Ends his call.
    HangUp,
    /// Locks the conference, or unlocks it. Not by a member who waits for a moderator.
    Lock,
    /// Takes the floor until it is pressed again, or gives it back. For moderators.
    Floor,
    /// Makes an event that carries this text.
    Event(Arc<str>),
    /// Moves him to the conference of the account that has this number.
    Transfer(Arc<str>),
    /// Asks whoever follows the events to do this with him: no application is run here.
    Execute(Arc<str>),
    /// Switches hold music off, or on again.
    HoldMusic,
    /// Raises his hand, or lowers it.
    RaiseHand,
    /// Tells him how many participants there are.
    Count,
    /// Mutes all members, or lets them speak when all are muted. For moderators.
    MuteAll,
    /// Ends the conference. For moderators.
    End,
    /// Nothing: it is about pictures.
    Nothing,
}

impl KeyAction {
    /// The names that [`KeyAction::parse`] knows.
    pub const NAMES: &[&str] = &[
        "mute",
        "mute on",
        "mute off",
        "deaf mute",
        "deaf",
        "deaf on",
        "deaf off",
        "energy up",
        "energy equ",
        "energy dn",
        "vol talk up",
        "vol talk zero",
        "vol talk dn",
        "vol listen up",
        "vol listen zero",
        "vol listen dn",
        "hangup",
        "lock",
        "floor",
        "event",
        "transfer",
        "execute_application",
        "moh toggle",
        "raise hand",
        "count",
        "mute all",
        "end",
        "vmute",
        "vmute on",
        "vmute off",
        "vmute snap",
        "vmute snapoff",
        "vid-floor",
        "vid-floor-force",
        "border",
    ];

    /// Returns whether an action says nothing without its data.
    pub fn needs_data(name: &str) -> bool {
        ["transfer", "execute_application"].contains(&name)
    }

    /// Returns the action of a name; `data` is what an event carries, or where a transfer goes.
    pub fn parse(name: &str, data: Option<&str>) -> Option<KeyAction> {
        Some(match name {
            "mute" => KeyAction::Mute,
            "mute on" => KeyAction::MuteOn,
            "mute off" => KeyAction::MuteOff,
            "deaf mute" => KeyAction::DeafMute,
            "deaf" => KeyAction::Deaf,
            "deaf on" => KeyAction::DeafOn,
            "deaf off" => KeyAction::DeafOff,
            "energy up" => KeyAction::EnergyUp,
            "energy equ" => KeyAction::EnergyEqual,
            "energy dn" => KeyAction::EnergyDown,
            "vol talk up" => KeyAction::TalkUp,
            "vol talk zero" => KeyAction::TalkZero,
            "vol talk dn" => KeyAction::TalkDown,
            "vol listen up" => KeyAction::ListenUp,
            "vol listen zero" => KeyAction::ListenZero,
            "vol listen dn" => KeyAction::ListenDown,
            "hangup" => KeyAction::HangUp,
            "lock" => KeyAction::Lock,
            "floor" => KeyAction::Floor,
            "event" => KeyAction::Event(data.unwrap_or_default().into()),
            "transfer" => KeyAction::Transfer(data.unwrap_or_default().into()),
            "execute_application" => KeyAction::Execute(data.unwrap_or_default().into()),
            "moh toggle" => KeyAction::HoldMusic,
            "raise hand" => KeyAction::RaiseHand,
            "count" => KeyAction::Count,
            "mute all" => KeyAction::MuteAll,
            "end" => KeyAction::End,
            "vmute" | "vmute on" | "vmute off" | "vmute snap" | "vmute snapoff" | "vid-floor"
            | "vid-floor-force" | "border" => KeyAction::Nothing,
            _ => return None,
        })
    }

    /// Returns whether it can let a muted participant speak again.
    fn unmutes(&self) -> bool {
        matches!(self, KeyAction::Mute | KeyAction::MuteOff | KeyAction::DeafMute)
    }
}

/// Which digits do what. The default is that of a conference that says nothing about it; [`KeyMap::none`] is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMap(Vec<(String, KeyAction)>);

/// Digits of one binding, at most.
pub const MOST_KEYS: usize = 16;

impl KeyMap {
    /// Returns a map without a key.
    pub fn none() -> KeyMap {
        KeyMap(Vec::new())
    }

    /// Lets digits do something; the last binding of the same digits counts. Returns whether they are 1 to [`MOST_KEYS`] of `0`–`9`,
    /// `*`, `#`, `A`–`D` (`a`–`d` are these).
    pub fn bind(&mut self, digits: &str, action: KeyAction) -> bool {
        let digits = digits.to_ascii_uppercase();
        if digits.is_empty() || digits.len() > MOST_KEYS || !digits.chars().all(is_key) {
            return false;
        }
        self.0.retain(|(known, _)| *known != digits);
        self.0.push((digits, action));
        true
    }

    /// Returns whether a participant can unmute himself.
    pub(crate) fn unmutes(&self) -> bool {
        self.0.iter().any(|(_, action)| action.unmutes())
    }

    fn exact(&self, pressed: &str) -> Option<&KeyAction> {
        let found = self.0.iter().find(|(digits, _)| digits == pressed);
        found.map(|(_, action)| action)
    }

    fn goes_on(&self, pressed: &str) -> bool {
        let longer = |digits: &String| digits.len() > pressed.len() && digits.starts_with(pressed);
        self.0.iter().any(|(digits, _)| longer(digits))
    }

    /// Returns the longest beginning of what was pressed that does something.
    fn longest(&self, pressed: &str) -> Option<(usize, &KeyAction)> {
        let lengths = (1..=pressed.len()).rev();
        lengths
            .into_iter()
            .find_map(|length| Some((length, self.exact(&pressed[..length])?)))
    }
}

impl Default for KeyMap {
    fn default() -> KeyMap {
        let mut map = KeyMap::none();
        for (digits, action) in [
            ("*1", KeyAction::Mute),
            ("*2", KeyAction::MuteOn),
            ("*3", KeyAction::MuteOff),
            ("*4", KeyAction::Deaf),
            ("*5", KeyAction::DeafOn),
            ("*6", KeyAction::DeafOff),
            ("#", KeyAction::HangUp),
        ] {
            map.bind(digits, action);
        }
        map
    }
}

/// A key that belongs to what a caller typed, or was asked to press, before he joined, and that may come when he has. It is no
/// action of the conference then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwedKey {
    /// The `#` behind a number or a PIN.
    Hash,
    /// Any key: it was to end something that has ended by itself.
    Any,
}

impl OwedKey {
    /// How long after the join it may still come, in milliseconds.
    pub const WAIT_MS: u64 = 2000;

    pub(crate) fn is(self, key: char) -> bool {
        self == OwedKey::Any || key == '#'
    }

    /// Returns whether the first key of several that do something together may be one of these several: any key is owed, and `*1` is what
    /// he means by `*` and `1`.
    pub(crate) fn yields(self) -> bool {
        self == OwedKey::Any
    }
}

fn is_key(key: char) -> bool {
    key.is_ascii_digit() || matches!(key, '*' | '#' | 'A'..='D')
}

/// What one participant has pressed and what is not decided yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collector {
    pressed: String,
    until: Option<Moment>,
    /// The first of these keys was owed: it does nothing of its own.
    is_owed: bool,
}

impl Collector {
    /// How long the next key is waited for, in milliseconds.
    const WAIT_MS: u64 = 500;

    /// Returns when to call [`Collector::expire`], if nothing is pressed meanwhile.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.until
    }

    /// Takes a press of a key that was owed, unless it can be nothing else; returns whether it was taken. It does nothing but together with
    /// those that follow.
    pub(crate) fn press_owed(&mut self, map: &KeyMap, key: char, now: Moment) -> bool {
        let mut key = key.to_ascii_uppercase().to_string();
        if !self.pressed.is_empty() || !map.goes_on(&key) {
            return false;
        }
        std::mem::swap(&mut self.pressed, &mut key);
        self.until = Some(now.after_ms(Self::WAIT_MS));
        self.is_owed = true;
        true
    }

    /// Takes a press; returns what it decides, in order.
    pub(crate) fn press(&mut self, map: &KeyMap, key: char, now: Moment) -> Vec<KeyAction> {
        self.pressed.push(key.to_ascii_uppercase());
        let decided = self.decide(map, false);
        self.until = (!self.pressed.is_empty()).then(|| now.after_ms(Self::WAIT_MS));
        decided
    }

    /// Nothing was pressed for a while: returns what that decides.
    pub(crate) fn expire(&mut self, map: &KeyMap) -> Vec<KeyAction> {
        self.until = None;
        self.decide(map, true)
    }

    fn decide(&mut self, map: &KeyMap, is_all: bool) -> Vec<KeyAction> {
        let mut decided = Vec::new();
        while !self.pressed.is_empty() {
            if !is_all && map.goes_on(&self.pressed) {
                break;
            }
            let used = match map.longest(&self.pressed) {
                Some((length, action)) => {
                    if length > 1 || !self.is_owed {
                        decided.push(action.clone());
                    }
                    length
                }
                // It begins nothing: what is behind it may.
                None => 1,
            };
            self.pressed.drain(..used);
            self.is_owed = false;
        }
        decided
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(bindings: &[(&str, &str)]) -> KeyMap {
        let mut map = KeyMap::none();
        for (digits, data) in bindings {
            assert!(map.bind(digits, KeyAction::Event((*data).into())));
        }
        map
    }

    /// Presses keys at these milliseconds; returns what was decided and when.
    fn play(map: &KeyMap, presses: &[(u64, char)]) -> Vec<(u64, String)> {
        let mut collector = Collector::default();
        let mut seen = Vec::new();
        let mut note = |at: u64, actions: Vec<KeyAction>| {
            for action in actions {
                let KeyAction::Event(data) = action else {
                    panic!("{action:?}")
                };
                seen.push((at, data.to_string()));
            }
        };
        for &(at, key) in presses {
            if let Some(due) = collector.deadline().filter(|due| *due <= Moment(at)) {
                note(due.0, collector.expire(map));
            }
            note(at, collector.press(map, key, Moment(at)));
        }
        if let Some(due) = collector.deadline() {
            note(due.0, collector.expire(map));
        }
        seen
    }

    #[test]
    fn the_longest_match_counts_and_a_pause_ends_it() {
        let map = map(&[("1", "one"), ("12", "twelve"), ("*1", "star"), ("#", "hash")]);
        /// Presses, and what they decide, with their times.
        type Row<'a> = (&'a [(u64, char)], &'a [(u64, &'a str)]);
        let table: &[Row<'_>] = &[
            (&[(0, '#')], &[(0, "hash")]),
            (&[(0, '1')], &[(500, "one")]),
            (&[(0, '1'), (499, '2')], &[(499, "twelve")]),
            (&[(0, '1'), (500, '2')], &[(500, "one")]),
            (&[(0, '1'), (100, '1')], &[(100, "one"), (600, "one")]),
            (&[(0, '1'), (100, '#')], &[(100, "one"), (100, "hash")]),
            (&[(0, '*'), (400, '1')], &[(400, "star")]),
            (&[(0, '*'), (600, '1')], &[(1100, "one")]),
            (&[(0, '*'), (100, '*'), (200, '1')], &[(200, "star")]),
            (&[(0, '*'), (100, '9'), (200, '#')], &[(200, "hash")]),
            (&[(0, '7'), (100, '8')], &[]),
        ];
        for (presses, expected) in table {
            let expected: Vec<_> = expected
                .iter()
                .map(|(at, data)| (*at, (*data).to_owned()))
                .collect();
            assert_eq!(play(&map, presses), expected, "{presses:?}");
        }
    }

    #[test]
    fn a_key_that_was_owed_does_nothing_but_together_with_others() {
        let map = map(&[("1", "one"), ("12", "twelve"), ("*1", "star"), ("#", "hash")]);
        let told = |presses: &[char]| {
            let mut collector = Collector::default();
            let (owed, rest) = presses.split_first().expect("a key");
            let is_taken = collector.press_owed(&map, *owed, Moment(0));
            let mut actions = Vec::new();
            for &key in rest {
                actions.extend(collector.press(&map, key, Moment(100)));
            }
            actions.extend(collector.expire(&map));
            assert!(collector.pressed.is_empty() && !collector.is_owed, "{presses:?}");
            let data = actions.into_iter().map(|action| match action {
                KeyAction::Event(data) => data.to_string(),
                action => panic!("{action:?}"),
            });
            (is_taken, data.collect::<Vec<_>>())
        };
        let table: &[(&[char], bool, &[&str])] = &[
            (&['#'], false, &[]),
            (&['7', '#'], false, &["hash"]),
            (&['*'], true, &[]),
            (&['*', '1'], true, &["star"]),
            (&['*', '#'], true, &["hash"]),
            (&['*', '*', '1'], true, &["star"]),
            (&['1'], true, &[]),
            (&['1', '2'], true, &["twelve"]),
            (&['1', '1'], true, &["one"]),
            (&['1', '#'], true, &["hash"]),
        ];
        for &(presses, is_taken, expected) in table {
            let expected: Vec<_> = expected.iter().map(|data| (*data).to_owned()).collect();
            assert_eq!(told(presses), (is_taken, expected), "{presses:?}");
        }
    }

    #[test]
    fn every_name_is_an_action_and_digits_are_checked() {
        for name in KeyAction::NAMES {
            assert!(KeyAction::parse(name, None).is_some(), "{name}");
        }
        assert_eq!(KeyAction::parse("fly", None), None);
        let mut map = KeyMap::none();
        for bad in ["", "x", "1 ", "12345678901234567", "é"] {
            assert!(!map.bind(bad, KeyAction::Mute), "{bad}");
        }
        assert!(map.bind("a#*0", KeyAction::Mute) && map.unmutes());
        assert!(KeyMap::default().unmutes() && !KeyMap::none().unmutes());
    }

    proptest! {
        #[test]
        fn nothing_is_kept_beyond_the_longest_binding(keys in "[0-9*#A-D]{0,60}", bindings in proptest::collection::vec("[0-9*#A-D]{1,4}", 0..8)) {
            let mut map = KeyMap::none();
            for digits in &bindings {
                map.bind(digits, KeyAction::Count);
            }
            let mut collector = Collector::default();
            let mut actions = 0;
            for key in keys.chars() {
                actions += collector.press(&map, key, Moment(0)).len();
                prop_assert!(collector.pressed.len() < 4);
                prop_assert_eq!(collector.pressed.is_empty(), collector.deadline().is_none());
            }
            actions += collector.expire(&map).len();
            prop_assert!(collector.pressed.is_empty() && actions <= keys.len());
        }
    }
}
