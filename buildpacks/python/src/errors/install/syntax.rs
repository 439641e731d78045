//! Words about lines of requirements that installers do not understand.

use super::super::known::between;
use crate::install::InstallError;

/// What a line is probably meant to be, by a text in the tool's words or in the line.
const MEANT: [(&str, &str); 11] = [
    (
        "no such comparison operator \"=\"",
        "Versions are compared with two signs: alpha==1.0.",
    ),
    (
        "= is not a valid operator",
        "Versions are compared with two signs: alpha==1.0.",
    ),
    (
        "cannot be used with a wildcard version",
        "A star goes only with == and !=: alpha==1.*; for \"at least\" write alpha>=1.",
    ),
    (
        ".* suffix can only be used with",
        "A star goes only with == and !=: alpha==1.*; for \"at least\" write alpha>=1.",
    ),
    (
        "no leading ASCII digits were found",
        "What stands behind the == is no version; to take the newest one write the name alone.",
    ),
    (
        "==latest",
        "There is no version \"latest\"; to take the newest one write the name alone.",
    ),
    (
        "pip install ",
        "The line is a command; write only what stands behind \"pip install\".",
    ),
    (
        "import ",
        "The line is Python code; write the name of the package to install.",
    ),
    (
        "Expected path (`git+git@",
        "The address of a repository is like git+https://host/owner/name.git@v1.2.",
    ),
    (
        "Trailing `",
        "Each package has a line of its own; versions are separated by commas.",
    ),
    (
        "Expected comma (within version specifier)",
        "Each package has a line of its own; versions are separated by commas.",
    ),
];

/// Title and advice, if the tool could not read a line.
pub(super) fn cause(error: &InstallError, output: &str) -> Option<(String, String)> {
    let option = between(output, "no such option: ", "\n");
    let in_pip = between(output, "Invalid requirement: ", "\n");
    let is_uv = ["Couldn't parse requirement", "Unexpected '"]
        .iter()
        .any(|text| output.contains(text));
    if option.is_none() && in_pip.is_none() && !is_uv {
        return None;
    }
    let place = error
        .location
        .as_ref()
        .map(|at| format!("{}, line {}, column {},", at.file, at.line, at.column))
        .or_else(|| {
            let (_, rest) = output.split_once("(from line ")?;
            let (line, rest) = rest.split_once(" of ")?;
            Some(format!("{}, line {line},", rest.split_once(')')?.0))
        })
        .unwrap_or_else(|| "The line shown above".to_owned());
    if let Some(option) = option {
        return Some((
            format!("The requirements have an option {option}, which pip does not know"),
            "Check its spelling; of pip's options only some may stand in a requirements file, and those of pip-compile and of other \
             tools may\nnot. Remove the line."
                .to_owned(),
        ));
    }
    let meant = MEANT
        .iter()
        .find(|(sign, _)| output.contains(sign))
        .map_or(String::new(), |(_, advice)| format!("{advice}\n"));
    Some((
        "A line of the requirements is not understood".to_owned(),
        format!(
            "{place} is not a requirement. {meant}A line names one package, with the versions that will do:\n    \
             flask>=3.0,<4\n\
             Comments begin with \" #\"; options begin with \"--\"."
        ),
    ))
}
