//! Owns documents that are never stored: those that a request writes out in full. Never touches the database.

use confab_conference::{AccountId, GregorianSeconds};

use crate::document::{Body, Document, Revision};
use crate::kind::Kind;
use crate::prepare::prepare;
use crate::schema::Violations;

impl Document {
    /// Returns what a client wrote as a document under this id, completed and checked as one that is stored would be, but for what only the
    /// other documents of the account could break.
    ///
    /// # Errors
    /// All broken rules together.
    pub fn unsaved(account: &AccountId, kind: Kind, id: &str, body: Body) -> Result<Document, Violations> {
        Ok(Document {
            account_id: account.clone(),
            kind,
            id: id.to_owned(),
            revision: Revision::of(id, 0, ""),
            created: GregorianSeconds(0),
            modified: GregorianSeconds(0),
            body: prepare(kind, "", body)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_that_is_not_stored_has_defaults_and_keeps_the_rules() {
        let account = AccountId::from("a");
        let body = |value: serde_json::Value| value.as_object().cloned().unwrap_or_default();
        let device = Document::unsaved(&account, Kind::Device, "d", body(json!({"name": "Phone"})));
        let device = device.unwrap();
        assert_eq!(device.body["enabled"], true);
        assert_eq!((device.id.as_str(), device.revision.saves), ("d", 0));
        let wrong = Document::unsaved(
            &account,
            Kind::Device,
            "d",
            body(json!({"sip": {"method": "ip"}})),
        );
        let wrong = wrong.unwrap_err().to_json();
        assert!(wrong["name"]["required"].is_object(), "{wrong:?}");
        assert!(wrong["sip.ip"]["required"].is_object(), "{wrong:?}");
    }
}
