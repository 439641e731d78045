//! Queries over real files.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::logs::{LogBounds, LogWriter};
use tempfile::TempDir;

/// Ten rounds of web.1, web.10, worker.1 and the router.
fn filled(bounds: LogBounds) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(folder.path(), bounds).unwrap();
    for round in 0..10 {
        let at = "2026-01-01T12:00:00Z".parse().unwrap();
        for (source, dyno) in [
            (Source::App, "web.1"),
            (Source::App, "web.10"),
            (Source::Heroku, "worker.1"),
            (Source::Heroku, "router"),
        ] {
            let text = format!("{dyno} {round}");
            log.append(source, dyno, at, text.as_bytes());
        }
        log.flush().unwrap();
    }
    folder
}

fn texts(folder: &TempDir, filter: &Filter) -> Vec<String> {
    let lines = LogReader::new(folder.path()).query(filter).unwrap();
    let text = |line: LogLine| String::from_utf8(line.text).unwrap();
    lines.into_iter().map(text).collect()
}

const TINY: LogBounds = LogBounds {
    total: 1 << 20,
    segment: 150,
};

#[test]
fn filters() {
    for bounds in [LogBounds::default(), TINY] {
        let folder = filled(bounds);
        let all = Filter::default();
        assert_eq!(texts(&folder, &all).len(), 40);
        let last = |last| Filter {
            last,
            ..Filter::default()
        };
        assert_eq!(texts(&folder, &last(0)), [""; 0]);
        assert_eq!(texts(&folder, &last(2)), ["worker.1 9", "router 9"]);
        assert_eq!(
            texts(&folder, &last(5)),
            ["router 8", "web.1 9", "web.10 9", "worker.1 9", "router 9"]
        );
        let of = |last, source, dyno: Option<&str>, process_type: Option<&str>| {
            let filter = Filter {
                last,
                source,
                dyno: dyno.map(str::to_owned),
                process_type: process_type.map(str::to_owned),
            };
            texts(&folder, &filter)
        };
        assert_eq!(of(2, None, Some("web.1"), None), ["web.1 8", "web.1 9"]);
        assert_eq!(of(2, None, None, Some("web")), ["web.1 9", "web.10 9"]);
        assert_eq!(of(100, None, None, Some("web")).len(), 20);
        assert_eq!(of(1, None, None, Some("router")), ["router 9"]);
        assert_eq!(of(1, None, None, Some("web.1")), ["web.1 9"]);
        assert_eq!(of(1, Some(Source::App), None, None), ["web.10 9"]);
        assert_eq!(of(9, Some(Source::App), None, Some("worker")), [""; 0]);
        assert_eq!(of(9, None, Some("web"), None), [""; 0]);
        let names = LogReader::new(folder.path()).dynos().unwrap();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(names, ["router", "web.1", "web.10", "worker.1"]);
    }
}

#[test]
fn no_log_is_an_empty_log() {
    let folder = tempfile::tempdir().unwrap();
    let reader = LogReader::new(&folder.path().join("logs"));
    assert!(reader.is_empty().unwrap());
    assert!(reader.query(&Filter::default()).unwrap().is_empty());
    assert!(!folder.path().join("logs").exists());
    let filled = filled(TINY);
    assert!(!LogReader::new(filled.path()).is_empty().unwrap());
}

/// Lines that lie across the blocks in which the log is read backwards.
#[test]
fn lines_of_all_lengths() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = LogBounds {
        total: 64 << 20,
        segment: 4 << 20,
    };
    let mut log = LogWriter::open(folder.path(), bounds).unwrap();
    let mut wanted = Vec::new();
    let at = "2026-01-01T12:00:00Z".parse().unwrap();
    for number in 0..2000 {
        let text = format!("{number} {}", "x".repeat(number * 37 % 9000));
        log.append(Source::App, "web.1", at, text.as_bytes());
        wanted.push(text);
    }
    log.flush().unwrap();
    let all = Filter {
        last: usize::MAX,
        ..Filter::default()
    };
    assert!(texts(&folder, &all) == wanted);
}

#[test]
fn garbage_is_passed_over() {
    let folder = filled(LogBounds::default());
    let path = segments::path(folder.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    // As a file system leaves it that lost power.
    bytes[middle..middle + 200].fill(0);
    bytes.resize(200_000, 0);
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(folder.path().join("7.log"), "not a segment").unwrap();
    std::fs::write(folder.path().join("notes"), "nor this").unwrap();
    let kept = texts(&folder, &Filter::default()).len();
    assert!((33..40).contains(&kept), "{kept}");
}

/// The last lines cost the same however big the log is.
#[test]
fn only_the_end_is_read() {
    let folder = filled(LogBounds::default());
    let path = segments::path(folder.path(), 1);
    let file = File::options().write(true).open(&path).unwrap();
    let lines = std::fs::read(&path).unwrap();
    // A hole of a terabyte, which nobody reads to its beginning.
    file.write_all_at(b"\n", 1 << 40).unwrap();
    file.write_all_at(&lines, (1 << 40) + 1).unwrap();
    let last = Filter {
        last: 2,
        ..Filter::default()
    };
    assert_eq!(texts(&folder, &last), ["worker.1 9", "router 9"]);
    let (lines, mut follow) = LogReader::new(folder.path()).follow(&last).unwrap();
    assert_eq!(lines.len(), 2);
    assert!(follow.lines().unwrap().is_empty());
}
