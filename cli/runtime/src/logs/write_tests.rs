//! Real files, several threads, several processes.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::logs::{Filter, LogLine, LogReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SMALL: LogBounds = LogBounds {
    total: 8000,
    segment: 2000,
};

fn now() -> Timestamp {
    "2026-01-01T12:00:00.5Z".parse().unwrap()
}

fn scratch() -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("logs");
    (scratch, folder)
}

fn on_disk(folder: &Path) -> Vec<u8> {
    let numbers = segments::list(folder).unwrap();
    let read = |number: &u64| fs::read(segments::path(folder, *number)).unwrap();
    numbers.iter().flat_map(read).collect()
}

/// The texts of all kept lines.
fn texts(folder: &Path) -> Vec<String> {
    let all = Filter {
        last: usize::MAX,
        ..Filter::default()
    };
    let lines = LogReader::new(folder).query(&all).unwrap();
    let text = |line: LogLine| String::from_utf8(line.text).unwrap();
    lines.into_iter().map(text).collect()
}

#[test]
fn on_disk_it_is_herokus_format() {
    let (_scratch, folder) = scratch();
    let mut log = LogWriter::open(&folder, LogBounds::default()).unwrap();
    log.append(Source::Heroku, "web.1", now(), b"Cycling");
    log.append(Source::App, "web.1", now(), b"\xff\x1b[2J 1%\r2%\0");
    log.append(Source::App, "worker.1", now(), b"two\nlines\n");
    assert_eq!(on_disk(&folder), b"", "nothing is written before a flush");
    log.flush().unwrap();
    assert_eq!(
        on_disk(&folder).escape_ascii().to_string(),
        b"2026-01-01T12:00:00.500000+00:00 heroku[web.1]: Cycling\n\
          2026-01-01T12:00:00.500000+00:00 app[web.1]: \xff\x1b[2J 1%\r2%\0\n\
          2026-01-01T12:00:00.500000+00:00 app[worker.1]: two\n\
          \x20lines\n"
            .escape_ascii()
            .to_string()
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&segments::path(&folder, 1)), 0o600);
}

/// What a dyno prints at one instant needs its header once, but in each segment.
#[test]
fn lines_of_one_instant_share_what_they_begin_with() {
    let (_scratch, folder) = scratch();
    let bounds = LogBounds {
        total: 1 << 20,
        segment: 2000,
    };
    let mut log = LogWriter::open(&folder, bounds).unwrap();
    log.append(Source::App, "web.1", now(), b"before");
    let mut wanted = vec!["before".to_owned()];
    for number in 0..3000 {
        // Some look like lines that say whose they are, or like blanks.
        let text = match number % 3 {
            0 => format!("{number}"),
            1 => format!(" 2026-01-01T12:00:00.500000+00:00 app[web.1]: {number}"),
            _ => String::new(),
        };
        log.line(Source::App, "web.2", now(), text.as_bytes());
        wanted.push(text);
    }
    log.append(Source::App, "web.1", now(), b"after");
    wanted.push("after".to_owned());
    log.flush().unwrap();
    assert_eq!(texts(&folder), wanted);
    for number in segments::list(&folder).unwrap() {
        let segment = fs::read(segments::path(&folder, number)).unwrap();
        assert!(segment.len() <= 2000 && segment.starts_with(b"2026-01-01T"));
    }
    let of = |dyno: &str, last| {
        let filter = Filter {
            last,
            dyno: Some(dyno.to_owned()),
            ..Filter::default()
        };
        LogReader::new(&folder).query(&filter).unwrap()
    };
    assert_eq!(of("web.1", 100).len(), 2);
    assert_eq!(of("web.2", usize::MAX).len(), 3000);
    let last: Vec<LogLine> = of("web.2", 4);
    assert_eq!(last[0].text, b"");
    assert_eq!(last[1].text, b"2997");
    assert!(last.iter().all(|line| line.at == now()));
    // The next batch begins anew: what was torn before it takes nothing with it.
    log.line(Source::App, "web.2", now(), b"later");
    log.flush().unwrap();
    assert_eq!(of("web.2", 1)[0].text, b"later");
    let end = on_disk(&folder);
    assert!(end.ends_with(b"\n2026-01-01T12:00:00.500000+00:00 app[web.2]: later\n"));
}

#[test]
fn a_dropped_writer_has_written() {
    let (_scratch, folder) = scratch();
    let mut log = LogWriter::open(&folder, LogBounds::default()).unwrap();
    log.append(Source::App, "web.1", now(), b"last words");
    drop(log);
    assert_eq!(texts(&folder), ["last words"]);
}

#[test]
fn the_bound_holds_and_the_newest_stay() {
    let (_scratch, folder) = scratch();
    let mut log = LogWriter::open(&folder, SMALL).unwrap();
    for number in 0..1000 {
        let text = format!("line {number}");
        log.append(Source::App, "web.1", now(), text.as_bytes());
        if number % 7 == 0 {
            log.flush().unwrap();
            assert!(on_disk(&folder).len() as u64 <= SMALL.total);
        }
    }
    log.flush().unwrap();
    let kept = texts(&folder);
    let first = 1000 - kept.len();
    let wanted: Vec<String> = (first..1000)
        .map(|number| format!("line {number}"))
        .collect();
    assert_eq!(kept, wanted);
    // At least all segments but the one that was just begun are full to the last line.
    let bytes = on_disk(&folder).len() as u64;
    assert!(bytes > SMALL.total - SMALL.segment - 4 * 60, "{bytes}");
}

#[test]
fn a_batch_and_a_line_may_be_longer_than_a_segment() {
    let (_scratch, folder) = scratch();
    let mut log = LogWriter::open(&folder, SMALL).unwrap();
    let text = "x".repeat(25_000);
    log.append(Source::App, "web.1", now(), b"before");
    log.append(Source::App, "web.1", now(), text.as_bytes());
    log.append(Source::App, "web.1", now(), b"after");
    log.flush().unwrap();
    let kept = texts(&folder);
    assert_eq!(kept.last().unwrap(), "after");
    assert_eq!(kept[kept.len() - 4..kept.len() - 1].concat(), text);
    assert_eq!(kept[kept.len() - 4].len(), 10_000);
}

#[test]
fn a_torn_line_is_ended_and_left_out() {
    let (_scratch, folder) = scratch();
    let mut log = LogWriter::open(&folder, SMALL).unwrap();
    log.append(Source::App, "web.1", now(), b"one");
    log.flush().unwrap();
    let mut killed = File::options()
        .append(true)
        .open(segments::path(&folder, 1))
        .unwrap();
    killed.write_all(b"2026-01-01T12:00:00.5000").unwrap();
    assert_eq!(texts(&folder), ["one"]);
    // By the writer that was there all the time, and by a new one.
    log.append(Source::App, "web.1", now(), b"two");
    log.flush().unwrap();
    assert_eq!(texts(&folder), ["one", "two"]);
    killed.write_all(b"2026-01-01T12:00:00.5000").unwrap();
    let mut log = LogWriter::open(&folder, SMALL).unwrap();
    log.append(Source::App, "web.1", now(), b"three");
    log.flush().unwrap();
    assert_eq!(texts(&folder), ["one", "two", "three"]);
}

#[test]
fn sealed_and_killed_before_the_next_segment_began() {
    let (_scratch, folder) = scratch();
    let mut log = LogWriter::open(&folder, SMALL).unwrap();
    log.append(Source::App, "web.1", now(), b"one");
    log.flush().unwrap();
    let path = segments::path(&folder, 1);
    fs::set_permissions(&path, Permissions::from_mode(SEALED)).unwrap();
    log.append(Source::App, "web.1", now(), b"two");
    log.flush().unwrap();
    drop(log);
    let mut log = LogWriter::open(&folder, SMALL).unwrap();
    log.append(Source::App, "web.1", now(), b"three");
    log.flush().unwrap();
    assert_eq!(segments::list(&folder).unwrap(), [1, 2]);
    assert_eq!(texts(&folder), ["one", "two", "three"]);
}

#[test]
fn a_removed_folder_is_made_again() {
    let (_scratch, folder) = scratch();
    let mut log = LogWriter::open(&folder, SMALL).unwrap();
    log.append(Source::App, "web.1", now(), b"one");
    log.flush().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    log.append(Source::App, "web.1", now(), b"two");
    log.flush().unwrap();
    assert_eq!(texts(&folder), ["two"]);
}

#[test]
fn lost_lines_are_told_of() {
    let (_scratch, folder) = scratch();
    let mut log = LogWriter::open(&folder, SMALL).unwrap();
    log.append(Source::App, "web.1", now(), b"one");
    log.flush().unwrap();
    // Nothing can be made where a file is in the way, not even by root.
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    for _ in 0..2 {
        log.append(Source::App, "web.1", now(), b"lost\nand lost");
        let error = log.flush().unwrap_err();
        assert!(matches!(error, LogError::Folder { .. }), "{error}");
    }
    fs::remove_file(&folder).unwrap();
    log.append(Source::App, "web.1", now(), b"two");
    log.flush().unwrap();
    log.append(Source::App, "web.1", now(), b"three");
    log.flush().unwrap();
    let kept = texts(&folder);
    let notice = "Error L10 (output buffer overflow) -> 4 messages dropped since 20";
    assert!(kept[0].starts_with(notice), "{kept:?}");
    assert_eq!(kept[1..], ["two", "three"]);
}

#[test]
fn a_full_disk_loses_lines_and_nothing_else() {
    // /dev/full answers every write as a full disk does.
    let (_scratch, folder) = scratch();
    let mut log = LogWriter::open(&folder, SMALL).unwrap();
    std::os::unix::fs::symlink("/dev/full", segments::path(&folder, 1)).unwrap();
    log.append(Source::App, "web.1", now(), b"lost");
    let error = log.flush().unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.contains("No space left"), "{error}: {text}");
    fs::remove_file(segments::path(&folder, 1)).unwrap();
    log.append(Source::App, "web.1", now(), b"kept");
    log.flush().unwrap();
    assert_eq!(texts(&folder).len(), 2);
}

/// Appends `writer line` for ever-growing lines, in batches of different sizes.
fn append_many(folder: &Path, writer: &str, lines: usize) {
    let bounds = LogBounds {
        total: 64 << 20,
        segment: 16 << 10,
    };
    let mut log = LogWriter::open(folder, bounds).unwrap();
    for number in 0..lines {
        let text = format!("{writer} {number} {}", "x".repeat(number % 90));
        log.append(Source::App, &format!("{writer}.1"), now(), text.as_bytes());
        if number % (1 + number % 13) == 0 {
            log.flush().unwrap();
        }
    }
    log.flush().unwrap();
}

/// Every writer's lines are there, whole, in its own order.
fn check_order(folder: &Path, writer: &str, lines: usize) {
    let prefix = format!("{writer} ");
    let kept = texts(folder);
    let own: Vec<&String> = kept
        .iter()
        .filter(|text| text.starts_with(&prefix))
        .collect();
    assert_eq!(own.len(), lines);
    for (number, text) in own.into_iter().enumerate() {
        assert_eq!(
            *text,
            format!("{writer} {number} {}", "x".repeat(number % 90))
        );
    }
}

#[test]
fn threads_append_at_once() {
    let (_scratch, folder) = scratch();
    std::thread::scope(|scope| {
        for writer in ["a", "b", "c"] {
            let folder = &folder;
            scope.spawn(move || append_many(folder, writer, 3000));
        }
    });
    for writer in ["a", "b", "c"] {
        check_order(&folder, writer, 3000);
    }
    assert_eq!(texts(&folder).len(), 9000);
    assert!(segments::list(&folder).unwrap().len() > 10);
}

/// A part of the tests below, in a process of its own.
#[test]
#[ignore = "a part of other tests"]
fn appender() {
    let Some(folder) = std::env::var_os("LOG_FOLDER") else {
        return;
    };
    let lines = std::env::var("LOG_LINES").unwrap().parse().unwrap();
    append_many(
        Path::new(&folder),
        &std::env::var("LOG_WRITER").unwrap(),
        lines,
    );
}

fn spawn_appender(folder: &Path, writer: &str, lines: usize) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "logs::write::tests::appender"])
        .env("LOG_FOLDER", folder)
        .env("LOG_WRITER", writer)
        .env("LOG_LINES", lines.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn processes_append_at_once() {
    let (_scratch, folder) = scratch();
    let mut other = spawn_appender(&folder, "a", 3000);
    append_many(&folder, "b", 3000);
    assert!(other.wait().unwrap().success());
    check_order(&folder, "a", 3000);
    check_order(&folder, "b", 3000);
}

#[test]
fn killed_writers_leave_a_log() {
    let (_scratch, folder) = scratch();
    for round in 0..5 {
        let mut killed = spawn_appender(&folder, "a", usize::MAX);
        let deadline = Instant::now() + Duration::from_mins(1);
        let before = on_disk(&folder).len();
        while on_disk(&folder).len() < before + 20_000 {
            assert!(Instant::now() < deadline, "the appender does not append");
            std::thread::sleep(Duration::from_millis(1));
        }
        killed.kill().unwrap();
        killed.wait().unwrap();
        append_many(&folder, &format!("b{round}"), 10);
        check_order(&folder, &format!("b{round}"), 10);
    }
}
