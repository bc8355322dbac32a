//! Accounts and their documents: what a valid document is, and the store that keeps them.
//!
//! A document is JSON of a [`Kind`], with an id (32 hex characters but for prompts and configurations) and a revision
//! `N-HASH`. What a client sends is stripped of keys
//! that only the server writes, repaired in type where that loses nothing, completed with the schema's defaults and
//! then checked; all broken rules are reported together ([`Violations`]). Unknown keys are kept and returned.
//!
//! # What it does not do
//! It speaks no HTTP and no SIP: the layers above turn a [`SaveError`] into a status. It knows nothing of running
//! conferences; [`settings`] says what a document means for one. It never returns or logs a user's password.
//!
//! # Main types
//! - [`Store`]: one SQLite file in the data directory (write-ahead log, migrations), or a PostgreSQL database; the same
//!   statements for both. Cheap to clone.
//! - [`Document`], [`Revision`], [`Expected`]: what is stored, and what a writer expects to change.
//! - [`Schema`], [`Violations`]: the rules and the broken ones.
//! - [`MediaFile`]: what is known of the audio of a media document; [`Store::create_media`] and [`Store::put_media_bytes`] store it.
//! - [`Route`]: the conference behind a dialled number and the role that the number gives.
//! - [`DeviceLogin`]: the device behind credentials or an address; [`Registration`]: where one is reached, kept over a restart.
//! - [`BootstrapConfig`], [`FirstStart`]: the first account of an empty store.
//!
//! # Secrets
//! API keys and the passwords that SIP needs (of devices, trunks and bridges) are sealed with XChaCha20-Poly1305. The key is `confab.key` in the data directory
//! (mode 0600), or the environment variable `CONFAB_KEY` (64 hex characters). An API key is looked up by its SHA-256. Of a
//! user's password only argon2id verifiers are kept, and eight bits of a keyed hash, by which a login, which names no user,
//! finds whose verifier to ask.
//!
//! # Example
//! ```
//! use confab_documents::{BootstrapConfig, Store, settings};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # let directory = tempfile::tempdir()?;
//! # let data_dir = directory.path();
//! # runtime.block_on(async {
//! let store = Store::open(data_dir, "").await?;
//! let config = BootstrapConfig { conference_number: "3000".into(), ..Default::default() };
//! let first = store.bootstrap(config).await?.expect("the store was empty");
//!
//! let route = store.route(&first.account_id, "+30-00").await?.expect("the ready conference");
//! assert!(!settings(&route.document).member.join_muted);
//! store.close().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
mod conference;
mod document;
mod error;
mod kind;
mod prepare;
mod reception;
pub mod schema;
mod secret;
mod store;
mod unsaved;

pub use account::{API_KEY_LENGTH, Account, USUAL_MAX_CALL};
pub use conference::{
    AccountDefaults, check as check_conference, language, named_sound, settings, settings_with, shown_caller,
};
pub use document::{Body, Document, Expected, MAX_DEPTH, NotARevision, Revision, is_id};
pub use error::{SaveError, StoreError};
pub use kind::{CONFERENCES_CONFIGURATION, Kind};
pub use reception::{DialPlan, call_flow};
pub use schema::{Rule, Schema, Violation, Violations};
pub use secret::{Credentials, PasswordVerifier};
pub use store::{
    AccountName, BootstrapConfig, Change, DeviceLogin, FirstStart, ListOrder, ListPage, ListScope, Login,
    MAX_MEDIA_BYTES, MediaFile, Registration, RegistrationKey, Route, RouteRole, Store,
};
