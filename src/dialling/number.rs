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
        let bare = bare(text);
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
            // Area codes of North America begin with 2 to 9.
            (false, 10) if !digits.starts_with(['0', '1']) => of_america(digits),
            (false, 11) if digits.starts_with('1') => of_america(&digits[1..]),
            _ => None,
        }
    }

    /// Reads a number as people of a country write it (`49`): with a single `0` before it, it is one of theirs.
    pub(super) fn parse_in(text: &str, country: Option<&str>) -> Option<E164> {
        // In North America `0` is no such sign.
        let country = country.filter(|country| *country != "1");
        let bare = bare(text);
        let national = bare.strip_prefix('0').filter(|rest| !rest.starts_with('0'));
        match (country, national) {
            (Some(country), Some(rest))
                if (4..=15).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Some(E164(format!("+{country}{rest}")))
            }
            _ => E164::parse(text),
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

/// A number without what only makes it easier to read.
pub(super) fn bare(text: &str) -> String {
    let is_separator = |c: char| matches!(c, ' ' | '-' | '.' | '(' | ')' | '/');
    text.chars().filter(|c| !is_separator(*c)).collect()
}

fn abroad(digits: &str) -> Option<E164> {
    // What is shorter is no number of the world, and no country's code begins with 0.
    let is_one = (7..=32).contains(&digits.len()) && !digits.starts_with('0');
    is_one.then(|| E164(format!("+{digits}")))
}

/// What a gateway is asked for in the form that it wants (`invite_format`), of what the rule of its trunk leaves of a number. What is not the
/// whole number any more stands as the rule left it.
pub(super) fn for_gateway(full: Option<&E164>, dialled: &str, format: &str) -> String {
    let Some(full) = full else {
        return dialled.to_owned();
    };
    let national = full.national();
    let is_whole = dialled == full.as_str()
        || dialled == full.digits()
        || E164::parse(dialled).as_ref() == Some(full) && national.len() == 10 && dialled.ends_with(national);
    if is_whole {
        in_format(full.as_str(), format)
    } else {
        dialled.to_owned()
    }
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
            ("0112", None),
            ("0900123456", None),
            ("00301234567", Some("+301234567")),
            ("000301234567", None),
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

    #[test]
    fn gateways_get_the_whole_number_in_their_form_and_parts_as_they_are() {
        for (number, dialled, format, expected) in [
            ("4158867900", "+14158867900", "e164", "+14158867900"),
            ("4158867900", "4158867900", "e164", "+14158867900"),
            ("4158867900", "14158867900", "e164", "+14158867900"),
            ("4158867900", "4158867900", "1npan", "14158867900"),
            ("4158867900", "8867900", "e164", "8867900"),
            ("+49301234567", "+49301234567", "strip_plus", "49301234567"),
            ("+49301234567", "49301234567", "e164", "+49301234567"),
            // Ten digits of another country are no number of North America.
            ("+493012345678", "3012345678", "e164", "3012345678"),
            ("+493012345678", "03012345678", "e164", "03012345678"),
            ("112", "112", "e164", "112"),
        ] {
            let full = E164::parse(number);
            assert_eq!(
                for_gateway(full.as_ref(), dialled, format),
                expected,
                "{number} {dialled} {format}"
            );
        }
    }

    #[test]
    fn a_country_knows_its_own_numbers() {
        for (text, country, full) in [
            ("0301234567", Some("49"), Some("+49301234567")),
            ("030 123456", Some("49"), Some("+4930123456")),
            ("01134960000", Some("44"), Some("+441134960000")),
            ("0041791234567", Some("49"), Some("+41791234567")),
            ("4158867900", Some("49"), Some("+14158867900")),
            ("0301234567", Some("1"), None),
            ("0301234567", None, None),
            ("030", Some("49"), None),
            ("0a01234567", Some("49"), None),
        ] {
            let found = E164::parse_in(text, country);
            assert_eq!(found.as_ref().map(E164::as_str), full, "{text} {country:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic_and_what_it_reads_it_reads_again(text in "\\PC{0,24}|[0-9+() -]{0,24}") {
            if let Some(number) = E164::parse(&text) {
                prop_assert!(number.digits().bytes().all(|byte| byte.is_ascii_digit()));
                for format in ["e164", "npan", "1npan", "strip_plus"] {
                    let _ = in_format(&text, format);
                    let _ = for_gateway(Some(&number), &text, format);
                }
            }
            let _ = E164::parse_in(&text, Some("49"));
        }
    }
}
