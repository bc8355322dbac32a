//! Replaces (RFC 3891): an INVITE that is to take the place of a call.
//!
//! Owns the reading of the header and the call that it means. Whether the caller may is for the user to say.

use std::fmt;

use super::check::Refusal;
use super::stack::Stack;
use super::{CallKey, Endpoint};
use crate::byte_str::ByteStr;
use crate::dialog::DialogId;
use crate::message::{CallId, HeaderName, Headers, StatusCode, Tag};

/// The dialog that a Replaces header names, as the side that receives it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    /// Call-ID.
    pub call_id: CallId,
    /// The tag of the side that receives the header.
    pub to_tag: Tag,
    /// The tag of the other side.
    pub from_tag: Tag,
    /// Only while the dialog is early.
    pub early_only: bool,
}

impl Replaces {
    /// Reads the value of a Replaces header; `None` for what is none.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Replaces> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.split(';').map(str::trim);
        let call_id = parts.next().filter(|id| is_word(id))?;
        let (mut to_tag, mut from_tag, mut early_only) = (None, None, false);
        for part in parts {
            let (name, value) = part
                .split_once('=')
                .map_or((part, None), |(name, value)| (name.trim(), Some(value.trim())));
            let tag = |known: &Option<Tag>| match value {
                // Each exactly once (RFC 3891 §6.1).
                Some(value) if known.is_none() && is_word(value) => Some(Tag::new(value)),
                _ => None,
            };
            if name.eq_ignore_ascii_case("to-tag") {
                to_tag = Some(tag(&to_tag)?);
            } else if name.eq_ignore_ascii_case("from-tag") {
                from_tag = Some(tag(&from_tag)?);
            } else if name.eq_ignore_ascii_case("early-only") {
                early_only = true;
            }
        }
        Some(Replaces {
            call_id: CallId::new(call_id),
            to_tag: to_tag?,
            from_tag: from_tag?,
            early_only,
        })
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let early = if self.early_only { ";early-only" } else { "" };
        let call_id = self.call_id.to_str_lossy();
        write!(
            f,
            "{call_id};to-tag={};from-tag={}{early}",
            self.to_tag, self.from_tag
        )
    }
}

/// What may stand in a Call-ID or a tag, and be written into a header again: visible characters without the separators of
/// parameters.
fn is_word(text: &str) -> bool {
    let is_visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b';' | b',' | b'=');
    !text.is_empty() && text.bytes().all(is_visible)
}

impl Endpoint {
    /// Returns the call whose dialog this is, once it was answered and until it is over. Whether it is `early_only` is not asked.
    #[must_use]
    pub fn call_named(&self, replaces: &Replaces) -> Option<CallKey> {
        let key = find(&self.stack, replaces)?;
        let call = &self.calls.get(&key)?.call;
        (call.is_confirmed() && !call.has_ended()).then_some(key)
    }

    /// Finds the call that a new INVITE is to replace; `None` where it is to replace none.
    pub(super) fn replaced(&self, headers: &Headers) -> Result<Option<CallKey>, Refusal> {
        let mut values = headers.get_all(&HeaderName::Replaces);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let bad = || Refusal {
            reason: Some("Bad Replaces".to_owned()),
            ..Refusal::new(StatusCode::BAD_REQUEST)
        };
        let has_join = headers.has(&HeaderName::from_token(ByteStr::from("Join")));
        if values.next().is_some() || has_join {
            return Err(bad());
        }
        let replaces = Replaces::parse(value).ok_or_else(bad)?;
        find(&self.stack, &replaces)
            .filter(|key| self.calls.contains_key(key))
            .ok_or_else(|| Refusal::new(StatusCode::CALL_DOES_NOT_EXIST))
            .and_then(|key| {
                let call = self.calls.get(&key).map(|slot| &slot.call);
                match call {
                    // RFC 3891 §3: it is over, or there is nothing to replace yet.
                    Some(call) if call.has_ended() => Err(Refusal::new(StatusCode::DECLINE)),
                    Some(call) if !call.is_confirmed() => Err(Refusal::new(StatusCode::CALL_DOES_NOT_EXIST)),
                    Some(_) if replaces.early_only => Err(Refusal::new(StatusCode::BUSY_HERE)),
                    Some(_) => Ok(Some(key)),
                    None => Err(Refusal::new(StatusCode::CALL_DOES_NOT_EXIST)),
                }
            })
    }
}

fn find(stack: &Stack, replaces: &Replaces) -> Option<CallKey> {
    let id = DialogId::new(
        &replaces.call_id,
        Some(&replaces.to_tag),
        Some(&replaces.from_tag),
    );
    stack.dialogs.get(&id).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzz_replaces;

    #[test]
    fn a_dialog_is_named_by_its_call_id_and_both_tags() {
        let found = Replaces::parse(b"12adf2f34456gs5@host;to-tag=12345 ; From-Tag=54321").unwrap();
        assert_eq!(
            (
                found.call_id.to_str_lossy(),
                found.to_tag.to_string(),
                found.from_tag.to_string()
            ),
            (
                "12adf2f34456gs5@host".into(),
                "12345".to_owned(),
                "54321".to_owned()
            )
        );
        assert!(!found.early_only);
        assert!(
            Replaces::parse(b"a;to-tag=1;from-tag=2;early-only;x=y")
                .unwrap()
                .early_only
        );
        for wrong in [
            "",
            "a",
            "a;to-tag=1",
            "a;from-tag=1",
            ";to-tag=1;from-tag=2",
            "a;to-tag=;from-tag=2",
            "a;to-tag=1;to-tag=2;from-tag=3",
            "a;to-tag;from-tag=2",
            "a b;to-tag=1;from-tag=2",
            "a;to-tag=1\r\n2;from-tag=2",
            "ä;to-tag=1;from-tag=2",
        ] {
            assert_eq!(Replaces::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_a_dialog_or_none(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            fuzz_replaces(&value);
        }

        #[test]
        fn what_is_read_can_be_written_and_read_again(
            value in "[a-z0-9@.]{1,20};(to-tag=[a-z0-9]{1,9};from-tag|from-tag=[a-z]{1,9};to-tag)=[a-z!;= ]{1,9}(;early-only)?"
        ) {
            fuzz_replaces(value.as_bytes());
        }
    }
}
