//! Reading: what peers really send is taken, what cannot be used is refused with a reason; printing is strict.

use std::path::Path;

use confab_sdp::{Direction, MAX_BYTES, MAX_MEDIA, SdpError, SessionDescription};

fn parse(text: &str) -> Result<SessionDescription, SdpError> {
    SessionDescription::parse(text.as_bytes())
}

const MINIMAL: &str = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n";

#[test]
fn the_corpus_is_readable_and_survives_printing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/sdp");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sdp") {
            continue;
        }
        let body = std::fs::read(&path).unwrap();
        let description =
            SessionDescription::parse(&body).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        assert!(description.media.iter().any(|media| media.is_audio()), "{path:?}");
        confab_sdp::fuzz_sdp(&body);
        count += 1;
    }
    assert!(count >= 10);
}

#[test]
fn odd_bodies_are_understood() {
    let rows: &[(&str, &[u8])] = &[
        ("LF", b"v=0\no=- 1 2 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0\n"),
        ("CR", b"v=0\ro=- 1 2 IN IP4 192.0.2.1\rs=-\rc=IN IP4 192.0.2.1\rt=0 0\rm=audio 4000 RTP/AVP 0\r"),
        ("no last line end", b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0"),
        ("empty lines", b"\r\nv=0\r\n\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n\r\n"),
        ("NUL at the end", b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n\0"),
        ("blanks around", b"v=0 \r\n c=IN IP4 192.0.2.1\t\r\nm=audio\t4000  RTP/AVP 0 \r\n"),
        ("no o, s, t", b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n"),
        ("t before s, c before o", b"v=0\nt=0 0\nc=IN IP4 192.0.2.1\ns=x\no=- 1 2 IN IP4 h\nm=audio 4000 RTP/AVP 0"),
        ("Latin-1", b"v=0\r\no=J\xfcrgen 1 2 IN IP4 h\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n"),
        ("negative version", b"v=0\no=- 1 -2 IN IP4 h\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n"),
        ("blank in user", b"v=0\no=J D 1 2 IN IP4 h\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n"),
        ("second o, s, c", b"v=0\no=a 1 2 IN IP4 h\no=b 3 4 IN IP4 h\ns=1\ns=2\nc=IN IP4 192.0.2.1\nc=IN IP4 192.0.2.2\nm=audio 4000 RTP/AVP 0"),
        ("bad b, t, r, z, k", b"v=0\nb=AS\nb=X:y\nt=now\nr=1\nz=?\nk=\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n"),
        ("no = at all", b"v=0\nnoise\n=\nx\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n"),
        ("more in c", b"v=0\nc=IN IP4 192.0.2.1 extra\nm=audio 4000 RTP/AVP 0\n"),
        ("lower-case c", b"v=0\nc=in ip4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n"),
    ];
    for (name, body) in rows {
        let description = SessionDescription::parse(body).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(description.media.len(), 1, "{name}");
        let media = &description.media[0];
        assert!(
            media.is_audio() && media.port == 4000 && media.formats == ["0"],
            "{name}: {media:?}"
        );
        assert_eq!(
            description.audio_address(),
            Some("192.0.2.1".parse().unwrap()),
            "{name}"
        );
        assert_eq!(
            SessionDescription::parse(description.to_string().as_bytes()).unwrap(),
            description,
            "{name}"
        );
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_a_reason() {
    let many_lines = format!("{MINIMAL}{}", "a=x\r\n".repeat(1000));
    let many_media = format!("{MINIMAL}{}", "m=audio 0 RTP/AVP 0\r\n".repeat(MAX_MEDIA + 1));
    let many_formats = format!("{MINIMAL}m=audio 1 RTP/AVP{}\r\n", " 0".repeat(129));
    let too_large = "v".repeat(MAX_BYTES + 1);
    let rows: &[(&str, &str, u16, &str)] = &[
        ("empty", "", 400, "no v= line"),
        ("only line ends", "\r\n\r\n", 400, "no v= line"),
        ("not SDP", "<presence/>", 400, "no v= line"),
        ("v not first", "o=- 1 2 IN IP4 h\r\nv=0\r\n", 400, "no v= line"),
        ("version 1", "v=1\r\n", 400, "version is not 0"),
        (
            "bad port",
            &format!("{MINIMAL}m=audio 70000 RTP/AVP 0\r\n"),
            400,
            "line 5 at Media port",
        ),
        ("no port", &format!("{MINIMAL}m=audio\r\n"), 400, "port in line 5"),
        ("bad c", &format!("{MINIMAL}c=IN IP4\r\n"), 400, "line 5"),
        ("too large", &too_large, 513, "at most 32768"),
        ("lines", &many_lines, 400, "more than 1000 lines"),
        ("media", &many_media, 400, "more than 32 media descriptions"),
        ("formats", &many_formats, 400, "more than 128 formats"),
    ];
    for (name, body, status, text) in rows {
        let error = parse(body).expect_err(name);
        assert_eq!(error.status(), *status, "{name}: {error}");
        assert!(error.to_string().contains(text), "{name}: {error}");
    }
}

#[test]
fn lines_without_part_in_offer_answer_are_kept_where_they_matter() {
    let body = "v=0\r\no=alice 10 20 IN IP6 2001:db8::1\r\ns=talk\r\nc=IN IP6 2001:db8::1\r\nb=CT:128\r\n\
                t=3034423619 3042462419\r\na=tool:x\r\na=group:BUNDLE a\r\nm=audio 4000/2 RTP/AVP 0\r\n\
                c=IN IP4 192.0.2.2/127\r\nb=TIAS:64000\r\na=mid:a\r\na=fmtp:0 a=b:c\r\na=label:\r\n";
    let description = parse(body).unwrap();
    assert_eq!(description.to_string(), body);
    assert_eq!(description.attribute("TOOL"), Some("x"));
    assert_eq!(description.media[0].attribute("label"), Some(""));
    assert_eq!(
        description.connection_of(&description.media[0]).unwrap().ip(),
        "192.0.2.2".parse().ok()
    );
}

#[test]
fn directions_come_from_the_stream_then_the_session() {
    let rows = [
        ("", "", Direction::SendRecv),
        ("a=sendonly\r\n", "", Direction::SendOnly),
        ("a=sendonly\r\n", "a=inactive\r\n", Direction::Inactive),
        ("a=inactive\r\n", "a=recvonly\r\n", Direction::RecvOnly),
        ("", "a=SendOnly\r\na=sendrecv\r\n", Direction::SendOnly),
    ];
    for (session, media, expected) in rows {
        let description = parse(&format!("{MINIMAL}{session}m=audio 1 RTP/AVP 0\r\n{media}")).unwrap();
        assert_eq!(
            description.direction_of(&description.media[0]),
            expected,
            "{session:?} {media:?}"
        );
    }
}

#[test]
fn printing_leaves_no_way_out_of_a_line() {
    let mut description = parse(MINIMAL).unwrap();
    description.session_name = "x\r\nm=audio 1 RTP/AVP 0".to_owned();
    description.origin.username = "a b\r\nc".to_owned();
    description.origin.session_id = String::new();
    let printed = description.to_string();
    assert_eq!(
        printed,
        "v=0\r\no=abc - 2 IN IP4 192.0.2.1\r\ns=xm=audio 1 RTP/AVP 0\r\nt=0 0\r\n"
    );
}
