//! The entry for fuzzing. Also run by an ordinary test on the committed seeds.

use super::{ToneGenerator, ToneScript};

/// Reads arbitrary bytes as a tone script and plays a piece of what was understood. Panics when an error points outside
/// of the text, or when the generator and the stated duration disagree.
pub fn fuzz_tone_grammar(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let script = match ToneScript::parse(text) {
        Ok(script) => script,
        Err(error) => {
            assert!(text.is_char_boundary(error.offset), "{error}");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let duration = script.duration();
    let mut generator = ToneGenerator::new(script, 8000);
    let mut block = [0; 400];
    let mut samples = 0;
    for _ in 0..200 {
        let written = generator.fill(&mut block);
        samples += written;
        if written < block.len() {
            assert!(generator.is_ended());
            assert_eq!(generator.fill(&mut block), 0, "an end is an end");
            break;
        }
    }
    match duration {
        // Each sound is rounded down to whole samples: shorter by less than one each.
        Some(duration) if generator.is_ended() => {
            assert!(
                samples as u128 * 125 <= duration.as_micros(),
                "{samples} in {duration:?}"
            );
        }
        Some(duration) => assert!(duration.as_micros() >= samples as u128 * 125),
        None => assert!(!generator.is_ended()),
    }
    generator.rewind();
    assert_eq!(
        generator.fill(&mut block),
        samples.min(block.len()),
        "the same again"
    );
}
