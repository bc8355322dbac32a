//! The table of all lines: which test proves each. `README.md` is made of it.
//!
//! To renew it: `CONFAB_RENEW_GOLDEN=1 cargo test --test contract table`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The number of the last line.
const LAST: u16 = 220;

/// Lines that other test programs prove against the real binary: number, file, test.
const ELSEWHERE: &[(u16, &str, &str)] = &[
    (
        84,
        "tests/playback.rs",
        "what_is_played_is_heard_by_whom_it_is_for",
    ),
    (
        85,
        "tests/playback.rs",
        "what_is_played_is_heard_by_whom_it_is_for",
    ),
    (
        138,
        "tests/playback.rs",
        "what_is_played_is_heard_by_whom_it_is_for",
    ),
    (
        146,
        "tests/controls.rs",
        "every_control_changes_what_it_says_and_clears",
    ),
    (
        147,
        "tests/controls.rs",
        "every_control_changes_what_it_says_and_clears",
    ),
    (
        167,
        "tests/playback.rs",
        "tones_tell_those_inside_who_comes_and_goes",
    ),
    (
        168,
        "tests/playback.rs",
        "tones_tell_those_inside_who_comes_and_goes",
    ),
    (
        182,
        "tests/codecs.rs",
        "a_profile_rate_of_8000_keeps_the_wide_band_out",
    ),
];

/// What the lines ask for that other programs prove, in our words.
const WORDS: &[(u16, &str)] = &[
    (84, "a WAV file is played from its URL"),
    (85, "a tone script is heard for as long as it says"),
    (138, "a play to one is heard by him alone"),
    (146, "related by mute, the other one does not hear him"),
    (147, "related by deaf, he does not hear the other one"),
    (167, "a tone tells those inside that somebody comes"),
    (168, "a tone tells those who stay that somebody goes"),
    (182, "a profile's rate bounds the bandwidth"),
];

/// The tests of this program by line: file and name. Several may share what a line asks for.
fn tests_here() -> BTreeMap<u16, Vec<(String, String)>> {
    let mut found: BTreeMap<u16, Vec<(String, String)>> = BTreeMap::new();
    let program = include_str!("main.rs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract");
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        let module = file.trim_end_matches(".rs");
        assert!(
            module == "main" || program.contains(&format!("mod {module};")),
            "{file} is no part of the program"
        );
        for (at, _) in text.match_indices("#[test]\nfn line_") {
            let name = text[at + "#[test]\nfn ".len()..]
                .split('(')
                .next()
                .expect("a name");
            let line: u16 = name[5..8]
                .parse()
                .unwrap_or_else(|_| panic!("{name} has no number"));
            found
                .entry(line)
                .or_default()
                .push((file.clone(), name.to_owned()));
        }
    }
    found
}

fn words(line: u16) -> &'static str {
    let found = WORDS.iter().find(|(number, _)| *number == line);
    found.unwrap_or_else(|| panic!("no words for line {line}")).1
}

/// Returns the rows of the table, one per line.
fn rows() -> Vec<String> {
    let here = tests_here();
    let row = |line: u16| {
        if let Some(mut tests) = here.get(&line).cloned() {
            assert!(
                ELSEWHERE.iter().all(|(other, ..)| *other != line),
                "line {line} is proved here and elsewhere"
            );
            // In an order that does not depend on the file system.
            tests.sort();
            let words = tests[0].1[9..].replace('_', " ");
            let files: Vec<String> = tests.iter().map(|(file, _)| format!("`{file}`")).collect();
            return format!("| {line} | {words} | {} | passes |", files.join(", "));
        }
        if let Some((_, file, test)) = ELSEWHERE.iter().find(|(other, ..)| *other == line) {
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a file");
            assert!(
                text.contains(&format!("#[test]\nfn {test}(")),
                "{file} has no test {test}"
            );
            return format!("| {line} | {} | `{file}`: `{test}` | passes |", words(line));
        }
        panic!("line {line} has no test");
    };
    (1..=LAST).map(row).collect()
}

#[test]
fn table_every_line_has_a_test_and_the_readme_says_so() {
    let rows = rows();
    let made = format!(
        "# The contract's checklist\n\n\
         Every line of the checklist of the KAZOO-compatible API, the test that proves it against the real server, and what became of it.\n\
         Made by `table.rs` from the tests themselves; `CONFAB_RENEW_GOLDEN=1 cargo test --test contract table` renews it.\n\n\
         {} of {LAST} lines pass.\n\n\
         | Line | What it asks for | Test | Status |\n|---|---|---|---|\n{}\n",
        rows.len(),
        rows.join("\n")
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/README.md");
    if std::env::var_os("CONFAB_RENEW_GOLDEN").is_some() {
        fs::write(&path, &made).expect("written");
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == made,
        "tests/contract/README.md is not up to date; table.rs says how to renew it"
    );
}
