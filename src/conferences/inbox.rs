//! What the media plane says about one conference's legs, waiting for the conference's task.
//!
//! Holds at most one entry per leg and kind: states and levels, not a history; two of each play, and one for each leg that misses it, of which the conference
//! allows so many; and [`KEYS`] keys. Writing never waits, so that one busy
//! conference cannot hold up the others.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use confab_conference::ParticipantId;
use confab_media::PlayId;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Keys that wait, of all legs; more are left out: nobody presses as many before the task's next turn.
const KEYS: usize = 256;

/// The latest reports, by participant.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Last energy scores.
    pub(super) energy: BTreeMap<ParticipantId, u16>,
    /// Last talking states.
    pub(super) talking: BTreeMap<ParticipantId, bool>,
    /// Last floor holder, when the floor was reported.
    pub(super) floor: Option<Option<ParticipantId>>,
    /// Keys that were pressed, in order, and when that was told.
    pub(super) keys: Vec<(ParticipantId, char, Instant)>,
    /// What became of plays, in order.
    pub(super) plays: Vec<PlayReport>,
}

/// What became of a play.
#[derive(Clone, Copy, Debug)]
pub(super) enum PlayReport {
    /// It is heard from here on.
    Started(PlayId),
    /// It is an announcement that one participant does not hear.
    Missed(PlayId, ParticipantId),
    /// It is over.
    Ended(PlayId),
}

/// One conference's inbox: the dispatcher writes, the conference's task takes.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    reports: Mutex<Reports>,
    arrived: Notify,
}

impl Inbox {
    pub(super) fn talking(&self, participant: ParticipantId, talking: bool) {
        self.reports().talking.insert(participant, talking);
        self.arrived.notify_one();
    }

    pub(super) fn energy(&self, participant: ParticipantId, score: u16) {
        self.reports().energy.insert(participant, score);
        self.arrived.notify_one();
    }

    pub(super) fn key(&self, participant: ParticipantId, key: char) {
        let mut reports = self.reports();
        if reports.keys.len() < KEYS {
            reports.keys.push((participant, key, Instant::now()));
        }
        drop(reports);
        self.arrived.notify_one();
    }

    pub(super) fn floor(&self, holder: Option<ParticipantId>) {
        self.reports().floor = Some(holder);
        self.arrived.notify_one();
    }

    pub(super) fn play(&self, report: PlayReport) {
        self.reports().plays.push(report);
        self.arrived.notify_one();
    }

    /// Waits until something may have arrived. Cancel-safe.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes everything that has arrived.
    pub(super) fn take(&self) -> Reports {
        std::mem::take(&mut self.reports())
    }

    fn reports(&self) -> MutexGuard<'_, Reports> {
        // The lock is held for single map operations only: what a panic leaves behind is whole.
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
