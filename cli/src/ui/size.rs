//! Sizes and durations as people read them.

use std::time::Duration;

/// Decimal units with one digit after the point, as `docker images` prints them: `54.1 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut tenths = count;
    let mut unit = 0;
    // Tenths of the unit in integers: no float is needed, and 999,950 rounds up to 1.0 MB.
    let mut divisor: u64 = 1;
    while tenths / divisor >= 1000 && unit < UNITS.len() - 1 {
        divisor *= 1000;
        unit += 1;
    }
    tenths = (count * 10 + divisor / 2) / divisor;
    if tenths >= 10_000 && unit < UNITS.len() - 1 {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `0.24s`, `3.1s`, `2m05s`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 {
        format!("{seconds:.2}s")
    } else if seconds < 60.0 {
        format!("{seconds:.1}s")
    } else {
        let whole = time.as_secs();
        format!("{}m{:02}s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (54_123_456, "54.1 MB"),
            (999_950, "1.0 MB"),
            (2_000_000_000, "2.0 GB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration(Duration::from_millis(240)), "0.24s");
        assert_eq!(duration(Duration::from_millis(3140)), "3.1s");
        assert_eq!(duration(Duration::from_secs(125)), "2m05s");
    }
}
