//! What names of media come to, with a web server on loopback.

mod library;
pub(crate) mod origin;
mod prompts;

use std::sync::Arc;
use std::time::Duration;

use confab_api::MediaProblem;
use confab_conference::MediaName;
use confab_media::{Clip, Sound};

use self::origin::{Origin, Page};
use super::{FetchError, Media, Sounds, Source};
use crate::config;

/// Far beyond what any step takes; only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn permissive() -> config::Fetch {
    config::Fetch {
        enabled: true,
        allow_private: true,
        max_mb: 1,
        max_minutes: 1,
        timeout_s: 10,
        cache_mb: 1,
    }
}

/// A file of 16-bit samples.
pub(crate) fn wav(rate_hz: u32, samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(rate_hz.to_le_bytes());
    file.extend((2 * rate_hz).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

async fn fetch(sounds: &Sounds, url: &str) -> Result<Vec<Sound>, FetchError> {
    match sounds.resolve(&MediaName::from(url)) {
        Ok(Media::Later(source @ Source::Remote(_))) => tokio::time::timeout(PATIENCE, sounds.fetch(&source))
            .await
            .expect("it ends")
            .map(|audible| audible.sounds),
        other => panic!("{url}: {other:?}"),
    }
}

fn invalid(sounds: &Sounds, name: &str) -> String {
    match sounds.resolve(&MediaName::from(name)) {
        Err(MediaProblem::Invalid(why)) => why,
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn names_are_scripts_urls_or_unknown() {
    let sounds = Sounds::new(&permissive());
    for script in [
        "tone_stream://%(500,0,440)",
        "%(500,0,440);loops=2",
        "silence_stream://100",
        "silence_stream://-1,1400",
    ] {
        let resolved = sounds.resolve(&MediaName::from(script));
        assert!(
            matches!(&resolved, Ok(Media::Here(here)) if here.sounds.len() == 1),
            "{script}: {resolved:?}"
        );
    }
    for url in ["http://192.0.2.1/a.wav", "HTTPS://example.com/a?b=c"] {
        assert!(
            matches!(
                sounds.resolve(&MediaName::from(url)),
                Ok(Media::Later(Source::Remote(_)))
            ),
            "{url}"
        );
    }
    for unknown in [
        "",
        "x",
        "0123456789abcdef0123456789abcdef",
        "conf-nothing",
        "file:///etc/passwd",
        "ftp://x/y",
        "local_stream://jazz",
    ] {
        assert!(
            matches!(
                sounds.resolve(&MediaName::from(unknown)),
                Err(MediaProblem::Unknown)
            ),
            "{unknown}"
        );
    }
    for (tone, ends) in [
        ("tone_stream://%(500,0,440)", true),
        ("%(500,0,440);loops=1000", true),
        ("silence_stream://1", true),
        ("http://192.0.2.1/a.wav", true),
        ("silence_stream://-1", false),
        ("silence_stream://0,1400", false),
        ("%(500,0,440);loops=-1", false),
        ("tone_stream://L=-1;%(500,0,440)", false),
        ("tone_stream://l=-1;%(500,0,440)", false),
    ] {
        let name = MediaName::from(tone);
        assert!(sounds.resolve(&name).is_ok(), "{tone} can be played on demand");
        let checked = sounds.check_tone(&name).await;
        let told = match &checked {
            Ok(()) => true,
            Err(MediaProblem::Invalid(why)) => !why.contains("never ends"),
            Err(MediaProblem::Unknown) => panic!("{tone}"),
        };
        assert_eq!(told, ends, "{tone}: {checked:?}");
    }
    assert_eq!(
        sounds.check_tone(&"beep".into()).await,
        Err(MediaProblem::Unknown)
    );
    assert!(invalid(&sounds, "tone_stream://%(500,0)").contains("offset"));
    assert!(invalid(&sounds, "http://").contains("not understood"));
    assert!(invalid(&sounds, "http://[::1/x").contains("not understood"));
}

#[tokio::test]
async fn private_addresses_are_asked_only_where_that_is_allowed() {
    let sounds = Sounds::new(&config::Fetch {
        allow_private: false,
        ..permissive()
    });
    for url in [
        "http://127.0.0.1/",
        "http://[::1]:8000/x",
        "http://10.1.2.3/",
        "https://169.254.169.254/latest",
        "http://2130706433/",
        "http://0x7f.1/",
    ] {
        assert!(invalid(&sounds, url).contains("fetch.allow_private"), "{url}");
    }
    // A name that leads to one turns out when it is resolved.
    let outcome = fetch(&sounds, "http://localhost:9/x.wav").await;
    assert_eq!(outcome, Err(FetchError::Private("localhost".into())));
    let off = Sounds::new(&config::Fetch {
        enabled: false,
        ..permissive()
    });
    assert!(invalid(&off, "http://example.com/").contains("fetch.enabled"));
}

#[tokio::test]
async fn redirects_are_followed_so_far_and_checked() {
    let origin = Origin::start().await;
    let sounds = Sounds::new(&permissive());
    origin.put_file("/end.wav", wav(8000, &[1, 2, 3]));
    let redirect = |to: &str| Page {
        status: "302 Found",
        headers: format!("Location: {to}\r\n"),
        ..Page::default()
    };
    for hop in 0..7 {
        let next = if hop == 0 {
            "end.wav".to_owned()
        } else {
            format!("/hop{}", hop - 1)
        };
        origin.put(&format!("/hop{hop}"), redirect(&next));
    }
    let clip = Clip::new(8000, vec![1, 2, 3]).expect("a clip");
    assert_eq!(
        fetch(&sounds, &origin.url("/hop4")).await,
        Ok(vec![Sound::clip(clip)])
    );
    assert_eq!(
        fetch(&sounds, &origin.url("/hop5")).await,
        Err(FetchError::Redirects)
    );
    origin.put("/file", redirect("file:///etc/passwd"));
    assert!(matches!(
        fetch(&sounds, &origin.url("/file")).await,
        Err(FetchError::BadUrl(_))
    ));
    origin.put(
        "/nowhere",
        Page {
            status: "302 Found",
            ..Page::default()
        },
    );
    assert_eq!(
        fetch(&sounds, &origin.url("/nowhere")).await,
        Err(FetchError::BadRedirect)
    );
}

#[tokio::test]
async fn what_cannot_be_had_says_why() {
    let origin = Origin::start().await;
    let sounds = Sounds::new(&config::Fetch {
        timeout_s: 1,
        ..permissive()
    });
    assert_eq!(
        fetch(&sounds, &origin.url("/missing")).await,
        Err(FetchError::Status(404))
    );
    let page = origin.put_file("/page", b"<!DOCTYPE html><title>no</title>".to_vec());
    assert!(matches!(fetch(&sounds, &page).await, Err(FetchError::Audio(_))));
    let large = origin.put_file("/large.wav", vec![0; 1_000_001]);
    assert_eq!(fetch(&sounds, &large).await, Err(FetchError::TooLarge(1)));
    // The size is not told before: it is counted.
    let mut chunked = Vec::new();
    for _ in 0..20 {
        chunked.extend(format!("{:x}\r\n", 60_000).bytes());
        chunked.extend(vec![0; 60_000]);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    origin.put(
        "/endless",
        Page {
            headers: "Transfer-Encoding: chunked\r\n".into(),
            body: chunked,
            ..Page::default()
        },
    );
    assert_eq!(
        fetch(&sounds, &origin.url("/endless")).await,
        Err(FetchError::TooLarge(1))
    );
    let long = origin.put_file("/long.wav", wav(8000, &vec![0; 61 * 8000]));
    assert!(matches!(fetch(&sounds, &long).await, Err(FetchError::Audio(_))));
    let refused = fetch(&sounds, "http://127.0.0.1:1/x.wav").await;
    assert!(
        matches!(&refused, Err(FetchError::Transport(why)) if why.contains("refused")),
        "{refused:?}"
    );
    origin.hold();
    assert_eq!(fetch(&sounds, &large).await, Err(FetchError::Timeout(1)));
    assert_eq!(sounds.cache.holds(), (0, 0, 0), "nothing is left of failures");
}

#[tokio::test]
async fn many_who_wait_share_one_fetch_and_later_ones_the_copy() {
    let origin = Origin::start().await;
    let sounds = Sounds::new(&permissive());
    let url = origin.put_file("/a.wav", wav(16_000, &[5; 160]));
    origin.hold();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (sounds, url) = (sounds.clone(), url.clone());
            tokio::spawn(async move { fetch(&sounds, &url).await })
        })
        .collect();
    until(|| !origin.requests().is_empty()).await;
    origin.release();
    for waiter in waiting {
        assert_eq!(waiter.await.expect("no panic").map(|sounds| sounds.len()), Ok(1));
    }
    fetch(&sounds, &url).await.expect("the copy");
    assert_eq!(origin.requests(), ["/a.wav"]);
    assert_eq!(sounds.cache.holds().0, 1);
}

#[tokio::test]
async fn a_copy_is_asked_about_when_it_is_no_longer_good() {
    let origin = Origin::start().await;
    let sounds = Sounds::new(&permissive());
    let page = |headers: &str, sample: i16, etag| Page {
        headers: headers.into(),
        body: wav(8000, &[sample; 80]),
        etag,
        ..Page::default()
    };
    let first = |sample: i16| {
        Ok(vec![Sound::clip(
            Clip::new(8000, vec![sample; 80]).expect("a clip"),
        )])
    };
    let url = origin.url("/a");
    origin.put(
        "/a",
        page("Cache-Control: public, max-age=600\r\n", 1, Some("\"1\"")),
    );
    assert_eq!(fetch(&sounds, &url).await, first(1));
    assert_eq!(fetch(&sounds, &url).await, first(1));
    sounds.cache.expire();
    assert_eq!(fetch(&sounds, &url).await, first(1));
    assert_eq!(fetch(&sounds, &url).await, first(1));
    assert_eq!(
        origin.requests(),
        ["/a", "/a \"1\""],
        "the answer to the second was: unchanged"
    );
    sounds.cache.expire();
    origin.put("/a", page("Cache-Control: no-cache\r\n", 2, Some("\"2\"")));
    assert_eq!(fetch(&sounds, &url).await, first(2));
    assert_eq!(fetch(&sounds, &url).await, first(2));
    assert_eq!(origin.requests().len(), 4, "no-cache asks each time");
    origin.put("/b", page("Cache-Control: no-store\r\n", 3, None));
    let held = sounds.cache.holds();
    for _ in 0..2 {
        assert_eq!(fetch(&sounds, &origin.url("/b")).await, first(3));
    }
    assert_eq!((origin.requests().len(), sounds.cache.holds()), (6, held));
}

#[tokio::test]
async fn copies_have_so_much_room_and_the_least_used_goes_first() {
    let origin = Origin::start().await;
    let sounds = Sounds::new(&permissive());
    // Each takes a good third of the room.
    for name in ["/a", "/b", "/c"] {
        origin.put_file(name, wav(8000, &vec![1; 90_000]));
    }
    for name in ["/a", "/b", "/a", "/c", "/a", "/b"] {
        fetch(&sounds, &origin.url(name)).await.expect("a file");
    }
    assert_eq!(origin.requests(), ["/a", "/b", "/c", "/b"]);
    let (copies, size, _) = sounds.cache.holds();
    assert!(
        copies == 2 && size <= 1_000_000,
        "{copies} copies of {size} bytes"
    );
}

#[tokio::test]
async fn a_fetch_ends_when_nobody_waits_for_it() {
    let origin = Origin::start().await;
    let sounds = Sounds::new(&permissive());
    let url = origin.put_file("/a.wav", wav(8000, &[0; 8]));
    origin.hold();
    let waiting = {
        let (sounds, url) = (sounds.clone(), url.clone());
        tokio::spawn(async move { fetch(&sounds, &url).await })
    };
    until(|| origin.open() == 1).await;
    assert_eq!(sounds.cache.holds().2, 1);
    waiting.abort();
    until(|| origin.open() == 0 && sounds.cache.holds().2 == 0).await;
}

/// Waits until the condition holds; a hang is a failure.
async fn until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it never came");
}
