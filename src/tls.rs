//! The certificates that the server shows: read from PEM files, checked, exchanged while they are in use; and whose certificates it
//! believes.
//!
//! Owns the reading of certificate and key, and what makes them unusable. Opens no socket; whether and when a file is read again is
//! decided by who asks: nothing here watches files.

mod trust;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureScheme,
    client::ResolvesClientCert,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
pub(crate) use trust::{Trust, authorities};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificate, first that of the server, then those of the authorities between; PEM.
    pub(crate) certificate: PathBuf,
    /// Its private key, not encrypted; PEM.
    pub(crate) key: PathBuf,
}

/// Which of the two files a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsFile {
    /// The certificate.
    Certificate,
    /// The key.
    Key,
}

/// Why certificate and key cannot be used. Never holds what is in the key's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct TlsFilesError {
    /// The file to look at.
    pub(crate) file: TlsFile,
    /// What is wrong with it, and what to do.
    pub(crate) text: String,
}

impl TlsFiles {
    /// Reads both files and checks that they belong together. Blocks on the file system.
    ///
    /// # Errors
    /// A file cannot be read, has nothing of the kind in it, or both do not belong together.
    pub(crate) fn check(&self) -> Result<(), TlsFilesError> {
        self.read().map(|_| ())
    }

    /// Checks that the server's certificate is good at `now`. Blocks on the file system.
    ///
    /// # Errors
    /// The time of the certificate is over, or has not begun.
    pub(crate) fn check_time(&self, now: SystemTime) -> Result<(), TlsFilesError> {
        let wrong = |text| TlsFilesError {
            file: TlsFile::Certificate,
            text,
        };
        let name = self.certificate.display();
        let chain = self.certificates().map_err(wrong)?;
        // What cannot be read here is judged by who uses it.
        let Some(Ok((_, certificate))) = chain.first().map(|der| X509Certificate::from_der(der)) else {
            return Ok(());
        };
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let validity = certificate.validity();
        if now > validity.not_after.timestamp() {
            let end = validity.not_after;
            return Err(wrong(format!(
                "the certificate in {name} has expired ({end}): clients refuse it"
            )));
        }
        if now < validity.not_before.timestamp() {
            let begin = validity.not_before;
            return Err(wrong(format!(
                "the certificate in {name} is not good before {begin}: clients refuse it, or this machine's clock is wrong"
            )));
        }
        Ok(())
    }

    fn read(&self) -> Result<CertifiedKey, TlsFilesError> {
        let wrong = |file, text| TlsFilesError { file, text };
        let chain = self
            .certificates()
            .map_err(|text| wrong(TlsFile::Certificate, text))?;
        let key = self.private_key().map_err(|text| wrong(TlsFile::Key, text))?;
        let (certificate_name, key_name) = (self.certificate.display(), self.key.display());
        let provider = provider();
        if provider.key_provider.load_private_key(key.clone_key()).is_err() {
            let text =
                format!("{key_name} has a key of a kind that is not known here: use RSA, ECDSA or Ed25519");
            return Err(wrong(TlsFile::Key, text));
        }
        CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let text = format!("{key_name} is not the key of the certificate in {certificate_name}");
                wrong(TlsFile::Key, text)
            }
            error => {
                let text = format!("{certificate_name} has no usable certificate ({error})");
                wrong(TlsFile::Certificate, text)
            }
        })
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let name = self.certificate.display();
        let pem = read(&self.certificate)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.map_err(|error| format!("{name} is no PEM file ({error})"))?;
        if chain.is_empty() {
            Err(format!(
                "{name} has no certificate in it: a PEM file with BEGIN CERTIFICATE is wanted"
            ))
        } else {
            Ok(chain)
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, String> {
        let name = self.key.display();
        let pem = read(&self.key)?;
        PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
            pem::Error::NoItemsFound => format!(
                "{name} has no private key in it: a PEM file with BEGIN PRIVATE KEY is wanted, not encrypted"
            ),
            // The parser's words could repeat a line of the key.
            _ => format!("{name} is no PEM file"),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "name a file that exists",
            io::ErrorKind::PermissionDenied => "let the server's user read it",
            _ => "name a readable file",
        };
        format!("{} cannot be read ({error}); {advice}", path.display())
    })
}

/// The certificate in use. Clones share it; connections that are there keep the one that they began with.
#[derive(Clone)]
pub(crate) struct ServerCertificate(Arc<InUse>);

struct InUse(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InUse")
    }
}

impl ResolvesServerCert for InUse {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl ResolvesClientCert for InUse {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ServerCertificate {
    /// Reads the files. Blocks on the file system.
    ///
    /// # Errors
    /// See [`TlsFiles::check`].
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, TlsFilesError> {
        let key = Arc::new(files.read()?);
        Ok(Self(Arc::new(InUse(RwLock::new(key)))))
    }

    /// Reads the files again; from now on new connections are shown what is in them. Returns whether that is another certificate
    /// than before. Blocks on the file system.
    ///
    /// # Errors
    /// See [`TlsFiles::check`] and [`TlsFiles::check_time`]; the certificate in use stays.
    pub(crate) fn reload(&self, files: &TlsFiles, now: SystemTime) -> Result<bool, TlsFilesError> {
        files.check_time(now)?;
        let fresh = Arc::new(files.read()?);
        let mut current = self.0.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = current.cert != fresh.cert;
        *current = fresh;
        Ok(is_new)
    }

    /// Returns what a TLS server needs: TLS 1.2 and 1.3, and these protocols (RFC 7301) in our order of preference. With `clients` whoever
    /// connects has to show a certificate of one of these authorities.
    pub(crate) fn server_config(
        &self,
        protocols: &[&[u8]],
        clients: Option<&RootCertStore>,
    ) -> Arc<ServerConfig> {
        let verifier = match clients {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(roots) => WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider())
                .build()
                .expect("authorities are read from a file that has one at least"),
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the protocol versions that are compiled in")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&self.0) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }
}

/// Returns what a TLS client needs: TLS 1.2 and 1.3, servers of these authorities, and what is shown to those that ask.
fn client_config(roots: RootCertStore, own: Option<&ServerCertificate>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has the protocol versions that are compiled in")
        .with_root_certificates(roots);
    Arc::new(match own {
        Some(own) => builder.with_client_cert_resolver(Arc::clone(&own.0) as Arc<dyn ResolvesClientCert>),
        None => builder.with_no_client_auth(),
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Made, KeyPair, PKCS_ED25519, generate_simple_self_signed};

    use std::time::Duration;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(label: &str) -> Self {
            let path = std::env::temp_dir().join(format!("confab-tls-{label}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn made() -> (String, String) {
        let Made { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn every_mistake_names_its_file_and_what_to_do() {
        let folder = Folder::new("mistakes");
        let (certificate, key) = made();
        let (_, other_key) = made();
        let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let broken = key.replace("-----END", "!!!\n-----END");
        let (certificate_file, key_file) = (folder.file("c.pem", &certificate), folder.file("k.pem", &key));
        let missing = folder.0.join("missing.pem");
        let good = TlsFiles {
            certificate: certificate_file.clone(),
            key: key_file.clone(),
        };
        good.check().unwrap();
        let with_certificate = |certificate: PathBuf| TlsFiles {
            certificate,
            key: key_file.clone(),
        };
        let with_key = |key: PathBuf| TlsFiles {
            certificate: certificate_file.clone(),
            key,
        };
        let not_a_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let rows = [
            (
                with_certificate(missing.clone()),
                TlsFile::Certificate,
                "name a file that exists",
            ),
            (
                with_certificate(folder.file("e.pem", "")),
                TlsFile::Certificate,
                "no certificate in it",
            ),
            (
                with_certificate(key_file.clone()),
                TlsFile::Certificate,
                "no certificate in it",
            ),
            (
                with_certificate(folder.file("n.pem", not_a_certificate)),
                TlsFile::Certificate,
                "no usable certificate",
            ),
            (
                with_certificate(folder.0.clone()),
                TlsFile::Certificate,
                "cannot be read",
            ),
            (with_key(missing), TlsFile::Key, "name a file that exists"),
            (
                with_key(certificate_file.clone()),
                TlsFile::Key,
                "no private key in it",
            ),
            (
                with_key(folder.file("x.pem", &encrypted)),
                TlsFile::Key,
                "not encrypted",
            ),
            (
                with_key(folder.file("b.pem", &broken)),
                TlsFile::Key,
                "is no PEM file",
            ),
            (
                with_key(folder.file("o.pem", &other_key)),
                TlsFile::Key,
                "is not the key of the certificate",
            ),
            (
                with_key(folder.file("d.pem", &ed25519)),
                TlsFile::Key,
                "is not the key of the certificate",
            ),
        ];
        for (files, file, words) in rows {
            let error = files.check().unwrap_err();
            assert_eq!(error.file, file, "{error}");
            assert!(error.text.contains(words), "{words}: {error}");
        }
    }

    #[test]
    fn a_bad_file_leaves_the_certificate_in_use() {
        let folder = Folder::new("reload");
        let (certificate, key) = made();
        let files = TlsFiles {
            certificate: folder.file("c.pem", &certificate),
            key: folder.file("k.pem", &key),
        };
        let server = ServerCertificate::load(&files).unwrap();
        let shown = || server.0.0.read().unwrap().cert[0].clone();
        let first = shown();
        assert_eq!(server.reload(&files, SystemTime::now()), Ok(false));
        let (certificate, key) = made();
        folder.file("c.pem", &certificate);
        assert_eq!(
            server.reload(&files, SystemTime::now()).unwrap_err().file,
            TlsFile::Key
        );
        assert_eq!(shown(), first);
        folder.file("k.pem", &key);
        assert_eq!(server.reload(&files, SystemTime::now()), Ok(true));
        // One whose time is over does not take its place, be it as well made.
        let late = SystemTime::now() + Duration::from_secs(5000 * 365 * 86_400);
        let error = server.reload(&files, late).unwrap_err();
        assert!(error.text.contains("has expired"), "{error}");
        let error = files.check_time(UNIX_EPOCH).unwrap_err();
        assert!(error.text.contains("is not good before"), "{error}");
        files.check_time(SystemTime::now()).unwrap();
        assert_ne!(shown(), first);
    }
}
