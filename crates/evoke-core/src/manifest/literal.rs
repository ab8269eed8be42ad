//! Where a character of a TOML string stands in the file (<https://toml.io/en/v1.0.0#string>).

/// Bytes of `literal`, a string with its quotes as it is in the file, before the character that comes after `decoded`
/// bytes of what the string means.
pub(super) fn offset(literal: &str, decoded: usize) -> usize {
    let delimiters = [r#"""""#, "'''", "\"", "'"];
    let Some(delimiter) = delimiters.into_iter().find(|delimiter| literal.starts_with(*delimiter)) else {
        return decoded.min(literal.len());
    };
    let mut at = delimiter.len();
    if delimiter.len() == 3 {
        // A newline right after the opening is not meant.
        let rest = &literal[at..];
        at += if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
    }
    let has_escapes = delimiter.starts_with('"');
    let mut left = decoded;
    while left > 0 && at < literal.len() {
        let rest = &literal[at..];
        let (written, meant) =
            if has_escapes && rest.starts_with('\\') { escape(rest) } else { character(rest) };
        at += written;
        left = left.saturating_sub(meant);
    }
    at.min(literal.len())
}

fn character(rest: &str) -> (usize, usize) {
    let bytes = rest.chars().next().map_or(1, char::len_utf8);
    (bytes, bytes)
}

/// Bytes of an escape in the file, and of what it means.
fn escape(rest: &str) -> (usize, usize) {
    let digits = match rest.as_bytes().get(1) {
        Some(b'x') => 2,
        Some(b'u') => 4,
        Some(b'U') => 8,
        // A backslash at the end of a line takes the white space after it along.
        Some(byte) if byte.is_ascii_whitespace() => {
            let after = rest[1..].trim_start_matches([' ', '\t', '\r', '\n']);
            return (rest.len() - after.len(), 0);
        }
        _ => return (2, 1),
    };
    let code = rest.get(2..2 + digits).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    (2 + digits, code.and_then(char::from_u32).map_or(1, char::len_utf8))
}

#[cfg(test)]
mod tests {
    use super::offset;

    #[test]
    fn characters_are_found_in_every_kind_of_string() {
        assert_eq!(offset("'abc'", 2), 3);
        assert_eq!(offset("\"abc\"", 2), 3);
        assert_eq!(offset(r#""a\"b""#, 2), 4);
        assert_eq!(offset(r#""\u00e4b""#, 2), 7);
        assert_eq!(offset("\"äb\"", 2), 3);
        assert_eq!(offset("'''\nabc'''", 1), 5);
        assert_eq!(offset("\"\"\"\r\na\\\n   b\"\"\"", 1), 6);
        assert_eq!(offset("\"\"\"\r\na\\\n   b\"\"\"", 2), 12);
        assert_eq!(offset("'a'", 99), 3);
    }
}
