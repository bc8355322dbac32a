//! What is found in bodies of uploads.

use axum::http::HeaderValue;
use proptest::prelude::*;

use super::*;

async fn find(kind: &str, body: &[u8]) -> Result<File, ApiError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
    let form = Form::of(&headers, true).unwrap();
    File::find(form, &headers, &Bytes::copy_from_slice(body)).await
}

fn rule(error: ApiError) -> String {
    match error {
        ApiError::Validation(violations) => {
            let first = violations.iter().next().unwrap();
            format!("{}.{}", first.field, first.rule.name())
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn a_body_is_a_file_by_its_type_or_its_path() {
    for (kind, on_document, on_file) in [
        ("audio/wav", Some(Form::Whole), Form::Whole),
        ("Audio/MPEG; x=y", Some(Form::Whole), Form::Whole),
        ("video/mp4", Some(Form::Whole), Form::Whole),
        ("application/base64", Some(Form::Base64), Form::Base64),
        ("multipart/form-data; boundary=x", Some(Form::Parts), Form::Parts),
        ("multipart/mixed", Some(Form::Parts), Form::Parts),
        ("application/json", None, Form::Whole),
        ("application/x-www-form-urlencoded", None, Form::Whole),
        ("", None, Form::Whole),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
        assert_eq!(Form::of(&headers, false), on_document, "{kind}");
        assert_eq!(Form::of(&headers, true), Some(on_file), "{kind}");
    }
}

#[tokio::test]
async fn base64_is_taken_with_and_without_its_head() {
    for (text, kind, bytes) in [
        ("UklGRg==", "", "RIFF"),
        (" Ukl\r\nGRg ", "", "RIFF"),
        ("data:audio/x-wav;base64,UklGRg==", "audio/x-wav", "RIFF"),
        ("DATA:audio/mp3;name=a.mp3;BASE64,SUQz", "audio/mp3", "ID3"),
        ("data:;base64,SUQz", "", "ID3"),
    ] {
        let file = find("application/base64", text.as_bytes()).await.unwrap();
        assert_eq!((&*file.kind, &file.bytes[..]), (kind, bytes.as_bytes()), "{text}");
    }
    for (text, expected) in [
        ("", "file.required"),
        ("data:audio/wav;base64,", "file.required"),
        ("data:audio/wav,RIFF", "file.invalid"),
        ("UklG*g==", "file.invalid"),
        ("U", "file.invalid"),
        ("data:audio/wav;base64", "file.invalid"),
    ] {
        let error = find("application/base64", text.as_bytes()).await.unwrap_err();
        assert_eq!(rule(error), expected, "{text}");
    }
    let large = BASE64.encode(vec![0; MAX_MEDIA_BYTES + 1]);
    assert!(large.len() <= Form::Base64.limit());
    let error = find("application/base64", large.as_bytes()).await.unwrap_err();
    assert!(matches!(error, ApiError::BodyTooLarge(MAX_MEDIA_BYTES)));
}

#[tokio::test]
async fn the_first_part_that_is_a_file_is_taken() {
    let json = "--b\r\nContent-Type: application/json\r\n\r\n{\"data\":{}}\r\n";
    let named =
        "--b\r\nContent-Disposition: form-data; name=\"upload\"; filename=\"a.bin\"\r\n\r\nRIFF\r\n\0x\r\n";
    let typed = "--b\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n";
    let coded = "--b\r\nContent-Type: audio/mp3\r\nContent-Transfer-Encoding: BASE64\r\n\r\nSUQz\r\n";
    let url = "--b\r\nContent-Type: application/base64\r\n\r\ndata:audio/mp3;base64,SUQz\r\n";
    let end = "--b--\r\n";
    for (kind, body, found) in [
        (
            "multipart/form-data; boundary=b",
            [json, named, end].concat(),
            ("", "RIFF\r\n\0x"),
        ),
        (
            "multipart/mixed; boundary=\"b\"",
            [json, typed, named, end].concat(),
            ("audio/wav", "RIFF"),
        ),
        (
            "Multipart/Form-Data; charset=x; boundary=b",
            [coded, end].concat(),
            ("audio/mp3", "ID3"),
        ),
        (
            "multipart/mixed; boundary=b",
            [url, end].concat(),
            ("audio/mp3", "ID3"),
        ),
    ] {
        let file = find(kind, body.as_bytes()).await.unwrap();
        assert_eq!((&*file.kind, &file.bytes[..]), (found.0, found.1.as_bytes()));
    }
    let many = json.repeat(MAX_PARTS + 1) + typed + end;
    let empty = "--b\r\nContent-Type: audio/wav\r\n\r\n\r\n--b--\r\n";
    for (kind, body, expected) in [
        ("multipart/form-data; boundary=b", "", "file.required"),
        (
            "multipart/form-data; boundary=b",
            &[json, end].concat(),
            "file.required",
        ),
        ("multipart/form-data; boundary=b", empty, "file.required"),
        ("multipart/form-data; boundary=b", typed, "file.invalid"),
        (
            "multipart/form-data; boundary=other",
            &[typed, end].concat(),
            "file.invalid",
        ),
        ("multipart/form-data", &[typed, end].concat(), "file.invalid"),
        ("multipart/mixed; boundary=b", &many, "file.invalid"),
        ("multipart/mixed; boundary=b", "RIFF", "file.invalid"),
    ] {
        let error = find(kind, body.as_bytes()).await.unwrap_err();
        assert_eq!(rule(error), expected, "{kind} {body}");
    }
}

#[test]
fn a_type_is_kept_unless_the_file_is_something_else() {
    let wav = Some(AudioKind::Wav);
    for (kind, found, expected) in [
        ("audio/wav", wav, Ok("audio/wav")),
        ("audio/x-wav", wav, Ok("audio/x-wav")),
        ("audio/vnd.wave", wav, Ok("audio/wav")),
        ("audio/mp3", Some(AudioKind::Mp3), Ok("audio/mp3")),
        ("audio/mpeg", None, Ok("audio/mpeg")),
        ("application/ogg", Some(AudioKind::Ogg), Ok("audio/ogg")),
        ("", wav, Ok("audio/wav")),
        (
            "application/octet-stream",
            Some(AudioKind::Flac),
            Ok("audio/flac"),
        ),
        ("audio/mp3", wav, Err("content_type.invalid")),
        ("", None, Err("file.invalid")),
        ("audio/aac", wav, Err("NoAudioType(\"audio/aac\")")),
        ("application/json", wav, Err("NoAudioType(\"application/json\")")),
    ] {
        let file = File {
            bytes: Bytes::from_static(b"x"),
            kind: kind.to_owned(),
        };
        let kept = file.type_to_keep(found).map_err(rule);
        assert_eq!(kept, expected.map_err(str::to_owned), "{kind}");
    }
}

#[test]
fn the_committed_seeds_do_no_harm() {
    let corpus = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fuzz/corpus/media_upload"
    );
    let mut count = 0;
    for seed in std::fs::read_dir(corpus).expect("a corpus") {
        crate::fuzz_media(&std::fs::read(seed.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 9);
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(
        form in 0u8..3,
        pieces in prop::collection::vec(prop_oneof![
            Just(b"--x\r\n".to_vec()), Just(b"--x--".to_vec()), Just(b"\r\n".to_vec()), Just(b"data:audio/wav;base64,".to_vec()),
            Just(b"Content-Type: audio/wav\r\n".to_vec()), Just(b"Content-Disposition: form-data; filename=\"".to_vec()),
            Just(b"UklGRg==".to_vec()), prop::collection::vec(any::<u8>(), 0..20),
        ], 0..12),
    ) {
        let mut data = vec![form];
        data.extend(pieces.concat());
        fuzz_upload(&data);
    }
}
