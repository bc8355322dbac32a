//! The HTTP client for everything that this server asks of others: media, webhooks. Owns which addresses may be asked, and
//! whom to trust.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};

use super::address::is_public;
use super::fetch::FetchError;

/// Refuses an address that is written out in a URL and may not be asked. Names are looked at when they are resolved.
pub(crate) fn check_address(url: &Url, allow_private: bool) -> Result<(), FetchError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(FetchError::BadUrl("neither http nor https".to_owned()));
    }
    let host = url.host_str().unwrap_or_default();
    let literal = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    match literal {
        Ok(address) if !allow_private && !is_public(address) => Err(FetchError::Private(host.to_owned())),
        _ => Ok(()),
    }
}

/// Makes a client that follows no redirects. Reading the machine's certificates may block.
pub(crate) async fn client(allow_private: bool) -> Result<Client, FetchError> {
    let tls = tokio::task::spawn_blocking(tls)
        .await
        .map_err(|_| FetchError::Transport("TLS could not be set up".to_owned()))?;
    Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(Guarded { allow_private }))
        .redirect(redirect::Policy::none())
        // A proxy would resolve names for us, past the check of addresses.
        .no_proxy()
        .referer(false)
        .http1_only()
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(Duration::from_secs(30))
        .user_agent(concat!("confab/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(transport)
}

/// The machine's own list of authorities decides whom to trust.
fn tls() -> rustls::ClientConfig {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (_, unusable) = roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!(
            unusable,
            "this machine has no certificates of authorities: no https URL can be asked"
        );
    }
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the protocol versions that are compiled in")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The system's resolver, with what may not be asked left out.
struct Guarded {
    allow_private: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let usable: Vec<SocketAddr> = found
                .filter(|address| allow_private || is_public(address.ip()))
                .collect();
            if usable.is_empty() {
                return Err(FetchError::Private(name.as_str().to_owned()).into());
            }
            Ok(Box::new(usable.into_iter()) as Addrs)
        })
    }
}

/// Tells what went wrong, down to the first cause, without the URL.
pub(crate) fn transport(error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        if let Some(known) = next.downcast_ref::<FetchError>() {
            return known.clone();
        }
        text = format!("{text}: {next}");
        cause = next.source();
    }
    FetchError::Transport(text)
}
