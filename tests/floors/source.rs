//! A source as tokens: without comments and literals, and without what only tests compile.

/// A word, `::`, or a single sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

pub(crate) fn tokens(text: &str) -> Vec<Token> {
    without_test_items(&split(text))
}

fn split(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = end_of_piece(&chars, at);
        let piece: String = chars[at..end].iter().collect();
        if piece == "::" || is_word(chars[at]) && !piece.contains(['"', '\'']) || end == at + 1 && is_sign(chars[at]) {
            // `r#mod` is the name `mod`, and never the keyword: either way not what is looked for.
            tokens.push(Token { text: piece.clone(), line });
        }
        line += piece.matches('\n').count();
        at = end;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_sign(c: char) -> bool {
    !c.is_whitespace() && !is_word(c)
}

/// Where the comment, literal, word or sign that starts at `at` ends.
fn end_of_piece(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    match (chars[at], next) {
        ('/', Some('/')) => find(chars, at, |chars, at| chars[at] == '\n'),
        ('/', Some('*')) => end_of_block_comment(chars, at),
        ('"', _) => end_of_quoted(chars, at + 1, '"'),
        ('\'', _) => end_of_tick(chars, at),
        (':', Some(':')) => at + 2,
        (c, _) if is_word(c) => {
            let end = find(chars, at, |chars, at| !is_word(chars[at]));
            let word: String = chars[at..end].iter().collect();
            end_of_prefixed_literal(chars, &word, end).unwrap_or(end)
        }
        _ => at + 1,
    }
}

fn find(chars: &[char], from: usize, stop: impl Fn(&[char], usize) -> bool) -> usize {
    (from..chars.len()).find(|at| stop(chars, *at)).unwrap_or(chars.len())
}

/// Block comments nest.
fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let (mut at, mut open) = (start + 2, 1);
    while at < chars.len() && open > 0 {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (open, at) = (open + 1, at + 2),
            ('*', Some('/')) => (open, at) = (open - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// After the closing quote; a backslash escapes one character.
fn end_of_quoted(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// A character, or only the tick of a lifetime.
fn end_of_tick(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) | (Some(_), Some('\'')) => end_of_quoted(chars, at + 1, '\''),
        _ => at + 1,
    }
}

/// Of `b"..."`, `c"..."`, `b'.'`, `r"..."`, `r#"..."#` and their like, where `word` has just been read; `None` for any other word.
fn end_of_prefixed_literal(chars: &[char], word: &str, at: usize) -> Option<usize> {
    let first = *chars.get(at)?;
    match word {
        "b" | "c" if first == '"' => Some(end_of_quoted(chars, at + 1, '"')),
        "b" if first == '\'' => Some(end_of_quoted(chars, at + 1, '\'')),
        "r" | "br" | "cr" => {
            let open = find(chars, at, |chars, at| chars[at] != '#');
            let hashes = open - at;
            let closes = |chars: &[char], at: usize| {
                chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
            };
            (chars.get(open) == Some(&'"')).then(|| (find(chars, open + 1, closes) + 1 + hashes).min(chars.len()))
        }
        _ => None,
    }
}

/// Leaves out each item under `#[cfg(test)]` or `#[cfg(all(.., test, ..))]`, and everything after `#![cfg(test)]`.
fn without_test_items(tokens: &[Token]) -> Vec<Token> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let inner = usize::from(text(at + 1) == "!");
        if text(at) != "#" || text(at + 1 + inner) != "[" {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let end = end_of_group(tokens, at + 1 + inner);
        if !is_test_only(&tokens[at + 2 + inner..end - 1]) {
            kept.extend_from_slice(&tokens[at..end]);
            at = end;
        } else if inner == 1 {
            return kept;
        } else {
            at = end_of_item(tokens, end);
        }
    }
    kept
}

/// True for the inside of an attribute whose item is compiled for tests alone.
fn is_test_only(attribute: &[Token]) -> bool {
    let words: Vec<&str> = attribute.iter().map(|token| token.text.as_str()).collect();
    match words.as_slice() {
        ["cfg", "(", "test", ")"] => true,
        ["cfg", "(", "all", "(", conditions @ .., ")", ")"] => {
            let mut depth = 0;
            conditions.iter().any(|word| {
                match *word {
                    "(" => depth += 1,
                    ")" => depth -= 1,
                    _ => {}
                }
                depth == 0 && *word == "test"
            })
        }
        _ => false,
    }
}

/// After the bracket that closes the one at `at`.
fn end_of_group(tokens: &[Token], mut at: usize) -> usize {
    let mut open = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "(" | "[" | "{" => open += 1,
            ")" | "]" | "}" => open -= 1,
            _ => {}
        }
        at += 1;
        if open == 0 {
            break;
        }
    }
    at
}

/// After the item that starts at `at`: its further attributes, then all up to its `;`, its body, or the `,` of a field or variant.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let is_use =
        |at: usize| tokens[at..].iter().find(|token| token.text != "pub").is_some_and(|token| token.text == "use");
    let is_use = at < tokens.len() && is_use(at);
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" | "," => return at + 1,
            // The enclosing item ends: a last field or variant without a comma.
            "}" | ")" => return at,
            "{" if !is_use => return end_of_group(tokens, at),
            "{" | "(" | "[" => at = end_of_group(tokens, at),
            _ => at += 1,
        }
    }
    at
}
