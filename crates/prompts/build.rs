//! Makes the table of the built-in prompts and music from the folder `media` of the repository: each text file names the prompts
//! of its language, each of which must have its audio.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

type Problem = Box<dyn std::error::Error>;

fn main() -> Result<(), Problem> {
    let media = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?)
        .join("../../media")
        .canonicalize()?;
    let mut table = String::from("pub(crate) static LANGUAGES: &[BuiltIn] = &[\n");
    let prompts = media.join("prompts");
    println!("cargo::rerun-if-changed={}", prompts.display());
    for language in named(&prompts, "txt")? {
        let texts = read(&prompts.join(format!("{language}.txt")))?;
        writeln!(table, "    BuiltIn {{ language: {language:?}, prompts: &[")?;
        for (id, text) in texts {
            let audio = prompts.join(&language).join(format!("{id}.ogg"));
            let audio = existing(&audio)?;
            writeln!(
                table,
                "        Prompt {{ language: {language:?}, id: {id:?}, text: {text:?}, audio: include_bytes!({audio:?}) }},"
            )?;
        }
        table.push_str("    ] },\n");
    }
    table.push_str("];\n\npub(crate) static MUSIC: &[Music] = &[\n");
    let music = media.join("music");
    println!("cargo::rerun-if-changed={}", music.display());
    for name in named(&music, "flac")? {
        let audio = existing(&music.join(format!("{name}.flac")))?;
        writeln!(
            table,
            "    Music {{ name: {name:?}, audio: include_bytes!({audio:?}) }},"
        )?;
    }
    table.push_str("];\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("table.rs"), table)?;
    Ok(())
}

/// Returns the names of the files with an extension, without it, sorted.
fn named(folder: &Path, extension: &str) -> Result<Vec<String>, Problem> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|its| its == extension) {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            names.push(stem.ok_or("a file's name is not UTF-8")?.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn existing(path: &Path) -> Result<String, Problem> {
    if !path.is_file() {
        return Err(format!("{} is missing: run media/generate", path.display()).into());
    }
    Ok(path.to_str().ok_or("a path is not UTF-8")?.to_owned())
}

/// Returns what each id says. Lines "id: text"; "id ~ text" tells the synthesiser how to read it and is of no interest here.
fn read(path: &Path) -> Result<BTreeMap<String, String>, Problem> {
    let mut texts = BTreeMap::new();
    for line in fs::read_to_string(path)?.lines() {
        if line.trim().is_empty() || line.starts_with('#') || line.contains(" ~ ") {
            continue;
        }
        let (id, text) = line
            .split_once(": ")
            .ok_or_else(|| format!("{}: {line:?} is not 'id: text'", path.display()))?;
        if texts.insert(id.to_owned(), text.to_owned()).is_some() {
            return Err(format!("{}: {id} is there twice", path.display()).into());
        }
    }
    Ok(texts)
}
