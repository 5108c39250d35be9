//! The floors: a file imports only from what stands above it in this list, or from its own floor. `lib.rs` is free.
//!
//! To move a floor, move its line here and say in `DESIGN.md` why.

mod cases;
mod features;
mod growth;
mod imports;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

/// From the top. Modules on one line are one floor; a folder is one floor with all that is in it.
const FLOORS: &[&[&str]] = &[
    &["sync"],
    &["id"],
    &["config"],
    &["snapshot"],
    &["error"],
    &["policy", "autoscale"],
    &["hook"],
    &["job"],
    &["lane"],
    &["gate"],
    &["slot"],
    &["plane"],
    // Nothing above this line knows ractor or spawns.
    &[LINE],
    &["backend"],
    &["control"],
    &["executor"],
    &["pool", "builder"],
    &["testing"],
];

const LINE: &str = "──";

#[test]
fn every_file_imports_only_from_above() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files_under(&src);
    assert!(files.len() > 1, "no sources were found under src/");
    let violations: Vec<String> = files.iter().flat_map(|file| check_file(&src, file)).collect();
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

fn check_file(src: &Path, file: &Path) -> Vec<String> {
    let inside = file.strip_prefix(src).expect("it was found there");
    let parts: Vec<&str> = inside.iter().map(|part| part.to_str().expect("names in src/ are UTF-8")).collect();
    let text = fs::read_to_string(file).expect("a source can be read");
    imports::check(&parts, &text)
}

/// Every `.rs` file, in a fixed order.
fn files_under(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder can be read");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(files_under(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
