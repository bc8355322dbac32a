//! Owns the store's key: where it comes from, and sealing and opening text with it (XChaCha20-Poly1305). Never leaves
//! a readable copy behind.

use std::fs::{OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

use sha2::{Digest, Sha256};

use crate::error::StoreError;

/// The environment variable that holds the key instead of the key file: 64 hex characters.
pub(crate) const KEY_VARIABLE: &str = "CONFAB_KEY";

/// The key file's name within the data directory.
const KEY_FILE: &str = "confab.key";

/// The length of XChaCha20's nonce in bytes. It is long enough to be drawn by chance for every text.
const NONCE_BYTES: usize = 24;

/// Where the key comes from.
pub(crate) enum KeyOrigin {
    /// A file in the data directory, made when it is not there.
    File(PathBuf),
    /// Text handed in, as the environment variable is.
    Given(String),
}

impl KeyOrigin {
    pub(crate) fn in_directory(data_dir: &Path) -> KeyOrigin {
        KeyOrigin::File(data_dir.join(KEY_FILE))
    }

    /// Returns the origin's name for an operator.
    pub(crate) fn name(&self) -> String {
        match self {
            KeyOrigin::File(path) => format!("the key file {}", path.display()),
            KeyOrigin::Given(_) => format!("the environment variable {KEY_VARIABLE}"),
        }
    }

    /// Reads the key. A key file that is missing is made, unless the database needs the one it was made with.
    /// Blocks on the disk.
    pub(crate) fn load(&self, must_exist: bool) -> Result<Sealer, StoreError> {
        let text = match self {
            KeyOrigin::Given(text) => text.clone(),
            KeyOrigin::File(path) if must_exist && !path.exists() => {
                return Err(StoreError::MissingKey { path: path.clone() });
            }
            KeyOrigin::File(path) => read_or_make(path).map_err(|error| StoreError::KeyFile {
                path: path.clone(),
                error,
            })?,
        };
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim(), &mut key)
            .map_err(|_| StoreError::MalformedKey { origin: self.name() })?;
        Ok(Sealer {
            cipher: XChaCha20Poly1305::new(&Key::from(key)),
            hint_key: Sha256::new()
                .chain_update(b"confab hints")
                .chain_update(key)
                .finalize()
                .into(),
        })
    }
}

fn read_or_make(path: &Path) -> std::io::Result<String> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(mut file) => {
            let text = hex::encode(rand::random::<[u8; 32]>());
            writeln!(file, "{text}")?;
            file.sync_all()?;
            Ok(text)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mut file = OpenOptions::new().read(true).open(path)?;
            if file.metadata()?.permissions().mode() & 0o077 != 0 {
                tracing::warn!(path = %path.display(), "the key file was readable by others; mode set to 0600");
                file.set_permissions(Permissions::from_mode(0o600))?;
            }
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text)
        }
        Err(error) => Err(error),
    }
}

/// The sealed text was made with another key, for another place, or was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOurs;

/// Seals and opens text. A sealed text is hex, and opens only for the place it was sealed for.
pub(crate) struct Sealer {
    cipher: XChaCha20Poly1305,
    hint_key: [u8; 32],
}

impl Sealer {
    /// Returns `text` sealed for `place`.
    pub(crate) fn seal(&self, place: &str, text: &str) -> String {
        let nonce = rand::random::<[u8; NONCE_BYTES]>();
        let payload = Payload {
            msg: text.as_bytes(),
            aad: place.as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("XChaCha20-Poly1305 seals any text under 256 GiB");
        hex::encode([&nonce[..], &sealed].concat())
    }

    /// Returns eight bits that tell most texts apart, and say nothing about a text to those who have not the key. To those
    /// who have it, they spare 255 of 256 guesses: too few bits to make up for a slow hash.
    pub(crate) fn hint(&self, place: &str, text: &str) -> u8 {
        let hash = Sha256::new()
            .chain_update(self.hint_key)
            .chain_update(place.len().to_be_bytes())
            .chain_update(place)
            .chain_update(text);
        hash.finalize()[0]
    }

    /// Returns the text that was sealed for `place`.
    pub(crate) fn open(&self, place: &str, sealed: &str) -> Result<String, NotOurs> {
        let bytes = hex::decode(sealed).map_err(|_| NotOurs)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(NotOurs)?;
        let payload = Payload {
            msg: sealed,
            aad: place.as_bytes(),
        };
        let text = self
            .cipher
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| NotOurs)?;
        String::from_utf8(text).map_err(|_| NotOurs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn sealer(byte: &str) -> Sealer {
        KeyOrigin::Given(byte.repeat(32))
            .load(false)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn what_was_sealed_opens_for_the_same_key_and_place_only() {
        let sealed = sealer("ab").seal("a/b", "geheim ä");
        assert!(!sealed.contains("geheim"));
        assert_eq!(sealer("ab").open("a/b", &sealed), Ok("geheim ä".into()));
        assert_eq!(sealer("ab").open("a/c", &sealed), Err(NotOurs));
        assert_eq!(sealer("ac").open("a/b", &sealed), Err(NotOurs));
        for broken in ["", "zz", "00", &sealed[2..], &format!("{sealed}00")] {
            assert_eq!(sealer("ab").open("a/b", broken), Err(NotOurs));
        }
        assert_ne!(
            sealed,
            sealer("ab").seal("a/b", "geheim ä"),
            "every sealing draws a nonce"
        );
    }

    #[test]
    fn the_key_file_is_made_once_and_private() {
        let dir = TempDir::new().unwrap();
        let origin = KeyOrigin::in_directory(dir.path());
        let sealed = origin.load(false).ok().unwrap().seal("", "x");
        let path = dir.path().join(KEY_FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(origin.load(false).ok().unwrap().open("", &sealed), Ok("x".into()));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_is_none_is_named_with_its_origin() {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join(KEY_FILE), "short\n").unwrap();
        let error = KeyOrigin::in_directory(dir.path())
            .load(false)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("confab.key") && error.contains("64 hex"),
            "{error}"
        );
        let error = KeyOrigin::Given("x".into())
            .load(false)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(KEY_VARIABLE), "{error}");
    }
}
