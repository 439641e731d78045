//! Reading a Procfile. The grammar is in `SPEC.md`.

/// The longest name of a process, in characters: what a label of a host name may have.
pub(crate) const LONGEST_NAME: usize = 63;

/// What a Procfile says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Procfile {
    /// Each name once, in the order of the lines that count.
    pub(crate) processes: Vec<Process>,
    /// In the order of the lines.
    pub(crate) warnings: Vec<Warning>,
}

/// A line with a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) command: String,
}

/// Something that was understood and should still be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Warning {
    /// The name, with the white space before it, was not written as it is used.
    Corrected {
        line: usize,
        text: String,
        written: String,
        name: String,
    },
    /// A line names a process that an earlier one named.
    Repeated {
        line: usize,
        text: String,
        name: String,
        earlier: usize,
    },
    /// There is no process.
    Empty,
}

/// A line that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Counted from 1.
    pub(crate) line: usize,
    /// The line without its end; bytes that are no text are replaced.
    pub(crate) text: String,
    pub(crate) problem: Problem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    Utf16,
    NotUtf8,
    ByteOrderMark,
    /// No colon follows the name. `continued`: the line before ends with a backslash.
    NoColon {
        continued: bool,
    },
    NoName,
    SpaceBeforeColon,
    Character(char),
    /// A name starts or ends with a character that it may only have inside.
    Edge(char),
    /// The name's length in characters.
    TooLong(usize),
    NoCommand,
    Nul,
}

/// Reads a Procfile; if lines are wrong, all of them are told.
pub(crate) fn parse(bytes: &[u8]) -> Result<Procfile, Vec<Mistake>> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(vec![Mistake {
            line: 1,
            text: String::new(),
            problem: Problem::Utf16,
        }]);
    }
    let mut procfile = Procfile::default();
    let mut mistakes = Vec::new();
    let mut continued = false;
    for (index, bytes) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = index + 1;
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let lossy = String::from_utf8_lossy(bytes);
        let text = lossy.strip_prefix('\u{feff}').unwrap_or(&lossy);
        let mut mistake = |problem| {
            mistakes.push(Mistake {
                line,
                text: text.to_owned(),
                problem,
            });
        };
        if index == 0 && text.len() < lossy.len() {
            mistake(Problem::ByteOrderMark);
        }
        if std::str::from_utf8(bytes).is_err() {
            mistake(Problem::NotUtf8);
        } else {
            match parse_line(text, continued) {
                Ok(None) => {}
                Ok(Some((written, name, command))) => {
                    procfile.add(line, text, written, name, command);
                }
                Err(problem) => mistake(problem),
            }
        }
        continued = text.ends_with('\\');
    }
    if procfile.processes.is_empty() {
        procfile.warnings.push(Warning::Empty);
    }
    if mistakes.is_empty() {
        Ok(procfile)
    } else {
        Err(mistakes)
    }
}

impl Procfile {
    /// The process that the image starts when none is named.
    pub(crate) fn default_process(&self) -> Option<&str> {
        match self.processes.as_slice() {
            [only] => Some(&only.name),
            several => several
                .iter()
                .map(|process| process.name.as_str())
                .find(|&name| name == "web"),
        }
    }

    fn add(&mut self, line: usize, text: &str, written: &str, name: String, command: &str) {
        if written != name {
            self.warnings.push(Warning::Corrected {
                line,
                text: text.to_owned(),
                written: written.to_owned(),
                name: name.clone(),
            });
        }
        if let Some(at) = self
            .processes
            .iter()
            .position(|process| process.name == name)
        {
            let earlier = self.processes.remove(at).line;
            self.warnings.push(Warning::Repeated {
                line,
                text: text.to_owned(),
                name: name.clone(),
                earlier,
            });
        }
        self.processes.push(Process {
            line,
            name,
            command: command.to_owned(),
        });
    }
}

/// The name as written, the name as used and the command of a line that has a process.
fn parse_line(text: &str, continued: bool) -> Result<Option<(&str, String, &str)>, Problem> {
    let visible = text.trim_start();
    if visible.is_empty() || visible.starts_with('#') {
        return Ok(None);
    }
    let (written, command) = text.split_once(':').ok_or(Problem::NoColon { continued })?;
    let name = parse_name(written, continued)?;
    let command = command.trim_start();
    if command.is_empty() {
        return Err(Problem::NoCommand);
    }
    if command.contains('\0') {
        return Err(Problem::Nul);
    }
    Ok(Some((written, name, command)))
}

fn parse_name(written: &str, continued: bool) -> Result<String, Problem> {
    let name = written.trim_start();
    if name.is_empty() {
        return Err(Problem::NoName);
    }
    // "web gunicorn app:app": the colon that was found belongs to the command.
    if name.trim_end().contains(char::is_whitespace) {
        return Err(Problem::NoColon { continued });
    }
    if name.ends_with(char::is_whitespace) {
        return Err(Problem::SpaceBeforeColon);
    }
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if let Some(character) = name.chars().find(|&c| !known(c)) {
        return Err(Problem::Character(character));
    }
    for edge in [name.chars().next(), name.chars().next_back()] {
        if let Some(edge) = edge.filter(|c| !c.is_ascii_alphanumeric()) {
            return Err(Problem::Edge(edge));
        }
    }
    if name.len() > LONGEST_NAME {
        return Err(Problem::TooLong(name.len()));
    }
    Ok(name.to_ascii_lowercase().replace('_', "-"))
}

#[cfg(test)]
#[path = "procfile_tests.rs"]
mod tests;
