//! Which recordings are kept no longer: those that are too old, and the oldest of an amount that is too much. Owns the rule; deletes none.

use std::path::Path;
use std::time::Duration;

use super::adoption::folders;
use super::sheet::{Sheet, Stage};

/// How long and how much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `None`: for ever.
    pub(crate) age: Option<Duration>,
    /// Bytes of all recordings; `None`: any.
    pub(crate) bytes: Option<u64>,
}

impl Limits {
    pub(super) fn are_set(self) -> bool {
        self.age.is_some() || self.bytes.is_some()
    }
}

/// Returns the recordings below `root` that are to go by now, milliseconds since 1970, the oldest first. Those that go on, and those that have no
/// document yet, are not among them.
pub(super) fn due(root: &Path, limits: Limits, now_ms: u64) -> Vec<Sheet> {
    let all = folders(root).into_iter().flat_map(|account| folders(&account));
    let mut listed: Vec<Sheet> = all.filter_map(|folder| listed(&folder)).collect();
    listed.sort_by(|one, other| (one.started_ms, &one.id).cmp(&(other.started_ms, &other.id)));
    let mut left: u64 = listed.iter().map(size).sum();
    let mut is_due = |sheet: &Sheet| {
        let ended_ms = sheet.started_ms.saturating_add(sheet.duration_ms);
        let age = Duration::from_millis(now_ms.saturating_sub(ended_ms));
        let is_due =
            limits.age.is_some_and(|most| age > most) || limits.bytes.is_some_and(|most| left > most);
        if is_due {
            left -= size(sheet);
        }
        is_due
    };
    listed.extract_if(.., |sheet| is_due(sheet)).collect()
}

fn listed(folder: &Path) -> Option<Sheet> {
    let sheet = Sheet::read(folder).ok()?;
    (sheet.stage == Stage::Listed).then_some(sheet)
}

fn size(sheet: &Sheet) -> u64 {
    sheet.files.iter().map(|file| file.octets).sum()
}
