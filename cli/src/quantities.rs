//! `web=2 worker+1`: what is asked of a formation.

use crate::failure::{Exit, Failure, OrFail};
use crate::supervisor::unknown_type;
use cnb_spec::names::ProcessType;
use slug_runtime::size::Size;
use slug_runtime::state::Sizes;
use slug_runtime::supervisor::Quantities;

/// More dynos of one type are a slip of the finger.
const MOST: u32 = 1000;

/// One word of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    name: String,
    how: How,
    /// What size the dynos of this type are to have as well.
    size: Option<Size>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Exactly(u32),
    More(u32),
    Fewer(u32),
}

impl Change {
    /// `web=2`, `web+1`, `my-worker-1` (Heroku CLI, `ps:scale`).
    pub(crate) fn parse(word: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::new(Exit::Usage, format!("cannot understand {word:?}"))
                .hint("write web=2, web+1 or web-1")
        };
        if let Some((word, size)) = word.split_once(':') {
            let size = size
                .parse::<Size>()
                .or_fail(Exit::Usage, || format!("cannot understand {word}:{size}"))?;
            return Ok(Self {
                size: Some(size),
                ..Self::parse(word)?
            });
        }
        let (at, operator) = word
            .char_indices()
            .rfind(|(_, c)| matches!(c, '=' | '+' | '-'))
            .ok_or_else(wrong)?;
        let (name, number) = (&word[..at], &word[at + 1..]);
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        if name.parse::<ProcessType>().is_err() {
            return Err(wrong());
        }
        let count = number.parse().unwrap_or(u32::MAX);
        Ok(Self {
            name: name.to_owned(),
            how: match operator {
                '=' => How::Exactly(count),
                '+' => How::More(count),
                _ => How::Fewer(count),
            },
            size: None,
        })
    }

    /// `web=2`, or `web` for one.
    pub(crate) fn parse_for_launch(word: &str) -> Result<Self, Failure> {
        match word.split_once('=') {
            Some(_) => Self::parse(word),
            None if word.parse::<ProcessType>().is_ok() => Ok(Self {
                name: word.to_owned(),
                how: How::Exactly(1),
                size: None,
            }),
            None => Err(
                Failure::new(Exit::Usage, format!("{word:?} cannot be a process type"))
                    .hint("write web or web=2"),
            ),
        }
    }

    /// The type and the size that its dynos are to have, where one was said.
    pub(crate) fn size(&self) -> Option<(ProcessType, Size)> {
        Some((self.name.parse().ok()?, self.size?))
    }

    /// Carries it out on quantities; `types` are those that the app has.
    pub(crate) fn apply(
        &self,
        quantities: &mut Quantities,
        types: &[String],
    ) -> Result<(), Failure> {
        let unknown = || unknown_type(&self.name, types);
        if !types.contains(&self.name) {
            return Err(unknown());
        }
        let process_type: ProcessType = self.name.parse().map_err(|_| unknown())?;
        let before = quantities.get(&process_type).copied().unwrap_or(0);
        let name = &self.name;
        let after = match self.how {
            How::Exactly(count) => count,
            How::More(count) => before.saturating_add(count),
            How::Fewer(count) => before.checked_sub(count).ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    format!("{name} has {before}, so {count} cannot be taken away"),
                )
                .hint(format!("{name}=0 stops them all"))
            })?,
        };
        if after > MOST {
            return Err(Failure::new(
                Exit::Usage,
                format!("{after} dynos of {name} are more than {MOST}"),
            ));
        }
        quantities.insert(process_type, after);
        Ok(())
    }
}

/// `web=1:Standard-2X worker=0`, which `ps:scale` takes again; every type that the app has is named.
pub(crate) fn shown(
    quantities: &Quantities,
    sizes: &Sizes,
    types: &[String],
    between: &str,
) -> Vec<String> {
    types
        .iter()
        .map(|name| {
            let count = quantities
                .iter()
                .find(|(process_type, _)| process_type.as_str() == name)
                .map_or(0, |(_, count)| *count);
            let size = sizes.iter().find(|(kind, _)| kind.as_str() == name);
            let size = size.map_or_else(String::new, |(_, size)| format!(":{size}"));
            format!("{name}{between}{count}{size}")
        })
        .collect()
}

/// What runs when nobody has said anything: one dyno of `web`, or of the type that the app has.
pub(crate) fn first(types: &[String], default: Option<ProcessType>) -> Quantities {
    let web = types.iter().find(|name| *name == "web");
    let chosen = web.and_then(|name| name.parse().ok()).or(default);
    chosen.into_iter().map(|name| (name, 1)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn types() -> Vec<String> {
        ["web", "my-worker"].map(str::to_owned).to_vec()
    }

    fn after(words: &[&str]) -> Result<String, Failure> {
        let mut quantities = Quantities::from([("web".parse().unwrap(), 1)]);
        for word in words {
            Change::parse(word)?.apply(&mut quantities, &types())?;
        }
        let sizes = Sizes::from([("my-worker".parse().unwrap(), Size::Basic)]);
        Ok(shown(&quantities, &sizes, &types(), "=").join(" "))
    }

    #[test]
    fn words() {
        for (words, expected) in [
            (&["web=3"][..], "web=3 my-worker=0:Basic"),
            (&["web+2", "my-worker=1"], "web=3 my-worker=1:Basic"),
            (&["web-1"], "web=0 my-worker=0:Basic"),
            (&["my-worker+2", "my-worker-1"], "web=1 my-worker=1:Basic"),
        ] {
            assert_eq!(after(words).unwrap(), expected);
        }
    }

    #[test]
    fn sizes() {
        let size = |word: &str| Change::parse(word).unwrap().size();
        let web = "web".parse().unwrap();
        assert_eq!(size("web=2:Standard-2X"), Some((web, Size::Standard2x)));
        assert_eq!(size("web=2"), None);
    }

    #[test]
    fn wrong_words() {
        for (word, said) in [
            ("web", "cannot understand \"web\""),
            ("web=", "cannot understand"),
            ("=2", "cannot understand"),
            ("web=two", "cannot understand"),
            ("web=2:Standart-2X", "cannot understand web=2:Standart-2X"),
            ("web-2", "web has 1, so 2 cannot be taken away"),
            ("web=1001", "more than 1000"),
            ("web=99999999999999", "more than 1000"),
            ("wep=2", "the app has no process type wep"),
            ("release=1", "it runs before each release"),
        ] {
            let error = after(&[word]).unwrap_err();
            assert!(error.to_string().contains(said), "{word}: {error}");
        }
    }

    #[test]
    fn the_first_formation() {
        assert_eq!(
            first(&types(), None),
            Quantities::from([("web".parse().unwrap(), 1)])
        );
        let clock: ProcessType = "clock".parse().unwrap();
        assert_eq!(
            first(&["clock".to_owned()], Some(clock.clone())),
            Quantities::from([(clock, 1)])
        );
    }
}
