//! Verbs with a colon and with blanks: `config:set` and `config set` are the same command.

use clap::Command;
use std::ffi::OsString;

/// Rewrites the first words of a command line into the name of a command that clap knows.
///
/// The longest name that the words make wins: `kafka topics create` is `kafka:topics:create`. Only
/// words before the first flag count, so `slugc run -- inside` runs a program called `inside`. In
/// the other direction `stack:create` becomes `stack create`, whose verbs are subcommands of clap.
pub(crate) fn spelled(argv: impl IntoIterator<Item = OsString>, cli: &Command) -> Vec<OsString> {
    let mut argv: Vec<OsString> = argv.into_iter().collect();
    let words: Vec<&str> = argv
        .iter()
        .skip(1)
        .map_while(|word| word.to_str())
        .take_while(|word| !word.is_empty() && !word.starts_with('-'))
        .collect();
    if let Some((count, name)) = spelling(&words, cli) {
        let name = name.into_iter().map(OsString::from);
        argv.splice(1..=count, name);
    }
    argv
}

/// How many words to replace, and by which ones.
fn spelling(words: &[&str], cli: &Command) -> Option<(usize, Vec<String>)> {
    let joined = |count: usize| words[..count].join(":");
    let known = (2..=words.len())
        .rev()
        .find(|count| cli.find_subcommand(joined(*count)).is_some());
    if let Some(count) = known {
        return Some((count, vec![joined(count)]));
    }
    let first = *words.first()?;
    match cli.find_subcommand(first) {
        // Joined, a misspelt verb gets clap's suggestion of the right one.
        Some(command) if words.len() > 1 && takes_no_words(command) && has_verbs(first, cli) => {
            Some((2, vec![joined(2)]))
        }
        Some(_) => None,
        None if words.len() > 1 && has_verbs(first, cli) => Some((2, vec![joined(2)])),
        None => {
            let parts: Vec<String> = first.split(':').map(str::to_owned).collect();
            let mut command = cli;
            for part in &parts {
                command = command.find_subcommand(part)?;
            }
            Some((1, parts))
        }
    }
}

fn takes_no_words(command: &Command) -> bool {
    command.get_positionals().next().is_none() && !command.has_subcommands()
}

/// Whether there are commands named `family:…`.
fn has_verbs(family: &str, cli: &Command) -> bool {
    let is_verb = |name: &str| {
        name.strip_prefix(family)
            .is_some_and(|verb| verb.starts_with(':'))
    };
    cli.get_subcommands()
        .any(|command| is_verb(command.get_name()) || command.get_all_aliases().any(is_verb))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    fn cli() -> Command {
        let with_words =
            |name: &'static str| Command::new(name).arg(Arg::new("words").num_args(0..));
        Command::new("slugc").subcommands([
            Command::new("config"),
            with_words("config:set").alias("config:add"),
            with_words("run"),
            with_words("run:inside"),
            Command::new("kafka:topics"),
            with_words("kafka:topics:create"),
            with_words("ps:scale").alias("scale"),
            Command::new("stack").subcommand(Command::new("create")),
        ])
    }

    fn respelled(line: &str) -> String {
        let argv = line.split(' ').map(OsString::from);
        let words: Vec<String> = spelled(argv, &cli())
            .into_iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words.join(" ")
    }

    #[test]
    fn blanks_are_colons() {
        for (typed, meant) in [
            ("slugc config set A=1", "slugc config:set A=1"),
            ("slugc config add A=1", "slugc config:add A=1"),
            ("slugc config:set A=1", "slugc config:set A=1"),
            ("slugc config -a set", "slugc config -a set"),
            ("slugc kafka topics", "slugc kafka:topics"),
            ("slugc kafka topics create x", "slugc kafka:topics:create x"),
            ("slugc kafka:topics create x", "slugc kafka:topics:create x"),
            ("slugc ps scale web=2", "slugc ps:scale web=2"),
            ("slugc scale web=2", "slugc scale web=2"),
            ("slugc run inside web.1", "slugc run:inside web.1"),
            ("slugc run -- inside", "slugc run -- inside"),
            ("slugc run python inside", "slugc run python inside"),
            ("slugc stack create", "slugc stack create"),
            ("slugc stack:create -v", "slugc stack create -v"),
            ("slugc", "slugc"),
            ("slugc --help", "slugc --help"),
        ] {
            assert_eq!(respelled(typed), meant);
        }
    }

    /// clap then names the command that was probably meant.
    #[test]
    fn misspelt_verbs_stay_with_their_family() {
        for (typed, given) in [
            ("slugc config sett A=1", "slugc config:sett A=1"),
            ("slugc ps scael web=2", "slugc ps:scael web=2"),
            ("slugc stack:craete", "slugc stack:craete"),
            ("slugc nothing like:this", "slugc nothing like:this"),
        ] {
            assert_eq!(respelled(typed), given);
        }
    }
}
