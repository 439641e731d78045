//! Tar headers, byte for byte as Go's `archive/tar` writes them when no format is asked for: USTAR if everything
//! fits, else USTAR behind a PAX record.

use std::io::{self, Write};

pub(crate) const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The type flag of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File = b'0' as isize,
    HardLink = b'1' as isize,
    Symlink = b'2' as isize,
    CharDevice = b'3' as isize,
    BlockDevice = b'4' as isize,
    Directory = b'5' as isize,
    Fifo = b'6' as isize,
}

impl Kind {
    fn flag(self) -> u8 {
        self as u8
    }
}

/// What a header says; user and group names are always empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a [u8],
    pub(crate) link: &'a [u8],
    /// Permissions with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Bytes of content; zero unless a file.
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
}

/// Writes the header and, if one is needed, the PAX header before it.
pub(crate) fn write(out: &mut (impl Write + ?Sized), header: &Header<'_>) -> io::Result<()> {
    let records = pax_records(header);
    if records.is_empty() {
        let (prefix, name) = split_path(header.name).unwrap_or((b"", header.name));
        let mut block = template(header, name, header.link);
        put_string(&mut block[345..500], prefix);
        return out.write_all(&seal(block));
    }
    write_pax(out, header.name, &records)?;
    let block = template(header, &to_ascii(header.name), &to_ascii(header.link));
    out.write_all(&seal(block))
}

/// Zeros that fill up the last block of a file of this size.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    let used = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    &ZEROS[..(BLOCK - used) % BLOCK]
}

/// The two empty blocks at the end of an archive.
pub(crate) fn write_end(out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    out.write_all(&ZEROS)?;
    out.write_all(&ZEROS)
}

/// The records of the PAX header in Go's order (sorted by key), each with its length; empty if USTAR holds all.
fn pax_records(header: &Header<'_>) -> Vec<u8> {
    let mut records = Vec::new();
    if !fits_octal(8, i64::from(header.gid)) {
        push_record(&mut records, "gid", header.gid.to_string().as_bytes());
    }
    if header.link.len() > NAME || !header.link.is_ascii() {
        push_record(&mut records, "linkpath", header.link);
    }
    if !fits_octal(12, header.mtime) {
        push_record(&mut records, "mtime", header.mtime.to_string().as_bytes());
    }
    let long_name = header.name.len() > NAME || !header.name.is_ascii();
    let size_fits = i64::try_from(header.size).is_ok_and(|size| fits_octal(12, size));
    let uid_fits = fits_octal(8, i64::from(header.uid));
    // A long name alone can be split between two fields; once any record is needed, Go records the name too.
    if long_name
        && (!records.is_empty() || !size_fits || !uid_fits || split_path(header.name).is_none())
    {
        push_record(&mut records, "path", header.name);
    }
    if !size_fits {
        push_record(&mut records, "size", header.size.to_string().as_bytes());
    }
    if !uid_fits {
        push_record(&mut records, "uid", header.uid.to_string().as_bytes());
    }
    records
}

fn push_record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    // " ", "=" and the line feed; the length counts its own digits.
    let base = key.len() + value.len() + 3;
    let mut length = base + decimal_digits(base);
    if base + decimal_digits(length) != length {
        length = base + decimal_digits(length);
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

fn write_pax(out: &mut (impl Write + ?Sized), name: &[u8], records: &[u8]) -> io::Result<()> {
    let split = name
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (directory, file) = name.split_at(split);
    let mut path = to_ascii(&clean_path(&[directory, b"PaxHeaders.0", file]));
    path.truncate(NAME);
    while path.last() == Some(&b'/') {
        path.pop();
    }
    let mut block = [0; BLOCK];
    put_string(&mut block[..100], &path);
    put_octal(&mut block[100..108], 0);
    put_octal(&mut block[108..116], 0);
    put_octal(&mut block[116..124], 0);
    put_octal(&mut block[124..136], records.len() as u64);
    put_octal(&mut block[136..148], 0);
    block[156] = b'x';
    out.write_all(&seal(block))?;
    out.write_all(records)?;
    out.write_all(padding(records.len() as u64))
}

/// The fields that both formats share. Numbers that do not fit are zero: a PAX record has them.
fn template(header: &Header<'_>, name: &[u8], link: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put_string(&mut block[..100], name);
    put_octal(&mut block[100..108], u64::from(header.mode));
    put_octal(&mut block[108..116], u64::from(header.uid));
    put_octal(&mut block[116..124], u64::from(header.gid));
    put_octal(&mut block[124..136], header.size);
    put_octal(
        &mut block[136..148],
        u64::try_from(header.mtime).unwrap_or(0),
    );
    block[156] = header.kind.flag();
    put_string(&mut block[157..257], link);
    put_octal(&mut block[329..337], u64::from(header.device.0));
    put_octal(&mut block[337..345], u64::from(header.device.1));
    block
}

/// Sets the magic and the checksum.
fn seal(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
    block[257..263].copy_from_slice(b"ustar\0");
    block[263..265].copy_from_slice(b"00");
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    put_octal(&mut block[148..155], sum);
    block
}

fn put_string(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    // Readers take a regular file whose name ends with a slash for a directory, even if PAX has the full name.
    if text.len() > length && field.last() == Some(&b'/') {
        let end = field
            .iter()
            .rposition(|byte| *byte != b'/')
            .map_or(0, |last| last + 1);
        field[end] = 0;
    }
}

fn put_octal(field: &mut [u8], number: u64) {
    let digits = field.len() - 1;
    let number = if number >> (digits * 3).min(63) == 0 {
        number
    } else {
        0
    };
    for (place, byte) in field[..digits].iter_mut().rev().enumerate() {
        *byte = b'0' + u8::try_from(number >> (place * 3) & 7).unwrap_or(0);
    }
    field[digits] = 0;
}

fn fits_octal(field: usize, number: i64) -> bool {
    number >= 0 && number < 1 << ((field - 1) * 3)
}

/// Splits a name that is too long for its field at the last slash that leaves both parts short enough.
fn split_path(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME || !name.is_ascii() {
        return None;
    }
    let searched = if name.len() > PREFIX + 1 {
        PREFIX + 1
    } else if name.ends_with(b"/") {
        name.len() - 1
    } else {
        name.len()
    };
    let slash = name[..searched].iter().rposition(|byte| *byte == b'/')?;
    let suffix = name.len() - slash - 1;
    (slash > 0 && slash <= PREFIX && suffix > 0 && suffix <= NAME)
        .then(|| (&name[..slash], &name[slash + 1..]))
}

fn to_ascii(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(u8::is_ascii).collect()
}

/// Go's `path.Join`: joins the parts that are not empty and resolves `.`, `..` and repeated slashes by text alone.
fn clean_path(parts: &[&[u8]]) -> Vec<u8> {
    let joined = parts
        .iter()
        .filter(|part| !part.is_empty())
        .copied()
        .collect::<Vec<_>>()
        .join(&b'/');
    let rooted = joined.first() == Some(&b'/');
    let mut kept: Vec<&[u8]> = Vec::new();
    for component in joined.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => match kept.last() {
                Some(last) if *last != b".." => {
                    kept.pop();
                }
                _ if rooted => {}
                _ => kept.push(component),
            },
            _ => kept.push(component),
        }
    }
    let path = kept.join(&b'/');
    match (rooted, path.is_empty()) {
        (true, _) => [b"/", path.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_as_go_does() {
        let join = |parts: &[&str]| {
            let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            String::from_utf8_lossy(&clean_path(&parts)).into_owned()
        };
        assert_eq!(join(&["/a/", "PaxHeaders.0", "b"]), "/a/PaxHeaders.0/b");
        assert_eq!(join(&["", "PaxHeaders.0", "b"]), "PaxHeaders.0/b");
        assert_eq!(join(&["/a/b/", "PaxHeaders.0", ""]), "/a/b/PaxHeaders.0");
        assert_eq!(join(&["//a/./../../", "P", "b"]), "/P/b");
        assert_eq!(join(&["../", "P", ".."]), "..");
        assert_eq!(join(&["", ""]), ".");
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [
            1, 80, 89, 90, 91, 92, 95, 980, 986, 987, 988, 989, 990, 9980, 9987, 9988,
        ] {
            let mut records = Vec::new();
            push_record(&mut records, "path", &vec![b'x'; length]);
            let text = String::from_utf8_lossy(&records);
            assert_eq!(
                text.split_once(' ').map(|(digits, _)| digits),
                Some(records.len().to_string().as_str())
            );
        }
    }

    #[test]
    fn splits_only_where_both_parts_fit() {
        let name =
            |prefix: usize, suffix: usize| [vec![b'p'; prefix], vec![b's'; suffix]].join(&b'/');
        assert_eq!(split_path(&name(10, 80)), None);
        assert!(split_path(&name(10, 100)).is_some());
        assert!(split_path(&name(155, 100)).is_some());
        assert_eq!(split_path(&name(156, 100)), None);
        assert_eq!(split_path(&name(10, 101)), None);
        assert_eq!(split_path(&[b"/".as_slice(), &[b'x'; 100]].concat()), None);
    }
}
