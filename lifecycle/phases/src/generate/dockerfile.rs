//! What image extensions' Dockerfiles are on top of (Image Extension API, "Dockerfile Requirements").

/// The image that a Dockerfile begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// The one that the platform gives.
    Given,
    /// Another.
    Image(String),
}

/// A Dockerfile, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dockerfile {
    pub(super) base: Base,
    /// Whether it does anything besides naming a base.
    pub(super) extends: bool,
}

impl Dockerfile {
    /// Reads a `run.Dockerfile`; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut defaults: Vec<(String, String)> = Vec::new();
        let mut base = None;
        let mut extends = false;
        for (line, keyword, rest) in instructions(text) {
            match (keyword.as_str(), &base) {
                ("FROM", None) => {
                    let words = rest.split_whitespace();
                    let name = words.clone().find(|word| !word.starts_with("--"));
                    let name = name.ok_or_else(|| format!("line {line}: FROM names no image"))?;
                    base =
                        Some(resolve(name, &defaults).map_err(|it| format!("line {line}: {it}"))?);
                }
                ("FROM", Some(_)) => {
                    return Err(format!("line {line}: it has more than one FROM"));
                }
                ("ARG", None) => {
                    if let Some((name, value)) = rest.split_once('=') {
                        let value = value.trim().trim_matches(['"', '\'']);
                        defaults.push((name.trim().to_owned(), value.to_owned()));
                    }
                }
                (other, None) => {
                    return Err(format!("line {line}: {other} stands in front of FROM"));
                }
                (_, Some(_)) => extends = true,
            }
        }
        let base = base.ok_or("it has no FROM")?;
        Ok(Self { base, extends })
    }

    /// Reads a `build.Dockerfile`, which has to be on top of the platform's image.
    pub(super) fn parse_build(text: &str) -> Result<Self, String> {
        let file = Self::parse(text)?;
        let first = instructions(text).into_iter().next();
        let begins = first.is_some_and(|(_, keyword, rest)| {
            keyword == "ARG" && rest.split('=').next().map(str::trim) == Some("base_image")
        });
        if !begins || file.base != Base::Given {
            return Err("it does not begin with ARG base_image and FROM ${base_image}".to_owned());
        }
        Ok(file)
    }
}

/// The image that `FROM` names, with the defaults of arguments in it.
fn resolve(name: &str, defaults: &[(String, String)]) -> Result<Base, String> {
    if ["${base_image}", "$base_image"].contains(&name) {
        return Ok(Base::Given);
    }
    let mut name = name.to_owned();
    for (argument, value) in defaults {
        name = name.replace(&format!("${{{argument}}}"), value);
    }
    if name.contains('$') {
        return Err(format!("FROM {name}: nobody gives a value to its argument"));
    }
    Ok(Base::Image(name))
}

/// The instructions with their lines, keywords in upper case. Comments, continued lines and here-documents are taken
/// as Docker takes them.
fn instructions(text: &str) -> Vec<(usize, String, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let mut whole = line.trim().to_owned();
        if whole.is_empty() || whole.starts_with('#') {
            continue;
        }
        while let Some(part) = whole.strip_suffix('\\') {
            let next = lines
                .by_ref()
                .map(|(_, line)| line.trim())
                .find(|line| !line.is_empty() && !line.starts_with('#'));
            whole = format!("{part} {}", next.unwrap_or_default());
        }
        for end in here_documents(&whole) {
            // Its lines are nobody's instructions.
            let is_end = |line: &str| line.trim_start_matches('\t') == end;
            lines.by_ref().find(|(_, line)| is_end(line));
        }
        let (keyword, rest) = whole
            .split_once(char::is_whitespace)
            .unwrap_or((&whole, ""));
        found.push((
            number + 1,
            keyword.to_ascii_uppercase(),
            rest.trim().to_owned(),
        ));
    }
    found
}

/// The words that end the here-documents of an instruction.
fn here_documents(instruction: &str) -> Vec<String> {
    let takes_them = ["RUN ", "COPY ", "ADD "].iter().any(|it| {
        instruction
            .get(..it.len())
            .is_some_and(|at| at.eq_ignore_ascii_case(it))
    });
    if !takes_them {
        return Vec::new();
    }
    instruction
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("<<"))
        .map(|word| word.trim_start_matches('-').trim_matches(['"', '\'']))
        .filter(|word| !word.is_empty() && !word.starts_with('<'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerfiles_say_what_they_are_on_top_of() {
        let given = "ARG base_image\nFROM ${base_image}\n";
        let image = |name: &str| Base::Image(name.to_owned());
        for (text, expected) in [
            (given.to_owned(), Ok((Base::Given, false))),
            (
                format!("{given}RUN apt-get install x\n"),
                Ok((Base::Given, true)),
            ),
            ("FROM run:2".to_owned(), Ok((image("run:2"), false))),
            (
                "# syntax\nfrom --platform=linux/amd64 run:2 AS x\nuser 1".to_owned(),
                Ok((image("run:2"), true)),
            ),
            (
                "ARG tag=\"3\"\nFROM run:${tag}".to_owned(),
                Ok((image("run:3"), false)),
            ),
            (
                format!("{given}RUN <<EOF cat\nFROM other\nEOF\nRUN a && \\\n  # no\n  FROM\n"),
                Ok((Base::Given, true)),
            ),
            (
                format!("{given}FROM other"),
                Err("line 3: it has more than one FROM"),
            ),
            (
                "RUN x".to_owned(),
                Err("line 1: RUN stands in front of FROM"),
            ),
            (String::new(), Err("it has no FROM")),
            ("FROM".to_owned(), Err("line 1: FROM names no image")),
            (
                "FROM $x".to_owned(),
                Err("line 1: FROM $x: nobody gives a value to its argument"),
            ),
        ] {
            let found = Dockerfile::parse(&text).map(|file| (file.base, file.extends));
            assert_eq!(found, expected.map_err(str::to_owned), "{text:?}");
        }
        assert!(Dockerfile::parse_build(given).is_ok());
        assert!(Dockerfile::parse_build("FROM run:2").is_err());
        assert!(Dockerfile::parse_build("FROM ${base_image}").is_err());
    }
}
