//! Following while others write.
#![expect(clippy::unwrap_used, reason = "tests")]

use crate::logs::{Filter, Follow, LogBounds, LogReader, LogWriter, Source};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

const SMALL: LogBounds = LogBounds {
    total: 1 << 20,
    segment: 500,
};

fn write(log: &mut LogWriter, dyno: &str, text: &str) {
    let at = "2026-01-01T12:00:00Z".parse().unwrap();
    log.append(Source::App, dyno, at, text.as_bytes());
    log.flush().unwrap();
}

fn texts(follow: &mut Follow) -> Vec<String> {
    let lines = follow.lines().unwrap();
    let text = |line: crate::logs::LogLine| String::from_utf8(line.text).unwrap();
    lines.into_iter().map(text).collect()
}

#[test]
fn what_comes_after_the_last_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(folder.path(), LogBounds::default()).unwrap();
    write(&mut log, "web.1", "one");
    write(&mut log, "web.2", "two");
    let filter = Filter {
        last: 1,
        dyno: Some("web.1".to_owned()),
        ..Filter::default()
    };
    let (before, mut follow) = LogReader::new(folder.path()).follow(&filter).unwrap();
    assert_eq!(before[0].text, b"one");
    assert_eq!(texts(&mut follow), [""; 0]);
    write(&mut log, "web.1", "three");
    write(&mut log, "web.2", "four");
    write(&mut log, "web.1", "five");
    assert_eq!(texts(&mut follow), ["three", "five"]);
}

#[test]
fn a_line_under_way_is_given_once_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0000000001.log");
    let mut file = std::fs::File::create(path).unwrap();
    let line = b"2026-01-01T12:00:00.000000+00:00 app[web.1]: in pieces\n";
    file.write_all(line).unwrap();
    file.write_all(&line[..20]).unwrap();
    let (before, mut follow) = LogReader::new(folder.path())
        .follow(&Filter::default())
        .unwrap();
    assert_eq!(before.len(), 1);
    assert_eq!(texts(&mut follow), [""; 0]);
    file.write_all(&line[20..50]).unwrap();
    assert_eq!(texts(&mut follow), [""; 0]);
    file.write_all(&line[50..]).unwrap();
    assert_eq!(texts(&mut follow), ["in pieces"]);
}

/// A follower that begins between the lines of one instant knows whose the rest are.
#[test]
fn lines_that_do_not_say_whose_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0000000001.log");
    let mut file = std::fs::File::create(path).unwrap();
    let header = b"2026-01-01T12:00:00.000000+00:00 app[web.1]:";
    file.write_all(&[&header[..], b" one\n two\n thr"].concat())
        .unwrap();
    let filter = Filter {
        dyno: Some("web.1".to_owned()),
        ..Filter::default()
    };
    let (before, mut follow) = LogReader::new(folder.path()).follow(&filter).unwrap();
    assert_eq!(before.len(), 2);
    assert_eq!(before[1].text, b"two");
    file.write_all(b"ee\n four\n").unwrap();
    assert_eq!(texts(&mut follow), ["three", "four"]);
    file.write_all(b"2026-01-01T12:00:01.000000+00:00 app[web.2]: other\n of the other\n")
        .unwrap();
    assert_eq!(texts(&mut follow), [""; 0]);
    file.write_all(&[&header[..], b" five\n six\n"].concat())
        .unwrap();
    assert_eq!(texts(&mut follow), ["five", "six"]);
}

#[test]
fn across_rotations() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    // Before there is anything to follow.
    let (before, mut follow) = LogReader::new(&logs).follow(&Filter::default()).unwrap();
    assert!(before.is_empty());
    assert_eq!(texts(&mut follow), [""; 0]);
    let mut log = LogWriter::open(&logs, SMALL).unwrap();
    let mut wanted = Vec::new();
    let mut seen = Vec::new();
    for number in 0..300 {
        let text = format!("line {number}");
        write(&mut log, "web.1", &text);
        wanted.push(text);
        if number % 40 == 7 {
            seen.extend(texts(&mut follow));
        }
    }
    seen.extend(texts(&mut follow));
    assert_eq!(seen, wanted);
}

#[test]
fn a_writer_and_a_follower_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut follow) = LogReader::new(folder.path())
        .follow(&Filter::default())
        .unwrap();
    let path: &Path = folder.path();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut log = LogWriter::open(path, SMALL).unwrap();
            for number in 0..2000 {
                write(&mut log, "web.1", &format!("line {number}"));
            }
        });
        let mut seen = Vec::new();
        let deadline = Instant::now() + Duration::from_mins(1);
        while seen.len() < 2000 && Instant::now() < deadline {
            seen.extend(texts(&mut follow));
        }
        let wanted: Vec<String> = (0..2000).map(|number| format!("line {number}")).collect();
        assert_eq!(seen, wanted);
    });
}

#[test]
fn a_folder_that_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    let mut log = LogWriter::open(&logs, SMALL).unwrap();
    write(&mut log, "web.1", "one");
    let (_, mut follow) = LogReader::new(&logs).follow(&Filter::default()).unwrap();
    std::fs::remove_dir_all(&logs).unwrap();
    assert_eq!(texts(&mut follow), [""; 0]);
    write(&mut log, "web.1", "two");
    assert_eq!(texts(&mut follow), ["two"]);
    // Emptied by hand.
    std::fs::File::create(logs.join("0000000001.log")).unwrap();
    assert_eq!(texts(&mut follow), [""; 0]);
    write(&mut log, "web.1", "three");
    assert_eq!(texts(&mut follow), ["three"]);
}

#[test]
fn it_ends_with_its_reader() {
    let folder = tempfile::tempdir().unwrap();
    let (_, follow) = LogReader::new(folder.path())
        .follow(&Filter::default())
        .unwrap();
    let (read, write) = rustix::pipe::pipe().unwrap();
    assert!(follow.wait(write.as_fd()).unwrap());
    drop(read);
    assert!(!follow.wait(write.as_fd()).unwrap());
}
