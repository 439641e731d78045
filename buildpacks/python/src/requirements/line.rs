//! The lines of a requirements file, as far as they name other files.
//!
//! The grammar is pip's (its "Requirements File Format"): `\` at the end joins lines, ` #` begins a
//! comment, `${NAME}` stands for a variable. What a requirement means is left to the installer; here
//! only the files count that an install depends on.

use libcnb::Env;

/// A line after joining, without its comment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogicalLine {
    /// The number of its first physical line, from 1.
    pub(super) number: usize,
    pub(super) text: String,
}

/// A file or folder on this machine that a line refers to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// `-r`, `-c` and their long forms.
    Nested(String),
    /// A requirement that is a folder or an archive.
    Local(String),
    /// `--find-links` with a folder.
    Wheels(String),
}

/// Splits a requirements file into its lines.
pub(super) fn logical_lines(text: &str) -> Vec<LogicalLine> {
    let mut lines = Vec::new();
    let mut joined: Option<LogicalLine> = None;
    for (index, physical) in text.lines().enumerate() {
        let is_comment = physical.trim_start().starts_with('#');
        let (content, continues) = match physical.strip_suffix('\\') {
            // A comment is never continued, but it may stand inside a continued line and end it.
            Some(content) if !is_comment => (content, true),
            _ => (physical, false),
        };
        let line = joined.get_or_insert_with(|| LogicalLine {
            number: index + 1,
            text: String::new(),
        });
        if is_comment {
            line.text.push(' ');
        }
        line.text.push_str(content);
        if !continues {
            lines.extend(joined.take());
        }
    }
    lines.extend(joined);
    for line in &mut lines {
        line.text = without_comment(&line.text).trim().to_owned();
    }
    lines.retain(|line| !line.text.is_empty());
    lines
}

/// The file, folder or archive that a line refers to.
pub(super) fn reference(line: &str, env: &Env) -> Option<Reference> {
    let line = expand(line, env);
    if !line.starts_with('-') {
        return requirement(&line).map(Reference::Local);
    }
    for (long, short, kind) in [
        (
            "--requirement",
            "-r",
            Reference::Nested as fn(String) -> Reference,
        ),
        ("--constraint", "-c", Reference::Nested),
        ("--editable", "-e", Reference::Local),
        ("--find-links", "-f", Reference::Wheels),
    ] {
        let Some(value) = option_value(&line, long, short) else {
            continue;
        };
        let value = value.trim_matches(['"', '\'']);
        return match kind(String::new()) {
            Reference::Local(_) => requirement(value).map(kind),
            _ => local_path(value).map(kind),
        };
    }
    None
}

fn option_value<'a>(line: &'a str, long: &str, short: &str) -> Option<&'a str> {
    let rest = if let Some(rest) = line.strip_prefix(long) {
        // `--find-links-of-mine` is another option.
        rest.starts_with(['=', ' ', '\t']).then_some(rest)?
    } else {
        line.strip_prefix(short)?
    };
    let value = rest.trim_start();
    let value = value.strip_prefix('=').unwrap_or(value).trim();
    (!value.is_empty()).then_some(value)
}

/// The path in a requirement, if it is one: `./folder`, `folder/x.whl[extra]`, `name @ file:///x`.
fn requirement(text: &str) -> Option<String> {
    let text = text.split(" ;").next()?;
    let text = text.split(" --").next()?.trim();
    if let Some((_, target)) = text.split_once(" @ ") {
        return target.contains("://").then(|| local_path(target.trim()))?;
    }
    let without_extras = match text.rfind('[') {
        Some(at) if text.ends_with(']') => &text[..at],
        _ => text,
    };
    let looks_local = without_extras.starts_with("file:")
        || without_extras.starts_with(['.', '/'])
        || without_extras.contains('/') && !without_extras.contains("://")
        || [".whl", ".tar.gz", ".zip"]
            .iter()
            .any(|suffix| without_extras.ends_with(suffix))
            && !without_extras.contains("://");
    looks_local.then(|| local_path(without_extras))?
}

/// A path on this machine, from a path or a `file:` URL; nothing for other URLs.
fn local_path(text: &str) -> Option<String> {
    let path = if let Some(rest) = text.strip_prefix("file://") {
        let path = rest.strip_prefix("localhost").unwrap_or(rest);
        percent_decoded(path)
    } else if let Some(path) = text.strip_prefix("file:") {
        percent_decoded(path)
    } else if text.contains("://") {
        return None;
    } else {
        text.to_owned()
    };
    // A fragment (`#egg=name`) is no part of the path.
    let path = path.split('#').next()?.to_owned();
    (!path.is_empty()).then_some(path)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = (*first == b'%')
            .then(|| tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = escape {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, character) in line.char_indices() {
        if character == '#' && before.is_whitespace() {
            return &line[..at];
        }
        before = character;
    }
    line
}

/// Replaces `${NAME}` by the variable; unset ones stay as they are, as pip leaves them.
fn expand(line: &str, env: &Env) -> String {
    let mut expanded = String::new();
    let mut rest = line;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else {
            break;
        };
        let name = &rest[start + 2..start + length];
        expanded.push_str(&rest[..start]);
        match env.get(name) {
            Some(value) => expanded.push_str(&value.to_string_lossy()),
            None => expanded.push_str(&rest[start..=start + length]),
        }
        rest = &rest[start + length + 1..];
    }
    expanded.push_str(rest);
    expanded
}

/// The names of all variables that a requirements file refers to.
pub(super) fn variables(text: &str) -> Vec<&str> {
    text.split("${")
        .skip(1)
        .filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
        .collect()
}

/// Whether pip takes this for the name of a variable: capital letters, digits and underscores.
pub(super) fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(usize, String)> {
        logical_lines(text)
            .into_iter()
            .map(|line| (line.number, line.text))
            .collect()
    }

    #[test]
    fn continuation_and_comments() {
        assert_eq!(
            texts("a==1 \\\n  --hash=x\n# c\n\nb # why\nc#frag\n"),
            [
                (1, "a==1   --hash=x".to_owned()),
                (5, "b".to_owned()),
                (6, "c#frag".to_owned())
            ]
        );
        assert_eq!(texts("a \\"), [(1, "a".to_owned())]);
        assert_eq!(texts("# c \\\nb"), [(2, "b".to_owned())]);
    }

    fn refers(line: &str) -> Option<Reference> {
        let mut env = Env::new();
        env.insert("PLACE", "base");
        reference(line, &env)
    }

    #[test]
    fn nested_files() {
        for line in [
            "-r base.txt",
            "-rbase.txt",
            "--requirement base.txt",
            "--requirement=base.txt",
            "-c base.txt",
            "--constraint=base.txt",
            "-r ${PLACE}.txt",
        ] {
            assert_eq!(
                refers(line),
                Some(Reference::Nested("base.txt".into())),
                "{line}"
            );
        }
        assert_eq!(refers("-r https://host/base.txt"), None);
        assert_eq!(refers("--require-hashes"), None);
    }

    #[test]
    fn local_requirements() {
        for (line, path) in [
            ("-e .", "."),
            ("--editable=./lib[fast]", "./lib"),
            ("./lib ; python_version > '3'", "./lib"),
            ("lib @ file:///opt/my%20lib", "/opt/my lib"),
            (
                "wheels/x-1-py3-none-any.whl --hash=sha256:0",
                "wheels/x-1-py3-none-any.whl",
            ),
            ("x-1.tar.gz", "x-1.tar.gz"),
        ] {
            assert_eq!(refers(line), Some(Reference::Local(path.into())), "{line}");
        }
        for line in [
            "django==5.2",
            "uvicorn[standard]>=0.30 ; sys_platform == 'linux'",
            "x @ https://host/x-1.whl",
            "git+https://host/x.git@main#egg=x",
            "-e git+ssh://git@host/x.git#egg=x",
            "--index-url https://host/simple",
        ] {
            assert_eq!(refers(line), None, "{line}");
        }
    }

    #[test]
    fn wheel_folders() {
        assert_eq!(
            refers("-f wheels"),
            Some(Reference::Wheels("wheels".into()))
        );
        assert_eq!(refers("--find-links https://host/x"), None);
    }

    #[test]
    fn named_variables() {
        assert_eq!(variables("a ${X} b ${Y_1}c ${open"), ["X", "Y_1"]);
    }
}
