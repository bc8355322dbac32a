//! Owns finding the file in the body of an upload: the body itself, in base64, or a part of several; and what its sender says it
//! is. Never judges the file.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use confab_documents::{MAX_MEDIA_BYTES, Rule, Violation};
use confab_recording::AudioKind;
use multer::{Constraints, Field, Multipart, SizeLimit};

use crate::error::ApiError;

/// What a body may have beside the file: boundaries and heads of parts, other parts, line ends in base64.
const BESIDE_BYTES: usize = 512 * 1024;

/// Parts of a body that are looked at.
const MAX_PARTS: usize = 16;

/// Base64 with or without its padding (RFC 4648 §3.2).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The types that a file can be sent as: as they are written, as they are kept, and what such a file is.
const TYPES: &[(&str, &str, AudioKind)] = &[
    ("audio/wav", "audio/wav", AudioKind::Wav),
    ("audio/x-wav", "audio/x-wav", AudioKind::Wav),
    ("audio/wave", "audio/wav", AudioKind::Wav),
    ("audio/vnd.wave", "audio/wav", AudioKind::Wav),
    ("audio/mpeg", "audio/mpeg", AudioKind::Mp3),
    ("audio/mp3", "audio/mp3", AudioKind::Mp3),
    ("audio/mpeg3", "audio/mpeg3", AudioKind::Mp3),
    ("audio/x-mpeg", "audio/mpeg", AudioKind::Mp3),
    ("audio/x-mpeg-3", "audio/mpeg", AudioKind::Mp3),
    ("audio/x-mp3", "audio/mpeg", AudioKind::Mp3),
    ("audio/ogg", "audio/ogg", AudioKind::Ogg),
    ("audio/vorbis", "audio/ogg", AudioKind::Ogg),
    ("audio/x-ogg", "audio/ogg", AudioKind::Ogg),
    ("application/ogg", "audio/ogg", AudioKind::Ogg),
    ("audio/flac", "audio/flac", AudioKind::Flac),
    ("audio/x-flac", "audio/flac", AudioKind::Flac),
];

/// The types that say nothing. The third is what curl says of every body that it is not told of.
const NO_TYPES: &[&str] = &[
    "",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "binary/octet-stream",
];

/// How the file is in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The body is the file.
    Whole,
    /// The body is the file in base64, or a `data:` URL (RFC 2397).
    Base64,
    /// The file is a part (RFC 7578; RFC 2046 §5.1.3).
    Parts,
}

impl Form {
    /// Returns how a body has its file. `None` where it is no upload but JSON; a path that only takes files has no such bodies
    /// (`only_files`).
    pub(crate) fn of(headers: &HeaderMap, only_files: bool) -> Option<Form> {
        let kind = essence(content_type(headers));
        match kind.as_str() {
            "application/base64" | "application/x-base64" => Some(Form::Base64),
            "multipart/form-data" | "multipart/mixed" => Some(Form::Parts),
            kind if kind.starts_with("audio/") || kind.starts_with("video/") || kind == "application/ogg" => {
                Some(Form::Whole)
            }
            _ => only_files.then_some(Form::Whole),
        }
    }

    /// Returns how many bytes a body with the largest file has at most.
    pub(crate) fn limit(self) -> usize {
        match self {
            Form::Whole => MAX_MEDIA_BYTES,
            // A file may be in base64 within a part.
            Form::Base64 | Form::Parts => MAX_MEDIA_BYTES.div_ceil(3) * 4 + BESIDE_BYTES,
        }
    }
}

/// A file as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// At least one.
    pub(crate) bytes: Bytes,
    /// What its sender says it is; empty when he does not.
    pub(crate) kind: String,
}

impl File {
    /// Finds the file.
    ///
    /// # Errors
    /// There is none, it is too large, or the body is not what its type says.
    pub(crate) async fn find(form: Form, headers: &HeaderMap, body: &Bytes) -> Result<File, ApiError> {
        let kind = content_type(headers);
        let file = match form {
            Form::Whole => File {
                bytes: body.clone(),
                kind: essence(kind),
            },
            Form::Base64 => from_base64(body)?,
            Form::Parts => from_parts(kind, body).await?,
        };
        if file.bytes.is_empty() {
            return Err(Violation::required("file").into());
        }
        if file.bytes.len() > MAX_MEDIA_BYTES {
            return Err(ApiError::BodyTooLarge(MAX_MEDIA_BYTES));
        }
        Ok(file)
    }

    /// Returns the type to be kept with the file, which begins like `found`.
    ///
    /// # Errors
    /// The sender says that it is something else, or something that is not taken.
    pub(crate) fn type_to_keep(&self, found: Option<AudioKind>) -> Result<&'static str, ApiError> {
        if NO_TYPES.contains(&self.kind.as_str()) {
            let untold =
                || invalid("It does not begin as audio does: its Content-Type has to say what it is");
            return found.map(AudioKind::content_type).ok_or_else(untold);
        }
        let known = TYPES.iter().find(|(written, ..)| *written == self.kind);
        let Some((_, kept, said)) = known else {
            return Err(ApiError::NoAudioType(self.kind.clone()));
        };
        match found {
            Some(found) if found != *said => {
                let message = format!(
                    "The file is {}, which its type does not say",
                    found.content_type()
                );
                let violation = Violation::new("content_type", Rule::Invalid, message);
                Err(violation.with_value(&self.kind.as_str().into()).into())
            }
            _ => Ok(kept),
        }
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default()
}

/// Returns a media type without its parameters, in lower case.
fn essence(kind: &str) -> String {
    kind.split(';').next().unwrap_or_default().trim().to_lowercase()
}

/// Takes base64 apart, line ends and other blanks left out. The head of a `data:` URL says what it is.
fn from_base64(text: &[u8]) -> Result<File, ApiError> {
    let text = text.trim_ascii();
    let is_url = text
        .get(..5)
        .is_some_and(|head| head.eq_ignore_ascii_case(b"data:"));
    let (head, text) = match text.iter().position(|byte| *byte == b',') {
        Some(comma) if is_url => (&text[5..comma], &text[comma + 1..]),
        _ => (&b";base64"[..], text),
    };
    let head = String::from_utf8_lossy(head);
    let is_base64 = |parameter: &str| parameter.trim().eq_ignore_ascii_case("base64");
    if !head.split(';').any(is_base64) {
        return Err(invalid("The data URL is not in base64"));
    }
    let text: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let bytes = BASE64
        .decode(&text)
        .map_err(|error| invalid(&format!("The body is no base64: {error}")))?;
    Ok(File {
        bytes: bytes.into(),
        kind: essence(&head),
    })
}

/// Returns the first part that is a file.
async fn from_parts(kind: &str, body: &Bytes) -> Result<File, ApiError> {
    let broken =
        |error: &multer::Error| invalid(&format!("The parts of the body are not understood: {error}"));
    if body.is_empty() {
        return Err(Violation::required("file").into());
    }
    // Both kinds are written alike.
    let (_, parameters) = kind.split_once(';').unwrap_or_default();
    let boundary = multer::parse_boundary(format!("multipart/form-data;{parameters}"));
    let boundary = boundary.map_err(|error| broken(&error))?;
    let limits = SizeLimit::new().whole_stream(Form::Parts.limit() as u64);
    let body = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(body.clone())]);
    let mut parts = Multipart::with_constraints(body, boundary, Constraints::new().size_limit(limits));
    for _ in 0..MAX_PARTS {
        let Some(part) = parts.next_field().await.map_err(|error| broken(&error))? else {
            return Err(Violation::required("file").into());
        };
        if !is_file(&part) {
            continue;
        }
        let kind = part.content_type().map(ToString::to_string).unwrap_or_default();
        let kind = essence(&kind);
        let coding = part.headers().get("content-transfer-encoding");
        let is_coded = coding.is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"base64"));
        let bytes = part.bytes().await.map_err(|error| broken(&error))?;
        return match Form::of_part(&kind) {
            Form::Base64 => from_base64(&bytes),
            _ if is_coded => Ok(File {
                kind,
                ..from_base64(&bytes)?
            }),
            _ => Ok(File { bytes, kind }),
        };
    }
    Err(invalid("There are too many parts before the file"))
}

impl Form {
    fn of_part(kind: &str) -> Form {
        match kind {
            "application/base64" | "application/x-base64" => Form::Base64,
            _ => Form::Whole,
        }
    }
}

/// Returns whether a part is a file: it has the name of one, or a type that is neither JSON nor text.
fn is_file(part: &Field<'_>) -> bool {
    let Some(kind) = part.content_type() else {
        return part.file_name().is_some();
    };
    let kind = essence(kind.as_ref());
    kind != "application/json" && kind != "application/x-json" && !kind.starts_with("text/")
}

fn invalid(why: &str) -> ApiError {
    Violation::new("file", Rule::Invalid, why).into()
}

/// Reads arbitrary bytes as the body of an upload, in each of its forms.
pub(crate) fn fuzz_upload(data: &[u8]) {
    let (first, body) = data.split_at(data.len().min(1));
    let kind = match first.first().copied().unwrap_or_default() % 3 {
        0 => "application/base64",
        1 => "multipart/form-data; boundary=x",
        _ => "multipart/mixed; boundary=\"x\"",
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    let form = Form::of(&headers, true).expect("every body is one");
    let body = Bytes::copy_from_slice(body);
    // Nothing in it waits: the body is there as a whole.
    let found = futures_util::FutureExt::now_or_never(File::find(form, &headers, &body));
    if let Some(Ok(file)) = found {
        assert!(!file.bytes.is_empty() && file.bytes.len() <= data.len());
        let _ = file.type_to_keep(AudioKind::of(&file.bytes));
    }
}

#[cfg(test)]
mod tests;
