//! `slugc completions SHELL`.

use crate::args::{Cli, CompletionArgs};
use crate::failure::{Exit, Failure, OrFail};
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::Write;
use std::process::ExitCode;

pub(crate) fn run(args: &CompletionArgs) -> Result<ExitCode, Failure> {
    let script = script(args.shell);
    std::io::stdout()
        .write_all(&script)
        .or_fail(Exit::General, || "cannot print the script".to_owned())?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut command = Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "slugc", &mut script);
    if shell != Shell::Zsh {
        return script;
    }
    // zsh ends a name at its first colon unless a backslash is before it; clap_complete writes none.
    let mut names: Vec<&str> = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .filter(|name| name.contains(':'))
        .collect();
    // The longest first: one name may be the beginning of another.
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let mut text = String::from_utf8_lossy(&script).into_owned();
    for name in names {
        let escaped = name.replace(':', "\\:");
        text = text.replace(&format!("'{name}:"), &format!("'{escaped}:"));
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zsh_learns_whole_names() {
        let text = String::from_utf8_lossy(&script(Shell::Zsh)).into_owned();
        assert!(text.contains(r"'config\:set:Set config vars"), "{text}");
        assert!(!text.contains("'config:set:"), "{text}");
    }
}
