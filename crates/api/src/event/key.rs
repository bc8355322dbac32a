//! Owns routing keys: words joined by dots. Never matches one.

use std::fmt::Write as _;

use confab_conference::Event;

/// Writes a text as one word of a routing key: letters, digits, `-`, `_` and `~` as they are, a blank as `+`, every other octet of its
/// UTF-8 as `%` and two upper-case hex digits, the dot as `%2E`.
pub fn encode_segment(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => word.push(char::from(byte)),
            b' ' => word.push('+'),
            other => {
                // Writing to a string does not fail.
                let _ = write!(word, "%{other:02X}");
            }
        }
    }
    word
}

/// Returns the id of the leg that an event is about; for what happens to a conference, the conference's own.
pub(crate) fn subject(event: &Event) -> &str {
    match &event.participant {
        Some(state) if event.kind.is_about_leg() => state.call_id(),
        _ => event.conference.as_str(),
    }
}

/// Returns `conference.event.{event}.{account}.{conference}.{call}`.
pub(super) fn routing_key(event: &Event) -> String {
    format!(
        "conference.event.{}.{}.{}.{}",
        event.kind.name(),
        encode_segment(event.account.as_str()),
        encode_segment(event.conference.as_str()),
        encode_segment(subject(event)),
    )
}

/// Returns `conference.event.{conference}.{call}`.
pub(super) fn short_routing_key(event: &Event) -> String {
    format!(
        "conference.event.{}.{}",
        encode_segment(event.conference.as_str()),
        encode_segment(subject(event)),
    )
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_have_no_dots_and_no_blanks() {
        for (text, word) in [
            ("934800819", "934800819"),
            ("a84b4c76@203.0.113.9", "a84b4c76%40203%2E0%2E113%2E9"),
            ("team call", "team+call"),
            ("a+b*#", "a%2Bb%2A%23"),
            ("é", "%C3%A9"),
            ("", ""),
        ] {
            assert_eq!(encode_segment(text), word);
        }
    }

    proptest! {
        #[test]
        fn a_word_is_one_segment_and_can_be_read_back(text in ".{0,20}") {
            let word = encode_segment(&text);
            prop_assert!(!word.contains(['.', ' ', '*', '#']));
            let read = percent_decode_str(&word.replace('+', " ")).decode_utf8().unwrap().into_owned();
            prop_assert_eq!(read, text);
        }
    }
}
