//! Owns which sounds a conference makes by itself: prompts, hold music, tones. Never plays them, and does not know what their
//! names mean.

use std::sync::Arc;

use crate::MediaName;

/// What a conference says and plays by itself beside the tones of coming and going. `None` is silence.
///
/// The default is silence: prompts have a language. [`Sounds::speaking`] has what goes with an empty conference document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sounds {
    /// In place of the entry tone when a moderator joins, where there is an entry tone.
    pub moderator_entry: Option<MediaName>,
    /// In place of the exit tone when a moderator leaves, where there is an exit tone.
    pub moderator_exit: Option<MediaName>,
    /// Names of those who come and go are said behind the tones.
    pub names: bool,
    /// To a participant who is the only one.
    pub alone: Option<MediaName>,
    /// Again and again to him afterwards, and to those who wait or are on hold.
    pub hold_music: Option<MediaName>,
    /// Again and again to all who hear the mix.
    pub perpetual: Option<MediaName>,
    /// To a participant who is muted from here on.
    pub muted: Option<MediaName>,
    /// To a participant who can speak again.
    pub unmuted: Option<MediaName>,
    /// To a participant who cannot hear from here on.
    pub deaf: Option<MediaName>,
    /// To a participant who can hear again.
    pub undeaf: Option<MediaName>,
    /// To a participant who is kicked, before his call ends.
    pub kicked: Option<MediaName>,
    /// The prompts of whatever else is said: numbers, names, that the conference ends; `None` for nothing of it.
    pub speech: Option<Speech>,
    /// The number of participants from which on a joiner is told how many there are; 0 and 1 for never.
    pub announce_count: u32,
}

impl Sounds {
    /// Returns the sounds of an empty conference document in a language.
    pub fn speaking(language: &str) -> Sounds {
        let speech = Speech::new(language);
        let prompt = |id| Some(speech.prompt(id));
        Sounds {
            alone: prompt("conf-alone"),
            hold_music: Some(MediaName::HOLD_MUSIC.into()),
            muted: prompt("conf-muted"),
            unmuted: prompt("conf-unmuted"),
            deaf: prompt("conf-deaf"),
            undeaf: prompt("conf-undeaf"),
            speech: Some(speech),
            ..Sounds::default()
        }
    }
}

/// Prompts of one language, by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speech {
    language: Arc<str>,
}

impl Speech {
    /// Returns the prompts of a language such as `en-us`.
    pub fn new(language: &str) -> Speech {
        Speech {
            language: language.to_lowercase().into(),
        }
    }

    /// Returns the name of a prompt: `prompt:en-us/conf-alone`.
    pub fn prompt(&self, id: &str) -> MediaName {
        MediaName::from(format!("prompt:{}/{id}", self.language).as_str())
    }

    /// Returns the name of a sentence with a number in it: the prompts before it and behind it, by their ids.
    pub fn sentence(&self, before: Option<&str>, number: usize, behind: &str) -> MediaName {
        let before = before.map_or(String::new(), |id| format!("{id}+"));
        self.prompt(&format!("{before}say:number:{number}+{behind}"))
    }

    /// Returns what says how many participants there are.
    pub(crate) fn count(&self, count: usize) -> MediaName {
        match count {
            1 => self.prompt("conf-one_caller"),
            _ => self.sentence(Some("conf-there_are"), count, "conf-callers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_named_with_their_language() {
        let speech = Speech::new("en-US");
        for (name, text) in [
            (speech.prompt("conf-alone"), "prompt:en-us/conf-alone"),
            (speech.count(1), "prompt:en-us/conf-one_caller"),
            (
                speech.count(12),
                "prompt:en-us/conf-there_are+say:number:12+conf-callers",
            ),
            (
                speech.sentence(None, 5, "conf-people_have_left"),
                "prompt:en-us/say:number:5+conf-people_have_left",
            ),
        ] {
            assert_eq!(name.as_str(), text);
        }
    }
}
