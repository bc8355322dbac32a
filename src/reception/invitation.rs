//! Somebody who was called to a conference and has answered, and has yet to say that he comes: a machine that answers does not press a key.
//!
//! Owns what he hears meanwhile; who hears his keys decides.

use std::sync::Arc;

use confab_conference::AccountId;
use confab_media::{ControlError, LegHandle};
use confab_reception::Saying;

use super::{Desk, lobby::Lobby, speech};

/// The key that says yes.
pub(crate) const YES: char = '1';
/// How often he is asked.
const TIMES: usize = 3;
const PROMPT: &str = "conf-invited";
const PAUSE: &str = "silence_stream://1500";

/// A leg that is alone and hears the question. Dropped, its mix ends when the leg has gone on.
pub(crate) struct Invited {
    lobby: Lobby,
}

impl Invited {
    /// Begins to ask.
    ///
    /// # Errors
    /// The media plane has no place for it.
    pub(crate) async fn ask(
        desk: &Desk,
        leg: &Arc<LegHandle>,
        (account, language): (&AccountId, &str),
    ) -> Result<Invited, ControlError> {
        let lobby = Lobby::enter(&desk.media, leg).await?;
        let said = |name: &str| Saying::Media(name.to_owned());
        let sayings: Vec<Saying> = (0..TIMES).flat_map(|_| [said(PROMPT), said(PAUSE)]).collect();
        let sounds = speech::sounds(desk, &sayings, None, account, language).await;
        lobby.play(sounds).await?;
        Ok(Invited { lobby })
    }

    /// Asks no more.
    pub(crate) async fn stop(&self) {
        self.lobby.stop().await;
    }
}
