//! Text → tokens.

use super::error::{ParseError, Span};

/// What a token is; its text is in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    And,
    Or,
    Xor,
    Not,
    Like,
    Exists,
    In,
    True,
    False,
    Star,
    Slash,
    Percent,
    Plus,
    Minus,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Open,
    Close,
    Comma,
    /// A quoted string, with its quotes.
    Text,
    /// Digits, with their sign where that cannot be an operator.
    Integer,
    /// An attribute, or a function.
    Name,
    /// With an underscore: only a function has one.
    FunctionName,
    End,
}

/// One token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub kind: Kind,
    pub span: Span,
}

/// Reads tokens one by one.
pub(super) struct Lexer<'s> {
    source: &'s str,
    at: usize,
    /// The token before ends an operand, so that a sign is an operator: `4-1` is three tokens, `4 + -1` too.
    after_operand: bool,
}

const KEYWORDS: [(&str, Kind); 9] = [
    ("AND", Kind::And),
    ("OR", Kind::Or),
    ("XOR", Kind::Xor),
    ("NOT", Kind::Not),
    ("LIKE", Kind::Like),
    ("EXISTS", Kind::Exists),
    ("IN", Kind::In),
    ("TRUE", Kind::True),
    ("FALSE", Kind::False),
];

impl<'s> Lexer<'s> {
    pub fn new(source: &'s str) -> Self {
        Self { source, at: 0, after_operand: false }
    }

    /// The next token; [`Kind::End`] at the end, again and again.
    pub fn next(&mut self) -> Result<Token, ParseError> {
        let rest = &self.source[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        let start = self.at;
        let (kind, length) = self.kind_and_length(start)?;
        self.at += length;
        self.after_operand =
            matches!(kind, Kind::Text | Kind::Integer | Kind::Name | Kind::True | Kind::False | Kind::Close);
        Ok(Token { kind, span: Span::new(start, self.at) })
    }

    fn kind_and_length(&self, start: usize) -> Result<(Kind, usize), ParseError> {
        let rest = &self.source[start..];
        let bytes = rest.as_bytes();
        let Some(first) = bytes.first() else { return Ok((Kind::End, 0)) };
        let second = bytes.get(1);
        Ok(match (first, second) {
            (b'(', _) => (Kind::Open, 1),
            (b')', _) => (Kind::Close, 1),
            (b',', _) => (Kind::Comma, 1),
            (b'*', _) => (Kind::Star, 1),
            (b'/', _) => (Kind::Slash, 1),
            (b'%', _) => (Kind::Percent, 1),
            (b'=', _) => (Kind::Equal, 1),
            (b'!', Some(b'=')) | (b'<', Some(b'>')) => (Kind::NotEqual, 2),
            (b'<', Some(b'=')) => (Kind::LessOrEqual, 2),
            (b'>', Some(b'=')) => (Kind::GreaterOrEqual, 2),
            (b'<', _) => (Kind::Less, 1),
            (b'>', _) => (Kind::Greater, 1),
            (b'+' | b'-', _) => match word(&rest[1..]) {
                digits if !self.after_operand && is_number(digits) => (Kind::Integer, 1 + digits.len()),
                _ => (if *first == b'+' { Kind::Plus } else { Kind::Minus }, 1),
            },
            (b'\'' | b'"', _) => (Kind::Text, text_length(rest, start)?),
            _ => {
                let word = word(rest);
                (self.word(word, start)?, word.len())
            }
        })
    }

    fn word(&self, word: &str, start: usize) -> Result<Kind, ParseError> {
        let span = Span::new(start, start + word.len());
        let Some(first) = word.bytes().next() else {
            let wrong = self.source[start..].chars().next().unwrap_or_default();
            let span = Span::new(start, start + wrong.len_utf8());
            let error = ParseError::new(span, format!("{wrong:?} means nothing here"));
            return Err(match wrong {
                '!' => error.help("write != or NOT"),
                '&' => error.help("write AND"),
                '|' => error.help("write OR, or CONCAT for texts"),
                '`' | '‘' | '’' | '“' | '”' | '«' => error.help("quote a text with ' or \""),
                '.' => error.help("only attributes can be named; filter on data with a pattern"),
                _ => error.help("attribute names have letters and digits; texts are quoted"),
            });
        };
        if is_number(word) {
            return Ok(Kind::Integer);
        }
        if !word.contains('_') {
            let keyword = KEYWORDS.iter().find(|(keyword, _)| keyword.eq_ignore_ascii_case(word));
            return Ok(keyword.map_or(Kind::Name, |(_, kind)| *kind));
        }
        if first.is_ascii_alphabetic() && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_') {
            return Ok(Kind::FunctionName);
        }
        Err(ParseError::new(span, format!("{word:?} is no name"))
            .help("attribute names have letters and digits, function names letters and _"))
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Bytes of the quoted string that `text` starts with. A backslash belongs together with the character after it.
fn text_length(text: &str, start: usize) -> Result<usize, ParseError> {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return Ok(at + 1),
            _ => {}
        }
    }
    let quote = char::from(quote);
    Err(ParseError::new(Span::new(start, start + text.len()), format!("the text has no closing {quote}"))
        .help(format!("close it with {quote}; within the text write \\{quote}")))
}
