//! Owns the way of a stored file to a client: which bytes of it he wants, and sending them. Never holds more of a file than a
//! part.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use confab_documents::{MediaFile, Store};

/// Bytes that are read and sent at a time.
const STEP_BYTES: u64 = 262_144;

/// Where a file's bytes are.
pub(crate) enum Source {
    /// In the store.
    Store(Store, MediaFile),
    /// On the disk.
    Disk(Arc<std::fs::File>),
}

/// Bytes of a file on their way to a client.
pub(crate) struct Download {
    pub(crate) source: Source,
    pub(crate) content_type: String,
    pub(crate) range: Range<u64>,
    /// Only the head of the answer is wanted.
    pub(crate) head_only: bool,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("Download");
        told.field("type", &self.content_type).field("range", &self.range);
        told.finish_non_exhaustive()
    }
}

/// What of a file a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Bytes that it does not have.
    Nothing,
}

impl Wanted {
    /// Reads what a request for a file of `length` bytes with this entity tag wants (RFC 9110 §14.2, §13.1.5). Several ranges at once,
    /// other units and what is not understood count as no range, as the RFC allows.
    pub(crate) fn of(headers: &HeaderMap, etag: &str, length: u64) -> Wanted {
        let text = |name| {
            let mut values = headers.get_all(name).iter();
            let only = values.next().filter(|_| values.next().is_none())?;
            only.to_str().ok().map(str::trim)
        };
        if headers.contains_key(header::IF_RANGE)
            && text(header::IF_RANGE) != Some(format!("\"{etag}\"").as_str())
        {
            return Wanted::Whole;
        }
        match text(header::RANGE) {
            Some(range) => Wanted::range(range, length).unwrap_or(Wanted::Whole),
            None => Wanted::Whole,
        }
    }

    /// `None` for what is no single range of bytes.
    fn range(text: &str, length: u64) -> Option<Wanted> {
        let (unit, range) = text.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim().split_once('-')?;
        let (first, last) = (first.trim(), last.trim());
        let wanted = if first.is_empty() {
            length.saturating_sub(number(last)?)..length
        } else {
            let first = number(first)?;
            let end = match last {
                "" => length,
                last => Some(number(last)?)
                    .filter(|last| *last >= first)?
                    .saturating_add(1),
            };
            first..end.min(length)
        };
        Some(match wanted.is_empty() {
            true => Wanted::Nothing,
            false => Wanted::Part(wanted),
        })
    }
}

/// Reads digits; a number beyond all files is the largest.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

impl Download {
    /// Returns the response, which reads the file while it is sent. Should the file be replaced meanwhile, the connection breaks off:
    /// no client takes a mixture of both for one.
    pub(crate) fn respond(self, status: StatusCode) -> Response {
        let length = self.range.end - self.range.start;
        let kind = HeaderValue::from_str(&self.content_type)
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        let body = match self.head_only {
            true => Body::empty(),
            false => self.stream(),
        };
        let headers = [
            (header::CONTENT_TYPE, kind),
            (header::CONTENT_LENGTH, HeaderValue::from(length)),
            (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
            (header::VARY, HeaderValue::from_static("Accept")),
            (
                header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            ),
        ];
        (status, headers, body).into_response()
    }

    fn stream(self) -> Body {
        let Download { source, range, .. } = self;
        match source {
            Source::Store(store, file) => stream_stored(store, file, range),
            Source::Disk(file) => stream_disk(file, range),
        }
    }
}

/// Sends what is on the disk.
fn stream_disk(file: Arc<std::fs::File>, range: Range<u64>) -> Body {
    Body::from_stream(futures_util::stream::try_unfold(range.start, move |at| {
        let (file, end) = (Arc::clone(&file), range.end);
        async move {
            if at >= end {
                return Ok::<_, std::io::Error>(None);
            }
            let next = (at + STEP_BYTES).min(end);
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; (next - at) as usize];
                std::os::unix::fs::FileExt::read_exact_at(&*file, &mut bytes, at).map(|()| bytes)
            });
            let bytes = read.await.map_err(std::io::Error::other)??;
            Ok(Some((Bytes::from(bytes), next)))
        }
    }))
}

fn stream_stored(store: Store, file: MediaFile, range: Range<u64>) -> Body {
    {
        Body::from_stream(futures_util::stream::try_unfold(range.start, move |at| {
            let (store, file, end) = (store.clone(), file.clone(), range.end);
            async move {
                if at >= end {
                    return Ok::<_, std::io::Error>(None);
                }
                let next = (at + STEP_BYTES).min(end);
                match store.media_bytes(&file, at..next).await {
                    Ok(Some(bytes)) if bytes.len() as u64 == next - at => {
                        Ok(Some((Bytes::from(bytes), next)))
                    }
                    Ok(_) => Err(std::io::Error::other("the file was replaced while it was sent")),
                    Err(error) => {
                        tracing::warn!(%error, "a file breaks off: the store does not answer");
                        Err(std::io::Error::other(error))
                    }
                }
            }
        }))
    }
}

/// Returns whether a client rather wants the audio than its document: by the weights of its `Accept` (RFC 9110 §12.5.1). Who takes
/// anything wants the document.
pub(crate) fn wants_audio(headers: &HeaderMap) -> bool {
    let (mut audio, mut json, mut anything) = (0, 0, 0);
    for member in crate::dispatch::list_header(headers, &header::ACCEPT) {
        let mut parts = member.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_lowercase();
        let weight = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(Some(1.0), |(_, weight)| weight.trim().parse::<f32>().ok());
        // In thousandths: the RFC has no finer weights.
        let weight = weight.map_or(0, |weight| (weight.clamp(0.0, 1.0) * 1000.0) as u32);
        let best = match kind.as_str() {
            kind if kind.starts_with("audio/") => &mut audio,
            "application/json" => &mut json,
            "*/*" | "application/*" => &mut anything,
            _ => continue,
        };
        *best = weight.max(*best);
    }
    audio > json && audio >= anything
}

/// Reads arbitrary bytes as the headers that say which bytes a client wants.
pub(crate) fn fuzz_range(data: &[u8]) {
    let mut headers = HeaderMap::new();
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    headers.insert(header::ACCEPT, value.clone());
    headers.insert(header::RANGE, value);
    let _ = wants_audio(&headers);
    for length in [1, 100, u64::MAX] {
        if let Wanted::Part(part) = Wanted::of(&headers, "x", length) {
            assert!(part.start < part.end && part.end <= length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(range: &str, length: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        Wanted::of(&headers, "tag", length)
    }

    #[test]
    fn one_range_of_bytes_is_understood() {
        let max = u64::MAX;
        for (range, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=2-5", Wanted::Part(2..6)),
            ("Bytes = 2 - 5", Wanted::Part(2..6)),
            ("bytes=5-", Wanted::Part(5..10)),
            ("bytes=5-99", Wanted::Part(5..10)),
            (&format!("bytes=9-{max}"), Wanted::Part(9..10)),
            ("bytes=0-99999999999999999999999", Wanted::Part(0..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=10-20", Wanted::Nothing),
            // Not understood, or more than one: all of it.
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=--1", Wanted::Whole),
            ("samples=0-1", Wanted::Whole),
            ("0-1", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(wanted(range, 10), expected, "{range}");
        }
    }

    #[test]
    fn a_part_of_another_file_is_not_wanted() {
        for (if_range, expected) in [
            ("\"tag\"", Wanted::Part(0..1)),
            ("\"other\"", Wanted::Whole),
            ("W/\"tag\"", Wanted::Whole),
            ("Mon, 23 Nov 2026 00:00:00 GMT", Wanted::Whole),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-0"));
            headers.insert(header::IF_RANGE, if_range.parse().unwrap());
            assert_eq!(Wanted::of(&headers, "tag", 10), expected, "{if_range}");
        }
    }

    #[test]
    fn audio_is_sent_to_whom_it_is_dearest() {
        for (accept, expected) in [
            ("audio/wav", true),
            ("audio/*", true),
            ("AUDIO/mpeg;q=0.5, */*;q=0.1", true),
            (
                "audio/webm,audio/*;q=0.9,application/ogg;q=0.7,video/*;q=0.6,*/*;q=0.5",
                true,
            ),
            ("audio/*, */*", true),
            ("*/*", false),
            ("application/json", false),
            ("application/json, audio/*", false),
            ("application/json;q=0.5, audio/*;q=0.8", true),
            ("audio/*;q=0", false),
            ("audio/*;q=x", false),
            ("text/html, */*;q=0.8, audio/*;q=0.2", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(wants_audio(&headers), expected, "{accept}");
        }
        assert!(!wants_audio(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(text in prop_oneof![
            "bytes ?= ?[0-9]{0,25} ?- ?[0-9]{0,25}", "[a-z*/;=, 0-9.]{0,60}", "\\PC{0,40}"
        ]) {
            fuzz_range(text.as_bytes());
        }
    }
}
