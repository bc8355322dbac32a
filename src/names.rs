//! Names of callers as they have spoken them in this call. Owns their samples for as long as anybody may want to hear them; never plays
//! anything.

use std::sync::Arc;

use confab_conference::MediaName;
use confab_media::{Clip, Sound};
use confab_recording::Audio;

use crate::sounds::Audible;

/// A name that was recorded. Clones share the samples; they are freed with the last clone.
///
/// It has a name among media that nobody can guess, and means something only where somebody holds it: no API user can play it.
#[derive(Clone)]
pub(crate) struct SpokenName(Arc<Recorded>);

struct Recorded {
    id: MediaName,
    audio: Audio,
}

impl SpokenName {
    /// Keeps what was recorded.
    pub(crate) fn new(audio: Audio) -> SpokenName {
        let id = format!("name:{:032x}", rand::random::<u128>());
        SpokenName(Arc::new(Recorded {
            id: MediaName::from(id.as_str()),
            audio,
        }))
    }

    /// Returns what it is called among media.
    pub(crate) fn id(&self) -> &MediaName {
        &self.0.id
    }

    /// Returns what was recorded.
    pub(crate) fn audio(&self) -> &Audio {
        &self.0.audio
    }

    /// Returns how much memory its samples take, in octets.
    pub(crate) fn octets(&self) -> usize {
        self.0.audio.samples.len() * 2
    }

    /// Returns it to be heard once. What is made for a play, at the rate of its mix, is freed with the play.
    pub(crate) fn audible(&self) -> Audible {
        let Audio { rate_hz, samples } = self.audio();
        let clip = Clip::new(*rate_hz, samples.clone());
        Audible {
            sounds: clip.map(Sound::clip).into_iter().collect(),
            ..Audible::default()
        }
    }

    /// Returns something by which to see that it was freed.
    #[cfg(test)]
    pub(crate) fn trace(&self) -> impl Fn() -> bool + use<> {
        let trace = Arc::downgrade(&self.0);
        move || trace.upgrade().is_none()
    }
}

impl std::fmt::Debug for SpokenName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SpokenName").field(&self.octets()).finish()
    }
}
