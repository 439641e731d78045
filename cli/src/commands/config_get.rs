//! `slugc config:get KEY…`.

use crate::args::ConfigGetArgs;
use crate::commands::config::{as_json, not_set, read};
use crate::failure::Failure;
use crate::ui::printer::{Detail, Printer};
use serde::Serialize;
use slug_runtime::state::config_vars::shell_quoted;
use std::process::ExitCode;

/// What `heroku config:get --json` prints of each name.
#[derive(Serialize)]
struct Found<'a> {
    key: &'a str,
    value: Option<&'a str>,
}

/// As with Heroku, a name that is not set is an empty line and no failure.
pub(crate) fn run(args: &ConfigGetArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let (_, config) = read(&args.app)?;
    let found: Vec<Found<'_>> = args
        .names
        .iter()
        .map(|key| Found {
            key,
            value: config.get(key).map(String::as_str),
        })
        .collect();
    for missing in found.iter().filter(|found| found.value.is_none()) {
        printer.warning(&not_set(missing.key, &config));
    }
    if args.format.json {
        printer.result(&match found.as_slice() {
            [one] => as_json(one)?,
            several => as_json(&several)?,
        });
        return Ok(ExitCode::SUCCESS);
    }
    for Found { key, value } in found {
        let value = value.unwrap_or_default();
        if args.format.shell {
            printer.result(&format!("{key}={}", shell_quoted(value)));
        } else {
            printer.result(value);
        }
    }
    Ok(ExitCode::SUCCESS)
}
