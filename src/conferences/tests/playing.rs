//! Plays on their way from a control to the media plane and back, with fetches from a web server on loopback.

use confab_conference::{Audience, EventKind, PlayFailure, StopPlay};
use confab_media::{ConferenceAudioId, MediaEvent, PlayEnd, PlayId};

use super::*;
use crate::config;
use crate::sounds::tests::{
    origin::{Origin, Page},
    wav,
};

fn fetch_within(timeout_s: u64) -> config::Fetch {
    config::Fetch {
        timeout_s,
        ..permissive()
    }
}

const TONE: &str = "tone_stream://%(500,0,440)";

impl House {
    async fn play(&self, audience: Audience, media: &str) -> Result<(), Refusal> {
        let media = media.into();
        self.control(Control::Play { media, audience }).await
    }

    async fn stop(&self, audience: Audience, which: StopPlay) {
        self.control(Control::StopPlay { audience, which })
            .await
            .expect("it runs");
    }

    /// What was played since the last look: to whom, under which id.
    fn played(&self) -> Vec<(Option<confab_media::LegId>, u64)> {
        let acts = self.media.log.take().into_iter();
        acts.filter_map(|act| match act {
            Act::Played { leg, play } => Some((leg, play.0)),
            _ => None,
        })
        .collect()
    }

    fn mix(&self) -> ConferenceAudioId {
        match self.media.log.take().first() {
            Some(Act::Created(mix)) => *mix,
            other => panic!("no mix but {other:?}"),
        }
    }

    fn started(&self, conference: ConferenceAudioId, play: u64) {
        self.dispatch.dispatch(MediaEvent::PlayStarted {
            conference,
            leg: None,
            play: PlayId(play),
        });
    }

    fn ended(&self, conference: ConferenceAudioId, play: u64, how: PlayEnd) {
        self.dispatch.dispatch(MediaEvent::PlayEnded {
            conference,
            leg: None,
            play: PlayId(play),
            how,
        });
    }

    /// Waits until so many plays were handed to the plane, and returns them.
    async fn after_plays(&self, count: usize) -> Vec<(Option<confab_media::LegId>, u64)> {
        let mut played = Vec::new();
        eventually(|| {
            played.extend(self.played());
            played.len() >= count
        })
        .await;
        played
    }
}

#[tokio::test]
async fn a_play_is_told_from_its_first_sound_to_its_end() {
    let mut house = House::new();
    let guest = house.guest().await;
    let mix = house.mix();
    house.events_to("add-member").await;
    house.play(Audience::Everybody, TONE).await.expect("it runs");
    house
        .play(Audience::One(guest.id()), TONE)
        .await
        .expect("he is in");
    assert_eq!(house.played(), [(None, 1), (Some(guest.leg.id), 2)]);
    house.started(mix, 1);
    house.started(mix, 2);
    let event = house.events.recv().await.expect("the bus lives");
    assert_eq!(event.kind.name(), "play-file");
    assert_eq!(
        event.file.as_ref().map(confab_conference::MediaName::as_str),
        Some(TONE)
    );
    house.ended(mix, 2, PlayEnd::Finished);
    house.ended(mix, 1, PlayEnd::Stopped);
    assert_eq!(
        house.events_to("play-file-done").await,
        ["play-file-member", "play-file-member-done", "play-file-done"]
    );
    let nobody = ParticipantId::new(99).expect("above zero");
    let refused = house.play(Audience::One(nobody), TONE).await;
    assert_eq!(refused, Err(Refusal::UnknownParticipant(nobody)));
}

#[tokio::test]
async fn the_task_goes_on_during_a_fetch_and_plays_keep_their_order() {
    let origin = Origin::start().await;
    let house = House::new();
    let guest = house.guest().await;
    let url = origin.put_file("/a.wav", wav(8000, &[1; 800]));
    origin.hold();
    house.play(Audience::Everybody, &url).await.expect("it runs");
    house.play(Audience::Everybody, TONE).await.expect("it runs");
    house
        .play(Audience::One(guest.id()), TONE)
        .await
        .expect("he is in");
    house.control(Control::Mute(guest.id())).await.expect("it runs");
    assert_eq!(
        house.played(),
        [(Some(guest.leg.id), 1)],
        "another audience does not wait"
    );
    origin.release();
    assert_eq!(house.after_plays(2).await, [(None, 2), (None, 3)]);
}

#[tokio::test]
async fn what_cannot_be_fetched_makes_way() {
    let origin = Origin::start().await;
    let mut house = House::new();
    let _guest = house.guest().await;
    let mix = house.mix();
    house.events_to("add-member").await;
    origin.hold();
    let missing = origin.url("/missing.wav");
    house.play(Audience::Everybody, &missing).await.expect("it runs");
    house.play(Audience::Everybody, TONE).await.expect("it runs");
    origin.release();
    assert_eq!(house.after_plays(1).await, [(None, 1)]);
    house.started(mix, 1);
    house.ended(mix, 1, PlayEnd::Finished);
    assert_eq!(
        house.events_to("play-file-done").await,
        ["play-file-failed", "play-file", "play-file-done"]
    );
}

#[tokio::test]
async fn a_play_that_fails_is_told_with_its_reason_and_counted() {
    let origin = Origin::start().await;
    let mut house = House::with_fetch(&fetch_within(1));
    let guest = house.guest().await;
    house.events_to("add-member").await;
    origin.put_file("/page", b"<html></html>".to_vec());
    origin.put_file("/broken.wav", wav(8000, &[]));
    origin.put_file("/long.wav", wav(8000, &vec![0; 61 * 8000]));
    let reasons = [
        (origin.url("/missing.wav"), PlayFailure::Refused),
        (origin.url("/page"), PlayFailure::Unsupported),
        (origin.url("/broken.wav"), PlayFailure::Unreadable),
        (origin.url("/long.wav"), PlayFailure::TooLarge),
        ("http://127.0.0.1:1/x.wav".to_owned(), PlayFailure::Unreachable),
        ("tone_stream://x".to_owned(), PlayFailure::Unknown),
    ];
    let failed = async |house: &mut House, audience, url: &str| {
        house.play(audience, url).await.expect("it runs");
        let event = house.events.recv().await.expect("the bus lives");
        assert_eq!(event.file.as_ref().map(|file| file.as_str()), Some(url));
        (event.kind, event.participant.as_ref().map(|state| state.id))
    };
    for (url, failure) in &reasons {
        assert_eq!(
            failed(&mut house, Audience::Everybody, url).await,
            (EventKind::PlayFileFailed(*failure), None)
        );
        assert_eq!(
            failed(&mut house, Audience::One(guest.id()), url).await,
            (EventKind::PlayFileMemberFailed(*failure), Some(guest.id()))
        );
    }
    origin.hold();
    let slow = origin.url("/page?slow");
    assert_eq!(
        failed(&mut house, Audience::Everybody, &slow).await.0,
        EventKind::PlayFileFailed(PlayFailure::Timeout)
    );
    for (reason, count) in house.registry.plays_failed() {
        let expected = match reason {
            "timeout" => 1,
            "forbidden" | "busy" | "media" => 0,
            _ => 2,
        };
        assert_eq!(count, expected, "{reason}");
    }
    assert_eq!(house.played(), [], "nothing of it came to the plane");
}

#[tokio::test]
async fn urls_are_fetched_as_soon_as_they_are_queued_and_heard_in_their_order() {
    let origin = Origin::start().await;
    let mut house = House::with_fetch(&fetch_within(2));
    let _guest = house.guest().await;
    let mix = house.mix();
    house.events_to("add-member").await;
    let quick = origin.put_file("/quick.wav", wav(8000, &[1; 80]));
    let slow = origin.put_file("/slow.wav", wav(8000, &[1; 160]));
    origin.hold_path("/slow.wav");
    origin.hold_path("/hangs.wav");
    for url in [&slow, &quick] {
        house.play(Audience::Everybody, url).await.expect("it runs");
    }
    // The second is fetched while the first is waited for, and waits for it.
    eventually(|| origin.requests() == ["/slow.wav", "/quick.wav"]).await;
    eventually(|| origin.answered() == 1).await;
    assert_eq!(house.played(), []);
    origin.release_path("/slow.wav");
    assert_eq!(house.after_plays(2).await, [(None, 1), (None, 2)]);
    for (play, url) in [(1, &slow), (2, &quick)] {
        house.started(mix, play);
        let event = house.events.recv().await.expect("the bus lives");
        assert_eq!(event.file.as_ref().map(|file| file.as_str()), Some(url.as_str()));
    }

    // Three that never come are waited for at the same time: together they hold the others up as long as one.
    let asked = std::time::Instant::now();
    for number in 0..3 {
        let url = origin.url(&format!("/hangs.wav?{number}"));
        house.play(Audience::Everybody, &url).await.expect("it runs");
    }
    house.play(Audience::Everybody, &quick).await.expect("it runs");
    assert_eq!(house.after_plays(1).await, [(None, 3)]);
    let waited = asked.elapsed();
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    house.started(mix, 3);
    assert_eq!(
        house.events_to("play-file").await,
        [
            "play-file-failed",
            "play-file-failed",
            "play-file-failed",
            "play-file"
        ]
    );
}

#[tokio::test]
async fn a_stop_gives_up_what_is_still_being_fetched() {
    let origin = Origin::start().await;
    let house = House::new();
    let _guest = house.guest().await;
    let mix = house.mix();
    origin.hold();
    let [a, b] = ["/a", "/b"].map(|path| origin.url(path));
    for url in [&a, &b] {
        house.play(Audience::Everybody, url).await.expect("it runs");
    }
    house.play(Audience::Everybody, TONE).await.expect("it runs");
    house.stop(Audience::Everybody, StopPlay::Current).await;
    eventually(|| origin.open() == 1).await;
    house.stop(Audience::Everybody, StopPlay::All).await;
    eventually(|| origin.open() == 0).await;
    assert_eq!(house.media.log.take(), [], "the plane had none of it");
    house.play(Audience::Everybody, TONE).await.expect("it runs");
    house.play(Audience::Everybody, TONE).await.expect("it runs");
    house.media.log.take();
    let stopped = |id| Act::Stopped(None, confab_media::StopPlay::Id(PlayId(id)));
    house.stop(Audience::Everybody, StopPlay::Current).await;
    assert_eq!(house.media.log.take(), [stopped(1)]);
    house.ended(mix, 1, PlayEnd::Stopped);
    house.play(Audience::Everybody, TONE).await.expect("it runs");
    house.media.log.take();
    house.stop(Audience::Everybody, StopPlay::All).await;
    assert_eq!(house.media.log.take(), [stopped(2), stopped(3)]);
}

#[tokio::test]
async fn a_stop_leaves_what_the_conference_says_of_itself() {
    let origin = Origin::start().await;
    let mut house = House::new();
    let settings = Settings {
        entry_tone: Some(origin.put_file("/entry.wav", wav(8000, &[1; 80])).as_str().into()),
        ..open_settings()
    };
    let _first = house.enter(&settings, Role::Member).await;
    let mix = house.mix();
    origin.hold();
    // His tone is being fetched, and what operators play waits behind it.
    let _second = house.enter(&settings, Role::Member).await;
    eventually(|| origin.open() == 1).await;
    house.play(Audience::Everybody, TONE).await.expect("it runs");
    house.play(Audience::Everybody, TONE).await.expect("it runs");
    house.stop(Audience::Everybody, StopPlay::All).await;
    assert_eq!(origin.open(), 1, "the tone is still fetched");
    house.media.log.take();
    origin.release();
    let played = |act: &Act| matches!(act, Act::Played { leg: None, .. });
    eventually(|| house.media.log.take().iter().any(played)).await;
    house.started(mix, 1);
    assert_eq!(house.events_to("enter-sound").await.last(), Some(&"enter-sound"));
    // It sounds: that one goes on as well, and nothing of the operators is left to be stopped.
    house.media.log.take();
    house.stop(Audience::Everybody, StopPlay::All).await;
    house.stop(Audience::Everybody, StopPlay::Current).await;
    assert_eq!(house.media.log.take(), []);
}

#[tokio::test]
async fn a_fetch_ends_with_who_was_to_hear_it() {
    let origin = Origin::start().await;
    let house = House::new();
    let stays = house.guest().await;
    let goes = house.guest().await;
    let kicked = house.guest().await;
    origin.hold();
    for (guest, path) in [(&goes, "/a"), (&kicked, "/b")] {
        house
            .play(Audience::One(guest.id()), &origin.url(path))
            .await
            .expect("he is in");
    }
    house
        .play(Audience::Everybody, &origin.url("/c"))
        .await
        .expect("it runs");
    eventually(|| origin.open() == 3).await;
    goes.participant.leave(LeaveCause::HungUp).await;
    eventually(|| origin.open() == 2).await;
    house.control(Control::Kick(kicked.id())).await.expect("he is in");
    eventually(|| origin.open() == 1).await;
    stays.participant.leave(LeaveCause::HungUp).await;
    eventually(|| origin.open() == 0).await;
    house.empty().await;
}

#[tokio::test]
async fn tones_sound_once_the_leg_has_come_or_gone() {
    let house = House::new();
    let settings = Settings {
        entry_tone: Some(TONE.into()),
        exit_tone: Some("%(100,0,400)".into()),
        ..open_settings()
    };
    let first = house
        .sit(house.reserve_with(settings.clone()).await.expect("a place"))
        .await;
    assert_eq!(house.played(), []);
    let second = house
        .sit(house.reserve_with(settings).await.expect("a place"))
        .await;
    let (leg, entry) = (second.leg.id, PlayId(1));
    let acts = house.media.log.take();
    let joined = acts
        .iter()
        .position(|act| matches!(act, Act::Joined { leg: who, .. } if *who == leg));
    let played = acts.iter().position(|act| {
        *act == Act::Played {
            leg: None,
            play: entry,
        }
    });
    assert!(joined.is_some() && joined < played, "{acts:?}");
    house.control(Control::Kick(second.id())).await.expect("he is in");
    let exit = Act::Played {
        leg: None,
        play: PlayId(2),
    };
    assert_eq!(house.media.log.take(), [Act::Left(leg), exit]);
    first.participant.leave(LeaveCause::HungUp).await;
    house.empty().await;
}

#[tokio::test]
async fn digits_are_told_when_they_are_sent_and_refused_where_they_cannot_be() {
    let mut house = House::new();
    let guest = house.guest().await;
    house.events_to("add-member").await;
    let digits = "12".parse().expect("digits");
    let send = || house.control(Control::SendDigits(guest.id(), digits));
    guest.leg.keyless.store(true, Ordering::Relaxed);
    assert_eq!(send().await, Err(Refusal::NoTelephoneEvents(guest.id())));
    guest.leg.keyless.store(false, Ordering::Relaxed);
    assert_eq!(send().await, Ok(()));
    assert_eq!(house.events_to("dtmf-member").await, ["dtmf-member"], "told once");
}

#[tokio::test]
async fn a_redirect_loop_or_a_page_in_place_of_a_sound_is_nothing_to_play() {
    let origin = Origin::start().await;
    let house = House::new();
    let _guest = house.guest().await;
    let redirect = Page {
        status: "302 Found",
        headers: "Location: /loop\r\n".into(),
        ..Page::default()
    };
    origin.put("/loop", redirect);
    origin.put_file("/page", b"<html></html>".to_vec());
    for path in ["/loop", "/page"] {
        house
            .play(Audience::Everybody, &origin.url(path))
            .await
            .expect("it runs");
    }
    house.play(Audience::Everybody, TONE).await.expect("it runs");
    assert_eq!(house.after_plays(1).await.len(), 1);
}
