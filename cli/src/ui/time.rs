//! Points in time as Heroku's tools print them.

use jiff::Timestamp;

/// `2026/11/22 21:55:25 +0000 (~ 5m ago)`; how long ago is left out after a day.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let clock = at.strftime("%Y/%m/%d %H:%M:%S +0000");
    let seconds = now.duration_since(at).as_secs().max(0);
    let ago = match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3600 => format!("~ {}m ago", seconds / 60),
        3600..90_000 => format!("~ {}h ago", seconds / 3600),
        _ => return clock.to_string(),
    };
    format!("{clock} ({ago})")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn how_long_ago() {
        let at: Timestamp = "2026-11-22T21:55:25.9Z".parse().unwrap();
        for (now, shown) in [
            (
                "2026-11-22T21:55:25.95Z",
                "2026/11/22 21:55:25 +0000 (0s ago)",
            ),
            (
                "2026-11-22T21:56:24Z",
                "2026/11/22 21:55:25 +0000 (58s ago)",
            ),
            (
                "2026-11-22T22:01:00Z",
                "2026/11/22 21:55:25 +0000 (~ 5m ago)",
            ),
            (
                "2026-11-23T21:55:30Z",
                "2026/11/22 21:55:25 +0000 (~ 24h ago)",
            ),
            ("2026-12-24T00:00:00Z", "2026/11/22 21:55:25 +0000"),
            // A clock that was set back.
            ("2026-11-22T21:00:00Z", "2026/11/22 21:55:25 +0000 (0s ago)"),
        ] {
            assert_eq!(ago(at, now.parse().unwrap()), shown);
        }
    }
}
