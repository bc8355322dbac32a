//! Owns what is told about the files of media documents: the bodies that are no JSON. Never describes the documents.

use serde_json::{Map, Value, json};

use super::Text;
use super::reference;
use crate::route::{Operation, Verb};

/// The types that a file comes back as.
const TYPES: &[&str] = &[
    "audio/wav",
    "audio/x-wav",
    "audio/mpeg",
    "audio/mp3",
    "audio/mpeg3",
    "audio/ogg",
    "audio/flac",
];

/// Returns what is told about an operation of this module's; `None` for one that is another's.
pub(super) fn text(operation: Operation) -> Option<Text> {
    let text = |id, summary| Text::new(id, summary, "200", reference("StoredMedia"));
    Some(match operation {
        Operation::DownloadMedia => text("downloadMedia", "The file, byte for byte as it was uploaded."),
        Operation::MeasureMedia => text("measureMedia", "Length and type of the file."),
        Operation::UploadMedia => text(
            "uploadMedia",
            "Takes the file, in the place of the one before. It has to be audio that can be played: WAV, MP3, Ogg Vorbis or FLAC.",
        ),
        Operation::ListRecordings => Text {
            list: true,
            ..Text::new(
                "listRecordings",
                "The account's recordings, the newest first.",
                "200",
                json!({ "type": "array", "items": reference("RecordingListItem") }),
            )
        },
        Operation::ShowRecording => text(
            "showRecording",
            "The recording's media document, with its files; who takes audio rather than JSON (Accept) gets its mix.",
        ),
        Operation::DeleteRecording => text("deleteRecording", "Deletes the recording and all of its files."),
        Operation::DownloadRecording => text(
            "downloadRecording",
            "A file of the recording: one of recording.files, or timeline.json.",
        ),
        Operation::MeasureRecording => {
            text("measureRecording", "Length and type of a file of the recording.")
        }
        _ => return None,
    })
}

/// Adds to the description of an operation what of its bodies is no JSON.
pub(super) fn complete(verb: Verb, operation: Operation, described: &mut Value) {
    use confab_documents::Kind::Media;
    match operation {
        Operation::DownloadMedia => sends_file(described, false),
        Operation::Show(Media) => {
            described["description"] =
                "Who takes audio rather than JSON (Accept) gets the file, as under /raw.".into();
            sends_file(described, true);
        }
        Operation::DownloadRecording => {
            sends_file(described, false);
            let timeline = json!({ "schema": { "type": "object" } });
            described["responses"]["200"]["content"]["application/json"] = timeline.clone();
            described["responses"]["206"]["content"]["application/json"] = timeline;
        }
        Operation::ShowRecording => sends_file(described, true),
        Operation::MeasureMedia | Operation::MeasureRecording => tells_file(described),
        Operation::UploadMedia => takes_file(described, false),
        Operation::Replace(Media) => {
            described["description"] =
                "A body of a type of audio, in base64 or of parts is the file, as under /raw.".into();
            takes_file(described, true);
        }
        _ => return,
    }
    // POST can stand for GET.
    if verb == Verb::Post {
        described["responses"]["416"] = out_of_range();
    }
}

fn binary() -> Value {
    json!({ "schema": { "type": "string", "format": "binary" } })
}

fn out_of_range() -> Value {
    json!({ "$ref": "#/components/responses/RangeNotSatisfiable" })
}

fn takes_file(described: &mut Value, or_json: bool) {
    let mut content = match described["requestBody"]["content"].take() {
        Value::Object(content) if or_json => content,
        _ => Map::new(),
    };
    if !or_json {
        content.insert("application/octet-stream".into(), binary());
    }
    content.extend(TYPES.iter().map(|kind| ((*kind).to_owned(), binary())));
    content.insert(
        "application/base64".into(),
        json!({ "schema": { "type": "string", "description": "The file in base64, or a data URL with it." } }),
    );
    content.insert(
        "multipart/form-data".into(),
        json!({ "schema": {
            "type": "object",
            "description": "The first part with the name of a file, or of a type that is neither JSON nor text.",
            "required": ["upload"],
            "properties": { "upload": { "type": "string", "format": "binary" } },
        } }),
    );
    described["requestBody"] = json!({ "required": true, "content": content });
}

fn sends_file(described: &mut Value, or_json: bool) {
    let files = TYPES.iter().map(|kind| ((*kind).to_owned(), binary()));
    let mut whole = described["responses"]["200"].take();
    let mut content = match whole["content"].take() {
        Value::Object(content) if or_json => content,
        _ => Map::new(),
    };
    content.extend(files.clone());
    whole["content"] = content.into();
    described["responses"]["200"] = whole;
    described["responses"]["206"] = json!({
        "description": "The bytes that were asked for.",
        "headers": { "Content-Range": { "$ref": "#/components/headers/Content-Range" } },
        "content": Map::from_iter(files),
    });
    described["responses"]["416"] = out_of_range();
    if let Some(parameters) = described["parameters"].as_array_mut() {
        parameters.extend(
            ["Range", "IfRange"].map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })),
        );
    }
}

/// An answer to HEAD has no body.
fn tells_file(described: &mut Value) {
    let Some(answers) = described["responses"].as_object_mut() else {
        return;
    };
    for (status, answer) in answers.iter_mut() {
        *answer = match status.as_str() {
            "200" => json!({ "description": "There is a file.", "headers": {
                "ETag": { "$ref": "#/components/headers/ETag" },
            } }),
            _ => json!({ "description": "As GET answers, without its body." }),
        };
    }
    answers.insert(
        "304".into(),
        json!({ "description": "Unchanged since If-None-Match." }),
    );
}
