//! The files of media documents as sounds: which one a name means, and the samples of those that were played. Owns what is known of
//! the library and how long that is good; never says in which language something is said.
//!
//! What the store says is good for [`GOOD_FOR`], and no longer than until this process changes any media. Samples are known by the
//! SHA-256 of their file: who replaces a file is heard at the next play, and files that are alike are decoded once. A file is decoded
//! on the blocking pool, [`AT_A_TIME`] at most, and its samples are kept while there is room for them.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use confab_api::{MEDIA_LIMITS, RecordingFiles};
use confab_conference::AccountId;
use confab_documents::{Kind, MediaFile, Store, StoreError, is_id};
use confab_media::Clip;
use confab_prompts::is_language;
use confab_recording::ImportLimits;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use super::{FetchError, prompts::to_clip};

/// How long it is believed what the store has said: another server on its database may have changed it since.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// How long a caller waits for the store before he hears the built-in prompts.
const PROMPTS_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a play waits for its file.
const FILE_TIMEOUT: Duration = Duration::from_secs(20);

/// Files that are read and decoded at a time. Each takes up to 80 MB.
const AT_A_TIME: usize = 2;

/// Bytes of samples that are kept, those at a rate of a mix included.
const ROOM: usize = 256_000_000;

/// Names, accounts with their prompts, and prompts of all of them, that are remembered. Beyond, all are asked for anew.
const MOST_KNOWN: usize = 4096;
const MOST_PROMPTS: usize = 100_000;

/// Begins what stands for the SHA-256 of a recording, which lies on the disk: nobody hashes gigabytes to hear a minute.
const RECORDING: &str = "recording-";

/// What of a recording can be played: ten minutes at any rate.
const RECORDING_LIMITS: ImportLimits = ImportLimits {
    bytes: 60_000_000,
    duration: Duration::from_secs(600),
};

/// The media of all accounts.
pub(super) struct Library {
    store: Store,
    recordings: Arc<dyn RecordingFiles>,
    shelf: Mutex<Shelf>,
    decoding: Arc<Semaphore>,
}

/// Somebody asks for a medium.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    /// Who has it played.
    by: AccountId,
    /// Whose it is.
    of: AccountId,
    /// The document's id.
    id: String,
}

/// Which files an account has said its prompts are in.
#[derive(Debug, Default)]
pub(super) struct AccountPrompts {
    /// By language, in lower case, and by id, in lower case.
    files: HashMap<String, HashMap<String, MediaFile>>,
    count: usize,
}

struct Shelf {
    files: HashMap<Asked, Known<MediaFile>>,
    prompts: HashMap<AccountId, Known<Arc<AccountPrompts>>>,
    /// By the SHA-256 of the file.
    clips: HashMap<String, Kept>,
    /// Bytes that the clips take, and may take.
    size: usize,
    room: usize,
    /// Counts uses, to know the least recent.
    clock: u64,
}

struct Known<T> {
    value: T,
    /// Of the store, before it was asked.
    changes: u64,
    at: Instant,
}

#[derive(Default)]
struct Kept {
    cell: Arc<OnceCell<Clip>>,
    /// As long as it is not decoded, 0.
    size: usize,
    used: u64,
}

impl Asked {
    /// Returns what a name means for an account: `0123…` (32 hex characters), `/account/0123…`, or the id of a prompt's document,
    /// `fr-fr%2Fconf-welcome`. `None` for a name that means nothing of the library.
    pub(super) fn parse(by: &AccountId, name: &str) -> Option<Asked> {
        let (of, id) = match name.strip_prefix('/') {
            Some(path) => {
                let (of, id) = path.split_once('/').filter(|(of, _)| is_id(of))?;
                (AccountId::from(of), id)
            }
            None => (by.clone(), name),
        };
        let id = id.replace("%2F", "/").replace("%2f", "/");
        let is_prompt = || {
            id.split_once('/').is_some_and(|(language, prompt)| {
                let may = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
                is_language(language) && !prompt.is_empty() && prompt.bytes().all(may)
            })
        };
        (is_id(&id) || is_prompt()).then(|| Asked {
            by: by.clone(),
            of,
            id,
        })
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}/{}", self.of, self.id)
    }
}

impl AccountPrompts {
    fn new(files: Vec<MediaFile>) -> AccountPrompts {
        let mut prompts = AccountPrompts {
            count: files.len(),
            ..AccountPrompts::default()
        };
        for file in files {
            if let Some((language, id)) = file.id.split_once('/') {
                let language = language.to_lowercase().replace('_', "-");
                let id = id.to_lowercase();
                prompts
                    .files
                    .entry(language)
                    .or_default()
                    .entry(id)
                    .or_insert(file);
            }
        }
        prompts
    }

    pub(super) fn get(&self, language: &str, id: &str) -> Option<&MediaFile> {
        self.files.get(language)?.get(id)
    }

    pub(super) fn languages(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}

impl Library {
    pub(super) fn new(store: Store, recordings: Arc<dyn RecordingFiles>) -> Library {
        Library::with_room(store, recordings, ROOM)
    }

    pub(super) fn with_room(store: Store, recordings: Arc<dyn RecordingFiles>, room: usize) -> Library {
        Library {
            store,
            recordings,
            shelf: Mutex::new(Shelf {
                files: HashMap::new(),
                prompts: HashMap::new(),
                clips: HashMap::new(),
                size: 0,
                room,
                clock: 0,
            }),
            decoding: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }

    /// Returns the samples of a medium if it is known which they are, and they are there.
    pub(super) fn ready(&self, asked: &Asked) -> Option<Clip> {
        let changes = self.store.media_changes();
        let mut shelf = self.shelf();
        let sha256 = {
            let known = shelf.files.get(asked).filter(|known| known.is_good(changes))?;
            known.value.sha256.clone()
        };
        shelf.clip(&sha256)
    }

    /// Returns the samples of a file if they are there.
    pub(super) fn clip_ready(&self, file: &MediaFile) -> Option<Clip> {
        self.shelf().clip(&file.sha256)
    }

    /// Returns the file of a medium, as the store has it at this time. `None` when there is none, or it is not for who asks.
    pub(super) async fn file(&self, asked: &Asked) -> Result<Option<MediaFile>, StoreError> {
        let changes = self.store.media_changes();
        let at = Instant::now();
        let may = asked.by == asked.of || self.store.may_act_on(&asked.by, &asked.of).await?;
        let file = match may {
            true => match self.store.media_file(&asked.of, &asked.id).await? {
                None => self.recording(asked).await?,
                file => file,
            },
            false => None,
        };
        let mut shelf = self.shelf();
        match file.clone() {
            Some(value) => {
                if shelf.files.len() >= MOST_KNOWN {
                    shelf.files.clear();
                }
                let known = Known { value, changes, at };
                shelf.files.insert(asked.clone(), known);
            }
            None => {
                shelf.files.remove(asked);
            }
        }
        Ok(file)
    }

    /// Returns whether there is a document that who asks may have played, be there a file to it or not.
    pub(super) async fn has_document(&self, asked: &Asked) -> Result<bool, StoreError> {
        let may = asked.by == asked.of || self.store.may_act_on(&asked.by, &asked.of).await?;
        Ok(may
            && self
                .store
                .document(&asked.of, Kind::Media, &asked.id)
                .await?
                .is_some())
    }

    /// Returns the samples of a medium.
    ///
    /// # Errors
    /// There is none that may be played, the store does not answer, or too many are being decoded.
    pub(super) async fn get(&self, asked: &Asked) -> Result<Clip, FetchError> {
        if let Some(clip) = self.ready(asked) {
            return Ok(clip);
        }
        let finding = async {
            // A file may be replaced between the two steps, but hardly twice.
            for _ in 0..2 {
                let file = self.file(asked).await?.ok_or(FetchError::Missing)?;
                match self.clip(&file).await {
                    Err(FetchError::Missing) => {}
                    found => return found,
                }
            }
            Err(FetchError::Missing)
        };
        timeout(FILE_TIMEOUT, finding)
            .await
            .unwrap_or(Err(FetchError::Busy))
    }

    /// Returns the samples of a file; who else waits for them shares the work.
    ///
    /// # Errors
    /// As for [`Library::get`]; [`FetchError::Missing`] also when another file is in its place.
    pub(super) async fn clip(&self, file: &MediaFile) -> Result<Clip, FetchError> {
        let cell = self.shelf().cell(&file.sha256);
        let decoded = cell.get_or_try_init(|| self.decode(file)).await.cloned();
        let mut shelf = self.shelf();
        match &decoded {
            Ok(clip) => shelf.keep(&file.sha256, clip),
            Err(_) => shelf.forget(&file.sha256),
        }
        decoded
    }

    /// Returns what is known of a recording's mix, if the medium is one that has not been deleted.
    async fn recording(&self, asked: &Asked) -> Result<Option<MediaFile>, StoreError> {
        if self
            .store
            .document(&asked.of, Kind::Media, &asked.id)
            .await?
            .is_none()
        {
            return Ok(None);
        }
        let opened = self.recordings.open(&asked.of, &asked.id, None).await;
        let file = opened.unwrap_or_else(|error| {
            tracing::warn!(recording = asked.id, %error, "a recording cannot be read");
            None
        });
        Ok(file.map(|file| MediaFile {
            account_id: asked.of.clone(),
            id: asked.id.clone(),
            content_type: file.content_type.to_owned(),
            length: file.length,
            sha256: format!("{RECORDING}{}", file.etag),
        }))
    }

    /// Reads a recording's mix as far as it can be played.
    async fn read(&self, file: &MediaFile) -> Result<Vec<u8>, FetchError> {
        let opened = self.recordings.open(&file.account_id, &file.id, None).await;
        let failed = |error: std::io::Error| FetchError::Store(error.to_string());
        let opened = opened.map_err(failed)?.ok_or(FetchError::Missing)?;
        // One octet more than may be tells that there are too many.
        let most = RECORDING_LIMITS.bytes as u64 + 1;
        let reading = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            opened.file.take(most).read_to_end(&mut bytes).map(|_| bytes)
        });
        reading.await.map_err(|_| FetchError::Decoder)?.map_err(failed)
    }

    async fn decode(&self, file: &MediaFile) -> Result<Clip, FetchError> {
        let leave = Arc::clone(&self.decoding).acquire_owned().await;
        let leave = leave.map_err(|_| FetchError::Busy)?;
        let (bytes, limits) = if file.sha256.starts_with(RECORDING) {
            (self.read(file).await?, RECORDING_LIMITS)
        } else {
            let bytes = self.store.media_bytes(file, 0..file.length).await?;
            (bytes.ok_or(FetchError::Missing)?, MEDIA_LIMITS)
        };
        let decoding = tokio::task::spawn_blocking(move || {
            // Held by the decoder itself: it works on when nobody waits for it any more.
            let _leave = leave;
            to_clip(&bytes, limits)
        });
        Ok(decoding.await.map_err(|_| FetchError::Decoder)??)
    }

    /// Returns the prompts of an account if they are known.
    pub(super) fn prompts_ready(&self, account: &AccountId) -> Option<Arc<AccountPrompts>> {
        let changes = self.store.media_changes();
        let shelf = self.shelf();
        let known = shelf.prompts.get(account)?;
        known.is_good(changes).then(|| Arc::clone(&known.value))
    }

    /// Returns the prompts of an account. When the store does not answer in time, those that were known last, or none: something
    /// has to be said.
    pub(super) async fn prompts(&self, account: &AccountId) -> Arc<AccountPrompts> {
        if let Some(prompts) = self.prompts_ready(account) {
            return prompts;
        }
        let changes = self.store.media_changes();
        let at = Instant::now();
        let asked = timeout(PROMPTS_TIMEOUT, self.store.media_prompts(account)).await;
        let files = match asked {
            Ok(Ok(files)) => files,
            Ok(Err(error)) => {
                tracing::warn!(%error, "an account's own prompts are not looked for");
                return self.prompts_last_known(account);
            }
            Err(_) => {
                tracing::warn!("an account's own prompts are not looked for: the store takes too long");
                return self.prompts_last_known(account);
            }
        };
        let value = Arc::new(AccountPrompts::new(files));
        let mut shelf = self.shelf();
        let all: usize = shelf.prompts.values().map(|known| known.value.count).sum();
        if shelf.prompts.len() >= MOST_KNOWN || all + value.count > MOST_PROMPTS {
            shelf.prompts.clear();
        }
        let known = Known {
            value: Arc::clone(&value),
            changes,
            at,
        };
        shelf.prompts.insert(account.clone(), known);
        value
    }

    fn prompts_last_known(&self, account: &AccountId) -> Arc<AccountPrompts> {
        let shelf = self.shelf();
        let known = shelf.prompts.get(account);
        known.map(|known| Arc::clone(&known.value)).unwrap_or_default()
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Locked for plain changes of maps: what a panic leaves behind is whole.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many files are kept decoded, and the bytes of their samples.
    #[cfg(test)]
    pub(super) fn holds(&self) -> (usize, usize) {
        let shelf = self.shelf();
        let decoded = shelf.clips.values().filter(|kept| kept.size > 0);
        (decoded.count(), shelf.size)
    }

    /// Lets everything that is known of the store be as good as too old.
    #[cfg(test)]
    pub(super) fn age(&self) {
        let mut shelf = self.shelf();
        let before = Instant::now().checked_sub(GOOD_FOR).expect("a machine that runs");
        shelf.files.values_mut().for_each(|known| known.at = before);
        shelf.prompts.values_mut().for_each(|known| known.at = before);
    }
}

impl<T> Known<T> {
    fn is_good(&self, changes: u64) -> bool {
        self.changes == changes && self.at.elapsed() < GOOD_FOR
    }
}

impl Shelf {
    fn clip(&mut self, sha256: &str) -> Option<Clip> {
        self.clock += 1;
        let kept = self.clips.get_mut(sha256)?;
        let clip = kept.cell.get().cloned()?;
        kept.used = self.clock;
        Some(clip)
    }

    /// Returns the place of a file's samples.
    fn cell(&mut self, sha256: &str) -> Arc<OnceCell<Clip>> {
        if !self.clips.contains_key(sha256) {
            // What was given up is waited for by nobody.
            self.clips
                .retain(|_, kept| kept.size > 0 || Arc::strong_count(&kept.cell) > 1);
        }
        Arc::clone(&self.clips.entry(sha256.to_owned()).or_default().cell)
    }

    fn keep(&mut self, sha256: &str, clip: &Clip) {
        // Once as it is, once at the rate of a mix.
        let size = 4 * clip.samples().len() + sha256.len();
        self.clock += 1;
        let clock = self.clock;
        let Some(kept) = self.clips.get_mut(sha256) else {
            return;
        };
        kept.used = clock;
        if kept.size > 0 {
            return;
        }
        kept.size = size;
        self.size += size;
        while self.size > self.room {
            let decoded = self.clips.iter().filter(|(_, kept)| kept.size > 0);
            let oldest =
                decoded.min_by_key(|(other, kept)| (*other != sha256 || size <= self.room, kept.used));
            let Some(oldest) = oldest.map(|(sha256, _)| sha256.clone()) else {
                break;
            };
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, sha256: &str) {
        if let Some(kept) = self.clips.remove(sha256) {
            self.size -= kept.size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_library_are_ids_with_and_without_their_account() {
        let own = AccountId::from("0".repeat(32));
        let (other, id) = ("f".repeat(32), "0123456789abcdef0123456789abcdef");
        for (name, of, expected) in [
            (id.to_owned(), own.as_str(), id),
            (format!("/{other}/{id}"), &other, id),
            (
                "fr-fr%2Fconf-welcome".to_owned(),
                own.as_str(),
                "fr-fr/conf-welcome",
            ),
            (format!("/{other}/en-us%2fa.b_c"), &other, "en-us/a.b_c"),
            (format!("/{other}/en-us/x"), &other, "en-us/x"),
        ] {
            let asked = Asked::parse(&own, &name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!((asked.of.as_str(), &*asked.id), (of, expected), "{name}");
            assert_eq!(asked.by, own);
        }
        for name in [
            "",
            "conf-muted",
            "/",
            &id.to_uppercase(),
            &format!("/{other}"),
            &format!("/x/{id}"),
            &format!("/{other}/conf-muted"),
            &format!("/{other}/{id}/x"),
            "english-language/x",
            "en-us/",
            "en-us/a b",
            "en-us/a/b",
            "/system_media/en-us%2Fconf-muted",
        ] {
            assert_eq!(Asked::parse(&own, name), None, "{name}");
        }
    }
}
