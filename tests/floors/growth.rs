//! What may grow is open to it: a public enum, or a struct with public fields, that is `#[non_exhaustive]` gets another variant or field
//! without breaking anybody.

use std::fs;
use std::path::Path;

use crate::files_under;

/// Complete as they are, and written out by those who use them.
const CLOSED: &[&str] = &["WorkerId", "TimeLimit"];

#[test]
fn public_types_are_open_to_growth() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = |file| fs::read_to_string(file).expect("a source can be read");
    let closed: Vec<String> = files_under(&src).iter().flat_map(|file| closed_types(&text(file))).collect();
    assert_eq!(closed, Vec::<String>::new(), "each needs `#[non_exhaustive]`, or a line in `CLOSED`");
}

/// Public types at the outermost level that show their parts and are not marked.
fn closed_types(text: &str) -> Vec<String> {
    let (mut marked, mut closed) = (false, Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let declared = line.strip_prefix("pub enum ").or_else(|| line.strip_prefix("pub struct "));
        let Some(rest) = declared else {
            let is_above_a_type = line.starts_with("#[") || line.starts_with("///") || line.starts_with(' ');
            marked = line == "#[non_exhaustive]" || marked && is_above_a_type;
            continue;
        };
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
        let body = line.ends_with('{').then(|| lines.by_ref().take_while(|line| *line != "}").collect::<Vec<_>>());
        let shows = |line: &&str| line.starts_with("    pub ");
        let open =
            line.starts_with("pub enum ") || line.contains("(pub ") || body.is_some_and(|body| body.iter().any(shows));
        if open && !marked && !CLOSED.contains(&&*name) {
            closed.push(name);
        }
        marked = false;
    }
    closed
}

#[test]
fn the_check_sees_what_is_closed_and_what_is_not() {
    let text = "#[derive(Debug)]\npub enum A {\n    B,\n}\n#[derive(\n    Debug\n)]\n#[non_exhaustive]\npub struct C {\n    pub d: u8,\n}\n\
                pub struct E {\n    f: u8,\n}\npub struct G {\n    pub h: u8,\n}\npub struct I(pub u8);\npub struct J(u8);\n\
                #[non_exhaustive]\n#[derive(Debug)]\npub enum K {\n    L,\n}\n";
    assert_eq!(closed_types(text), ["A", "G", "I"]);
}
