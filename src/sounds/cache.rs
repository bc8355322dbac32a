//! What was fetched, kept while it is good and there is room; and what is being fetched, once for all who wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use confab_media::Clip;
use tokio::sync::watch;

use super::fetch::{FetchError, Fetched, Fetcher, Freshness, Link, Validators};

/// URLs that are waited for at a time.
pub(super) const MOST_UNDER_WAY: usize = 256;

type Outcome = Option<Result<Clip, FetchError>>;

pub(super) struct Cache {
    fetcher: Arc<Fetcher>,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Default)]
struct Shelf {
    copies: HashMap<String, Kept>,
    under_way: HashMap<String, Arc<watch::Sender<Outcome>>>,
    /// Bytes that the copies take, and may take.
    size: usize,
    room: usize,
    /// Counts uses, to know the least recent.
    clock: u64,
}

struct Kept {
    clip: Clip,
    validators: Validators,
    good_until: Instant,
    size: usize,
    used: u64,
}

impl Cache {
    pub(super) fn new(fetcher: Fetcher, room: usize) -> Cache {
        Cache {
            fetcher: Arc::new(fetcher),
            shelf: Arc::new(Mutex::new(Shelf {
                room,
                ..Shelf::default()
            })),
        }
    }

    pub(super) fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    pub(super) async fn get(&self, link: &Link) -> Result<Clip, FetchError> {
        let mut outcome = {
            let mut shelf = lock(&self.shelf);
            if let Some(clip) = shelf.good(link.as_str()) {
                return Ok(clip);
            }
            match shelf.under_way.get(link.as_str()) {
                Some(sender) => sender.subscribe(),
                None if shelf.under_way.len() >= MOST_UNDER_WAY => return Err(FetchError::Busy),
                None => {
                    let sender = Arc::new(watch::Sender::new(None));
                    let outcome = sender.subscribe();
                    shelf
                        .under_way
                        .insert(link.as_str().to_owned(), Arc::clone(&sender));
                    let (fetcher, shelf) = (Arc::clone(&self.fetcher), Arc::clone(&self.shelf));
                    tokio::spawn(run(fetcher, shelf, link.clone(), sender));
                    outcome
                }
            }
        };
        let told = outcome.wait_for(Option::is_some).await;
        told.ok()
            .and_then(|outcome| outcome.clone())
            .unwrap_or(Err(FetchError::Decoder))
    }

    #[cfg(test)]
    pub(super) fn holds(&self) -> (usize, usize, usize) {
        let shelf = lock(&self.shelf);
        (shelf.copies.len(), shelf.size, shelf.under_way.len())
    }

    /// Lets every copy be as good as expired.
    #[cfg(test)]
    pub(super) fn expire(&self) {
        for copy in lock(&self.shelf).copies.values_mut() {
            copy.good_until = Instant::now();
        }
    }
}

/// Fetches a URL for as long as somebody waits for it, and tells them.
async fn run(
    fetcher: Arc<Fetcher>,
    shelf: Arc<Mutex<Shelf>>,
    link: Link,
    sender: Arc<watch::Sender<Outcome>>,
) {
    let _leaving = Leaving {
        shelf: &shelf,
        link: &link,
    };
    let known = lock(&shelf).known(link.as_str());
    let validators = known.as_ref().map(|(_, validators)| validators);
    let mut fetching = std::pin::pin!(fetcher.fetch(&link, validators));
    let fetched = loop {
        tokio::select! {
            fetched = &mut fetching => break fetched,
            () = sender.closed() => {
                let mut shelf = lock(&shelf);
                // Somebody may have come just now; only while the shelf is locked nobody can.
                if sender.receiver_count() == 0 {
                    shelf.under_way.remove(link.as_str());
                    return;
                }
            }
        }
    };
    let outcome = {
        let mut shelf = lock(&shelf);
        shelf.under_way.remove(link.as_str());
        shelf.put(link.as_str(), fetched, known.clone())
    };
    sender.send_replace(Some(outcome));
}

/// Takes a fetch off the list should it break down.
struct Leaving<'a> {
    shelf: &'a Mutex<Shelf>,
    link: &'a Link,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(self.shelf).under_way.remove(self.link.as_str());
        }
    }
}

impl Shelf {
    /// Returns a copy that is good without asking.
    fn good(&mut self, key: &str) -> Option<Clip> {
        self.clock += 1;
        let copy = self.copies.get_mut(key)?;
        if Instant::now() >= copy.good_until {
            return None;
        }
        copy.used = self.clock;
        Some(copy.clip.clone())
    }

    /// Returns a copy that is worth asking about.
    fn known(&self, key: &str) -> Option<(Clip, Validators)> {
        let copy = self.copies.get(key)?;
        (!copy.validators.are_none()).then(|| (copy.clip.clone(), copy.validators.clone()))
    }

    /// Keeps what was fetched as far as it may, and returns what there is to hear.
    fn put(
        &mut self,
        key: &str,
        fetched: Result<Fetched, FetchError>,
        known: Option<(Clip, Validators)>,
    ) -> Result<Clip, FetchError> {
        let (clip, validators, freshness) = match fetched? {
            Fetched::New {
                clip,
                validators,
                freshness,
            } => (clip, validators, freshness),
            Fetched::NotModified(freshness) => {
                let (clip, validators) = known.ok_or(FetchError::Status(304))?;
                (clip, validators, freshness)
            }
        };
        self.take(key);
        if let Freshness::For(fresh) = freshness {
            self.keep(key, clip.clone(), validators, Instant::now() + fresh);
        }
        Ok(clip)
    }

    fn keep(&mut self, key: &str, clip: Clip, validators: Validators, good_until: Instant) {
        // Once as it is, once at the rate of a mix.
        let size = 4 * clip.samples().len() + key.len();
        if size > self.room {
            return;
        }
        while self.size + size > self.room {
            let oldest = self.copies.iter().min_by_key(|(_, copy)| copy.used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            self.take(&oldest);
        }
        self.clock += 1;
        self.size += size;
        let copy = Kept {
            clip,
            validators,
            good_until,
            size,
            used: self.clock,
        };
        self.copies.insert(key.to_owned(), copy);
    }

    fn take(&mut self, key: &str) {
        if let Some(copy) = self.copies.remove(key) {
            self.size -= copy.size;
        }
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    // Locked for plain changes of maps: what a panic leaves behind is whole.
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}
