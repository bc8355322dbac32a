//! Any sequence of plays, stops, joins, leaves, holds, keys and raises: nothing panics, every play is told to have ended once,
//! is heard at most once before that, and is given back to be freed.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use confab_codec::CodecKind;
use confab_dsp::ToneScript;
use confab_rtp::DtmfDigit;
use proptest::prelude::*;

use super::house::{House, Told, clip, convert, sine};
use super::speaker::l16;
use super::world::World;
use crate::playback::{Asked, Lane, PLAY_QUEUE, Play, PlayChange, PlayId, Repeat, Sound, StopPlay};
use crate::shard::command::{Audience, Command};

const KINDS: [CodecKind; 5] = [
    CodecKind::Pcmu,
    CodecKind::G722,
    l16(16_000),
    CodecKind::Opus,
    CodecKind::Pcma,
];

#[derive(Debug, Clone)]
enum Step {
    Play {
        to: usize,
        background: bool,
        play: Play,
    },
    Stop {
        to: usize,
        what: What,
    },
    Change {
        to: usize,
        back: u64,
        change: PlayChange,
    },
    Join(usize),
    Leave(usize),
    Hold(usize, bool),
    Deafen(usize),
    Key(usize),
    Raise,
    Grow,
    Run(u64),
}

#[derive(Debug, Clone, Copy)]
enum What {
    Current,
    All,
    Background,
    Recent(u64),
}

fn sound() -> impl Strategy<Value = Sound> {
    let script = |text| Sound::tones(ToneScript::parse(text).unwrap());
    prop_oneof![
        (prop::sample::select(vec![8000, 16_000, 44_100]), 1..300_usize).prop_map(|(rate_hz, ms)| {
            let play = clip(rate_hz, sine(rate_hz, 437.0, ms));
            play.sounds[0].clone()
        }),
        Just(clip(8000, vec![5]).sounds[0].clone()),
        Just(clip(8000, Vec::new()).sounds[0].clone()),
        (0..50_u32).prop_map(|ms| Sound::silence(Some(ms), Some(100))),
        prop::sample::select(vec!["%(20,5,437)", "123(3,1)", "%(1000,0,437);loops=-1"]).prop_map(script),
        Just(Sound::silence(None, None)),
    ]
}

fn play() -> impl Strategy<Value = Play> {
    let repeat = prop_oneof![
        3 => Just(Repeat::Once),
        1 => (0..4_u32).prop_map(Repeat::Times),
        1 => Just(Repeat::Forever),
    ];
    (
        prop::collection::vec(sound(), 0..4),
        repeat,
        -50f32..30.0,
        prop::option::of(0f32..40.0),
        any::<bool>(),
    )
        .prop_map(|(sounds, repeat, gain_db, duck_db, barge_in)| Play {
            sounds,
            repeat,
            gain_db,
            duck_db,
            barge_in,
            gives_way: false,
            announces: false,
        })
}

/// Everybody, those who wait, and each leg.
fn to() -> impl Strategy<Value = usize> {
    0..KINDS.len() + 2
}

fn change() -> impl Strategy<Value = PlayChange> {
    prop_oneof![
        (0..2000_u64).prop_map(|ms| PlayChange::SeekTo(Duration::from_millis(ms))),
        any::<u64>().prop_map(|ms| PlayChange::SeekTo(Duration::from_millis(ms))),
        (-2000..2000_i64).prop_map(PlayChange::SeekBy),
        any::<i64>().prop_map(PlayChange::SeekBy),
        any::<f32>().prop_map(PlayChange::Gain),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let ear = || 0..KINDS.len();
    let what = prop_oneof![
        Just(What::Current),
        Just(What::All),
        Just(What::Background),
        (0..20_u64).prop_map(What::Recent),
    ];
    prop_oneof![
        8 => (to(), any::<bool>(), play()).prop_map(|(to, background, play)| Step::Play { to, background, play }),
        4 => (to(), what).prop_map(|(to, what)| Step::Stop { to, what }),
        4 => (to(), 0..4_u64, change()).prop_map(|(to, back, change)| Step::Change { to, back, change }),
        2 => ear().prop_map(Step::Join),
        2 => ear().prop_map(Step::Leave),
        2 => (ear(), any::<bool>()).prop_map(|(ear, held)| Step::Hold(ear, held)),
        1 => ear().prop_map(Step::Deafen),
        2 => ear().prop_map(Step::Key),
        1 => Just(Step::Raise),
        1 => Just(Step::Grow),
        8 => (1..60_u64).prop_map(|quanta| Step::Run(quanta * 5)),
    ]
}

/// What became of each play.
#[derive(Default)]
struct Account {
    plays: HashMap<PlayId, (bool, bool, Weak<Asked>)>,
}

impl Account {
    fn note(&mut self, told: Vec<Told>) {
        for told in told {
            match told {
                Told::Began(id) => {
                    let (began, ended, _) = self.plays.get_mut(&id).expect("it was asked for");
                    assert!(!*began && !*ended, "{id} began after all");
                    *began = true;
                }
                Told::Ended(id, _) => {
                    let (_, ended, _) = self.plays.get_mut(&id).expect("it was asked for");
                    assert!(!*ended, "{id} ended twice");
                    *ended = true;
                }
                Told::Missed(id) => panic!("{id} announces nothing"),
            }
        }
    }
}

/// What the control side sees to.
struct Desk {
    house: House,
    account: Account,
    queued: HashMap<usize, Vec<Weak<Asked>>>,
    capacity: usize,
    next: u64,
}

impl Desk {
    fn audience(&self, to: usize) -> Audience {
        match to {
            0 => Audience::Everybody,
            1 => Audience::Waiting,
            ear => self.house.one(ear - 2),
        }
    }

    fn play(&mut self, to: usize, background: bool, play: Play) {
        let lane = if background { Lane::Background } else { Lane::Queue };
        let queued = self.queued.entry(to).or_default();
        queued.retain(|play| play.upgrade().is_some_and(|asked| !asked.is_over()));
        if !background && queued.len() > PLAY_QUEUE {
            return;
        }
        for rate_hz in [8000, 16_000, 48_000] {
            convert(&play, rate_hz);
        }
        let asked = Asked::new(play);
        if !background {
            queued.push(Arc::downgrade(&asked));
        }
        let weak = Arc::downgrade(&asked);
        let (id, command) = self.house.command_to_play_shared(self.audience(to), lane, asked);
        self.account.plays.insert(id, (false, false, weak));
        self.next = id.0;
        self.house.world.command(command);
    }

    fn run(&mut self, milliseconds: u64) {
        self.house.run(milliseconds);
        let told = self.house.told();
        self.account.note(told);
        while self.house.world.returned.pop().is_ok() {}
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Play { to, background, play } => self.play(to, background, play),
            Step::Stop { to, what } => {
                let what = match what {
                    What::Current => StopPlay::Current,
                    What::All => StopPlay::All,
                    What::Background => StopPlay::Background,
                    What::Recent(back) => StopPlay::Id(PlayId(self.next.saturating_sub(back))),
                };
                self.house.stop(self.audience(to), what);
            }
            Step::Change { to, back, change } => self.house.world.command(Command::ChangePlay {
                conference: self.house.room,
                to: self.audience(to),
                play: PlayId(self.next.saturating_sub(back)),
                change,
            }),
            Step::Join(ear) => {
                let phone = self.house.ears[ear].phone;
                self.house.world.join(&phone, self.house.room);
            }
            Step::Leave(ear) => {
                let leg = self.house.ears[ear].phone.leg;
                self.house.world.command(Command::Leave { leg });
            }
            Step::Hold(ear, held) => self.house.hold(ear, held),
            Step::Deafen(ear) => self.house.deafen(ear),
            Step::Key(ear) => self.house.world.command(Command::DigitByInfo {
                leg: self.house.ears[ear].phone.leg,
                digit: DtmfDigit::from_key('7').unwrap(),
                duration_ms: 0,
            }),
            Step::Raise => {
                self.house.rate_hz = if self.house.rate_hz == 8000 {
                    16_000
                } else {
                    48_000
                };
                let (room, rate_hz) = (self.house.room, self.house.rate_hz);
                self.house.world.raise(room, rate_hz, self.capacity);
            }
            Step::Grow => {
                self.capacity += 2;
                let (at, rate_hz) = (self.house.room, self.house.rate_hz);
                let storage = if rate_hz == 8000 {
                    World::storage(self.capacity)
                } else {
                    World::raised_storage(rate_hz, self.capacity)
                };
                self.house.world.command(Command::Grow { at, storage });
            }
            Step::Run(milliseconds) => self.run(milliseconds),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_play_ends_once(steps in prop::collection::vec(step(), 1..80)) {
        let mut desk = Desk {
            house: House::new(&KINDS, 8000),
            account: Account::default(),
            queued: HashMap::new(),
            capacity: KINDS.len(),
            next: 0,
        };
        for step in steps {
            desk.take(step);
        }
        for to in 0..KINDS.len() + 2 {
            for what in [StopPlay::All, StopPlay::Background] {
                desk.house.stop(desk.audience(to), what);
            }
        }
        desk.run(200);
        for (id, (_, ended, asked)) in &desk.account.plays {
            prop_assert!(ended, "{} has not ended", id);
            prop_assert_eq!(asked.strong_count(), 0, "{} was not given back", id);
        }
        // The mixer has room for all of its inputs again.
        for _ in 0..10 {
            desk.play(0, true, clip(8000, vec![1000; 8000]));
            desk.run(40);
        }
        let last = &desk.account.plays[&PlayId(desk.next)];
        prop_assert!(last.0 && !last.1);
    }
}
