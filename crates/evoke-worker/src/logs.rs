//! Lines out of what a process writes to its pipes.

/// Bytes kept free for the words at the end of a line that was cut.
const MARK_BYTES: usize = 32;

/// Collects bytes until a line is whole. A line longer than the limit is cut, its rest counted and skipped.
#[derive(Debug)]
pub(crate) struct Lines {
    limit: usize,
    line: Vec<u8>,
    /// Bytes of the line that were skipped.
    skipped: usize,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new(), skipped: 0 }
    }

    /// Takes what was read and hands over the lines that became whole.
    pub(crate) fn take(&mut self, mut bytes: &[u8], mut whole: impl FnMut(String)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.extend(&bytes[..end]);
            bytes = &bytes[end + 1..];
            whole(self.end());
        }
        self.extend(bytes);
    }

    /// The begun line, if there is one: what wrote it is not going to finish it.
    pub(crate) fn rest(&mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.end())
    }

    fn extend(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(self.limit - self.line.len());
        self.line.extend_from_slice(&bytes[..kept]);
        self.skipped = self.skipped.saturating_add(bytes.len() - kept);
    }

    fn end(&mut self) -> String {
        let skipped = std::mem::take(&mut self.skipped);
        if skipped == 0 && self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        let text = cut(&self.line, skipped, self.limit);
        self.line.clear();
        text
    }
}

/// Valid UTF-8 of at most `limit` bytes; what is not becomes U+FFFD, and what is too much is counted at the end.
pub(crate) fn clean(line: &[u8], limit: usize) -> String {
    cut(line, 0, limit)
}

/// The same of a line of which `skipped` bytes are not here any more.
fn cut(line: &[u8], skipped: usize, limit: usize) -> String {
    let mut text = String::from_utf8_lossy(line).into_owned();
    if skipped == 0 && text.len() <= limit {
        return text;
    }
    // Where a mark would leave no room for the line there is none.
    let room = if limit > 4 * MARK_BYTES { limit - MARK_BYTES } else { limit };
    let kept = text.floor_char_boundary(room);
    let more = skipped.saturating_add(text.len() - kept);
    text.truncate(kept);
    if room < limit {
        text.push_str(&format!(" … {more} more bytes"));
    }
    // A count longer than any memory could hold is the only one that does not fit.
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
    fn a_cut_line_says_how_much_of_it_is_missing() {
        let gigabyte = vec![b'x'; 1 << 20];
        let mut lines = Lines::new(200);
        (0..1_024).for_each(|_| lines.take(&gigabyte, |line| panic!("no line has ended: {line}")));
        assert_eq!(lines.line.len(), 200, "no more than the limit is held");
        let mut whole = Vec::new();
        lines.take(b"\nnext\n", |line| whole.push(line));
        assert_eq!(whole, [format!("{} … 1073741656 more bytes", "x".repeat(168)), "next".to_owned()]);
        assert_eq!(clean(&[b'y'; 300], 200), format!("{} … 132 more bytes", "y".repeat(168)));
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        assert_eq!(lines(200, &[&[b'x'; 200], b"\n"]), ["x".repeat(200)]);
    }

    #[test]
    fn carriage_returns_within_a_line_stay() {
        assert_eq!(lines(100, &[b"10 %\r20 %\r\n", b"\x1b[2", b"Jx\n"]), ["10 %\r20 %", "\x1b[2Jx"]);
    }

    #[test]
    fn a_character_is_not_cut_in_half() {
        assert_eq!(lines(3, &["aéé\n".as_bytes()]), ["aé"]);
    }
}
