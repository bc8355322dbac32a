//! What is found among the recordings when the server starts: those that it was interrupted in are ended, those that have no document yet
//! get one, and those that were being deleted are. Never deletes what nobody asked to have deleted.

use std::io;
use std::path::{Path, PathBuf};

use super::part::{Of, mend};
use super::sheet::{Sheet, Stage};
use super::writer::seal;
use super::{Ended, FOLDER};

/// Ends a folder's name whose recording is being deleted.
pub(super) const DELETED: &str = ".deleted";

/// Ends what was interrupted and returns what has no document yet.
pub(crate) fn adopt(data_dir: &Path) -> Vec<Ended> {
    let root = data_dir.join(FOLDER);
    let mut found = Vec::new();
    for account in folders(&root) {
        for folder in folders(&account) {
            if folder.extension().is_some_and(|end| end == &DELETED[1..]) {
                if let Err(error) = std::fs::remove_dir_all(&folder) {
                    tracing::warn!(folder = %folder.display(), %error, "a deleted recording is still there");
                }
                continue;
            }
            match adopt_one(&folder) {
                Ok(Some(sheet)) => found.push(Ended { folder, sheet }),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "a recording cannot be read; its files stay as they are");
                }
            }
        }
    }
    found
}

fn adopt_one(folder: &Path) -> io::Result<Option<Sheet>> {
    let mut sheet = Sheet::read(folder)?;
    match sheet.stage {
        Stage::Listed => Ok(None),
        Stage::Written => Ok(Some(sheet)),
        Stage::Recording => {
            end(folder, &mut sheet)?;
            tracing::info!(
                recording = sheet.id,
                duration_ms = sheet.duration_ms,
                "a recording that was interrupted is adopted"
            );
            Ok(Some(sheet))
        }
    }
}

/// Ends an interrupted recording: what is there is what there is.
fn end(folder: &Path, sheet: &mut Sheet) -> io::Result<()> {
    let mut tracks: Vec<(Of, u32, String)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some((of, part)) = Of::parse(&name) {
            tracks.push((of, part, name));
        }
    }
    // The mix first, then as they are named; the parts of one in their order.
    tracks.sort_by_key(|(of, part, _)| (order(*of), *part));
    sheet.files.clear();
    let mut begin = (None, 0);
    for (of, _, name) in tracks {
        let octets = mend(&folder.join(&name), sheet.rate_hz)?;
        let duration_ms = octets * 500 / u64::from(sheet.rate_hz.max(1));
        let begin_ms = if begin.0 == Some(of) { begin.1 } else { 0 };
        sheet
            .files
            .push(of.told(name, begin_ms, duration_ms, octets + 44));
        begin = (Some(of), begin_ms + duration_ms);
    }
    sheet.close();
    sheet.interrupted = true;
    seal(folder, sheet)
}

fn order(of: Of) -> (u8, u64) {
    match of {
        Of::Mix => (0, 0),
        Of::Server => (1, 0),
        Of::Participant(id) => (2, id),
        Of::Leg(id) => (3, id),
    }
}

/// Returns the folders in a folder, in the order of their names; none of one that cannot be read.
pub(super) fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    folders
}
