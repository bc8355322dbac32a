//! Whose certificates are believed: the authorities of a file, or those of the machine.
//!
//! Owns the reading of both. It looks at no certificate itself.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::sync::OnceCell;

use super::{ServerCertificate, client_config, read};

/// What connections are opened with over TLS.
pub(crate) struct Trust {
    authorities: Option<PathBuf>,
    own: Option<ServerCertificate>,
    /// Made when the first connection is opened: most servers open none, and reading the machine's authorities takes a while.
    config: OnceCell<Arc<ClientConfig>>,
}

impl Trust {
    /// Believes in the authorities of this file, or in those of the machine, and shows `own` to servers that ask for a certificate.
    pub(crate) fn new(authorities: Option<PathBuf>, own: Option<ServerCertificate>) -> Trust {
        Trust {
            authorities,
            own,
            config: OnceCell::new(),
        }
    }

    /// Returns what a connection is opened with.
    ///
    /// # Errors
    /// The file of the authorities cannot be used any more; the next connection looks again.
    pub(crate) async fn client_config(&self) -> Result<Arc<ClientConfig>, String> {
        let make = async || {
            let file = self.authorities.clone();
            let roots = tokio::task::spawn_blocking(move || match file {
                Some(file) => authorities(&file),
                None => Ok(of_the_machine()),
            });
            let roots = roots.await.map_err(|error| error.to_string())??;
            Ok(client_config(roots, self.own.as_ref()))
        };
        self.config.get_or_try_init(make).await.cloned()
    }
}

/// Reads the authorities of a PEM file, at least one. Blocks on the file system.
///
/// # Errors
/// The file cannot be read, or something in it is no certificate.
pub(crate) fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let name = path.display();
    let pem = read(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("{name} is no PEM file ({error})"))?;
        let added = roots.add(certificate);
        added.map_err(|error| format!("{name} has something in it that is no certificate ({error})"))?;
    }
    if roots.is_empty() {
        return Err(format!(
            "{name} has no certificate in it: a PEM file with BEGIN CERTIFICATE is wanted"
        ));
    }
    Ok(roots)
}

fn of_the_machine() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "reading the authorities of this machine");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(
            "this machine has no authorities: no server can be reached over TLS; name some in sip.tls_ca"
        );
    }
    roots
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn a_file_of_authorities_has_certificates_in_it() {
        let folder = tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let made = generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let two = made.cert.pem().repeat(2);
        assert_eq!(authorities(&file("two.pem", &two)).unwrap().len(), 2);
        for (text, words) in [
            ("", "has no certificate in it"),
            (&made.signing_key.serialize_pem(), "has no certificate in it"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "is no certificate",
            ),
        ] {
            let error = authorities(&file("bad.pem", text)).unwrap_err();
            assert!(error.contains("bad.pem") && error.contains(words), "{error}");
        }
        let missing = authorities(&folder.path().join("missing.pem")).unwrap_err();
        assert!(missing.contains("name a file that exists"), "{missing}");
    }

    #[tokio::test]
    async fn a_file_that_is_mended_is_used_by_the_next_connection() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let trust = Trust::new(Some(path.clone()), None);
        assert!(trust.client_config().await.is_err());
        let made = generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        std::fs::write(&path, made.cert.pem()).unwrap();
        assert!(trust.client_config().await.is_ok());
    }
}
