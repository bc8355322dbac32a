//! Owns what digits an operator may have sent to a participant. Never sends them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Digits and pauses to send to a participant's far end: 1 to [`DigitString::MAX`] of `0`–`9`, `*`, `#`, `A`–`D` (`a`–`d` become these), `w` (half a second),
/// `W` (a second) and `,` (two seconds).
///
/// `Debug` shows how many: digits may be a PIN.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DigitString {
    text: [u8; DigitString::MAX],
    length: u8,
}

impl DigitString {
    /// Most digits and pauses in one string.
    pub const MAX: usize = 32;

    /// Returns the digits as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.length)]).unwrap_or_default()
    }
}

/// A text is no string of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not 1 to {} of 0-9, *, #, A-D, w, W and the comma", DigitString::MAX)]
pub struct NoDigits;

impl FromStr for DigitString {
    type Err = NoDigits;

    fn from_str(text: &str) -> Result<DigitString, NoDigits> {
        let known = |byte: u8| {
            byte.is_ascii_digit()
                || matches!(byte, b'*' | b'#' | b'A'..=b'D' | b'a'..=b'd' | b'w' | b'W' | b',')
        };
        if text.is_empty() || text.len() > DigitString::MAX || !text.bytes().all(known) {
            return Err(NoDigits);
        }
        let mut digits = [0; DigitString::MAX];
        for (digit, byte) in digits.iter_mut().zip(text.bytes()) {
            *digit = if matches!(byte, b'a'..=b'd') {
                byte.to_ascii_uppercase()
            } else {
                byte
            };
        }
        Ok(DigitString {
            text: digits,
            length: text.len() as u8,
        })
    }
}

impl fmt::Debug for DigitString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DigitString({})", self.length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digits_and_pauses_are_taken_and_nothing_else() {
        for text in ["1", "0123456789*#ABCD", "12w34W,", &"9".repeat(32)] {
            assert_eq!(text.parse::<DigitString>().unwrap().as_str(), text);
        }
        assert_eq!("1abcdw".parse::<DigitString>().unwrap().as_str(), "1ABCDw");
        for text in ["", "E", "e", "1 2", "+1", "\u{661}", &"9".repeat(33)] {
            assert_eq!(text.parse::<DigitString>(), Err(NoDigits), "{text}");
        }
        let shown = format!("{:?}", "1234".parse::<DigitString>().unwrap());
        assert_eq!(shown, "DigitString(4)");
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_kept_as_it_is(text in ".{0,40}") {
            if let Ok(digits) = text.parse::<DigitString>() {
                prop_assert!(digits.as_str().eq_ignore_ascii_case(&text));
            }
        }
    }
}
