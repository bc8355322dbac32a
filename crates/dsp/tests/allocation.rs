//! What works on audio allocates nothing once it is made. The allocator counts for one thread at a time.

use std::time::Duration;

use confab_dsp::{
    Agc, ComfortNoise, Denoiser, DtmfDetector, DtmfSymbol, Gain, Limiter, NoiseLevel, RESAMPLER_RATES_HZ,
    Resampler, ResamplerTable, TimeScale, ToneGenerator, ToneScript,
};
use confab_testkit::allocation::{CountingAllocator, calls};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Runs something a hundred times and returns the calls of the allocator that it made.
fn calls_in(mut work: impl FnMut(usize)) -> u64 {
    let before = calls();
    (0..100).for_each(&mut work);
    calls() - before
}

/// Twenty milliseconds of something that is neither silence nor noise.
fn voice(rate_hz: u32) -> Vec<i16> {
    (0..rate_hz / 50)
        .map(|n| ((n as f32 * 0.2).sin() * 9000.0 + (n as f32 * 0.037).cos() * 4000.0) as i16)
        .collect()
}

#[test]
fn the_allocator_counts() {
    assert_eq!(calls_in(|_| drop(std::hint::black_box(Box::new(1)))), 200);
}

#[test]
fn resampling_and_changing_the_rates() {
    let tables: Vec<_> = RESAMPLER_RATES_HZ
        .iter()
        .flat_map(|&from| RESAMPLER_RATES_HZ.map(|to| ResamplerTable::get(from, to).expect("a known pair")))
        .collect();
    let (input, mut out) = (voice(48_000), [0; 5760]);
    let (mut resampler, mut other) = (Resampler::new(), Resampler::new());
    let calls = calls_in(|n| {
        let table = tables[n * 7 % tables.len()];
        resampler.set(table);
        resampler.process(&input, &mut out);
        resampler.skip(&input[..n]);
        other.copy_from(&resampler);
        assert!(ResamplerTable::built(table.from_hz(), table.to_hz()).is_some());
    });
    assert_eq!(calls, 0);
}

#[test]
fn gains_noise_and_the_limiter() {
    let mut block = voice(16_000);
    let sum: Vec<i32> = block.iter().map(|&sample| i32::from(sample) * 5).collect();
    let (mut gain, mut agc, mut limiter) = (Gain::new(16_000), Agc::new(16_000), Limiter::new(16_000));
    let level = NoiseLevel::from_profile(1).expect("some noise");
    let mut noise = ComfortNoise::new(level, 16_000, 1);
    let calls = calls_in(|n| {
        gain.set_db(n as f32 / 10.0);
        gain.process(&mut block);
        agc.process(&mut block);
        limiter.process(&sum, 5, &mut block);
        noise.fill(&mut block);
    });
    assert_eq!(calls, 0);
}

#[test]
fn shortening_and_lengthening() {
    let mut block = voice(48_000);
    block.resize(3000, 0);
    let mut scale = TimeScale::new(48_000);
    let calls = calls_in(|n| {
        scale.shorten(&mut block[..960], 30 * n);
        scale.lengthen(&mut block, 960, 30 * n);
    });
    assert_eq!(calls, 0);
}

#[test]
fn tones_and_digits() {
    let text = "L=2;v=-7;>=2;+=.1;%(30,0,523,659);1234;loops=-1";
    let script = ToneScript::parse(text).expect("a valid script");
    let mut generator = ToneGenerator::new(script, 8000);
    let digits = ToneScript::digits(
        "1*#".chars().filter_map(DtmfSymbol::from_char),
        Duration::from_millis(60),
        Duration::from_millis(60),
        -10.0,
    );
    let mut dialling = ToneGenerator::new(digits, 8000);
    let mut detector = DtmfDetector::new(8000);
    let (mut block, mut heard) = ([0; 160], 0);
    let calls = calls_in(|n| {
        generator.fill(&mut block);
        detector.process(&block, |_| heard += 1);
        dialling.fill(&mut block);
        detector.process(&block, |_| heard += 1);
        if n == 50 {
            dialling.rewind();
        }
    });
    assert_eq!(calls, 0);
    assert!(heard > 0);
}

#[test]
fn denoising_in_a_prepared_thread() {
    for rate_hz in RESAMPLER_RATES_HZ {
        let mut denoiser = Denoiser::new(rate_hz).expect("a known rate");
        let mut block = voice(rate_hz);
        let calls = std::thread::spawn(move || {
            Denoiser::prepare_thread();
            calls_in(|_| denoiser.process(&mut block))
        })
        .join()
        .expect("no panic");
        assert_eq!(calls, 0, "{rate_hz} Hz");
    }
}
