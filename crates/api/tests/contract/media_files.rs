//! Checklist 197 to 199: the files of media documents.

use std::path::PathBuf;

use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{Reply, Server};

const LARGEST: usize = 11_534_336;

/// A file of another kind, of the corpus of the importer.
fn sample(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/import");
    std::fs::read(path.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A file of 8 kHz, 16 bits, of so many bytes.
fn wav(length: usize) -> Vec<u8> {
    let data = length - 44;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1F\0\0\x80\x3E\0\0\x02\0\x10\0data");
    file.extend((data as u32).to_le_bytes());
    file.extend((0..data).map(|at| (at * 7 % 251) as u8));
    file
}

impl Server {
    async fn medium(&self) -> String {
        let made = self
            .ask("PUT", "/media", json!({"data": {"name": "Jingle"}}))
            .await;
        made.data()["id"].as_str().unwrap().to_owned()
    }

    async fn bytes(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut all = vec![("x-auth-token", self.token.as_str())];
        all.extend(headers);
        self.send_bytes(method, &self.uri(path), &all, body).await
    }

    async fn upload(&self, path: &str, kind: &str, body: &[u8]) -> Reply {
        self.bytes("POST", path, &[("content-type", kind)], body).await
    }

    async fn raw(&self, id: &str, headers: &[(&str, &str)]) -> Reply {
        self.bytes("GET", &format!("/media/{id}/raw"), headers, &[]).await
    }
}

#[tokio::test]
async fn line_197_audio_comes_back_byte_for_byte_whichever_way_it_came_and_is_asked_for() {
    let server = Server::start().await;
    let id = server.medium().await;
    let (document, file) = (format!("/media/{id}"), format!("/media/{id}/raw"));
    server.raw(&id, &[]).await.is_error(404, "bad_identifier");
    let mp3 = sample("tone-mp3");
    for (path, kind, bytes, kept) in [
        (&file, "audio/mpeg", mp3.clone(), "audio/mpeg"),
        (&document, "audio/mp3", mp3, "audio/mp3"),
        (&document, "audio/x-wav; charset=x", wav(400_000), "audio/x-wav"),
        (
            &file,
            "application/octet-stream",
            sample("tone-flac"),
            "audio/flac",
        ),
        (&file, "", wav(44_100), "audio/wav"),
        (
            &file,
            "application/x-www-form-urlencoded",
            sample("alaw-wav"),
            "audio/wav",
        ),
    ] {
        let reply = server.upload(path, kind, &bytes).await;
        assert_eq!(reply.status, 200, "{kind}: {}", reply.text);
        assert_eq!(reply.data()["content_type"], kept);
        assert_eq!(reply.data()["content_length"], bytes.len());
        assert_eq!(
            (&reply.data()["media_source"], &reply.data()["name"]),
            (&json!("upload"), &json!("Jingle"))
        );
        let raw = server.raw(&id, &[("accept", "application/json")]).await;
        let wanted = server
            .bytes("GET", &document, &[("accept", "audio/*")], &[])
            .await;
        for reply in [raw, wanted] {
            assert_eq!(reply.status, 200);
            assert!(reply.bytes == bytes, "{kind}");
            assert_eq!(reply.header("content-type"), kept);
            assert_eq!(reply.header("content-length"), bytes.len().to_string());
            assert_eq!(reply.header("accept-ranges"), "bytes");
        }
        // Who does not ask for audio reads the document.
        let shown = server.bytes("GET", &document, &[("accept", "*/*")], &[]).await;
        assert_eq!(shown.header("content-type"), "application/json");
        assert_eq!(shown.data()["content_type"], kept);
    }
}

#[tokio::test]
async fn files_come_in_base64_and_in_parts_too() {
    let server = Server::start().await;
    let id = server.medium().await;
    let (document, file) = (format!("/media/{id}"), format!("/media/{id}/raw"));
    let wav = wav(5_000);
    let coded = STANDARD.encode(&wav);
    let url = format!("data:audio/wav;base64,{coded}");
    let parts = |head: &str| {
        let mut body = b"--b\r\nContent-Type: application/json\r\n\r\n{\"data\":{}}\r\n--b\r\n".to_vec();
        body.extend(head.bytes());
        body.extend(b"\r\n\r\n");
        body.extend(&wav);
        body.extend(b"\r\n--b--\r\n");
        body
    };
    let named = "Content-Disposition: form-data; name=\"f\"; filename=\"a.wav\"";
    for (path, kind, body) in [
        (&file, "application/base64", coded.clone().into_bytes()),
        (&document, "application/x-base64", url.into_bytes()),
        (&document, "multipart/form-data; boundary=b", parts(named)),
        (
            &file,
            "multipart/mixed; boundary=\"b\"",
            parts("Content-Type: audio/wav"),
        ),
    ] {
        let reply = server.upload(path, kind, &body).await;
        assert_eq!(reply.status, 200, "{kind}: {}", reply.text);
        assert_eq!(reply.data()["content_type"], "audio/wav");
        assert!(server.raw(&id, &[]).await.bytes == wav, "{kind}");
    }
}

#[tokio::test]
async fn line_198_a_range_is_answered_with_exactly_those_bytes() {
    let server = Server::start().await;
    let id = server.medium().await;
    let bytes = wav(600_000);
    server
        .upload(&format!("/media/{id}/raw"), "audio/wav", &bytes)
        .await;
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299", 100, 300),
        // Over the borders of what is read at a time.
        ("bytes=262000-524400", 262_000, 524_401),
        ("bytes=599999-", 599_999, 600_000),
        ("bytes=-10", 599_990, 600_000),
        ("bytes=-700000", 0, 600_000),
        ("bytes=599000-9999999", 599_000, 600_000),
    ] {
        for path in [format!("/media/{id}/raw"), format!("/media/{id}")] {
            let headers = [("range", range), ("accept", "audio/wav")];
            let reply = server.bytes("GET", &path, &headers, &[]).await;
            assert_eq!(reply.status, 206, "{range}");
            assert!(reply.bytes == bytes[from..to], "{range}");
            assert_eq!(
                reply.header("content-range"),
                format!("bytes {from}-{}/600000", to - 1)
            );
            assert_eq!(reply.header("content-length"), (to - from).to_string());
        }
    }
    for range in ["bytes=600000-", "bytes=-0", "bytes=999999999999999999999-"] {
        let reply = server.raw(&id, &[("range", range)]).await;
        reply.is_error(416, "range_not_satisfiable");
        assert_eq!(reply.header("content-range"), "bytes */600000", "{range}");
    }
    for range in ["bytes=5-2", "bytes=0-1,5-6", "lines=1-2", "bytes=x", "bytes"] {
        let reply = server.raw(&id, &[("range", range)]).await;
        assert_eq!(
            (reply.status.as_u16(), reply.bytes.len()),
            (200, 600_000),
            "{range}"
        );
    }
}

#[tokio::test]
async fn a_client_that_has_the_file_is_told_so() {
    let server = Server::start().await;
    let id = server.medium().await;
    let path = format!("/media/{id}/raw");
    let bytes = wav(300_000);
    server.upload(&path, "audio/wav", &bytes).await;
    let etag = server.raw(&id, &[]).await.header("etag").to_owned();
    let known = [
        ("if-none-match", etag.as_str()),
        ("if-range", &etag),
        ("range", "bytes=0-9"),
    ];
    let reply = server.raw(&id, &known[..1]).await;
    assert_eq!((reply.status.as_u16(), reply.bytes.len()), (304, 0));
    assert_eq!(server.raw(&id, &known[1..]).await.status, 206);

    let head = server.bytes("HEAD", &path, &[("range", "bytes=0-9")], &[]).await;
    assert_eq!((head.status.as_u16(), head.bytes.len()), (200, 0));
    assert_eq!(
        (head.header("content-length"), head.header("etag")),
        ("300000", &*etag)
    );
    assert_eq!(head.header("content-type"), "audio/wav");

    // Another file, or another name of the document: the file's tag follows the file alone.
    let change = json!({"data": {"description": "x"}});
    server.ask("PATCH", &format!("/media/{id}"), change).await;
    assert_eq!(server.raw(&id, &known[..1]).await.status, 304);
    server.upload(&path, "audio/wav", &wav(300_002)).await;
    assert_eq!(server.raw(&id, &known[..1]).await.status, 200);
    let whole = server.raw(&id, &known[1..]).await;
    assert_eq!((whole.status.as_u16(), whole.bytes.len()), (200, 300_002));

    // The revision is the document's.
    let stale = [("content-type", "audio/wav"), ("if-match", "\"1-x\"")];
    server
        .bytes("POST", &path, &stale, &bytes)
        .await
        .is_error(409, "datastore_conflict");
}

#[tokio::test]
async fn line_199_what_is_no_file_is_refused_and_leaves_the_one_that_is_there() {
    let server = Server::start().await;
    let id = server.medium().await;
    let (document, file) = (format!("/media/{id}"), format!("/media/{id}/raw"));
    let good = wav(10_000);
    assert_eq!(server.upload(&file, "audio/wav", &good).await.status, 200);
    for (path, kind) in [
        (&file, "audio/wav"),
        (&file, ""),
        (&file, "application/json"),
        (&document, "audio/mp3"),
        (&document, "application/base64"),
        (&document, "multipart/form-data; boundary=b"),
        (&file, "multipart/mixed"),
    ] {
        server.upload(path, kind, b"").await.breaks("file", "required");
    }
    for (kind, body) in [
        ("audio/wav", &b"hello"[..]),
        ("audio/wav", &good[..20]),
        ("audio/wav", &good[..44]),
        ("audio/mpeg", &[0; 4096]),
        ("", b"<!DOCTYPE html><title>no</title>"),
        ("application/octet-stream", b"MZ\x90\0"),
        ("audio/wav", &sample("adpcm-wav")),
        ("audio/ogg", &sample("opus-ogg")),
        ("application/base64", b"no base64!"),
        ("multipart/form-data", b"--b\r\n\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nbroken"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Type: audio/wav\r\n\r\nno\r\n--b--\r\n",
        ),
    ] {
        server.upload(&file, kind, body).await.breaks("file", "invalid");
    }
    for (kind, body) in [
        ("audio/mpeg", &good),
        ("audio/ogg", &good),
        ("audio/wav", &sample("tone-mp3")),
    ] {
        server
            .upload(&file, kind, body)
            .await
            .breaks("content_type", "invalid");
    }
    for kind in ["audio/aac", "video/mp4", "text/html", "application/json"] {
        let reply = server.upload(&file, kind, &good).await;
        reply.is_error(415, "invalid_content_type");
    }
    let raw = server.raw(&id, &[]).await;
    assert!(raw.bytes == good);
    assert_eq!(raw.header("content-type"), "audio/wav");

    let nowhere = format!("/media/{}/raw", "0".repeat(32));
    server
        .upload(&nowhere, "audio/wav", &good)
        .await
        .is_error(404, "bad_identifier");
    let verbs = ["PUT", "PATCH", "DELETE"];
    for verb in verbs {
        server
            .bytes(verb, &file, &[], &[])
            .await
            .is_error(405, "invalid_method");
    }
    let mut head = server.bytes("HEAD", &document, &[], &[]).await;
    assert_eq!(head.status, 405, "{:?}", head.headers.remove("x"));
    // A file that lacks its end is what there is of it.
    assert_eq!(
        server.upload(&file, "audio/wav", &good[..9_000]).await.status,
        200
    );
    // JSON is still the document's.
    let body = json!({"data": {"name": "Other"}});
    assert_eq!(server.ask("POST", &document, body).await.data()["name"], "Other");
    assert_eq!(server.raw(&id, &[]).await.bytes.len(), 9_000);
}

#[tokio::test]
async fn the_largest_file_is_taken_and_no_larger_one_and_none_of_a_stranger() {
    let server = Server::start().await;
    let id = server.medium().await;
    let path = format!("/media/{id}/raw");
    // Ten minutes are the most: 22 kHz of 8 bits are shorter at this size.
    let mut largest = wav(LARGEST);
    largest[24..28].copy_from_slice(&22_050u32.to_le_bytes());
    largest[28..32].copy_from_slice(&44_100u32.to_le_bytes());
    let reply = server.upload(&path, "audio/wav", &largest).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let coded = STANDARD.encode(&largest);
    let reply = server.upload(&path, "application/base64", coded.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(server.raw(&id, &[]).await.bytes == largest);

    largest.push(0);
    let larger = STANDARD.encode(&largest).into_bytes();
    for (kind, body) in [("audio/wav", &largest), ("application/base64", &larger)] {
        let reply = server.upload(&path, kind, body).await;
        reply.is_error(413, "request_too_large");
        assert_eq!(reply.data()["file"]["maxSize"]["target"], LARGEST);
    }
    let endless = vec![0; 60_000_000];
    server
        .upload(&path, "audio/wav", &endless)
        .await
        .is_error(413, "request_too_large");
    // Twelve minutes.
    let long = wav(44 + 16_000 * 60 * 12);
    assert!(long.len() < LARGEST);
    server
        .upload(&path, "audio/wav", &long)
        .await
        .breaks("file", "invalid");

    // Of whom nothing is known, not a megabyte is read.
    let read = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&read);
    let pieces = futures_util::stream::iter((0..1000).map(move |_| {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok::<_, std::io::Error>(Bytes::from(vec![0; 65_536]))
    }));
    let request = Request::post(server.uri(&path))
        .header("content-type", "audio/wav")
        .header("x-auth-token", "guessed")
        .body(Body::from_stream(pieces))
        .unwrap();
    let reply = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(reply.status(), 413);
    assert!(read.load(std::sync::atomic::Ordering::SeqCst) < 300, "{read:?}");
    let small = [("content-type", "audio/wav"), ("x-auth-token", "guessed")];
    let reply = server
        .send_bytes("POST", &server.uri(&path), &small, &wav(1000))
        .await;
    reply.is_error(401, "invalid_credentials");
}

#[tokio::test]
async fn a_prompt_has_its_file_under_its_language_and_name() {
    let server = Server::start().await;
    let prompt = json!({"data": {"name": "Welcome", "prompt_id": "conf-welcome", "language": "fr-FR"}});
    let made = server.ask("PUT", "/media", prompt).await;
    let path = format!("/media/{}", made.data()["id"].as_str().unwrap());
    assert_eq!(path, "/media/fr-fr%2Fconf-welcome");
    let bytes = wav(20_000);
    let put = server.upload(&format!("{path}/raw"), "audio/wav", &bytes).await;
    assert_eq!(
        (put.status.as_u16(), &put.data()["prompt_id"]),
        (200, &json!("conf-welcome"))
    );
    let raw = server.bytes("GET", &format!("{path}/raw"), &[], &[]).await;
    assert!(raw.bytes == bytes);
    assert_eq!(server.ask("DELETE", &path, Value::Null).await.status, 200);
    server
        .bytes("GET", &format!("{path}/raw"), &[], &[])
        .await
        .is_error(404, "bad_identifier");
}

#[tokio::test]
async fn nobody_reaches_files_of_other_accounts() {
    let server = Server::start().await;
    let id = server.medium().await;
    let (_, stranger) = server.child(&server.account).await;
    let path = server.uri(&format!("/media/{id}/raw"));
    let bytes = wav(1000);
    for (method, body) in [("GET", &[][..]), ("POST", &bytes)] {
        let headers = [("x-auth-token", stranger.as_str()), ("content-type", "audio/wav")];
        let reply = server.send_bytes(method, &path, &headers, body).await;
        reply.is_error(403, "forbidden");
    }
}
