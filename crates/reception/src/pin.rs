//! Owns PINs and what a caller types. Shows neither to anybody.

use std::fmt;

use subtle::{Choice, ConstantTimeEq};

/// Digits that an entry holds at least before it is taken as complete.
const USUAL_DIGITS: usize = 16;
/// Digits that an entry holds at most, however long the PINs are: longer PINs cannot be typed.
const MOST_DIGITS: usize = 128;

/// The PINs of one role. `Debug` shows how many there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pins(Vec<Box<[u8]>>);

impl Pins {
    /// Returns these PINs; empty texts are left out.
    pub fn new<T: AsRef<str>>(pins: impl IntoIterator<Item = T>) -> Pins {
        let mut kept = Vec::new();
        for pin in pins {
            let digits = pin.as_ref().as_bytes();
            if !digits.is_empty() {
                kept.push(digits.into());
            }
        }
        Pins(kept)
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many digits the longest has.
    pub(crate) fn longest(&self) -> usize {
        self.0.iter().map(|pin| pin.len()).max().unwrap_or(0)
    }

    /// Compares an entry with every one of them, in a time that depends on their number and lengths only.
    pub(crate) fn contain(&self, entry: &Entry) -> Choice {
        let typed = entry.digits.as_slice();
        self.0.iter().fold(Choice::from(0), |found, pin| {
            // Slices of different lengths differ at once: only the length of an entry shows, which is the caller's own.
            found | pin.as_ref().ct_eq(typed)
        })
    }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pins({})", self.0.len())
    }
}

/// The digits that a caller has typed so far. `Debug` shows none.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    digits: Vec<u8>,
    most: usize,
}

impl Entry {
    /// Returns an empty entry of 16 digits, or of more where the longest of what is expected has more.
    pub(crate) fn for_longest(longest: usize) -> Entry {
        Entry {
            digits: Vec::new(),
            most: longest.clamp(USUAL_DIGITS, MOST_DIGITS),
        }
    }

    /// Takes a digit; says whether the entry is full with it.
    pub(crate) fn push(&mut self, digit: u8) -> bool {
        if self.digits.len() < self.most {
            self.digits.push(digit);
        }
        self.digits.len() == self.most
    }

    /// Returns whether one digit more fills it.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.digits.len() + 1 >= self.most
    }

    pub(crate) fn clear(&mut self) {
        self.digits.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.digits.is_empty()
    }

    /// Returns the digits as the number of a conference, which is no secret.
    pub(crate) fn number(&self) -> String {
        self.digits.iter().map(|digit| char::from(*digit)).collect()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entry(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Entry {
        let mut entry = Entry::for_longest(0);
        for digit in text.bytes() {
            entry.push(digit);
        }
        entry
    }

    #[test]
    fn an_entry_is_right_only_when_it_is_one_of_the_pins() {
        let pins = Pins::new(["1234", "", "98765"]);
        for (text, right) in [
            ("1234", true),
            ("98765", true),
            ("", false),
            ("123", false),
            ("12345", false),
            ("1235", false),
        ] {
            assert_eq!(bool::from(pins.contain(&typed(text))), right, "{text}");
        }
        assert!(!bool::from(Pins::default().contain(&typed(""))));
        assert!(Pins::new([""]).is_empty());
    }

    #[test]
    fn nothing_is_shown() {
        let shown = format!("{:?} {:?}", Pins::new(["7351"]), typed("7351"));
        assert!(!shown.contains('7') && !shown.contains("51"), "{shown}");
    }

    #[test]
    fn an_entry_holds_the_longest_pin_within_reason() {
        let count = |longest| {
            let mut entry = Entry::for_longest(longest);
            (1..).find(|_| entry.push(b'1')).expect("full")
        };
        assert_eq!([count(0), count(16), count(20), count(5000)], [16, 16, 20, 128]);
    }
}
