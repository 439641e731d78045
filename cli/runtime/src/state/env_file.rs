//! `.env` files, in the grammar of python-dotenv, strictly.
//!
//! ```text
//! # a comment
//! export NAME=value        up to the line's end or ` #`, blanks around it removed
//! NAME='value'             as it is, over several lines if it has some; \' and \\ are escapes
//! NAME="value"             \n, \t and the like are escapes, too
//! ```
//!
//! A dollar sign is a dollar sign: nothing is expanded. Beyond python-dotenv, `\$` and `` \` `` are
//! escapes between double quotes, as in a shell. What python-dotenv skips with a warning is an
//! error here, and no error shows any of the text: it may be a secret.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

/// One `NAME=value`.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// `None` for a name that stands alone, without `=`.
    pub value: Option<String>,
    /// Where the name begins.
    pub place: Place,
}

/// Without the value: it may be a secret.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.place)
    }
}

/// A place in a file, both counted from 1; columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What is wrong with a `.env` file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct EnvFileError {
    pub place: Place,
    pub problem: Problem,
}

/// Ways to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("this is not UTF-8")]
    NotUtf8,
    #[error("here has to be a variable's name: letters, digits and underscores, no digit first")]
    Name,
    #[error("after the name there has to be =")]
    NoEqualsSign,
    #[error("the quote that begins here is never closed")]
    Unclosed,
    #[error("after the closing quote there may only be a comment")]
    AfterQuote,
}

/// Reads a whole file. Names may occur several times; the last one counts.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, EnvFileError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let mut reader = Reader::new(&good);
        while reader.next().is_some() {}
        reader.error(Problem::NotUtf8)
    })?;
    // As Python reads text files, so that values over several lines do not depend on the editor.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut reader = Reader::new(text.strip_prefix('\u{feff}').unwrap_or(&text));
    let mut entries = Vec::new();
    loop {
        while reader.next_if(char::is_whitespace).is_some() {}
        match reader.peek() {
            None => return Ok(entries),
            Some('#') => reader.skip_line(),
            Some(_) => entries.push(reader.entry()?),
        }
    }
}

/// The text that is left, and where it begins.
struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    place: Place,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text.chars().peekable(),
            place: Place { line: 1, column: 1 },
        }
    }

    fn error(&self, problem: Problem) -> EnvFileError {
        EnvFileError {
            place: self.place,
            problem,
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.place.line += 1;
            self.place.column = 1;
        } else {
            self.place.column += 1;
        }
        Some(c)
    }

    fn next_if(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        let c = self.peek()?;
        if wanted(c) { self.next() } else { None }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        std::iter::from_fn(|| self.next_if(&wanted)).collect()
    }

    /// Whether there were any.
    fn skip_blanks(&mut self) -> bool {
        !self.take_while(is_blank).is_empty()
    }

    fn skip_line(&mut self) {
        self.take_while(|c| c != '\n');
    }

    fn entry(&mut self) -> Result<Entry, EnvFileError> {
        let mut place = self.place;
        let mut name = self.name()?;
        // `export` is also a name: `export=1` sets it.
        if name == "export" && self.skip_blanks() && !matches!(self.peek(), None | Some('=' | '\n'))
        {
            place = self.place;
            name = self.name()?;
        }
        self.skip_blanks();
        let value = match self.peek() {
            Some('=') => {
                self.next();
                Some(self.value()?)
            }
            None | Some('#' | '\n') => {
                self.skip_line();
                None
            }
            Some(_) => return Err(self.error(Problem::NoEqualsSign)),
        };
        Ok(Entry { name, value, place })
    }

    fn name(&mut self) -> Result<String, EnvFileError> {
        let start = self.error(Problem::Name);
        let quoted = self.next_if(|c| c == '\'').is_some();
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        let is_closed = !quoted || self.next_if(|c| c == '\'').is_some();
        let goes_on = self
            .peek()
            .is_some_and(|c| !c.is_whitespace() && c != '=' && c != '#');
        if name.is_empty()
            || name.starts_with(|c: char| c.is_ascii_digit())
            || !is_closed
            || goes_on
        {
            return Err(start);
        }
        Ok(name)
    }

    fn value(&mut self) -> Result<String, EnvFileError> {
        let after_blanks = self.skip_blanks();
        match self.peek() {
            Some(quote @ ('\'' | '"')) => {
                let value = self.quoted(quote)?;
                self.skip_blanks();
                match self.peek() {
                    None | Some('\n' | '#') => {
                        self.skip_line();
                        Ok(value)
                    }
                    Some(_) => Err(self.error(Problem::AfterQuote)),
                }
            }
            // Only a blank before it makes it a comment.
            Some('#') if after_blanks => {
                self.skip_line();
                Ok(String::new())
            }
            _ => Ok(without_comment(&self.take_while(|c| c != '\n')).to_owned()),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, EnvFileError> {
        let unclosed = self.error(Problem::Unclosed);
        self.next();
        let mut value = String::new();
        loop {
            match self.next() {
                None => return Err(unclosed),
                Some(c) if c == quote => return Ok(value),
                Some('\\') => match self.peek().and_then(|c| escaped(c, quote)) {
                    Some(c) => {
                        self.next();
                        value.push(c);
                    }
                    None => value.push('\\'),
                },
                Some(c) => value.push(c),
            }
        }
    }
}

/// What a character means after a backslash between these quotes, if that is anything special.
fn escaped(c: char, quote: char) -> Option<char> {
    match c {
        '\\' | '\'' => Some(c),
        _ if quote == '\'' => None,
        '"' | '$' | '`' => Some(c),
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        _ => None,
    }
}

/// A value without quotes ends before a blank and `#`.
fn without_comment(line: &str) -> &str {
    let comment = line
        .match_indices('#')
        .map(|(index, _)| index)
        .find(|index| line[..*index].ends_with(char::is_whitespace));
    line[..comment.unwrap_or(line.len())].trim_end()
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

#[cfg(test)]
#[path = "env_file_tests.rs"]
mod tests;
