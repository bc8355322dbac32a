//! Owns the shape every stored document shares: id, revision, times, public keys. Never touches the database.

use std::fmt;
use std::str::FromStr;

use confab_conference::{AccountId, GregorianSeconds};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::kind::Kind;

/// The keys and values of a document.
pub type Body = Map<String, Value>;

/// How deep a document may nest. Stays under what the JSON parser accepts, so that whatever is stored can be read.
pub const MAX_DEPTH: usize = 100;

/// A stored JSON document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The account that owns it.
    pub account_id: AccountId,
    /// What it describes.
    pub kind: Kind,
    /// 32 lower-case hex characters, unique within the account and kind; the name of a configuration; the language and id
    /// of a prompt.
    pub id: String,
    /// The revision that was read or written.
    pub revision: Revision,
    /// When it was first saved.
    pub created: GregorianSeconds,
    /// When it was last saved.
    pub modified: GregorianSeconds,
    /// The public keys, without `id`, secrets in the clear.
    pub body: Body,
}

impl Document {
    /// Returns the id as clients see it, fit for a path: that of a prompt has a slash.
    pub fn public_id(&self) -> String {
        self.id.replace('/', "%2F")
    }

    /// Returns the document as clients see it: `id` first, then every public key.
    pub fn public(&self) -> Body {
        let mut public = Body::new();
        public.insert("id".into(), Value::String(self.public_id()));
        public.extend(self.body.iter().map(|(key, value)| (key.clone(), value.clone())));
        public
    }
}

/// A document's revision, printed `N-HASH`: `N` counts saves from 1, `HASH` is 32 hex characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    /// How often the document was saved, deletions included.
    pub saves: u32,
    /// 32 lower-case hex characters over id, count and content.
    pub hash: String,
}

impl Revision {
    /// Returns the revision of the `saves`-th save of `id` with the given serialized content.
    pub fn of(id: &str, saves: u32, content: &str) -> Revision {
        let mut hash = Sha256::new();
        hash.update(id.as_bytes());
        hash.update(saves.to_be_bytes());
        hash.update(content.as_bytes());
        Revision {
            saves,
            hash: hex::encode(&hash.finalize()[..16]),
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.saves, self.hash)
    }
}

/// The text is no revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a revision of the form N-HASH")]
pub struct NotARevision;

impl FromStr for Revision {
    type Err = NotARevision;

    fn from_str(text: &str) -> Result<Revision, NotARevision> {
        let (saves, hash) = text.split_once('-').ok_or(NotARevision)?;
        let saves = saves.parse().map_err(|_| NotARevision)?;
        is_id(hash)
            .then(|| Revision {
                saves,
                hash: hash.to_owned(),
            })
            .ok_or(NotARevision)
    }
}

/// What a writer knows about the revision it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: the change applies to whatever is stored.
    Anything,
    /// The change applies only while the document is at one of these revisions; never when there is none.
    OneOf(Vec<Revision>),
}

impl Expected {
    /// Returns whether a change may be made to a document at `current`.
    pub fn allows(&self, current: &Revision) -> bool {
        match self {
            Expected::Anything => true,
            Expected::OneOf(revisions) => revisions.contains(current),
        }
    }
}

/// Returns whether `text` has the form of a document or account id: 32 lower-case hex characters.
pub fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns a random id.
pub(crate) fn random_id() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// Returns whether `body` nests at most [`MAX_DEPTH`] levels.
pub(crate) fn depth_is_bounded(body: &Body) -> bool {
    body.values().all(|value| fits(value, MAX_DEPTH - 1))
}

fn fits(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| fits(item, levels - 1)),
        Value::Object(map) => levels > 0 && map.values().all(|item| fits(item, levels - 1)),
        _ => true,
    }
}

/// Takes out the keys that only the server writes: those that start with `_` or `pvt_`, and `id`.
pub(crate) fn drop_private_keys(body: &mut Body) {
    body.retain(|key, _| !key.starts_with('_') && !key.starts_with("pvt_") && key != "id");
}

/// Merges `change` into `target`: objects recursively, `null` deletes, everything else replaces.
pub(crate) fn merge(target: &mut Body, change: Body) {
    for (key, value) in change {
        match value {
            Value::Null => {
                target.shift_remove(&key);
            }
            Value::Object(inner) => match target.get_mut(&key) {
                Some(Value::Object(existing)) => merge(existing, inner),
                _ => {
                    let mut fresh = Body::new();
                    merge(&mut fresh, inner);
                    target.insert(key, Value::Object(fresh));
                }
            },
            value => {
                target.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(value: Value) -> Body {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_patch_merges_objects_deletes_nulls_and_replaces_the_rest() {
        let table = [
            (json!({}), json!({}), json!({})),
            (json!({"a": 1}), json!({"b": 2}), json!({"a": 1, "b": 2})),
            (json!({"a": 1}), json!({"a": null}), json!({})),
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": null}}),
                json!({"a": {"c": 2}}),
            ),
            (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            (
                json!({"a": 5}),
                json!({"a": {"b": 1, "c": null}}),
                json!({"a": {"b": 1}}),
            ),
            (json!({}), json!({"a": null}), json!({})),
        ];
        for (target, change, merged) in table {
            let mut target = body(target);
            merge(&mut target, body(change.clone()));
            assert_eq!(Value::Object(target), merged, "change {change}");
        }
    }

    #[test]
    fn private_keys_never_get_in() {
        let mut body = body(json!({
            "id": "x", "_id": 1, "_read_only": {}, "_rev": "1-a", "pvt_type": "conference", "name": "n",
            "custom": {"_kept": 1}
        }));
        drop_private_keys(&mut body);
        assert_eq!(Value::Object(body), json!({"name": "n", "custom": {"_kept": 1}}));
    }

    #[test]
    fn revisions_print_and_parse() {
        let revision = Revision::of("a", 7, "{}");
        assert_eq!(revision.to_string().parse::<Revision>(), Ok(revision.clone()));
        assert_ne!(revision, Revision::of("a", 8, "{}"));
        assert_ne!(revision.hash, Revision::of("b", 7, "{}").hash);
        for text in [
            "",
            "1",
            "1-",
            "x-9bf0c1d2e3f405162738495a6b7c8d9e",
            "-1-9bf0c1d2e3f405162738495a6b7c8d9e",
        ] {
            assert_eq!(text.parse::<Revision>(), Err(NotARevision), "{text:?}");
        }
    }

    #[test]
    fn depth_is_counted_from_the_body() {
        let nested = |levels: usize| {
            let mut value = json!(1);
            for _ in 0..levels {
                value = Value::Array(vec![value]);
            }
            Body::from_iter([("a".to_owned(), value)])
        };
        assert!(depth_is_bounded(&nested(0)));
        assert!(depth_is_bounded(&nested(MAX_DEPTH - 1)));
        assert!(!depth_is_bounded(&nested(MAX_DEPTH)));
        assert!(!depth_is_bounded(&nested(1000)));
    }

    #[test]
    fn ids_are_32_lower_case_hex_characters() {
        assert!(is_id("0123456789abcdef0123456789abcdef"));
        assert!(!is_id("0123456789ABCDEF0123456789abcdef"));
        assert!(!is_id("0123456789abcdef0123456789abcde"));
        assert!(!is_id(""));
        assert!(is_id(&random_id()));
    }
}
