//! Numbers and digits as sequences of prompts.

/// The highest number that is said as one; what is above is read out digit by digit.
const HIGHEST: u32 = 9999;

/// Returns the prompts that say a number. Numbers below a hundred are one prompt each, so that every language forms them as it
/// does ("einundzwanzig", "quatre-vingt-un"); hundreds and thousands, up to nine of each, stand before them ("one hundred"
/// "twenty-one", "einhundert" "einundzwanzig").
///
/// That is right for languages that put the greater before the smaller and change neither: English, German, Dutch, Italian, the
/// Scandinavian ones and many more. There is no word for "and", and a language in which a hundred is another word in front of
/// a smaller number (Spanish "cien", "ciento") is understood, if not quite correct.
pub fn number(number: u32) -> Vec<String> {
    if number > HIGHEST {
        return digits(&number.to_string());
    }
    let parts = [number / 1000 * 1000, number / 100 % 10 * 100, number % 100];
    let said: Vec<String> = parts
        .iter()
        .filter(|&&part| part > 0)
        .map(|part| format!("number-{part}"))
        .collect();
    if said.is_empty() {
        return vec!["number-0".to_owned()];
    }
    said
}

/// Returns the prompts that say digits one by one: `0` to `9`, `*` and `#`. Other characters are not said.
pub fn digits(digits: &str) -> Vec<String> {
    let id = |digit| match digit {
        '0'..='9' => Some(format!("digit-{digit}")),
        '*' => Some("digit-star".to_owned()),
        '#' => Some("digit-pound".to_owned()),
        _ => None,
    };
    digits.chars().filter_map(id).collect()
}
