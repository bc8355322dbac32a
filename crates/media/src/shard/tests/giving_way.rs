//! What plays to one gives way to what plays to everybody; and who joins to wait is out of the mix from his first frame on.

use super::house::{Ear, House, Told, forever, steady};
use super::speaker::l16;
use crate::config::JoinOptions;
use crate::playback::{Lane, Play, PlayEnd, StopPlay};
use crate::shard::command::Audience;
use Told::{Began, Ended, Missed};

const EVERYBODY: Audience = Audience::Everybody;

fn announcing(play: Play) -> Play {
    Play {
        announces: true,
        ..play
    }
}

fn giving_way(play: Play) -> Play {
    Play {
        gives_way: true,
        ..play
    }
}

#[test]
fn a_prompt_to_one_waits_for_what_is_being_announced_and_for_no_more() {
    let mut house = House::new(&[l16(8000), l16(8000)], 8000);
    let to = house.one(0);
    let tone = house.queue(EVERYBODY, announcing(steady(1000, 100)));
    let second = house.queue(EVERYBODY, announcing(steady(2000, 60)));
    let prompt = house.queue(to, giving_way(steady(500, 40)));
    let behind = house.queue(to, steady(250, 40));
    house.run(360);
    let finished = |id| Ended(id, PlayEnd::Finished);
    let told = house.told();
    let of = |play| {
        told.iter()
            .filter(|told| matches!(told, Began(id) | Ended(id, _) if *id == play))
            .count()
    };
    assert_eq!(told.len(), 9, "{told:?}");
    assert!(told.contains(&Missed(second)), "{told:?}");
    assert!(
        [tone, second, prompt, behind].iter().all(|play| of(*play) == 2),
        "{told:?}"
    );
    assert!(
        told.iter().position(|told| *told == finished(tone))
            < told.iter().position(|told| *told == Began(prompt))
    );
    // One after the other, and never two together; nothing of the second, of which he would miss the beginning or the end.
    let levels: Vec<i16> = house.ears[0].sound().chunks(160).map(|chunk| chunk[0]).collect();
    assert_eq!(levels, [1000, 1000, 1000, 1000, 1000, 500, 500, 250, 250]);
    assert_eq!(house.ears[1].sound().len(), 8 * 160);
    assert!(house.ears[1].sound().iter().all(|&sample| sample >= 1000));
}

#[test]
fn who_is_told_something_does_not_hear_what_is_announced_meanwhile() {
    let mut house = House::new(&[l16(8000), l16(8000)], 8000);
    let to = house.one(0);
    let prompt = house.queue(to, giving_way(steady(500, 100)));
    house.run(40);
    let tone = house.queue(EVERYBODY, announcing(steady(1000, 200)));
    // What he is told next need not wait for it.
    let behind = house.queue(to, giving_way(steady(250, 40)));
    house.run(40);
    assert_eq!((house.ears[0].peak(20), house.ears[1].peak(20)), (500, 1000));
    house.run(120);
    assert_eq!(
        house.ears[0].peak(20),
        0,
        "the rest of it would be half a message"
    );
    assert_eq!(house.ears[1].peak(20), 1000);
    let second = house.queue(EVERYBODY, announcing(steady(2000, 100)));
    house.run(400);
    let finished = |id| Ended(id, PlayEnd::Finished);
    assert_eq!(
        house.told(),
        [
            Began(prompt),
            Missed(tone),
            Began(tone),
            finished(prompt),
            Began(behind),
            finished(behind),
            finished(tone),
            Began(second),
            finished(second),
        ]
    );
    // The next announcement is for him as for everybody, and nothing was ever heard over anything else.
    let levels = |ear: &Ear| {
        let mut levels: Vec<i16> = ear.sound().chunks(160).map(|chunk| chunk[0]).collect();
        levels.dedup();
        levels
    };
    assert_eq!(levels(&house.ears[0]), [500, 250, 0, 2000]);
    assert_eq!(levels(&house.ears[1]), [1000, 2000]);
}

#[test]
fn a_prompt_that_was_given_up_has_waited_for_nothing() {
    let mut house = House::new(&[l16(8000)], 8000);
    let to = house.one(0);
    // Music keeps the leg's place among those to whom something plays.
    house.play(to, Lane::Background, giving_way(forever(steady(77, 100))));
    house.queue(EVERYBODY, announcing(steady(1000, 100)));
    let given_up = house.queue(to, giving_way(steady(500, 100)));
    house.run(60);
    house.stop(to, StopPlay::Id(given_up));
    house.run(200);
    house.queue(EVERYBODY, announcing(steady(2000, 100)));
    house.run(40);
    house.queue(to, giving_way(steady(500, 40)));
    house.run(40);
    assert_eq!(house.ears[0].peak(20), 2000, "he hears it to its end");
    house.run(60);
    assert_eq!(house.ears[0].peak(20), 500);
}

#[test]
fn a_play_that_does_not_give_way_takes_the_place_of_an_announcement() {
    let mut house = House::new(&[l16(8000), l16(8000)], 8000);
    let to = house.one(0);
    let tone = house.queue(EVERYBODY, announcing(steady(1000, 200)));
    house.run(40);
    house.queue(to, steady(50, 100));
    house.run(100);
    assert_eq!((house.ears[0].peak(60), house.ears[1].peak(60)), (50, 1000));
    house.run(60);
    assert_eq!(house.ears[0].peak(20), 0, "the rest would be half a message");
    let missed = Missed(tone);
    assert_eq!(house.told().iter().filter(|told| **told == missed).count(), 1);
}

#[test]
fn who_is_told_something_does_not_hear_what_plays_to_all_meanwhile() {
    let mut house = House::new(&[l16(8000), l16(8000)], 8000);
    let to = house.one(0);
    let long = house.queue(EVERYBODY, steady(1000, 500));
    house.run(100);
    house.queue(to, giving_way(steady(400, 100)));
    house.run(100);
    assert_eq!((house.ears[0].peak(60), house.ears[1].peak(60)), (400, 1000));
    house.run(100);
    assert_eq!(
        house.ears[0].peak(20),
        1000,
        "he hears the rest of what may be long"
    );
    let steps = house.ears[0]
        .sound()
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).abs());
    assert!(steps.skip(1).max() <= Some(420), "it fades and comes back");
    // The other way round as well.
    house.run(300);
    house.queue(to, steady(400, 200));
    house.run(60);
    let second = house.queue(EVERYBODY, steady(2000, 200));
    house.run(100);
    assert_eq!((house.ears[0].peak(60), house.ears[1].peak(60)), (400, 2000));
    house.run(100);
    assert_eq!(house.ears[0].peak(20), 2000);
    house.run(100);
    let told = house.told();
    assert!(!told.iter().any(|told| matches!(told, Missed(..))), "{told:?}");
    assert!(
        told.contains(&Ended(long, PlayEnd::Finished)) && told.contains(&Ended(second, PlayEnd::Finished))
    );
}

#[test]
fn who_waits_does_not_hear_the_music_while_he_is_told_something() {
    let mut house = House::new(&[l16(8000), l16(8000)], 8000);
    for ear in [0, 1] {
        house.hold(ear, true);
    }
    house.play(Audience::Waiting, Lane::Background, forever(steady(700, 100)));
    house.run(60);
    let to = house.one(0);
    house.queue(to, giving_way(steady(300, 100)));
    house.run(100);
    assert_eq!((house.ears[0].peak(60), house.ears[1].peak(60)), (300, 700));
    house.run(100);
    assert_eq!((house.ears[0].peak(20), house.ears[1].peak(20)), (700, 700));
}

#[test]
fn music_to_one_pauses_while_something_plays_to_everybody() {
    let mut house = House::new(&[l16(8000), l16(8000)], 8000);
    let to = house.one(0);
    house.play(to, Lane::Background, giving_way(forever(steady(77, 100))));
    house.run(100);
    assert_eq!(house.ears[0].peak(20), 77);
    house.queue(EVERYBODY, steady(1000, 200));
    house.run(100);
    assert_eq!(house.ears[0].peak(20), 1000, "the music has faded");
    house.run(200);
    assert_eq!(house.ears[0].peak(20), 77);
    // One that begins meanwhile waits.
    house.queue(EVERYBODY, steady(1000, 100));
    let other = house.one(1);
    house.play(other, Lane::Background, giving_way(forever(steady(33, 100))));
    house.run(60);
    assert_eq!(house.ears[1].peak(20), 1000);
    house.run(100);
    assert_eq!(house.ears[1].peak(20), 33);
}

#[test]
fn who_joins_to_wait_hears_what_plays_to_those_who_wait_and_is_not_heard() {
    let mut house = House::new(&[l16(8000)], 8000);
    house.play(EVERYBODY, Lane::Background, forever(steady(500, 100)));
    house.play(Audience::Waiting, Lane::Background, forever(steady(77, 100)));
    let late = Ear::new(&mut house.world, 1, l16(8000), 20);
    let options = JoinOptions {
        held: true,
        ..JoinOptions::default()
    };
    house.world.join_as(&late.phone, house.room, options);
    house.ears.push(late);
    house.run(20);
    house.forget();
    let loud = [0x40; 320];
    for _ in 0..20 {
        let phone = &mut house.ears[1].phone;
        house.world.speak(phone, &loud);
        house.run(20);
    }
    let [first, second] = &house.ears[..] else {
        unreachable!()
    };
    assert!(first.heard.iter().all(|&sample| sample == 500), "he is not heard");
    let heard = &second.heard;
    assert!(heard.iter().all(|&sample| sample == 77 || sample == 0) && second.peak(100) == 77);
    house.hold(1, false);
    for _ in 0..20 {
        let phone = &mut house.ears[1].phone;
        house.world.speak(phone, &loud);
        house.run(20);
    }
    assert_eq!(house.ears[1].peak(40), 500);
    assert!(house.ears[0].peak(40) > 10_000);
}
