//! Owns the documents that lists read lately, opened and parsed. Never decides whether one is current: who takes one says
//! which revision the database has.

use std::sync::Arc;

use moka::sync::Cache;

use super::document::Place;
use crate::document::Document;
use crate::kind::Kind;

/// The most that is kept, in octets of the stored text; parsed it takes about four times as much.
const MOST: u64 = 16 << 20;

/// Documents by the hash of their revision. One that was changed or deleted is no longer asked for and makes room in time.
pub(super) struct Recent {
    documents: Cache<String, Kept>,
}

#[derive(Clone)]
struct Kept {
    document: Arc<Document>,
    weight: u32,
}

impl Recent {
    pub(super) fn new() -> Recent {
        let documents = Cache::builder()
            .max_capacity(MOST)
            .weigher(|_, kept: &Kept| kept.weight)
            .build();
        Recent { documents }
    }

    /// Returns the document of which the database has the row `place`.
    pub(super) fn get(&self, kind: Kind, place: &Place) -> Option<Arc<Document>> {
        let document = self.documents.get(&place.hash)?.document;
        let same = document.kind == kind
            && document.account_id.as_str() == place.account
            && document.id == place.id
            && i64::from(document.revision.saves) == place.saves
            && document.created.0.cast_signed() == place.created
            && document.modified.0.cast_signed() == place.modified;
        same.then_some(document)
    }

    /// Keeps a document whose stored text had `length` octets.
    pub(super) fn put(&self, document: &Arc<Document>, length: usize) {
        let kept = Kept {
            document: document.clone(),
            weight: u32::try_from(length).unwrap_or(u32::MAX),
        };
        self.documents.insert(document.revision.hash.clone(), kept);
    }
}
