//! Typed header values: what the raw text of a header means.
//!
//! Owns the types and their reading and printing. It never looks at more than one value at a time; the getters on
//! `Headers` walk lists and several fields.

mod content;
mod cseq;
mod id;
mod name_addr;
mod reason;
mod session_expires;
#[cfg(test)]
mod tests;
mod via;

pub use content::{MediaType, RetryAfter};
pub use cseq::CSeq;
pub use id::{Branch, CallId, Tag};
pub use name_addr::NameAddr;
pub use reason::Reason;
pub use session_expires::{Refresher, SessionExpires};
pub use via::Via;
