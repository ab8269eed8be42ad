//! Lines out of what a process writes to its pipes.

/// Collects bytes until a line is whole. A line longer than the limit is cut, and its rest skipped.
#[derive(Debug)]
pub(crate) struct Lines {
    limit: usize,
    line: Vec<u8>,
    /// The line in `line` was cut: skip to its end.
    skipping: bool,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new(), skipping: false }
    }

    /// Takes what was read and hands over the lines that became whole.
    pub(crate) fn take(&mut self, mut bytes: &[u8], mut whole: impl FnMut(String)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.extend(&bytes[..end]);
            bytes = &bytes[end + 1..];
            whole(self.cut());
        }
        self.extend(bytes);
    }

    /// The begun line, if there is one: what wrote it is not going to finish it.
    pub(crate) fn rest(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.cut())
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = self.limit - self.line.len();
        if self.skipping || bytes.is_empty() {
            return;
        }
        if bytes.len() > room {
            self.skipping = true;
        }
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn cut(&mut self) -> String {
        self.skipping = false;
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        let text = clean(&self.line, self.limit);
        self.line.clear();
        text
    }
}

/// Valid UTF-8 of at most `limit` bytes; what is not becomes U+FFFD.
pub(crate) fn clean(line: &[u8], limit: usize) -> String {
    let mut text = String::from_utf8_lossy(line).into_owned();
    // Cut in the middle of a character, or grown by replacement characters.
    text.truncate(text.floor_char_boundary(limit));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(limit: usize, parts: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::new(limit);
        let mut all = Vec::new();
        for part in parts {
            lines.take(part, |line| all.push(line));
        }
        all.extend(lines.rest());
        all
    }

    #[test]
    fn lines_are_joined_across_reads() {
        assert_eq!(lines(100, &[b"on", b"e\ntwo\r\n", b"\nthree"]), ["one", "two", "", "three"]);
    }

    #[test]
    fn long_lines_are_cut_and_their_rest_is_skipped() {
        assert_eq!(lines(4, &[b"abcdef", b"ghi\nnext\n12345"]), ["abcd", "next", "1234"]);
    }

    #[test]
    fn invalid_utf8_is_replaced_within_the_limit() {
        assert_eq!(
            lines(8, &[b"a\xffb\n", b"\xff\xff\xff\xff\xff\xff\xff\xff\n"]),
            ["a\u{fffd}b", "\u{fffd}\u{fffd}"]
        );
    }

    #[test]
    fn a_character_is_not_cut_in_half() {
        assert_eq!(lines(3, &["aéé\n".as_bytes()]), ["aé"]);
    }
}
