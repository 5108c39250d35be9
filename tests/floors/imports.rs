//! What a source imports from its own crate, and what of that it may not.

use crate::source::{Token, tokens};
use crate::{FLOORS, LINE};

/// Checks one file. `parts` is its path inside `src/`. Each violation says where, what and why.
pub(crate) fn check(parts: &[&str], text: &str) -> Vec<String> {
    if parts == ["lib.rs"] || only_for_tests(parts) {
        return Vec::new();
    }
    let file = parts.join("/");
    let home = module_path(parts);
    let Some(floor) = rank(&home[0]) else {
        return vec![format!("src/{file}: `{}` is on no floor: give it a line in tests/floors/main.rs", home[0])];
    };
    let tokens = tokens(text);
    let mut walk = Walk { tokens: &tokens, home, floor, inner: Vec::new(), depth: 0, found: Vec::new() };
    walk.run();
    walk.found.into_iter().map(|(line, problem)| format!("src/{file}:{line}: {problem}")).collect()
}

/// `loom.rs`, `tests.rs`, or a folder of that name, inside a floor.
fn only_for_tests(parts: &[&str]) -> bool {
    parts.iter().skip(1).any(|part| matches!(part.trim_end_matches(".rs"), "loom" | "tests"))
}

/// `lane/queue.rs` is `lane::queue`; `lane/mod.rs` is `lane`.
fn module_path(parts: &[&str]) -> Vec<String> {
    let mut path: Vec<String> = parts.iter().map(|part| part.trim_end_matches(".rs").to_owned()).collect();
    if path.len() > 1 && path.last().is_some_and(|last| last == "mod") {
        path.pop();
    }
    path
}

/// How far down a module stands; `None` if it is on no floor.
fn rank(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| module != LINE && floor.contains(&module))
}

fn is_above_line(floor: usize) -> bool {
    FLOORS.iter().position(|floor| floor == &[LINE]).is_some_and(|line| floor < line)
}

/// One pass over the tokens of a file.
struct Walk<'a> {
    tokens: &'a [Token],
    /// The module that the file is.
    home: Vec<String>,
    floor: usize,
    /// Modules written out inside the file that are open here, each with the depth of its braces.
    inner: Vec<(String, usize)>,
    depth: usize,
    /// Line and problem.
    found: Vec<(usize, String)>,
}

impl<'a> Walk<'a> {
    fn run(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            match self.word(at) {
                "{" => self.depth += 1,
                "}" => self.close(),
                "mod" if self.word(at + 2) == "{" => {
                    self.inner.push((self.word(at + 1).to_owned(), self.depth + 1));
                }
                "crate" | "super" | "self" if self.begins_path(at) => {
                    at = self.path(at, &[]);
                    continue;
                }
                "crate" if self.word(at + 1) == "as" => self.problem(at, "renames the crate root".to_owned()),
                word => self.line_rule(at, word),
            }
            at += 1;
        }
    }

    fn close(&mut self) {
        if self.inner.last().is_some_and(|(_, depth)| *depth == self.depth) {
            self.inner.pop();
        }
        self.depth = self.depth.saturating_sub(1);
    }

    /// True if a path starts here: not the middle of one, and not the reach of a `pub(in ..)`.
    fn begins_path(&self, at: usize) -> bool {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| self.word(at));
        let reach = before(1) == "in" && before(2) == "(";
        self.word(at + 1) == "::" && before(1) != "::" && !reach
    }

    /// Reads the path, or the tree of a `use`, that starts at `at` after `prefix`; returns where it ends.
    fn path(&mut self, mut at: usize, prefix: &[String]) -> usize {
        let start = at;
        let mut path = prefix.to_vec();
        loop {
            match self.word(at) {
                "{" => {
                    at += 1;
                    while !matches!(self.word(at), "}" | "") {
                        at = self.path(at, &path);
                        // An `as name` or a comma; what does not fit is skipped, so that this always ends.
                        while !matches!(self.word(at), "," | "}" | "") {
                            at += 1;
                        }
                        if self.word(at) == "," {
                            at += 1;
                        }
                    }
                    return at + 1;
                }
                "}" | "," | "" => return at,
                word => path.push(word.to_owned()),
            }
            self.line_rule(at, self.word(at));
            if self.word(at + 1) != "::" {
                self.judge(start, &path, self.word(at + 1) == "!");
                return at + 1;
            }
            at += 2;
            // The `::<` of a turbofish ends the path.
            if self.word(at) == "<" {
                self.judge(start, &path, false);
                return at;
            }
        }
    }

    /// Judges one whole path such as `crate::lane::Queue` or `super::super::pool`.
    fn judge(&mut self, at: usize, path: &[String], is_macro: bool) {
        let mut target: Vec<&str> = Vec::new();
        let here: Vec<&str> =
            self.home.iter().chain(self.inner.iter().map(|(name, _)| name)).map(String::as_str).collect();
        for (position, part) in path.iter().enumerate() {
            match part.as_str() {
                "crate" => {}
                "self" if position == 0 => target.clone_from(&here),
                "self" => {}
                "super" if position == 0 => target.extend(&here[..here.len() - 1]),
                "super" => drop(target.pop()),
                name => target.push(name),
            }
        }
        let written = path.join("::");
        match target.first().map(|module| (*module, rank(module))) {
            Some((_, Some(floor))) if floor <= self.floor => {}
            Some((module, Some(_))) => {
                let problem = format!("`{written}`: `{module}` stands below `{}`", self.home[0]);
                self.problem(at, problem);
            }
            // A macro of `macro_rules!` lives at the root wherever it is written.
            Some((_, None)) if is_macro => {}
            _ => self.problem(at, format!("`{written}` goes through the crate root: name the floor")),
        }
    }

    /// Above the line nothing knows ractor or spawns.
    fn line_rule(&mut self, at: usize, word: &str) {
        if !is_above_line(self.floor) {
            return;
        }
        if word == "ractor" {
            self.problem(at, "knows ractor, above the line".to_owned());
        } else if word == "spawn" || word.starts_with("spawn_") {
            self.problem(at, format!("`{word}`: spawns, above the line"));
        }
    }

    fn problem(&mut self, at: usize, problem: String) {
        self.found.push((self.tokens[at].line, problem));
    }

    /// The token's text; empty past the end.
    fn word(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }
}
