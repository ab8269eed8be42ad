//! Text that somebody else wrote, made safe for a terminal.
//!
//! A function decides what is in its log, its errors, its events. On a terminal such text could move the cursor over lines
//! that were printed before, set the window's title, answer questions the terminal was never asked, or, with the controls of
//! bidirectional text, read otherwise than it is (CVE-2021-42574). Each such character is shown as what it is: `\x1b`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Text for one line. Line ends and tabs are shown as `\n` and `\t`.
pub fn line(text: &str) -> Cow<'_, str> {
    replace(text, |c| c.is_control() || misleads(c))
}

/// Text of several lines: line ends and tabs stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    replace(text, |c| acts(c) || misleads(c))
}

/// Lines of our own, colours included, into which text of others may have come by any way.
pub fn styled(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| acts(c) || misleads(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        let (before, after) = rest.split_at(at);
        safe.push_str(&lines(before));
        let bytes = colour_bytes(after);
        match bytes {
            0 => safe.push_str("\\x1b"),
            bytes => safe.push_str(&after[..bytes]),
        }
        rest = &after[bytes.max(1)..];
    }
    safe.push_str(&lines(rest));
    Cow::Owned(safe)
}

/// The same of JSON: such characters stand only within its strings, where an escape is the same value.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| acts(c) || misleads(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) || misleads(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// A body in parts, which need not end where a character does.
#[derive(Debug, Default)]
pub struct Parts {
    /// The begun character at the end of the last part.
    begun: Vec<u8>,
}

impl Parts {
    /// The next part. What is not UTF-8 becomes U+FFFD.
    pub fn next(&mut self, part: &[u8]) -> String {
        self.begun.extend_from_slice(part);
        let bytes = std::mem::take(&mut self.begun);
        let mut text = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(&lines(chunk.valid()));
            let is_last = chunks.peek().is_none();
            match chunk.invalid() {
                [] => {}
                // At most three bytes: the rest may be on its way.
                begun if is_last && is_begun(begun) => self.begun = begun.to_vec(),
                _ => text.push(char::REPLACEMENT_CHARACTER),
            }
        }
        text
    }

    /// What is left at the end.
    pub fn rest(self) -> &'static str {
        if self.begun.is_empty() { "" } else { "\u{fffd}" }
    }
}

/// Whether these bytes are a character without its end.
fn is_begun(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|cause| cause.error_len().is_none())
}

/// A control character other than line end and tab.
fn acts(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

/// Takes no room, and changes how others are read: bidirectional controls, line separators, invisible operators, tags.
/// The joiners of emoji and of Persian (U+200C, U+200D) and variation selectors are needed, and stay.
fn misleads(c: char) -> bool {
    matches!(c,
        '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Bytes of the sequence for colour and weight (SGR) that `text` begins with; 0 when it is another, or one that conceals.
fn colour_bytes(text: &str) -> usize {
    let Some(after) = text.strip_prefix("\x1b[") else { return 0 };
    let end = after.find(|c: char| !matches!(c, '0'..='9' | ';')).unwrap_or(after.len());
    let conceals = after[..end].split(';').any(|parameter| parameter.trim_start_matches('0') == "8");
    if after[end..].starts_with('m') && !conceals { 2 + end + 1 } else { 0 }
}

fn replace(text: &str, unwanted: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&unwanted) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        let done = match c {
            _ if !unwanted(c) => {
                safe.push(c);
                Ok(())
            }
            '\n' => write!(safe, "\\n"),
            '\r' => write!(safe, "\\r"),
            '\t' => write!(safe, "\\t"),
            '\0'..='\u{ff}' => write!(safe, "\\x{:02x}", u32::from(c)),
            _ => write!(safe, "\\u{{{:x}}}", u32::from(c)),
        };
        debug_assert!(done.is_ok(), "writing to a string cannot fail");
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_act_on_a_terminal_is_shown_instead() {
        assert_eq!(line("a\x1b[2Jb\x07\x7f"), r"a\x1b[2Jb\x07\x7f");
        assert_eq!(line("\u{9b}31m, 80 %\r100 %"), r"\x9b31m, 80 %\r100 %");
        assert_eq!(line("one\ntwo\tthree"), r"one\ntwo\tthree");
        assert_eq!(lines("one\ntwo\tthree\r\n"), "one\ntwo\tthree\\r\n");
    }

    #[test]
    fn what_would_read_otherwise_than_it_is_is_shown_instead() {
        assert_eq!(line("user\u{202e} \u{2066}// admin"), r"user\u{202e} \u{2066}// admin");
        assert_eq!(line("a\u{2028}b\u{feff}c\u{e0041}"), r"a\u{2028}b\u{feff}c\u{e0041}");
    }

    #[test]
    fn text_of_every_language_stays_and_is_not_copied() {
        for text in ["naïve", "日本語", "עברית", "می‌خواهم", "👩‍👩‍👧‍👦 ❤️"]
        {
            assert!(matches!(line(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn lines_of_our_own_keep_their_colours_and_nothing_else() {
        let text =
            "\x1b[1mcheckout\x1b[0m | \x1b]0;title\x07 \x1b[2J\x1b[8msecret\x1b[1;08m \x1b[38;5;8m\x1b";
        let safe = "\x1b[1mcheckout\x1b[0m | \\x1b]0;title\\x07 \\x1b[2J\\x1b[8msecret\\x1b[1;08m \\x1b[38;5;8m\\x1b";
        assert_eq!(styled(text), safe);
    }

    #[test]
    fn json_has_the_same_value_in_other_letters() {
        let value = serde_json::json!({ "line": "a\x1b[2J\u{9b}\u{7f}\u{202e}\u{e0041}\n" });
        let text = serde_json::to_string(&value).unwrap();
        let safe = json(&text);
        assert!(safe.is_ascii(), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn a_sequence_split_over_two_parts_is_found() {
        let whole = "é\x1b[2J\u{9b}1m\u{202e}日".as_bytes();
        for at in 0..=whole.len() {
            let mut parts = Parts::default();
            let shown = parts.next(&whole[..at]) + &parts.next(&whole[at..]) + parts.rest();
            assert_eq!(shown, r"é\x1b[2J\x9b1m\u{202e}日", "cut at {at}");
        }
        let mut parts = Parts::default();
        assert_eq!(parts.next(b"a\xffb\xe6\x97") + parts.rest(), "a\u{fffd}b\u{fffd}");
    }
}
