//! Parsers against mutated real inputs, for a bounded time.
//!
//! Every run without settings tries the same inputs. `FUZZ_SECONDS=60` tries others for so long, for each of the
//! parsers; what fails names the `FUZZ_SEED` that repeats it.

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Once;
use std::time::{Duration, Instant, SystemTime};

/// Inputs tried with one seed.
const BATCH: u32 = 256;
/// Batches of a run without settings.
const BATCHES: u64 = 2;
/// No input of a few kilobytes may take longer, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where mutations stop making an input longer, in bytes.
const LONGEST: usize = 64 << 10;

/// Numbers at which something changes.
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "7",
    "127",
    "128",
    "255",
    "256",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "77777777777",
    "1e999",
];

/// What is mutated: real inputs, and words that mean something to the parser.
#[derive(Debug, Clone, Copy)]
pub struct Seeds<'a> {
    /// Inputs that are good.
    pub inputs: &'a [Vec<u8>],
    /// What is put in between.
    pub words: &'a [&'a str],
}

/// One mutation; what its numbers mean depends on its kind. They shrink to zero.
#[derive(Debug, Clone, Copy)]
struct Change {
    kind: u8,
    at: u16,
    length: u8,
    value: u32,
}

/// Gives `check` mutations of the inputs, which must neither panic nor take long.
///
/// # Panics
/// When one does, with the smallest input found that does so.
pub fn fuzz(what: &str, seeds: Seeds<'_>, check: impl Fn(&[u8])) {
    let seconds = number("FUZZ_SECONDS").map(Duration::from_secs);
    let first =
        number("FUZZ_SEED").unwrap_or_else(|| if seconds.is_some() { begin(what) } else { 0 });
    let start = Instant::now();
    let mut tried = 0;
    let _quiet = Quiet::begin();
    for batch in 0.. {
        let seed = first.wrapping_add(batch);
        let failure = runner(seed).run(&inputs(seeds), |input| {
            let begun = Instant::now();
            check(&input);
            let took = begun.elapsed();
            assert!(took < PATIENCE, "it takes {took:?}");
            Ok(())
        });
        match failure {
            Ok(()) => tried += u64::from(BATCH),
            Err(TestError::Fail(reason, input)) => {
                // What follows is printed again.
                let place = LAST.take().unwrap_or_default();
                panic!(
                    "{what}: {reason} ({place})\nagain with FUZZ_SEED={seed}; the input has {} bytes:\n{}",
                    input.len(),
                    shown(&input)
                )
            }
            Err(TestError::Abort(reason)) => panic!("{what}: {reason}"),
        }
        let ends = seconds.map_or(batch + 1 == BATCHES, |seconds| start.elapsed() >= seconds);
        if ends {
            break;
        }
    }
    println!(
        "{what}: {tried} inputs in {:?}, from FUZZ_SEED={first} on",
        start.elapsed()
    );
}

thread_local! {
    /// Where the last failure was, on a thread that looks for failures.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// While it lasts, this thread's panics are not printed: making a failing input smaller is panicking very often.
struct Quiet;

impl Quiet {
    fn begin() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                let noted = LAST.with_borrow_mut(|last| {
                    let place = panic.location().map(ToString::to_string);
                    last.as_mut()
                        .map(|last| *last = place.unwrap_or_default())
                        .is_some()
                });
                if !noted {
                    usual(panic);
                }
            }));
        });
        LAST.set(Some(String::new()));
        Self
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        LAST.set(None);
    }
}

/// An input, or its beginning: the seed gives all of it.
fn shown(input: &[u8]) -> String {
    const MOST: usize = 2000;
    let text = input.escape_ascii().to_string();
    match text.get(..MOST) {
        Some(beginning) if text.len() > MOST => format!("{beginning}…"),
        _ => text,
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(error) => panic!("{name} is {text:?}: {error}"),
    }
}

/// A seed that no other parser begins with, though all are begun at once: their batches count on from it.
fn begin(what: &str) -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut hasher = DefaultHasher::new();
    (what, since.map_or(0, |since| since.as_nanos())).hash(&mut hasher);
    hasher.finish()
}

fn runner(seed: u64) -> TestRunner {
    let config = Config {
        cases: BATCH,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let bytes: Vec<u8> = seed.to_le_bytes().repeat(4);
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn inputs(seeds: Seeds<'_>) -> impl Strategy<Value = Vec<u8>> + use<'_> {
    let change = (any::<u8>(), any::<u16>(), any::<u8>(), any::<u32>()).prop_map(
        |(kind, at, length, value)| Change {
            kind,
            at,
            length,
            value,
        },
    );
    (0..seeds.inputs.len(), vec(change, 0..12)).prop_map(move |(input, changes)| {
        let mut bytes = seeds.inputs[input].clone();
        for change in changes {
            change.apply(&mut bytes, seeds);
        }
        bytes
    })
}

impl Change {
    fn apply(self, bytes: &mut Vec<u8>, seeds: Seeds<'_>) {
        let range = self.range(bytes.len());
        let at = range.start;
        let picked = |count: usize| self.value as usize % count.max(1);
        let low = self.value.to_le_bytes()[0];
        match self.kind % 11 {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (low % 8);
                }
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = low;
                }
            }
            2 => drop(bytes.splice(at..at, self.value.to_le_bytes())),
            3 => drop(bytes.drain(range)),
            4 => {
                let part = bytes[range].to_vec();
                let room = LONGEST.saturating_sub(bytes.len()) / part.len().max(1);
                bytes.splice(at..at, part.repeat(picked(300).min(room)));
            }
            5 => bytes.truncate(at),
            6 if !seeds.inputs.is_empty() => {
                let other = &seeds.inputs[picked(seeds.inputs.len())];
                let part = self.range(other.len());
                bytes.splice(range, other[part].iter().copied());
            }
            7 => {
                let digits = digits(bytes, at);
                bytes.splice(digits, NUMBERS[picked(NUMBERS.len())].bytes());
            }
            8 if !seeds.words.is_empty() => {
                let word = seeds.words[picked(seeds.words.len())];
                bytes.splice(at..at, word.bytes());
            }
            9 => bytes[range].reverse(),
            _ => {
                let lines = line(bytes, at);
                let line = bytes[lines.clone()].to_vec();
                bytes.splice(lines.end..lines.end, line);
            }
        }
        bytes.truncate(LONGEST);
    }

    /// A part of something of this length; short parts are likelier.
    fn range(self, length: usize) -> Range<usize> {
        let start = usize::from(self.at) * length / (usize::from(u16::MAX) + 1);
        let most = length - start;
        let size = match self.length {
            0..200 => usize::from(self.length) / 8,
            _ => usize::from(self.length - 200) * most / 55,
        };
        start..start + size.min(most)
    }
}

/// The next run of digits from a position on.
fn digits(bytes: &[u8], at: usize) -> Range<usize> {
    let rest = &bytes[at..];
    let start = rest.iter().position(u8::is_ascii_digit);
    let start = at + start.unwrap_or(rest.len());
    let length = bytes[start..].iter().take_while(|it| it.is_ascii_digit());
    start..start + length.count()
}

/// The line around a position, with its end.
fn line(bytes: &[u8], at: usize) -> Range<usize> {
    let before = bytes[..at].iter().rposition(|byte| *byte == b'\n');
    let after = bytes[at..].iter().position(|byte| *byte == b'\n');
    before.map_or(0, |end| end + 1)..after.map_or(bytes.len(), |end| at + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::strategy::ValueTree;
    use std::collections::BTreeSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn seeds() -> [Vec<u8>; 2] {
        [b"name = 12\nother = 3\n".to_vec(), Vec::new()]
    }

    #[test]
    fn inputs_differ_and_come_again() {
        let tried = || {
            let inputs = seeds();
            let mut runner = runner(7);
            let seeds = Seeds {
                inputs: &inputs,
                words: &["[["],
            };
            let tree = |runner: &mut TestRunner| super::inputs(seeds).new_tree(runner);
            let some = (0..100).filter_map(|_| tree(&mut runner).ok());
            some.map(|tree| tree.current()).collect::<Vec<_>>()
        };
        let once = tried();
        assert_eq!(once, tried());
        let different: BTreeSet<_> = once.iter().collect();
        assert!(different.len() > 50, "{}", different.len());
        assert!(
            once.iter()
                .any(|input| input.windows(2).any(|it| it == b"[["))
        );
    }

    #[test]
    fn a_failure_is_found_and_named_by_its_seed() {
        let inputs = seeds();
        let count = RefCell::new(0);
        let failed = catch_unwind(AssertUnwindSafe(|| {
            fuzz(
                "digits",
                Seeds {
                    inputs: &inputs,
                    words: &[],
                },
                |input| {
                    *count.borrow_mut() += 1;
                    assert!(!input.contains(&b'7'), "a seven");
                },
            );
        }));
        let message = failed.err().and_then(|it| it.downcast::<String>().ok());
        let message = message.map(|it| *it).unwrap_or_default();
        assert!(
            message.contains("a seven") && message.contains("FUZZ_SEED="),
            "{message}"
        );
        assert!(*count.borrow() > 1);
    }
}
