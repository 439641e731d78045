//! What apt's words about a mirror mean.

/// Why nothing came of a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This machine has no room.
    Disk,
    /// Its lists are not signed by a key of the image's, or were changed since.
    Unsigned,
    /// Its files are not those that the signed lists name.
    Altered,
    /// Its lists are too old, or of the future.
    Untimely,
    /// It does not have what Debian's mirrors have.
    NotThere,
    /// There is no way to it.
    Unreachable,
}

/// What apt 2 and 3 print. A fault stands before those that it brings along.
const WORDS: [(Fault, &[&str]); 5] = [
    (
        Fault::Disk,
        &[
            "No space left on device",
            "Disk quota exceeded",
            "enough free space",
        ],
    ),
    (
        Fault::Unsigned,
        &[
            "GPG error",
            "OpenPGP",
            "NO_PUBKEY",
            "BADSIG",
            "Clearsigned file",
            "is not signed",
            "is no longer signed",
            "signature verification",
            "signatures",
        ],
    ),
    (
        Fault::Altered,
        &["Hash Sum mismatch", "File has unexpected size"],
    ),
    (
        Fault::Untimely,
        &["is not valid yet", "is expired", "Release file expired"],
    ),
    (
        Fault::NotThere,
        &[
            "does not have a Release file",
            "no longer has a Release file",
            "404 ",
            "410 ",
        ],
    ),
];

impl Fault {
    /// What went wrong, by apt's output.
    pub(crate) fn of(output: &str) -> Self {
        WORDS
            .iter()
            .find(|(_, words)| words.iter().any(|word| output.contains(word)))
            .map_or(Self::Unreachable, |(fault, _)| *fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_apt() {
        for (output, expected) in [
            (
                "W: An error occurred during the signature verification. The repository is not updated and the previous index \
                 files will be used. OpenPGP signature verification failed: http://m.example/debian trixie InRelease: \
                 Sub-process /usr/bin/sqv returned an error code (1)",
                Fault::Unsigned,
            ),
            (
                "W: GPG error: http://m.example/debian bookworm InRelease: The following signatures couldn't be verified \
                 because the public key is not available: NO_PUBKEY 6ED0E7B82643E131",
                Fault::Unsigned,
            ),
            (
                "E: The repository 'http://m.example/debian trixie InRelease' is not signed.",
                Fault::Unsigned,
            ),
            (
                "E: Failed to fetch http://m.example/debian/pool/h.deb  Hash Sum mismatch",
                Fault::Altered,
            ),
            (
                "E: Failed to fetch http://m.example/debian/pool/h.deb  File has unexpected size (1 != 2). Mirror sync in \
                 progress?",
                Fault::Altered,
            ),
            (
                "E: Release file for http://m.example/debian/dists/trixie/InRelease is expired (invalid since 3d 1h).",
                Fault::Untimely,
            ),
            (
                "E: Release file for http://m.example/debian/dists/trixie/InRelease is not valid yet (invalid for another \
                 2h 1min).",
                Fault::Untimely,
            ),
            (
                "E: The repository 'http://m.example/debian trixie Release' does not have a Release file.",
                Fault::NotThere,
            ),
            (
                "E: The repository 'http://m.example/debian trixie Release' no longer has a Release file.",
                Fault::NotThere,
            ),
            (
                "E: Failed to fetch http://m.example/debian/pool/h.deb  404  Not Found [IP: 192.0.2.1 80]",
                Fault::NotThere,
            ),
            (
                "E: Write error - write (28: No space left on device)\nE: The repository 'x' is not signed.",
                Fault::Disk,
            ),
            (
                "E: You don't have enough free space in /layers/x/archives/.",
                Fault::Disk,
            ),
            (
                "W: Failed to fetch http://m.example/debian/dists/trixie/InRelease  Could not connect to m.example:80 \
                 (192.0.2.1). - connect (111: Connection refused)\nW: Some index files failed to download.",
                Fault::Unreachable,
            ),
            (
                "W: Failed to fetch http://m.example/debian/dists/trixie/InRelease  Temporary failure resolving \
                 'm.example'",
                Fault::Unreachable,
            ),
            ("", Fault::Unreachable),
        ] {
            assert_eq!(Fault::of(output), expected, "{output}");
        }
    }
}
