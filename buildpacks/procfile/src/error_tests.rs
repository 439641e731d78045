#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::procfile;

/// What is printed for a file that cannot be understood.
fn error_of(bytes: &[u8]) -> String {
    let mistakes = procfile::parse(bytes).unwrap_err();
    message(&ProcfileError::Parse(mistakes).into())
}

/// What is printed for a file that can.
fn warnings_of(text: &str) -> String {
    let procfile = procfile::parse(text.as_bytes()).unwrap();
    procfile.warnings.iter().map(warning).collect()
}

#[test]
fn warnings() {
    insta::assert_snapshot!(warnings_of("a: x\n  My_Worker: celery\nmy-worker: other\n"), @r#"

    [Warning: Procfile]
    Procfile:2:   My_Worker: celery
    "  My_Worker" was read as "my-worker": names have lower-case letters, digits and inner hyphens only.
    Write "my-worker" there.

    [Warning: Procfile]
    Procfile:3: my-worker: other
    Line 2 defines "my-worker" too. This line counts.
    Remove or rename one of them.
    "#);
    insta::assert_snapshot!(warnings_of("# later\n"), @r#"

    [Warning: Procfile has no processes]
    It has blank lines and comments at most, so the image gets no process from it.
    Add a line like "web: <command>", or remove the file.
    "#);
}

#[test]
fn one_mistake() {
    insta::assert_snapshot!(error_of(b"# site\nweb gunicorn app:app\n"), @r"

    [Error: Procfile has a line that cannot be understood]

    Procfile:2: web gunicorn app:app
    No colon follows the name of the process. Put one right behind the name.

    A line looks like this: web: <command>
    ");
}

#[test]
fn all_mistakes() {
    let file = "web : a\n: b\nweb.1: c\n-x: d\nclock:\n\
        a: b\0c\na: b \\\n  --more\nworker\n\
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: long long long long long\n";
    insta::assert_snapshot!(error_of(file.as_bytes()), @r"

    [Error: Procfile has 9 mistakes]

    Procfile:1: web : a
    White space stands between the name and the colon. Remove it.

    Procfile:2: : b
    No name stands before the colon. Put one there.

    Procfile:3: web.1: c
    The name has '.' in it. Use letters, digits and inner hyphens only.

    Procfile:4: -x: d
    The name starts or ends with '-'. Let it start and end with a letter or a digit.

    Procfile:5: clock:
    No command follows the colon. Add one, or remove the line.

    Procfile:6: a: b\u{0}c
    The command has a NUL character in it, which no program can be given. Remove it.

    Procfile:8:   --more
    No colon follows the name of the process. The line before ends with a backslash, but a line cannot
    be continued: write the command in one line, or put it into a script.

    Procfile:9: worker
    No colon follows the name of the process. Put one right behind the name.

    Procfile:10: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: long long long long long
    The name has 92 characters. Use 63 at most.

    A line looks like this: web: <command>
    ");
}

#[test]
fn encodings() {
    insta::assert_snapshot!(error_of(b"\xef\xbb\xbfweb: x"), @r#"

    [Error: Procfile has a line that cannot be understood]

    Procfile:1: web: x
    The file starts with a byte-order mark, which would become part of the first name.
    Save it as "UTF-8", not as "UTF-8 with BOM".

    A line looks like this: web: <command>
    "#);
    insta::assert_snapshot!(error_of(b"\xff\xfew\0"), @"

    [Error: Procfile has a line that cannot be understood]

    Procfile:1:
    The file is UTF-16. Save it as UTF-8 without a byte-order mark.

    A line looks like this: web: <command>
    ");
    insta::assert_snapshot!(error_of(b"web: caf\xe9"), @"

    [Error: Procfile has a line that cannot be understood]

    Procfile:1: web: caf�
    The line is not UTF-8 text. Save the file as UTF-8.

    A line looks like this: web: <command>
    ");
}

#[test]
fn files_that_cannot_be_read() {
    let read = |kind| message(&ProcfileError::Read(io::Error::from(kind)).into());
    insta::assert_snapshot!(read(io::ErrorKind::IsADirectory), @"

    [Error: Procfile cannot be read]

    is a directory
    It is a folder. The processes have to be in a file of that name.
    ");
    insta::assert_snapshot!(read(io::ErrorKind::NotFound), @"

    [Error: Procfile cannot be read]

    entity not found
    It is a link that leads nowhere. Replace it by the file itself.
    ");
    insta::assert_snapshot!(read(io::ErrorKind::PermissionDenied), @"

    [Error: Procfile cannot be read]

    permission denied
    Let everybody read it: chmod a+r Procfile
    ");
    insta::assert_snapshot!(read(io::ErrorKind::TimedOut), @"

    [Error: Procfile cannot be read]

    timed out
    Check that it is an ordinary file and try again.
    ");
}

#[test]
fn failures_that_are_not_the_app_s() {
    let list = io::Error::from(io::ErrorKind::PermissionDenied);
    insta::assert_snapshot!(message(&ProcfileError::List(list).into()), @"

    [Error: The Procfile buildpack failed]

    listing the app folder: permission denied
    The Procfile is not to blame. Try again; if it stays, report it with this message.
    ");
    let framework = io::Error::from(io::ErrorKind::StorageFull);
    insta::assert_snapshot!(message(&libcnb::Error::CannotDetermineAppDirectory(framework)), @"

    [Error: The Procfile buildpack failed]

    Couldn't determine app directory: no storage space
    The Procfile is not to blame. Try again; if it stays, report it with this message.
    ");
}

#[test]
fn a_misspelt_name() {
    insta::assert_snapshot!(misspelt("procfile"), @r#"
    No Procfile found, but "procfile": the name has to be "Procfile".
    Rename it: mv procfile Procfile
    "#);
}
