//! The entry for fuzzing. Also run by an ordinary test on the committed seeds.

use crate::{
    CallFlow, Candidate, LONGEST_STAY_MS, NameFlow, Output, Pins, Prompt, Reception, Refused, Reservation,
    RoleFlow, RoleSoFar, Saying, ServiceFlow, Start, TRIES, Verdict,
};
use confab_conference::Role;

/// Lets one caller do, and happen to him, what arbitrary bytes say. Panics when a promise is broken.
pub fn fuzz_visit(data: &[u8]) {
    let (&head, steps) = data.split_first().unwrap_or((&0, &[]));
    let start = match head % 4 {
        0 => Start::Service(ServiceFlow {
            language: "en-us".into(),
            number_timeout_ms: 5000,
        }),
        1 => Start::Refused(CallFlow::default(), Refused::Full),
        _ => Start::Conference(candidate(head / 4)),
    };
    let mut reception = Reception::new(start);
    let (mut now, mut last_play, mut wrong) = (0, 0, [0_u8; 2]);
    let mut over = false;
    let (mut granted, mut recording) = (false, false);
    let mut drain = |reception: &mut Reception, last_play: &mut u32, granted: bool| {
        while let Some(output) = reception.poll_output() {
            assert!(!over, "{output:?} after the end");
            match output {
                Output::Play { number, sayings, .. } => {
                    *last_play = number;
                    for (count, prompt) in wrong.iter_mut().zip([Prompt::BadNumber, Prompt::BadPin]) {
                        *count += u8::from(sayings.contains(&Saying::Prompt(prompt)));
                        assert!(*count <= TRIES, "more than {TRIES} tries");
                    }
                }
                Output::LookUp(number) => assert!((1..=16).contains(&number.len())),
                Output::Enter(_) | Output::HangUp(_) => over = true,
                Output::Record => {
                    assert!(granted, "a name without a place");
                    recording = true;
                }
                Output::StopRecording => assert!(std::mem::take(&mut recording), "nothing is recorded"),
                Output::StopPlaying | Output::Judge { .. } | Output::Reserve(_) => {}
            }
        }
        assert_eq!(reception.is_over(), over);
    };
    reception.start(0);
    drain(&mut reception, &mut last_play, granted);
    for &step in steps {
        match step {
            0..=127 => reception.key(now, char::from(step)),
            128..=159 => {
                now += 1 << (step & 31).min(20);
                reception.handle_timeout(now);
            }
            160..=175 => reception.play_ended(now, last_play.saturating_sub(u32::from(step & 1))),
            176..=191 => reception.looked_up(now, Some(candidate(step))),
            192..=199 => reception.looked_up(now, None),
            200..=215 => {
                let delay_ms = u32::from(step & 7) * 1000;
                reception.judged(now, Verdict::Pass { delay_ms });
            }
            216..=219 => reception.judged(now, Verdict::Blocked),
            220..=231 => {
                granted = true;
                reception.reserved(now, Reservation::Granted);
            }
            232..=239 => reception.recorded(now, step & 1 != 0),
            240..=245 => reception.reserved(now, Reservation::Refused(Refused::Locked)),
            246..=250 => reception.reserved(now, Reservation::Unavailable),
            251..=252 => reception.failed(),
            253..=255 => reception.start(now),
        }
        drain(&mut reception, &mut last_play, granted);
    }
    reception.handle_timeout(now.max(LONGEST_STAY_MS));
    drain(&mut reception, &mut last_play, granted);
    assert!(reception.is_over(), "he stays for ever");
}

fn candidate(choice: u8) -> Candidate {
    let role = match choice & 3 {
        0 => RoleSoFar::Member,
        1 => RoleSoFar::Moderator,
        2 => RoleSoFar::Undecided,
        _ => RoleSoFar::Admitted(Role::Member),
    };
    let pins = |has: bool, pin: &str| RoleFlow {
        pins: if has { Pins::new([pin]) } else { Pins::default() },
        says_joining: choice & 16 != 0,
    };
    let flow = CallFlow {
        welcome: choice & 32 != 0,
        member: pins(choice & 4 != 0, "12"),
        moderator: pins(choice & 8 != 0, "3456"),
        names: (choice & 48 == 16).then_some(NameFlow {
            reviews: choice & 4 != 0,
        }),
        ..CallFlow::default()
    };
    Candidate::new(role, flow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_seeds_break_no_promise() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/corpus/reception");
        let mut seeds = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            fuzz_visit(&std::fs::read(entry.unwrap().path()).unwrap());
            seeds += 1;
        }
        assert!(seeds > 0, "no seeds in {folder}");
    }

    proptest! {
        #[test]
        fn no_bytes_break_a_promise(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_visit(&data);
        }
    }
}
