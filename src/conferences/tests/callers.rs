//! What is done to legs when moderators come and go, when keys are pressed, and when somebody is kicked with a sound.

use confab_conference::{KeyAction, KeyMap, Sounds as Played, Speech};
use confab_media::{MediaEvent, StopPlay};

use super::*;
use crate::conferences::transfer::Transfer;

impl House {
    pub(super) async fn enter(&self, settings: &Settings, role: Role) -> Guest {
        let (caller, entry) = (Caller::new("call"), Entry::DialIn);
        let seat = self
            .registry
            .reserve(account(), conference(), settings.clone(), caller, role, entry)
            .await;
        self.sit(seat.expect("a place")).await
    }

    fn press(&self, guest: &Guest, digit: char) {
        self.dispatch.dispatch(MediaEvent::Dtmf {
            leg: guest.leg.id,
            digit,
            duration_ms: 100,
        });
    }
}

#[tokio::test]
async fn who_waits_joins_on_hold_and_is_let_in_by_the_first_moderator() {
    let mut house = House::new();
    let settings = Settings {
        wait_for_moderator: true,
        sounds: Played {
            hold_music: Some("%(100,0,400)".into()),
            ..Played::default()
        },
        ..open_settings()
    };
    let ann = house.enter(&settings, Role::Member).await;
    let leg = ann.leg.id;
    let acts = house.media.log.take();
    let held = acts.contains(&Act::JoinedOnHold(leg));
    let music = acts
        .iter()
        .filter(|act| matches!(act, Act::Played { leg: None, .. }));
    assert!(held && music.count() == 1, "{acts:?}");
    let boss = house.enter(&settings, Role::Moderator).await;
    let acts = house.media.log.take();
    assert!(acts.contains(&Act::Set(leg, LegSetting::Held(false))), "{acts:?}");
    let stopped = acts
        .iter()
        .any(|act| matches!(act, Act::Stopped(None, StopPlay::Id(_))));
    assert!(stopped, "{acts:?}");
    assert!(house.events_to("release-member").await.contains(&"add-member"));
    drop((ann, boss));
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_conference_without_the_moderator_it_requires_ends_in_time() {
    let mut house = House::new();
    let settings = Settings {
        require_moderator: true,
        ..open_settings()
    };
    let mut ann = house.enter(&settings, Role::Member).await;
    let boss = house.enter(&settings, Role::Moderator).await;
    let left = tokio::time::Instant::now();
    boss.participant.leave(LeaveCause::HungUp).await;
    let told = ann.hang_ups.recv().await.expect("he is told");
    assert_eq!(told.cause, LeaveCause::ConferenceEnded);
    let took = left.elapsed();
    let grace = Duration::from_millis(Settings::END_GRACE_MS.into());
    assert!(
        (grace..grace + Duration::from_millis(50)).contains(&took),
        "{took:?}"
    );
    house.events_to("conference-destroy").await;
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_may_go_on_is_waited_for() {
    let mut house = House::new();
    let mut keys = KeyMap::none();
    keys.bind("0", KeyAction::DeafOn);
    keys.bind("00", KeyAction::MuteOn);
    let settings = Settings {
        member_keys: keys,
        ..open_settings()
    };
    let ann = house.enter(&settings, Role::Member).await;
    house.press(&ann, '0');
    tokio::time::sleep(Duration::from_millis(400)).await;
    let state = |snapshot: Option<Snapshot>| {
        let state = &snapshot.expect("it runs").participants[0];
        (state.muted, state.deaf)
    };
    assert_eq!(state(house.snapshot().await), (false, false));
    house.press(&ann, '0');
    house.events_to("mute-member").await;
    assert_eq!(state(house.snapshot().await), (true, false));
    house.press(&ann, '0');
    house.events_to("deaf-member").await;
    assert_eq!(state(house.snapshot().await), (true, true));
}

#[tokio::test(start_paused = true)]
async fn who_is_kicked_hears_a_sound_before_his_call_ends() {
    let mut house = House::new();
    let settings = Settings {
        sounds: Played {
            kicked: Some("%(1000,0,400)".into()),
            ..Played::default()
        },
        ..open_settings()
    };
    let mut ann = house.enter(&settings, Role::Member).await;
    let leg = ann.leg.id;
    house.media.log.take();
    let kicked = tokio::time::Instant::now();
    house.control(Control::Kick(ann.id())).await.expect("kicked");
    house.events_to("del-member").await;
    // He was the only one: the conference is over, and another may begin at once.
    house.empty().await;
    let told = ann.hang_ups.recv().await.expect("he is told");
    assert_eq!(told.cause, LeaveCause::Kicked);
    let took = kicked.elapsed();
    assert!((1000..1500).contains(&took.as_millis()), "{took:?}");
    let acts = house.media.log.take();
    let played = acts
        .iter()
        .position(|act| matches!(act, Act::Played { leg: Some(to), .. } if *to == leg));
    let at = |wanted: Act| acts.iter().position(|act| *act == wanted);
    assert!(at(Act::Muted(leg, true)) < played && at(Act::Deaf(leg, true)) < played);
    assert!(played.is_some() && played < at(Act::Left(leg)), "{acts:?}");
}

#[tokio::test]
async fn who_could_not_be_moved_is_told_at_once() {
    let house = House::new();
    let speech = Speech::new("en-us");
    let settings = Settings {
        sounds: Played {
            speech: Some(speech),
            ..Played::default()
        },
        ..open_settings()
    };
    let ann = house.enter(&settings, Role::Member).await;
    let leg = Some(ann.leg.id);
    house.media.log.take();
    let order = Transfer {
        account: account(),
        conference: conference(),
        participant: ann.id(),
        number: "2000".into(),
    };
    for why in [Some(Refusal::Locked), None] {
        house.registry.not_moved(&order, why).await;
        let told = |act: &Act| matches!(act, Act::Played { leg: to, .. } if *to == leg);
        eventually(|| house.media.log.take().iter().any(told)).await;
    }
}
