//! What the media plane says reaches whom it concerns.

use std::time::Duration;

use confab_conference::Control;
use confab_media::{LegId, MediaEvent};

use super::super::dispatch::CALL_EVENTS;
use super::super::media::MixPlane as _;
use super::fake::Act;
use super::*;

#[tokio::test]
async fn talking_levels_and_floor_reach_the_roster() {
    let mut house = House::new();
    let guest = house.guest().await;
    let silent = house.guest().await;
    let (leg, id) = (guest.leg.id, guest.id());
    let Some(Act::Created(mix)) = house.media.log.take().first().copied() else {
        panic!("no mix")
    };
    house.dispatch.dispatch(MediaEvent::Energy { leg, score: 1_234 });
    house
        .dispatch
        .dispatch(MediaEvent::Talking { leg, talking: true });
    house.dispatch.dispatch(MediaEvent::Floor {
        conference: mix,
        leg: Some(leg),
    });
    let state = house
        .snapshot()
        .await
        .expect("it runs")
        .participant(id)
        .expect("he is in")
        .clone();
    assert_eq!(
        (state.talking, state.floor, state.current_energy),
        (true, true, 1_234)
    );
    house
        .dispatch
        .dispatch(MediaEvent::Talking { leg, talking: false });
    house.dispatch.dispatch(MediaEvent::Floor {
        conference: mix,
        leg: None,
    });
    house.events_to("floor-change").await;
    assert_eq!(
        house.events_to("floor-change").await,
        ["stop-talking", "floor-change"]
    );
    house.control(Control::Mute(silent.id())).await.expect("it runs");
    house.dispatch.dispatch(MediaEvent::Talking {
        leg: silent.leg.id,
        talking: true,
    });
    house.dispatch.dispatch(MediaEvent::Floor {
        conference: mix,
        leg: Some(silent.leg.id),
    });
    let snapshot = house.snapshot().await.expect("it runs");
    assert!(
        snapshot
            .participants
            .iter()
            .all(|state| !state.talking && !state.floor)
    );
}

#[tokio::test]
async fn what_is_said_of_a_leg_on_its_way_in_is_not_lost() {
    let house = House::new();
    let permits = house.media.joins.available_permits();
    house.media.joins.forget_permits(permits);
    let seat = house.reserve().await.expect("a place");
    let leg = house.media.leg();
    let joining = tokio::spawn(seat.join(Arc::clone(&leg), mpsc::channel(1).0));
    eventually(|| house.dispatch.attached().1 == 1).await;
    let Some(Act::Created(mix)) = house.media.log.take().first().copied() else {
        panic!("no mix")
    };
    house.dispatch.dispatch(MediaEvent::Talking {
        leg: leg.id,
        talking: true,
    });
    house.dispatch.dispatch(MediaEvent::Floor {
        conference: mix,
        leg: Some(leg.id),
    });
    assert_eq!(
        house.snapshot().await,
        None,
        "the reports are read, the leg is not in"
    );
    house.media.joins.add_permits(1);
    let joined = joining.await.expect("not aborted").expect("joined");
    let id = joined.id();
    let state = house
        .snapshot()
        .await
        .expect("it runs")
        .participant(id)
        .expect("he is in")
        .clone();
    assert!(state.talking && state.floor);
}

#[tokio::test]
async fn a_call_hears_of_its_own_leg_only() {
    let house = House::new();
    let mut call = house.dispatch.subscribe(LegId(7));
    let _other = house.dispatch.subscribe(LegId(8));
    let timeout = |leg| MediaEvent::MediaTimeout {
        leg: LegId(leg),
        silent: Duration::from_secs(60),
    };
    for leg in [8, 9, 7] {
        house.dispatch.dispatch(timeout(leg));
    }
    let digit = MediaEvent::Dtmf {
        leg: LegId(7),
        digit: '5',
        duration_ms: 100,
    };
    house.dispatch.dispatch(digit);
    assert_eq!(call.recv().await, Some(timeout(7)));
    assert_eq!(call.recv().await, Some(digit));
    let mut later = house.dispatch.subscribe(LegId(7));
    assert_eq!(call.recv().await, None, "another took its place");
    drop(call);
    house.dispatch.dispatch(digit);
    assert_eq!(later.recv().await, Some(digit));
    drop(later);
    assert_eq!(house.dispatch.attached().0, 1);
}

#[tokio::test]
async fn a_call_that_does_not_read_loses_events_and_they_are_counted() {
    let house = House::new();
    let mut call = house.dispatch.subscribe(LegId(1));
    for duration_ms in 0..CALL_EVENTS as u32 + 3 {
        house.dispatch.dispatch(MediaEvent::Dtmf {
            leg: LegId(1),
            digit: '1',
            duration_ms,
        });
    }
    assert_eq!(house.dispatch.dropped(), 3);
    for expected in 0..CALL_EVENTS as u32 {
        let Some(MediaEvent::Dtmf { duration_ms, .. }) = call.recv().await else {
            panic!("no digit")
        };
        assert_eq!(duration_ms, expected, "the newest are lost");
    }
}

#[tokio::test]
async fn a_leg_that_left_is_not_listened_to() {
    let house = House::new();
    let stays = house.guest().await;
    let goes = house.guest().await;
    assert_eq!(super::fake::FakePlane::leg_id(&goes.leg), goes.leg.id);
    let leg = goes.leg.id;
    goes.participant.leave(LeaveCause::HungUp).await;
    house
        .dispatch
        .dispatch(MediaEvent::Talking { leg, talking: true });
    let snapshot = house.snapshot().await.expect("it runs");
    assert_eq!(
        snapshot
            .participants
            .iter()
            .map(|state| state.id)
            .collect::<Vec<_>>(),
        [stays.id()]
    );
    assert_eq!(house.dispatch.attached().1, 1);
}
