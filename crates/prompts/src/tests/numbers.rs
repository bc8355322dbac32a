//! Numbers read right, in English and in German, by spelling them out another way than the texts do.

use proptest::prelude::*;

use crate::{digits, find, number};

fn read(language: &str, ids: &[String]) -> String {
    let text = |id: &String| find(language, id).unwrap_or_else(|| panic!("{id}")).text;
    ids.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// The English words of a number below 10,000, as one counts.
fn english(n: u32) -> String {
    const LOW: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = [
        "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
    ];
    let behind = |rest: u32| {
        if rest > 0 {
            format!(" {}", english(rest))
        } else {
            String::new()
        }
    };
    match n {
        0..20 => LOW[n as usize].to_owned(),
        20..100 if n.is_multiple_of(10) => TENS[n as usize / 10 - 2].to_owned(),
        20..100 => format!("{}-{}", TENS[n as usize / 10 - 2], LOW[n as usize % 10]),
        100..1000 => format!("{} hundred{}", LOW[n as usize / 100], behind(n % 100)),
        _ => format!("{} thousand{}", LOW[n as usize / 1000], behind(n % 1000)),
    }
}

/// The German word of a number below 10,000.
fn german(n: u32) -> String {
    fn within(n: u32) -> &'static str {
        [
            "", "ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun",
        ][n as usize]
    }
    match n {
        0 => "null".to_owned(),
        1 => "eins".to_owned(),
        2..10 => within(n).to_owned(),
        10 => "zehn".to_owned(),
        11 => "elf".to_owned(),
        12 => "zwölf".to_owned(),
        16 => "sechzehn".to_owned(),
        17 => "siebzehn".to_owned(),
        13..20 => format!("{}zehn", within(n - 10)),
        20..100 => {
            let tens = [
                "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig",
            ][n as usize / 10 - 2];
            if n.is_multiple_of(10) {
                tens.to_owned()
            } else {
                format!("{}und{tens}", within(n % 10))
            }
        }
        100..1000 => format!(
            "{}hundert{}",
            within(n / 100),
            if n.is_multiple_of(100) {
                String::new()
            } else {
                german(n % 100)
            }
        ),
        _ => format!(
            "{}tausend{}",
            within(n / 1000),
            if n.is_multiple_of(1000) {
                String::new()
            } else {
                german(n % 1000)
            }
        ),
    }
}

#[test]
fn hard_cases_read_right() {
    for (n, en, de) in [
        (0, "zero", "null"),
        (1, "one", "eins"),
        (12, "twelve", "zwölf"),
        (16, "sixteen", "sechzehn"),
        (21, "twenty-one", "einundzwanzig"),
        (30, "thirty", "dreißig"),
        (77, "seventy-seven", "siebenundsiebzig"),
        (100, "one hundred", "einhundert"),
        (101, "one hundred one", "einhundert eins"),
        (121, "one hundred twenty-one", "einhundert einundzwanzig"),
        (616, "six hundred sixteen", "sechshundert sechzehn"),
        (999, "nine hundred ninety-nine", "neunhundert neunundneunzig"),
        (1000, "one thousand", "eintausend"),
        (7001, "seven thousand one", "siebentausend eins"),
        (
            9999,
            "nine thousand nine hundred ninety-nine",
            "neuntausend neunhundert neunundneunzig",
        ),
        (10_000, "one zero zero zero zero", "eins null null null null"),
    ] {
        assert_eq!(read("en-us", &number(n)), en);
        assert_eq!(read("de-de", &number(n)), de);
    }
}

#[test]
fn every_number_reads_right() {
    for n in 0..10_000 {
        assert_eq!(read("en-us", &number(n)), english(n));
        assert_eq!(read("de-de", &number(n)).replace(' ', ""), german(n));
        assert!(number(n).len() <= 3);
    }
}

#[test]
fn digits_are_read_one_by_one() {
    assert_eq!(
        digits("40*#"),
        ["digit-4", "digit-0", "digit-star", "digit-pound"]
    );
    assert_eq!(read("en-us", &digits("40*#")), "four zero star pound");
    assert_eq!(digits("+49 a"), ["digit-4", "digit-9"]);
    assert!(digits("").is_empty());
}

proptest! {
    #[test]
    fn any_number_has_only_known_prompts(n: u32) {
        for language in ["en-us", "de-de"] {
            prop_assert!(number(n).iter().all(|id| find(language, id).is_some_and(|prompt| prompt.language == language)));
        }
    }
}
