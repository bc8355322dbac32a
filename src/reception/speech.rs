//! From what a caller is to hear to sounds. What cannot be had is left out, and counted as plays of conferences are.

use confab_conference::{MediaName, PlayFailure};
use confab_media::Sound;
use confab_reception::Saying;

use super::Desk;
use crate::sounds::Media;

/// Returns what these come to in a language, fetched where it has to be.
pub(super) async fn sounds(desk: &Desk, sayings: &[Saying], language: &str) -> Vec<Sound> {
    let mut sounds = Vec::new();
    for saying in sayings {
        match of_name(desk, &name(saying, language)).await {
            Ok(found) => sounds.extend(found),
            Err(failure) => desk.registry.play_failed(failure),
        }
    }
    sounds
}

async fn of_name(desk: &Desk, name: &MediaName) -> Result<Vec<Sound>, PlayFailure> {
    match desk.sounds.resolve(name) {
        Ok(Media::Here(sounds)) => Ok(sounds),
        Ok(Media::Remote(link)) => desk.sounds.fetch(&link).await.map_err(|error| {
            tracing::debug!(%link, %error, "a caller does not hear what he should");
            error.failure()
        }),
        Err(problem) => {
            tracing::debug!(name = name.as_str(), %problem, "a caller does not hear what he should");
            Err(PlayFailure::Unknown)
        }
    }
}

fn name(saying: &Saying, language: &str) -> MediaName {
    match saying {
        Saying::Prompt(prompt) => MediaName::from(format!("prompt:{language}/{}", prompt.id()).as_str()),
        Saying::Media(name) if is_prompt_id(name) => {
            MediaName::from(format!("prompt:{language}/{name}").as_str())
        }
        Saying::Media(name) => MediaName::from(name.as_str()),
    }
}

/// Whether a name is that of a prompt, as `conf-max_participants`, and not a tone, a URL or a document.
fn is_prompt_id(name: &str) -> bool {
    name.starts_with("conf-")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
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
            (
                Saying::Media("00112233445566778899aabbccddeeff".into()),
                "00112233445566778899aabbccddeeff",
            ),
        ] {
            assert_eq!(name(&saying, "fr").as_str(), expected);
        }
    }
}
