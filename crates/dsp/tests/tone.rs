//! The tone language: what it accepts, what it refuses, and what is heard.

use std::f64::consts::TAU;
use std::time::Duration;

use confab_dsp::tone::fuzz_tone_grammar;
use confab_dsp::{DtmfSymbol, NoiseLevel, ToneGenerator, ToneProblem, ToneScript};

fn play(text: &str, rate_hz: u32, milliseconds: u32) -> Vec<i16> {
    let script = ToneScript::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    play_script(script, rate_hz, milliseconds)
}

/// Plays a script to its end, or for so long.
fn play_script(script: ToneScript, rate_hz: u32, milliseconds: u32) -> Vec<i16> {
    let mut generator = ToneGenerator::new(script, rate_hz);
    let mut out = vec![0; (rate_hz / 1000 * milliseconds) as usize];
    let mut filled = 0;
    for block in out.chunks_mut(rate_hz as usize / 50) {
        filled += generator.fill(block);
    }
    out.truncate(filled);
    out
}

/// The peak of the sine at `frequency` in some samples.
fn peak_at(samples: &[i16], rate_hz: u32, frequency: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, &sample) in samples.iter().enumerate() {
        let angle = TAU * frequency * n as f64 / f64::from(rate_hz);
        re += f64::from(sample) * angle.cos();
        im += f64::from(sample) * angle.sin();
    }
    2.0 * f64::hypot(re, im) / samples.len() as f64
}

#[expect(
    clippy::approx_constant,
    reason = "the level of a full-scale sine, not the circle's number"
)]
fn dbm0(peak: f64) -> f64 {
    20.0 * (peak / 32_767.0).log10() + 3.14
}

const ENTRY: &str = "tone_stream://v=-7;>=2;+=.1;%(300,0,523,659);v=-7;>=3;+=.1;%(800,0,659,783)";
const EXIT: &str = "tone_stream://v=-7;>=2;+=.1;%(300,0,523,440);v=-7;>=3;+=.1;%(800,0,349,440)";

#[test]
fn scripts_last_as_long_as_they_say() {
    let rows: [(&str, Option<u64>); 28] = [
        (ENTRY, Some(1100)),
        (EXIT, Some(1100)),
        ("tone_stream://%(500,0,440)", Some(500)),
        ("%(500,0,440)", Some(500)),
        ("%(200,4000,440,480);loops=3", Some(12_600)),
        ("%(200,100,440);L=-1", None),
        ("L=-1;%(200,100,440);loops=3", None),
        ("%(200,4000,440,480);loops=-1", None),
        ("%(200,100,440);loops=0", Some(300)),
        (" % ( 200 , 100 , 440.5 ) ; ; ", Some(300)),
        ("%(100,0,440)%(100,0,480)", Some(200)),
        ("1(100,50)", Some(150)),
        ("d=100;w=50;123", Some(450)),
        ("d=100;w=0;1;w=100;2", Some(300)),
        ("1", Some(312)),
        ("l=3;%(100,0,440);%(50,0,440)", Some(350)),
        ("l=0;%(100,0,440)", Some(100)),
        ("l=-1;%(100,0,440);1", None),
        ("L=3;%(100,100,440)", Some(600)),
        ("%(100,100,440);L=2;L=9;loops=2", Some(800)),
        ("L=2;1(100,0);d=100;w=0;2", Some(400)),
        ("L=2;d=100;w=0;2;w=100", Some(200)),
        ("r=16000;c=2;v=-20;%(100,0,440)", Some(100)),
        ("%(0,0,440);loops=-1", Some(0)),
        ("%(100,20,0)", Some(120)),
        ("silence_stream://1500", Some(1500)),
        ("silence_stream://1500,1400;loops=2", Some(3000)),
        ("silence_stream://0", None),
    ];
    for (text, milliseconds) in rows {
        let script = ToneScript::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let said = script.duration().map(|duration| duration.as_millis() as u64);
        assert_eq!(said, milliseconds, "{text}");
        for rate_hz in [8000, 16_000, 44_100, 48_000] {
            let heard = play_script(script.clone(), rate_hz, 15_000).len() as u64;
            match script.duration() {
                Some(duration) => {
                    let samples = duration.as_micros() as u64 * u64::from(rate_hz) / 1_000_000;
                    assert!(
                        heard <= samples && samples - heard < 10,
                        "{text} at {rate_hz} Hz: {heard}"
                    );
                }
                None => assert_eq!(heard, u64::from(rate_hz / 1000) * 15_000, "{text}"),
            }
        }
    }
}

#[test]
fn problems_are_named_with_their_place() {
    let rows = [
        ("", 0, ToneProblem::Empty),
        ("tone_stream://", 14, ToneProblem::Empty),
        ("v=-7;d=100", 10, ToneProblem::Empty),
        ("%", 1, ToneProblem::BadParenthesis),
        ("%(100)", 5, ToneProblem::BadParenthesis),
        ("%(100,0)", 7, ToneProblem::BadParenthesis),
        ("%(100,0,440", 11, ToneProblem::BadParenthesis),
        ("5(100,0,440)", 7, ToneProblem::BadParenthesis),
        ("%(,0,440)", 2, ToneProblem::NotANumber),
        ("%(100,0,4x0)", 9, ToneProblem::BadParenthesis),
        ("%(-1,0,440)", 2, ToneProblem::OutOfRange),
        ("%(3600001,0,440)", 2, ToneProblem::OutOfRange),
        ("%(100,0,24001)", 8, ToneProblem::OutOfRange),
        ("%(100,0,1-2)", 9, ToneProblem::BadParenthesis),
        ("x=5;1", 0, ToneProblem::UnknownSymbol),
        ("1;E", 2, ToneProblem::UnknownSymbol),
        ("1;é", 2, ToneProblem::UnknownSymbol),
        ("d=;1", 2, ToneProblem::NotANumber),
        ("d=1e3;1", 3, ToneProblem::UnexpectedText),
        ("v=--7;1", 2, ToneProblem::NotANumber),
        ("loops=2;1", 8, ToneProblem::LoopsNotLast),
        ("1;loops=x", 8, ToneProblem::NotANumber),
        ("l=99999999999;1", 2, ToneProblem::OutOfRange),
        ("silence_stream://", 17, ToneProblem::NotANumber),
        ("silence_stream://5,10001", 19, ToneProblem::OutOfRange),
        ("silence_stream://5 6", 19, ToneProblem::UnexpectedText),
    ];
    for (text, offset, problem) in rows {
        let error = ToneScript::parse(text).expect_err(text);
        assert_eq!((error.offset, error.problem), (offset, problem), "{text}");
    }
    let many = format!("%(1,1{})", ",1".repeat(19));
    let error = ToneScript::parse(&many).expect_err("19 frequencies");
    assert_eq!(error.problem, ToneProblem::TooManyFrequencies);
    let long = "1;".repeat(2049);
    let error = ToneScript::parse(&long).expect_err("too long");
    assert_eq!(error.problem, ToneProblem::TooLong);
    let across = format!("{}é", "1".repeat(4095));
    let error = ToneScript::parse(&across).expect_err("too long by half a character");
    assert_eq!(
        error.offset, 4095,
        "the place is one at which the text can be cut"
    );
    assert!(ToneScript::parse(&"1;".repeat(2048)).is_ok());
    assert!(ToneScript::parse(&format!("%(1,1{})", ",1".repeat(18))).is_ok());
}

#[test]
fn names_of_scripts_are_told_from_other_sounds() {
    for name in [ENTRY, "silence_stream://1", "%(1,2,3)"] {
        assert!(ToneScript::is_script(name), "{name}");
    }
    for name in ["", "conf-alone", "/acct/id", "https://x/%(1,2,3)", "say:1"] {
        assert!(!ToneScript::is_script(name), "{name}");
    }
}

#[test]
fn sines_have_their_frequency_and_level_at_every_rate() {
    for rate_hz in [8000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000] {
        let rows: [(&str, &[f64], f64); 4] = [
            ("%(500,0,440)", &[440.0], -7.0),
            ("v=-20;%(500,0,1000)", &[1000.0], -20.0),
            ("v=5;%(500,0,1000)", &[1000.0], -7.0),
            ("v=0;%(500,0,350,440,2600)", &[350.0, 440.0, 2600.0], -9.54),
        ];
        for (text, frequencies, level) in rows {
            let out = play(text, rate_hz, 600);
            let middle = &out[rate_hz as usize / 20..rate_hz as usize / 20 * 9];
            for &frequency in frequencies {
                let heard = dbm0(peak_at(middle, rate_hz, frequency));
                assert!((heard - level).abs() < 0.02, "{text} at {rate_hz} Hz: {heard}");
            }
            let edges = [out[0], out[out.len() - 1]];
            assert!(
                edges.iter().all(|edge| edge.abs() < 3000),
                "{text} at {rate_hz} Hz: {edges:?}"
            );
        }
    }
}

#[test]
fn ramps_go_by_their_steps_and_stay_within_the_levels() {
    let rows = [
        ("v=-10;>=10;+=1;%(400,0,1000)", 100, -20.0),
        ("v=-10;>=10;+=1;%(400,0,1000)", 300, -40.0),
        ("v=-30;<=20;+=.5;%(400,0,1000)", 200, -25.0),
        ("v=-5;<=10;+=1;%(400,0,1000)", 200, 0.0),
        ("v=-30;>=1;+=10;%(400,0,1000)", 200, -60.0),
        ("v=-10;>=10;%(400,0,1000);>=0;%(400,0,1000)", 600, -10.0),
        ("v=-10;>=10;%(400,0,1000);%(400,0,1000)", 600, -30.0),
    ];
    for (text, at_ms, level) in rows {
        let out = play(text, 8000, 1000);
        let heard = dbm0(peak_at(&out[at_ms * 8..at_ms * 8 + 80], 8000, 1000.0));
        let tolerance = if level <= -60.0 { 2.0 } else { 0.1 };
        assert!((heard - level).abs() < tolerance, "{text}: {heard}");
    }
}

#[test]
fn the_default_tones_fall_from_their_level() {
    let out = play(ENTRY, 48_000, 1200);
    let level = |from_ms: usize, frequency| {
        dbm0(peak_at(
            &out[from_ms * 48..(from_ms + 20) * 48],
            48_000,
            frequency,
        ))
    };
    assert!((level(2, 523.0) - (-13.0)).abs() < 3.0, "{}", level(2, 523.0));
    assert!((level(270, 659.0) - (-27.0)).abs() < 3.0, "{}", level(270, 659.0));
    assert!((level(302, 783.0) - (-13.0)).abs() < 3.0, "{}", level(302, 783.0));
    assert!(
        (level(1070, 783.0) - (-39.0)).abs() < 3.0,
        "{}",
        level(1070, 783.0)
    );
}

#[test]
fn symbols_are_their_two_frequencies() {
    for symbol in "0123456789*#ABCDabcd".chars() {
        let out = play(&format!("d=100;w=60;{symbol}"), 8000, 200);
        assert_eq!(out.len(), 1280);
        let frequencies = DtmfSymbol::from_char(symbol).expect("a symbol").frequencies_hz();
        for frequency in frequencies {
            let heard = dbm0(peak_at(&out[8..792], 8000, f64::from(frequency)));
            assert!((heard - -13.02).abs() < 0.3, "{symbol}: {heard}");
        }
        assert!(out[800..].iter().all(|&sample| sample == 0));
    }
}

#[test]
fn digits_have_the_level_that_was_asked_for() {
    let symbols = "42#".chars().filter_map(DtmfSymbol::from_char);
    let (on, off) = (Duration::from_millis(80), Duration::from_millis(60));
    let script = ToneScript::digits(symbols, on, off, -10.0);
    assert_eq!(script.duration(), Some(Duration::from_millis(420)));
    let out = play_script(script, 8000, 500);
    let heard = dbm0(peak_at(&out[1120 + 8..1120 + 632], 8000, 1336.0));
    assert!((heard - -10.0).abs() < 0.3, "{heard}");
    assert!(play_script(ToneScript::digits([], on, off, -10.0), 8000, 100).is_empty());
}

#[test]
fn a_silence_may_have_noise() {
    assert!(
        play("silence_stream://100", 8000, 200)
            .iter()
            .all(|&sample| sample == 0)
    );
    let noise = play("silence_stream://100,1000", 8000, 200);
    assert_eq!(noise.len(), 800);
    assert!(noise.iter().any(|&sample| sample != 0) && noise.iter().all(|sample| sample.abs() <= 33));
}

#[test]
fn blocks_do_not_matter_and_rewinding_begins_anew() {
    let script = ToneScript::parse(ENTRY).expect("valid");
    let mut generator = ToneGenerator::new(script.clone(), 16_000);
    let whole = play_script(script, 16_000, 2000);
    for lengths in [[1, 7, 160], [320, 33, 3000]] {
        let mut out = Vec::new();
        let mut block = [0; 3000];
        while !generator.is_ended() {
            for length in lengths {
                let filled = generator.fill(&mut block[..length]);
                out.extend_from_slice(&block[..filled]);
            }
        }
        assert_eq!(out, whole);
        generator.rewind();
    }
}

/// Plays a script that changes its rate after `at_ms` of 600 ms, the change being undone `back_ms` before.
fn play_over(text: &str, from_hz: u32, to_hz: u32, at_ms: usize, back_ms: usize) -> (Vec<i16>, Vec<i16>) {
    let mut generator = ToneGenerator::new(ToneScript::parse(text).expect("a valid script"), from_hz);
    let ms = |rate_hz: u32, ms: usize| vec![0; rate_hz as usize / 1000 * ms];
    let mut before = ms(from_hz, at_ms - back_ms);
    assert_eq!(generator.fill(&mut before), before.len());
    let place = generator.place();
    let mut more = ms(from_hz, back_ms);
    generator.fill(&mut more);
    generator.return_to(&place);
    generator.set_rate_hz(to_hz);
    let mut after = ms(to_hz, 600 - at_ms + back_ms);
    let written = generator.fill(&mut after);
    after.truncate(written);
    (before, after)
}

#[test]
fn a_tone_goes_on_at_another_rate() {
    for (from_hz, to_hz) in [(8000, 16_000), (8000, 48_000), (16_000, 48_000), (48_000, 8000)] {
        // In the tone, in the silence behind it, and in a tone whose level moves.
        for (text, at_ms) in [
            ("%(500,100,437,1003)", 250),
            ("%(200,400,437)", 300),
            (">=10;+=1;%(600,0,800)", 305),
            ("silence_stream://600", 100),
        ] {
            let (before, after) = play_over(text, from_hz, to_hz, at_ms, 20);
            assert_eq!(after.len(), to_hz as usize / 1000 * (620 - at_ms), "{text}");
            let whole = play(text, to_hz, 600);
            let expected = &whole[to_hz as usize / 1000 * (at_ms - 20)..];
            for (n, (&is, &should)) in after.iter().zip(expected).enumerate() {
                assert!(
                    is.abs_diff(should) <= 2,
                    "{text} {from_hz} to {to_hz}: {is} for {should} at {n}"
                );
            }
            assert_eq!(before, play(text, from_hz, 600)[..before.len()], "{text}");
        }
    }
}

#[test]
fn a_silence_without_end_stays_one_at_another_rate() {
    let mut generator = ToneGenerator::new(ToneScript::silence(None, NoiseLevel::from_profile(100)), 8000);
    let mut block = [0; 960];
    generator.fill(&mut block);
    generator.set_rate_hz(48_000);
    for _ in 0..100 {
        assert_eq!(generator.fill(&mut block), block.len());
        let peak = block.iter().map(|s| s.abs()).max();
        assert!(
            (40..=55).contains(&peak.unwrap()),
            "a sixth of what it is at 8 kHz: {peak:?}"
        );
    }
    assert_eq!(ToneScript::silence(None, None).duration(), None);
    let second = Duration::from_secs(1);
    assert_eq!(ToneScript::silence(Some(second), None).duration(), Some(second));
    assert_eq!(
        play_script(ToneScript::silence(Some(Duration::ZERO), None), 8000, 20),
        []
    );
}

#[test]
fn the_committed_seeds_hold() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fuzz/corpus/tone_grammar"
    );
    let mut seeds = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus of this target") {
        let path = entry.expect("a readable folder").path();
        fuzz_tone_grammar(&std::fs::read(path).expect("a readable seed"));
        seeds += 1;
    }
    assert!(seeds > 0);
}
