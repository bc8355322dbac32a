//! Telephone numbers as they are dialled, and the forms that phones and trunks ask for.
//!
//! Owns what looks like a number (contract §4.3); knows nobody who has one.

/// A number from outside, in its international form with a leading `+`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct E164(String);

impl E164 {
    /// Reads a number as people write it: ten digits are of North America, `00` and `011` lead abroad. `None` when it is no number of
    /// the outside.
    pub(super) fn parse(text: &str) -> Option<E164> {
        let is_separator = |c: char| matches!(c, ' ' | '-' | '.' | '(' | ')' | '/');
        let bare: String = text.chars().filter(|c| !is_separator(*c)).collect();
        let (plus, digits) = match bare.strip_prefix('+') {
            Some(digits) => (true, digits),
            None => (false, bare.as_str()),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let of_america = |national: &str| Some(E164(format!("+1{national}")));
        match (plus, digits.len()) {
            (true, 11) if digits.starts_with('1') => of_america(&digits[1..]),
            (true, 8..=32) if !digits.starts_with(['0', '1']) => Some(E164(format!("+{digits}"))),
            (true, _) => None,
            (false, _) if digits.starts_with("011") => abroad(&digits[3..]),
            (false, _) if digits.starts_with("00") => abroad(&digits[2..]),
            (false, 10) => of_america(digits),
            (false, 11) if digits.starts_with('1') => of_america(&digits[1..]),
            _ => None,
        }
    }

    /// `+49301234`.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the `+`.
    pub(super) fn digits(&self) -> &str {
        &self.0[1..]
    }

    /// The ten digits of a number of North America; of others all.
    pub(super) fn national(&self) -> &str {
        match self.0.strip_prefix("+1") {
            Some(national) if national.len() == 10 => national,
            _ => self.digits(),
        }
    }
}

fn abroad(digits: &str) -> Option<E164> {
    (!digits.is_empty()).then(|| E164(format!("+{digits}")))
}

/// The form in which a device wants the number that is called (`sip.invite_format`).
pub(super) fn in_format(number: &str, format: &str) -> String {
    let Some(full) = E164::parse(number) else {
        return number.to_owned();
    };
    match format {
        "e164" => full.as_str().to_owned(),
        "npan" => full.national().to_owned(),
        "1npan" => match full.national().len() {
            10 => format!("1{}", full.national()),
            _ => full.digits().to_owned(),
        },
        "strip_plus" => full.digits().to_owned(),
        _ => number.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_the_outside_are_known_by_their_form() {
        for (text, full) in [
            ("4158867900", Some("+14158867900")),
            ("14158867900", Some("+14158867900")),
            ("+14158867900", Some("+14158867900")),
            ("(415) 886-7900", Some("+14158867900")),
            ("+49 30 1234567", Some("+49301234567")),
            ("0049301234567", Some("+49301234567")),
            ("01149301234567", Some("+49301234567")),
            ("+49301234", Some("+49301234")),
            ("+493012", None),
            ("12345", None),
            ("123456789", None),
            ("24158867900", None),
            ("+04930123456", None),
            ("abcdefgh", None),
            ("415886790a", None),
            ("", None),
            ("+", None),
            ("00", None),
        ] {
            let found = E164::parse(text);
            assert_eq!(found.as_ref().map(E164::as_str), full, "{text}");
        }
    }

    #[test]
    fn devices_get_the_form_that_they_ask_for() {
        for (number, format, expected) in [
            ("4158867900", "e164", "+14158867900"),
            ("4158867900", "npan", "4158867900"),
            ("+14158867900", "npan", "4158867900"),
            ("4158867900", "1npan", "14158867900"),
            ("+14158867900", "strip_plus", "14158867900"),
            ("+49301234567", "npan", "49301234567"),
            ("+49301234567", "1npan", "49301234567"),
            ("1001", "e164", "1001"),
            ("4158867900", "contact", "4158867900"),
        ] {
            assert_eq!(in_format(number, format), expected, "{number} {format}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic_and_what_it_reads_it_reads_again(text in "\\PC{0,24}|[0-9+() -]{0,24}") {
            if let Some(number) = E164::parse(&text) {
                prop_assert!(number.digits().bytes().all(|byte| byte.is_ascii_digit()));
                for format in ["e164", "npan", "1npan", "strip_plus"] {
                    let _ = in_format(&text, format);
                }
            }
        }
    }
}
