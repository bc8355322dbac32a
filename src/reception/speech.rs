//! From what a caller is to hear to sounds. What cannot be had is left out, and counted as plays of conferences are.

use confab_conference::{AccountId, MediaName, PlayFailure};
use confab_documents::is_id;
use confab_media::Sound;
use confab_prompts::Phrase;
use confab_reception::Saying;

use super::Desk;
use crate::names::SpokenName;
use crate::sounds::{Media, Sounds};

/// Returns what these come to for an account and in a language, fetched where it has to be; `own` is the caller's name as he has said it.
pub(super) async fn sounds(
    desk: &Desk,
    sayings: &[Saying],
    own: Option<SpokenName>,
    account: &AccountId,
    language: &str,
) -> Vec<Sound> {
    let understood = desk.sounds.of(account);
    let mut sounds = Vec::new();
    for saying in sayings {
        let Some(name) = name(saying, language) else {
            sounds.extend(own.iter().flat_map(|own| own.audible().sounds));
            continue;
        };
        match of_name(&understood, &name).await {
            Ok(found) => sounds.extend(found),
            Err(failure) => desk.registry.play_failed(failure),
        }
    }
    sounds
}

async fn of_name(sounds: &Sounds, name: &MediaName) -> Result<Vec<Sound>, PlayFailure> {
    match sounds.resolve(name) {
        Ok(Media::Here(audible)) => Ok(audible.sounds),
        Ok(Media::Later(source)) => match sounds.fetch(&source).await {
            Ok(audible) => Ok(audible.sounds),
            Err(error) => {
                tracing::debug!(%source, %error, "a caller does not hear what he should");
                Err(error.failure())
            }
        },
        Err(problem) => {
            tracing::debug!(name = name.as_str(), %problem, "a caller does not hear what he should");
            Err(PlayFailure::Unknown)
        }
    }
}

/// Returns the name of a saying, in this language where it leaves that open; `None` for what was recorded.
fn name(saying: &Saying, language: &str) -> Option<MediaName> {
    let name = match saying {
        Saying::Prompt(prompt) => prompt.id(),
        Saying::Media(name) => name,
        Saying::Name => return None,
    };
    // An id looks like that of a prompt.
    if is_id(name) {
        return Some(MediaName::from(name));
    }
    Some(match Phrase::parse(name) {
        Some(Ok(phrase)) => MediaName::from(phrase.in_language(language).to_string().as_str()),
        _ => MediaName::from(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use confab_reception::Prompt;

    #[test]
    fn prompts_are_asked_for_in_the_callers_language() {
        for (saying, expected) in [
            (Saying::Prompt(Prompt::Welcome), "prompt:fr/conf-welcome"),
            (Saying::Media("conf-muted".into()), "prompt:fr/conf-muted"),
            (
                Saying::Media("tone_stream://%(1,0,440)".into()),
                "tone_stream://%(1,0,440)",
            ),
            (Saying::Media("https://a/conf-x".into()), "https://a/conf-x"),
            (Saying::Media("prompt:de-de/conf-x".into()), "prompt:de-de/conf-x"),
            (
                Saying::Media("0123456789abcdef0123456789abcdef".into()),
                "0123456789abcdef0123456789abcdef",
            ),
        ] {
            assert_eq!(name(&saying, "fr"), Some(MediaName::from(expected)));
        }
    }
}
