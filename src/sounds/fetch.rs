//! Fetches one URL and makes a clip of it. Owns what may be fetched; keeps nothing.

use std::fmt;
use std::time::Duration;

use confab_conference::PlayFailure;
use confab_documents::StoreError;
use confab_media::Clip;
use confab_recording::{ImportError, ImportLimits, import};
use reqwest::header::{
    CACHE_CONTROL, CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, LOCATION,
};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::{OnceCell, Semaphore};

use super::outbound::{check_address, client, transport};
use crate::config;

/// Fetches that run at a time; the others wait for their turn. Each may hold a file and what it is decoded to.
pub(super) const AT_A_TIME: usize = 8;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// How long a copy is good whose origin says nothing about it.
const FRESH_UNLESS_TOLD: Duration = Duration::from_secs(60);

/// The longest that a copy is good without asking again, whatever its origin says.
const FRESH_AT_MOST: Duration = Duration::from_secs(86_400);

/// A URL that may be fetched.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Link(Url);

impl Link {
    /// Returns whether a name is meant as such a URL.
    pub(super) fn is_meant(name: &str) -> bool {
        ["http://", "https://"].iter().any(|scheme| {
            name.get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for Link {
    /// Without user, password and query, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        write!(f, "{}://{host}", self.0.scheme())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Why there is nothing to hear.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("URLs are not played here (fetch.enabled)")]
    Disabled,
    #[error("the URL is not understood ({0})")]
    BadUrl(String),
    #[error("{0} is not an address of the public network (fetch.allow_private)")]
    Private(String),
    #[error("redirected more than {MAX_REDIRECTS} times")]
    Redirects,
    #[error("redirected without a usable Location")]
    BadRedirect,
    #[error("answered with status {0}")]
    Status(u16),
    #[error("more than {0} MB (fetch.max_mb)")]
    TooLarge(usize),
    #[error("not there within {0} s (fetch.timeout_s)")]
    Timeout(u64),
    #[error("too much is being fetched")]
    Busy,
    #[error("{0}")]
    Transport(String),
    #[error("{0}")]
    Audio(#[from] ImportError),
    #[error("the server's decoder failed")]
    Decoder,
    #[error("there is no such media")]
    Missing,
    #[error("{0}")]
    Store(String),
}

impl From<StoreError> for FetchError {
    fn from(error: StoreError) -> FetchError {
        FetchError::Store(error.to_string())
    }
}

impl FetchError {
    /// Returns what the conference is told of it.
    pub(crate) fn failure(&self) -> PlayFailure {
        match self {
            FetchError::Disabled | FetchError::Private(_) => PlayFailure::Forbidden,
            FetchError::BadUrl(_) | FetchError::Missing => PlayFailure::Unknown,
            FetchError::Redirects | FetchError::BadRedirect | FetchError::Status(_) => PlayFailure::Refused,
            FetchError::TooLarge(_) => PlayFailure::TooLarge,
            FetchError::Timeout(_) => PlayFailure::Timeout,
            FetchError::Busy => PlayFailure::Busy,
            FetchError::Transport(_) | FetchError::Store(_) => PlayFailure::Unreachable,
            FetchError::Audio(error) => match error {
                ImportError::TooLarge { .. } | ImportError::TooLong { .. } => PlayFailure::TooLarge,
                ImportError::UnknownFormat
                | ImportError::UnsupportedCoding(_)
                | ImportError::Rate(_)
                | ImportError::Channels(_)
                | ImportError::Changes => PlayFailure::Unsupported,
                _ => PlayFailure::Unreadable,
            },
            FetchError::Decoder => PlayFailure::Unreadable,
        }
    }
}

/// What an origin said about its file, for asking it again.
#[derive(Clone, Debug, Default)]
pub(super) struct Validators {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
}

/// For how long a copy is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It must not be kept at all.
    NotKept,
    /// So long; then the origin is asked whether it has changed.
    For(Duration),
}

/// What came of asking an origin.
pub(super) enum Fetched {
    /// The file.
    New {
        clip: Clip,
        validators: Validators,
        freshness: Freshness,
    },
    /// The copy is still good.
    NotModified(Freshness),
}

pub(super) struct Fetcher {
    enabled: bool,
    allow_private: bool,
    limits: ImportLimits,
    timeout: Duration,
    turns: Semaphore,
    client: OnceCell<Client>,
}

impl Fetcher {
    pub(super) fn new(config: &config::Fetch) -> Fetcher {
        Fetcher {
            enabled: config.enabled,
            allow_private: config.allow_private,
            limits: ImportLimits {
                bytes: config.max_mb * 1_000_000,
                duration: Duration::from_secs(config.max_minutes * 60),
            },
            timeout: Duration::from_secs(config.timeout_s),
            turns: Semaphore::new(AT_A_TIME),
            client: OnceCell::new(),
        }
    }

    /// Reads a URL, and refuses those that are not to be asked at all.
    pub(super) fn link(&self, text: &str) -> Result<Link, FetchError> {
        let url = Url::parse(text).map_err(|error| FetchError::BadUrl(error.to_string()))?;
        self.check(url)
    }

    fn check(&self, url: Url) -> Result<Link, FetchError> {
        if !self.enabled {
            return Err(FetchError::Disabled);
        }
        check_address(&url, self.allow_private)?;
        Ok(Link(url))
    }

    /// Asks the origin, and decodes what it sends.
    pub(super) async fn fetch(&self, link: &Link, known: Option<&Validators>) -> Result<Fetched, FetchError> {
        let too_slow = || FetchError::Timeout(self.timeout.as_secs());
        let transfer = async {
            let turn = self.turns.acquire().await.map_err(|_| FetchError::Busy)?;
            Ok::<_, FetchError>((turn, self.transfer(link, known).await?))
        };
        let (_turn, transferred) = tokio::time::timeout(self.timeout, transfer)
            .await
            .map_err(|_| too_slow())??;
        let (bytes, validators, freshness) = match transferred {
            Transferred::NotModified(freshness) => return Ok(Fetched::NotModified(freshness)),
            Transferred::File {
                bytes,
                validators,
                freshness,
            } => (bytes, validators, freshness),
        };
        let limits = self.limits;
        let audio = tokio::task::spawn_blocking(move || import(&bytes, limits))
            .await
            .map_err(|_| FetchError::Decoder)??;
        let clip = Clip::new(audio.rate_hz, audio.samples).ok_or(FetchError::Decoder)?;
        Ok(Fetched::New {
            clip,
            validators,
            freshness,
        })
    }

    async fn transfer(&self, link: &Link, known: Option<&Validators>) -> Result<Transferred, FetchError> {
        let client = self.client.get_or_try_init(|| client(self.allow_private)).await?;
        let mut link = link.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = client.get(link.0.clone());
            if let Some(known) = known {
                request = request.headers(known.conditions());
            }
            let response = request.send().await.map_err(transport)?;
            match response.status() {
                StatusCode::OK => return self.file(response).await,
                StatusCode::NOT_MODIFIED if known.is_some() => {
                    return Ok(Transferred::NotModified(freshness(response.headers())));
                }
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    let target = response
                        .headers()
                        .get(LOCATION)
                        .and_then(|target| target.to_str().ok());
                    let target = target.and_then(|target| link.0.join(target).ok());
                    link = self.check(target.ok_or(FetchError::BadRedirect)?)?;
                }
                status => return Err(FetchError::Status(status.as_u16())),
            }
        }
        Err(FetchError::Redirects)
    }

    async fn file(&self, mut response: Response) -> Result<Transferred, FetchError> {
        let too_large = || FetchError::TooLarge(self.limits.bytes / 1_000_000);
        let announced = response.headers().get(CONTENT_LENGTH);
        let announced: Option<usize> = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length| length > self.limits.bytes) {
            return Err(too_large());
        }
        let (validators, freshness) = (Validators::of(response.headers()), freshness(response.headers()));
        // What was announced need not come: room is made as it does.
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if bytes.len() + chunk.len() > self.limits.bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Transferred::File {
            bytes,
            validators,
            freshness,
        })
    }
}

enum Transferred {
    File {
        bytes: Vec<u8>,
        validators: Validators,
        freshness: Freshness,
    },
    NotModified(Freshness),
}

impl Validators {
    fn of(headers: &HeaderMap) -> Validators {
        Validators {
            etag: headers.get(ETAG).cloned(),
            last_modified: headers.get(LAST_MODIFIED).cloned(),
        }
    }

    pub(super) fn are_none(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// RFC 9110 §13.1.3: the entity tag goes before the date.
    fn conditions(&self) -> HeaderMap {
        let mut conditions = HeaderMap::new();
        if let Some(etag) = &self.etag {
            conditions.insert(IF_NONE_MATCH, etag.clone());
        } else if let Some(date) = &self.last_modified {
            conditions.insert(IF_MODIFIED_SINCE, date.clone());
        }
        conditions
    }
}

/// Reads how long a copy is good (RFC 9111 §5.2.2). `Expires` is not looked at: what has no `Cache-Control` is asked for
/// again after a minute.
fn freshness(headers: &HeaderMap) -> Freshness {
    let mut fresh = FRESH_UNLESS_TOLD;
    let lines = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|line| line.to_str().ok());
    for directive in lines.flat_map(|line| line.split(',')) {
        let directive = directive.trim().to_ascii_lowercase();
        match directive.as_str() {
            "no-store" => return Freshness::NotKept,
            "no-cache" => return Freshness::For(Duration::ZERO),
            _ => {}
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            let seconds = seconds.trim_matches('"').parse().unwrap_or(0);
            fresh = Duration::from_secs(seconds).min(FRESH_AT_MOST);
        }
    }
    Freshness::For(fresh)
}
