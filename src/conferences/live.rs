//! The registry as the HTTP interface sees it. Translates; decides nothing.

use async_trait::async_trait;
use confab_api::{ControlError, LiveConferences, MediaProblem};
use confab_conference::{AccountId, ConferenceId, Control, MediaName, ParticipantId, Settings, Snapshot};

use super::media::MixPlane;
use super::registry::Registry;

#[async_trait]
impl<M: MixPlane> LiveConferences for Registry<M> {
    async fn snapshot(&self, account: &AccountId, conference: &ConferenceId) -> Option<Snapshot> {
        Registry::snapshot(self, account, conference).await
    }

    async fn control(
        &self,
        account: &AccountId,
        conference: &ConferenceId,
        control: Control,
    ) -> Result<(), ControlError> {
        Ok(Registry::control(self, account, conference, control).await?)
    }

    async fn end_all(&self, account: &AccountId) {
        for conference in self.running_of(account) {
            // Who ended meanwhile has ended.
            let _ = Registry::control(self, account, &conference, Control::End).await;
        }
    }

    async fn account_of(&self, conference: &ConferenceId) -> Option<AccountId> {
        Registry::account_of(self, conference)
    }

    async fn move_participant(
        &self,
        account: &AccountId,
        from: &ConferenceId,
        participant: ParticipantId,
        to: &ConferenceId,
        settings: Settings,
    ) -> Result<ParticipantId, ControlError> {
        Ok(Registry::move_participant(self, account, from, participant, to, settings).await?)
    }

    async fn check_media(&self, account: &AccountId, media: &MediaName) -> Result<(), MediaProblem> {
        self.sounds().of(account).check(media).await.map(drop)
    }

    async fn check_tone(&self, account: &AccountId, media: &MediaName) -> Result<(), MediaProblem> {
        self.sounds().of(account).check_tone(media).await
    }

    async fn updated(&self, account: &AccountId, conference: &ConferenceId, settings: Settings) {
        Registry::update(self, account, conference, settings).await;
    }
}
