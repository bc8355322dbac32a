//! Owns the identity of a dialog (RFC 3261 §12).

use crate::message::{CallId, Essentials, Tag};

/// Call-ID and both tags, in one compact allocation of its own. An absent tag, as RFC 2543 allowed, is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DialogId(Box<[u8]>);

impl DialogId {
    pub(crate) fn new(call_id: &CallId, local_tag: Option<&Tag>, remote_tag: Option<&Tag>) -> Self {
        let mut bytes = Vec::with_capacity(96);
        // NUL is in no header value.
        for part in [
            call_id.as_bytes(),
            local_tag.map_or(b"", Tag::as_bytes),
            remote_tag.map_or(b"", Tag::as_bytes),
        ] {
            bytes.extend_from_slice(part);
            bytes.push(0);
        }
        DialogId(bytes.into_boxed_slice())
    }

    /// The dialog a received request belongs to: our tag is in To.
    pub(crate) fn of_request(essentials: &Essentials) -> Self {
        Self::new(
            &essentials.call_id,
            essentials.to_tag().as_ref(),
            essentials.from_tag().as_ref(),
        )
    }

    /// The dialog a received response belongs to: our tag is in From.
    pub(crate) fn of_response(essentials: &Essentials) -> Self {
        Self::new(
            &essentials.call_id,
            essentials.from_tag().as_ref(),
            essentials.to_tag().as_ref(),
        )
    }
}
