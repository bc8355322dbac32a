//! Which language takes the place of one that is not there.

/// The language of which every prompt is built in.
pub const DEFAULT_LANGUAGE: &str = "en-us";

/// Letters and digits that the tag of a language has at most, its hyphens included.
const LONGEST: usize = 16;

/// Relatives of a language that take its place.
const MOST_RELATIVES: usize = 8;

/// Returns whether a text can be the tag of a language: `en`, `en-us`, `zh-hant-tw`, in any case (the form of RFC 5646 §2.1, not its
/// registry).
pub fn is_language(text: &str) -> bool {
    let mut parts = text.split(['-', '_']);
    let primary = parts.next().unwrap_or_default();
    text.len() <= LONGEST
        && (2..=3).contains(&primary.len())
        && primary.bytes().all(|byte| byte.is_ascii_alphabetic())
        && parts.all(|part| {
            (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

/// Returns where to look for a prompt of a language, in this order: the language itself, then what remains when its last
/// part is taken away, and so on; then the available languages that have the same first part (`de-de` for `de-at`: closer
/// than English), by name, eight of them at most; then [`DEFAULT_LANGUAGE`]. Upper case and `_` mean lower case and `-`.
pub fn languages(language: &str, available: &[&str]) -> Vec<String> {
    let wanted = language.to_ascii_lowercase().replace('_', "-");
    let mut steps = Vec::new();
    let mut add = |step: &str| {
        if !step.is_empty() && !steps.iter().any(|known| known == step) {
            steps.push(step.to_owned());
        }
    };
    let mut rest = wanted.as_str();
    add(rest);
    while let Some((shorter, _)) = rest.rsplit_once('-') {
        rest = shorter;
        add(rest);
    }
    let relative = |other: &&&str| other.split('-').next() == Some(rest);
    let mut relatives: Vec<&&str> = available.iter().filter(relative).collect();
    relatives.sort_unstable();
    relatives.dedup();
    relatives
        .into_iter()
        .take(MOST_RELATIVES)
        .for_each(|relative| add(relative));
    add(DEFAULT_LANGUAGE);
    steps
}
