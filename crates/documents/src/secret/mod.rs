//! Owns how secrets rest: sealed text for what must be read back, verifiers for what must only be recognised. Never
//! logs a secret.

mod key;
mod password;

pub(crate) use key::{KEY_VARIABLE, KeyOrigin, Sealer};
pub use password::{Credentials, PasswordVerifier};
