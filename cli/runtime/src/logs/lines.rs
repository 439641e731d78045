//! Cutting a byte stream into lines.

/// Longer lines are cut, as Heroku's log router does. In bytes.
pub(crate) const LONGEST_LINE: usize = 10_000;

/// Collects bytes and hands out complete lines without their ends.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Takes bytes in and calls `line` for each line that they complete. A line that grows past
    /// [`LONGEST_LINE`] is handed out in pieces, so a stream without newlines needs bounded memory.
    pub(crate) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let head = &rest[..end];
            rest = &rest[end + 1..];
            if self.partial.is_empty() {
                emit(head, &mut line);
            } else {
                self.partial.extend_from_slice(head);
                emit(&self.partial, &mut line);
                self.partial.clear();
            }
        }
        self.partial.extend_from_slice(rest);
        let mut given = 0;
        // A carriage return may still turn out to be the line's end: one byte of slack.
        while self.partial.len() - given > LONGEST_LINE + 1 {
            let waiting = &self.partial[given..];
            let cut = cut_at(waiting);
            line(&waiting[..cut]);
            given += cut;
        }
        self.partial.drain(..given);
    }

    /// Hands out what came after the last newline.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            emit(&std::mem::take(&mut self.partial), &mut line);
        }
    }
}

/// Calls `line` for each line of a whole text, which needs no newline at its end.
pub(super) fn each_line(text: &[u8], mut line: impl FnMut(&[u8])) {
    let mut rest = text.strip_suffix(b"\n").unwrap_or(text);
    while let Some(end) = memchr::memchr(b'\n', rest) {
        emit(&rest[..end], &mut line);
        rest = &rest[end + 1..];
    }
    emit(rest, &mut line);
}

fn emit(bytes: &[u8], line: &mut impl FnMut(&[u8])) {
    let mut rest = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    while rest.len() > LONGEST_LINE {
        let (head, tail) = rest.split_at(cut_at(rest));
        line(head);
        rest = tail;
    }
    line(rest);
}

/// Where to cut a line of more than [`LONGEST_LINE`] bytes: there, or before the UTF-8 character
/// that lies across it.
fn cut_at(bytes: &[u8]) -> usize {
    let is_continuation = |index: usize| bytes.get(index).is_some_and(|byte| byte & 0xC0 == 0x80);
    (LONGEST_LINE - 3..=LONGEST_LINE)
        .rev()
        .find(|index| !is_continuation(*index))
        .unwrap_or(LONGEST_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut splitter = LineSplitter::default();
        for chunk in chunks {
            splitter.push(chunk, |line| {
                lines.push(String::from_utf8_lossy(line).into_owned());
            });
        }
        splitter.finish(|line| lines.push(String::from_utf8_lossy(line).into_owned()));
        lines
    }

    #[test]
    fn lines_may_arrive_in_pieces() {
        assert_eq!(
            split(&[b"one\ntw", b"", b"o\r\n\nthree"]),
            ["one", "two", "", "three"]
        );
    }

    #[test]
    fn nothing_is_added_after_a_last_newline() {
        assert_eq!(split(&[b"one\n"]), ["one"]);
        assert!(split(&[]).is_empty());
    }

    #[test]
    fn long_lines_are_cut() {
        let long = vec![b'x'; 2 * LONGEST_LINE + 5];
        let lengths: Vec<usize> = split(&[&long, b"\n"]).iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, 5]);
        let exact = vec![b'x'; LONGEST_LINE];
        assert_eq!(split(&[&exact, b"\r\n"]).len(), 1);
    }

    #[test]
    fn whole_texts() {
        let lines = |text: &str| {
            let mut lines = Vec::new();
            each_line(text.as_bytes(), |line| lines.push(line.len()));
            lines
        };
        assert_eq!(lines(""), [0]);
        assert_eq!(lines("one\n"), [3]);
        assert_eq!(lines("one\r\n\nthree"), [3, 0, 5]);
        assert_eq!(lines(&"x".repeat(LONGEST_LINE + 1)), [LONGEST_LINE, 1]);
    }

    #[test]
    fn characters_are_not_torn() {
        let long = "é".repeat(LONGEST_LINE);
        let odd = format!("x{long}");
        let lines = split(&[odd.as_bytes()]);
        assert_eq!(lines.concat(), odd);
        assert!(lines.iter().all(|line| line.len() <= LONGEST_LINE));
    }

    #[test]
    fn endless_binary_output_is_bounded_and_complete() {
        let mut splitter = LineSplitter::default();
        let mut bytes = 0;
        for _ in 0..100 {
            splitter.push(&[0x80; 4096], |line| bytes += line.len());
            assert!(splitter.partial.len() <= LONGEST_LINE + 1);
        }
        splitter.finish(|line| bytes += line.len());
        assert_eq!(bytes, 100 * 4096);
    }
}
