//! The default build has no engine, and nothing of what only some kind of pool needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What a section of a manifest says: `key = value`, with lists that go over lines in one.
type Section = BTreeMap<String, String>;

/// Which features bring which dependencies; there is no other that is optional.
const BROUGHT_BY: &[(&str, &[&str])] = &[
    ("interpreter", &["wasmtime"]),
    ("lua", &["mlua"]),
    ("process", &["libc", "postcard", "rustix", "serde"]),
    ("wasi", &["bytes", "wasmtime-wasi"]),
];

/// What a build without features has beside the standard library.
const ALWAYS: &[&str] =
    &["async-trait", "parking_lot", "quanta", "ractor", "smallvec", "thiserror", "tokio", "tokio-util", "tracing"];

/// Enough of TOML for the manifests here.
fn sections(text: &str) -> BTreeMap<String, Section> {
    let (mut all, mut name) = (BTreeMap::<String, Section>::new(), String::new());
    let mut lines = text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            name = header.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            let mut value = value.trim().to_owned();
            while value.matches('[').count() > value.matches(']').count() {
                value.push_str(lines.next().expect("a list ends"));
            }
            all.entry(name.clone()).or_default().insert(key.trim().trim_matches('"').to_owned(), value);
        }
    }
    all
}

fn manifest(path: &str) -> BTreeMap<String, Section> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    sections(&fs::read_to_string(path).expect("a manifest can be read"))
}

fn is_optional(value: &str) -> bool {
    value.contains("optional = true")
}

/// The words of a list.
fn words(list: &str) -> Vec<&str> {
    list.split('"').skip(1).step_by(2).collect()
}

/// A dependency of a library, wherever it is for: not those of tests, nor what is for loom alone.
fn dependencies(manifest: &BTreeMap<String, Section>) -> impl Iterator<Item = (&String, &String)> {
    let is_for_users = |name: &str| {
        (name == "dependencies" || name.ends_with(".dependencies"))
            && !name.starts_with("workspace.")
            && !name.contains("millpond_loom")
    };
    manifest.iter().filter(move |(name, _)| is_for_users(name)).flat_map(|(_, section)| section)
}

/// Whether this word in a feature's list has that optional dependency built.
fn activates(word: &str, dependency: &str) -> bool {
    let word = word.strip_prefix("dep:").unwrap_or(word);
    word == dependency || word.strip_prefix(dependency).is_some_and(|rest| rest.starts_with('/'))
}

/// The faults of this manifest of the crate.
fn faults(manifest: &BTreeMap<String, Section>) -> Vec<String> {
    let mut faults = Vec::new();
    let features = &manifest["features"];
    if features.get("default").is_none_or(|default| !words(default).is_empty()) {
        faults.push(format!("the default features are {:?}, and are to be none", features.get("default")));
    }
    for (dependency, value) in dependencies(manifest) {
        let brought_by: Vec<_> = BROUGHT_BY
            .iter()
            .filter(|(_, brings)| brings.contains(&&**dependency))
            .map(|(feature, _)| *feature)
            .collect();
        match (is_optional(value), ALWAYS.contains(&&**dependency)) {
            (true, false) if !brought_by.is_empty() => {}
            (false, true) => {}
            _ => faults.push(format!("`{dependency}` is in the wrong place: {value}")),
        }
        for (feature, list) in features {
            let brings = words(list).into_iter().any(|word| activates(word, dependency));
            if is_optional(value) && brings && !brought_by.contains(&&**feature) {
                faults.push(format!("`{feature}` brings `{dependency}`"));
            }
        }
    }
    faults
}

#[test]
fn the_default_build_has_no_engine() {
    let manifest = manifest("Cargo.toml");
    assert_eq!(
        dependencies(&manifest).count(),
        ALWAYS.len() + BROUGHT_BY.iter().map(|(_, all)| all.len()).sum::<usize>()
    );
    assert_eq!(faults(&manifest), Vec::<String>::new());
}

/// What depends on it asks for no more of it than that.
#[test]
fn the_supervisors_ask_for_no_feature() {
    let manifest = manifest("supervisors/Cargo.toml");
    let asks = &manifest["dependencies"]["millpond"];
    assert!(!asks.contains("features"), "{asks}");
    assert!(manifest["features"].get("default").is_none_or(|default| words(default).is_empty()));
}

#[test]
fn a_manifest_that_pulls_one_in_is_refused() {
    let manifest = |default: &str, wasmtime: &str, guest: &str| {
        let text = format!(
            "[features]\ndefault = {default}\nguest = {guest} # a note\ninterpreter = [\n    \"guest\",\n    \"dep:wasmtime\",\n]\n\
             [target.'cfg(unix)'.dependencies]\nwasmtime = {{ version = \"48\"{wasmtime} }}"
        );
        faults(&sections(&text))
    };
    assert_eq!(manifest("[]", ", optional = true", "[]"), Vec::<String>::new());
    for (faulty, says) in [
        (manifest("[\"interpreter\"]", ", optional = true", "[]"), "default features"),
        (manifest("[]", "", "[]"), "`wasmtime` is in the wrong place"),
        (manifest("[]", ", optional = true", "[\"dep:wasmtime\"]"), "`guest` brings `wasmtime`"),
        (manifest("[]", ", optional = true", "[\"wasmtime/wat\"]"), "`guest` brings `wasmtime`"),
    ] {
        assert!(faulty.len() == 1 && faulty[0].contains(says), "{faulty:?}");
    }
}
